"""The whole terminal for a while: keys one by one, and the old screen back, whatever ends it.

Keys come from the terminal itself (termios), lines go through rich: a library for full-screen
programs (textual, prompt_toolkit) would cost more than the rest of the command, for a few letters.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from jqueue.cli.command import raise_ended

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEYS_BYTES: Final = 1024


def is_possible() -> bool:
    """Whether a person sits at a terminal that can be drawn on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """A context manager: the alternate screen, keys unechoed, signals as `Ended`.

    In the main thread.  `wake` may be called from any thread.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._keyboard = sys.stdin.fileno()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._modes = termios.tcgetattr(self._keyboard)
        for saved in (*ENDING, signal.SIGTSTP, signal.SIGWINCH):
            self._before[saved] = signal.getsignal(saved)
        try:
            for signum in ENDING:
                signal.signal(signum, raise_ended)
            signal.signal(signal.SIGTSTP, self._suspend)
            signal.signal(signal.SIGWINCH, lambda _signum, _frame: self.wake())
            self._take()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _take(self) -> None:
        tty.setcbreak(self._keyboard, termios.TCSANOW)
        self._live.start()

    def _give_back(self) -> None:
        # A terminal that is gone can't be restored, and needs it no more.
        with contextlib.suppress(OSError):
            self._live.stop()
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._keyboard, termios.TCSANOW, self._modes)

    def _restore(self) -> None:
        # A terminal that takes nothing would hold us up here: the next signal ends the program.
        for signum in ENDING:
            signal.signal(signum, signal.SIG_DFL)
        self._give_back()
        for saved, handler in self._before.items():
            signal.signal(saved, handler)
        # The pipe stays open: another thread may be about to `wake`.

    def _suspend(self, _signum: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was, and we ours when it calls us back."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self.wake()

    def wake(self) -> None:
        """Let `keys` return."""
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake, b".")

    def keys(self, timeout_s: float) -> str:
        """Return what was typed; nothing if the time is over, or `wake` was called.

        Raises EOFError when the terminal is gone.
        """
        ready, _, _ = select.select([self._keyboard, self._woken], [], [], timeout_s)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, KEYS_BYTES)
        if self._keyboard not in ready:
            return ""
        typed = os.read(self._keyboard, KEYS_BYTES)
        if not typed:
            raise EOFError
        return typed.decode(errors="replace")

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        columns, rows = self._console.size
        return columns, rows

    def show(self, lines: Sequence[Text]) -> None:
        """Show these lines, and nothing else."""
        self._live.update(Group(*lines), refresh=True)
