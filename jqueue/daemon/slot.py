"""The place of one answer among those of its connection."""

from __future__ import annotations

from collections.abc import Callable


class Slot:
    """The place of one answer: it is sent when all before it were."""

    __slots__ = ("_data", "_first", "_flush", "dropped", "on_drop")

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._data: bytes | None = None
        self._first: Callable[[], None] | None = None
        self.dropped = False
        self.on_drop: Callable[[], None] | None = None
        """Called if the connection is gone before the answer."""

    def answer(self, data: bytes) -> None:
        """Fill the slot with a frame, or with the rest of what was sent; in the loop's thread."""
        if not self.dropped and self._data is None:
            self._data = data
            self.on_drop = None
            self._flush()

    def when_first(self, call: Callable[[], None]) -> None:
        """Call once all answers before this one were sent: large ones and pieces are made then."""
        self._first = call
        self._flush()

    def begin(self) -> bool:
        """All answers before this one were sent; say whether that was waited for."""
        first, self._first = self._first, None
        if first is None:
            return False
        first()
        return True

    @property
    def data(self) -> bytes | None:
        """The answer, once it is there."""
        return self._data
