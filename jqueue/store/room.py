"""Room for submissions: they wait while too much of the journal waits for its files.

Finishing, canceling and all that ends work never waits: it is what makes room.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jqueue.store.files import Files
    from jqueue.store.journal import Journal

MAX_JOURNAL_BYTES: Final = 128 << 20
"""Unretired journal beyond which submissions wait: two records of the largest size."""
MAX_UNWRITTEN: Final = 100_000
"""Job files behind beyond which submissions wait: their documents are in memory until then."""


class Room:
    """Whether there is room, and who waits for it.  Thread-safe."""

    def __init__(self, journal: Journal, files: Files) -> None:
        self.max_journal_bytes = MAX_JOURNAL_BYTES
        self.max_unwritten = MAX_UNWRITTEN
        self._journal = journal
        self._files = files
        self._mutex = threading.Lock()
        self._waiting: list[Callable[[], None]] = []

    @property
    def is_full(self) -> bool:
        """Say whether a submission has to wait."""
        return (
            self._files.behind > self.max_unwritten
            or self._journal.unretired_bytes > self.max_journal_bytes
        )

    @property
    def is_scarce(self) -> bool:
        """Say whether half of it is taken: the checkpointer should not let changes gather."""
        return (
            self._files.behind > self.max_unwritten // 2
            or self._journal.unretired_bytes > self.max_journal_bytes // 2
        )

    def enter(self, call: Callable[[], None]) -> bool:
        """Say whether there is room; if not, `call` is called once, on any thread, to ask again."""
        with self._mutex:
            # Under the mutex: who makes room takes it afterwards, and then finds `call`.
            full = self.is_full
            if full:
                self._waiting.append(call)
        return not full

    def tell(self) -> None:
        """Let all who wait ask again."""
        with self._mutex:
            waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()
