"""What the execution floor needs of the loop that drives it; one thread runs all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from jqueue.errors import JQueueError
from jqueue.store.protocol import Decide, Lsn


class Result(NamedTuple):
    """What a begun rule came to, durable: answer and LSN (0: nothing changed), or its error."""

    answer: Any = None
    lsn: Lsn = 0
    error: JQueueError | None = None


Continuation = Callable[[Result], None]


class Timer(Protocol):
    """A call in the future that can be called off."""

    def cancel(self) -> None:
        """Don't call."""


class Loop(Protocol):
    """Handlers begin transactions; all of one turn share one sync, then are continued."""

    def begin(self, decide: Decide, then: Continuation) -> None:
        """Append a transaction; `then` is called once it is durable, or with its refusal."""

    def begin_submission(self, decide: Decide, then: Continuation) -> None:
        """Append like `begin`, in order, once the store has room for more."""

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once after so many seconds of monotonic time."""

    def call_threadsafe(self, call: Callable[[], None]) -> None:
        """Call soon, in the loop's thread; the one method that other threads may use."""

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Call whenever `fd` is readable."""

    def unwatch(self, fd: int) -> None:
        """Stop watching."""
