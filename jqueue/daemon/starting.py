"""Being told to stop before a daemon is up, or when it is down already: it ends at once."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_log = logging.getLogger(__name__)


def stopping_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop a daemon in order: SIGTERM, and SIGHUP but for `nohup`."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ended_when_told() -> Iterator[None]:
    """Let these signals end the process with status 0, while nothing else handles them.

    A daemon that is not up has promised nothing, one that is down has kept all; and any step of
    opening and closing may be the last, as in a crash.  So nothing has to be unwound.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, _end) for signum in stopping_signals()}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end(signum: int, _frame: FrameType | None) -> None:
    _log.info("%s: ended at once", signal.Signals(signum).name)
    os._exit(0)
