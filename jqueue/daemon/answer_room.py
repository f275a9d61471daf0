"""Room for answers until their peers have taken them, over all connections together.

A large answer is made when there is room for it, and whoever has to wait for that has a turn in the
order of coming.  Room comes back as peers read, or are closed because they don't; small answers
wait for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from jqueue.daemon.reactor import Reactor
from jqueue.execution.wire import MAX_FRAME_BYTES
from jqueue.job.log import Log

MAX_BYTES: Final = 256 << 20
"""Of answers that are made, or being made, and not taken; small ones may come on top."""
LARGEST_BYTES: Final = MAX_FRAME_BYTES
"""What an answer counts as until its size is known: no job is longer."""
SMALL_BYTES: Final = 64 << 10
"""An answer up to here is made even if there is no room."""


class AnswerRoom:
    """Counts what is held, and calls those who wait.  In the loop's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self.held_bytes = 0
        self._reactor = reactor
        self._waiting: dict[Hashable, Callable[[], None]] = {}
        self._called: Hashable = None
        self._will_call = False

    def hold(self, size_bytes: int) -> None:
        """Count so much more, or less if negative."""
        self.held_bytes += size_bytes
        self._call_next()

    def take(self, who: Hashable) -> bool:
        """Say whether there is room for one answer, whatever its size, and nobody was earlier."""
        if not self._has_room or (self._waiting and who is not self._called):
            return False
        self._called = None
        return True

    def wait(self, who: Hashable, call: Callable[[], None]) -> None:
        """Call once, when there is room and it is this one's turn; `take` then succeeds once."""
        self._waiting.setdefault(who, call)

    def leave(self, who: Hashable) -> None:
        """Wait no more."""
        self._waiting.pop(who, None)

    def is_awaited_by(self, who: Hashable) -> bool:
        """Whether this one waits."""
        return who in self._waiting

    @property
    def _has_room(self) -> bool:
        return self.held_bytes <= MAX_BYTES - LARGEST_BYTES

    def _call_next(self) -> None:
        # One a turn: to make an answer takes the loop up to some tenths of a second.
        if self._waiting and self._has_room and not self._will_call:
            self._will_call = True
            self._reactor.call_later(0, self._call)

    def _call(self) -> None:
        self._will_call = False
        if self._waiting and self._has_room:
            self._called = next(iter(self._waiting))
            self._waiting.pop(self._called)()
            self._called = None
        self._call_next()


def is_small(value: Any) -> bool:
    """Whether the JSON of a value is about that small; looks at no more of it than that takes."""
    left, values = SMALL_BYTES, [value]
    while values:
        item = values.pop()
        left -= 1
        if isinstance(item, str | dict | list | tuple | Log):
            left -= len(item)
        if left < 0:
            return False
        if isinstance(item, dict):
            values += item
            values += item.values()
        elif isinstance(item, list | tuple | Log):
            values += item
    return True
