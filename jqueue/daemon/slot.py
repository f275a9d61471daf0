"""The place of one answer among those of its connection."""

from __future__ import annotations

from collections.abc import Callable

from jqueue.daemon import answer_room
from jqueue.daemon.answer_room import AnswerRoom

Make = Callable[[bool], bool]
"""Begins to make an answer, or a piece of it, if there is room or it is small; says whether."""


class Slot:
    """The place of one answer: it is sent when all before it were."""

    __slots__ = ("_counted", "_data", "_flush", "_make", "_room", "dropped", "on_drop")

    def __init__(self, flush: Callable[[], None], room: AnswerRoom) -> None:
        self._flush = flush
        self._room = room
        self._data: bytes | None = None
        self._make: Make | None = None
        self._counted = False
        self.dropped = False
        self.on_drop: Callable[[], None] | None = None
        """Called if the connection is gone before the answer."""

    def answer(self, data: bytes) -> None:
        """Fill the slot with a frame, or with the rest of what was sent; in the loop's thread.

        Once its making has begun this is called in any case, though the connection be gone.
        """
        self._made()
        if not self.dropped and self._data is None:
            self._data = data
            self.on_drop = None
            self._flush()

    def when_first(self, make: Make) -> None:
        """Call once all answers before this one were sent: large ones and pieces are made then.

        Called again until it says that it has begun.
        """
        self._made()
        self._make = make
        self._flush()

    def begin(self, has_room: bool) -> bool:
        """All answers before this one were sent; say whether it is begun to be made."""
        make, self._make = self._make, None
        assert make is not None
        if has_room:
            # How large it is becomes known when it is there.
            self._room.hold(answer_room.LARGEST_BYTES)
            self._counted = True
        if make(has_room):
            return True
        self._make = make
        return False

    def _made(self) -> None:
        if self._counted:
            self._counted = False
            self._room.hold(-answer_room.LARGEST_BYTES)

    @property
    def is_made_in_turn(self) -> bool:
        """Whether it waits to be made."""
        return self._make is not None

    @property
    def data(self) -> bytes | None:
        """The answer, once it is there."""
        return self._data
