"""Which queue a command is about, and the one way in."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from jqueue.execution import builtin as _builtin  # noqa: F401 - declares the kinds of every queue
from jqueue.execution.units import UNITS
from jqueue.queue.clock import SystemClock
from jqueue.queue.core import QueueCore
from jqueue.store.directory import DirectoryStore

TIMEOUT_S = 10.0
"""How long a command tries to get to the queue, while another process owns it."""

OpenQueue = QueueCore
"""What commands work with."""


def default_path() -> str:
    """The queue of `--queue` and $JQUEUE_DIR left out: the system's for root, else the user's."""
    if os.geteuid() == 0:
        return "/var/lib/jqueue"
    state = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return str(base / "jqueue")


@contextlib.contextmanager
def open_queue(
    path: str, *, create: bool = False, timeout_s: float = TIMEOUT_S
) -> Iterator[OpenQueue]:
    """The queue at `path`, for the time of the `with` block; made if it isn't there and `create`.

    Raises QueueLocked after `timeout_s`, and QueueFailed where no queue is.
    """
    store = DirectoryStore.open(path, create=create, lock_timeout_s=timeout_s)
    queue = QueueCore(store, SystemClock(), check=UNITS.check)
    try:
        yield queue
    finally:
        queue.close()


def is_served(queue: OpenQueue) -> bool:
    """Whether a process other than this one looks after the queue, and so may run its jobs."""
    return not isinstance(queue, QueueCore)
