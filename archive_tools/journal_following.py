"""The journal as it is written: what is kept, and then what comes, once it is durable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from archive_tools.journal import Damage, Part, parts
from jqueue.errors import QueueCorrupt
from jqueue.store.disk import Disk
from jqueue.store.following import Follower, Rewound
from jqueue.store.inotify import Appearance
from jqueue.store.lock import is_owned
from jqueue.store.record import Header
from jqueue.store.segment import JOURNAL, Bad, Found, segment_numbers

LOOK_S: Final = 1.0
"""The kernel tells of what is written; only an owner that vanished is looked for in between."""


def follow(disk: Disk) -> Iterator[Part]:
    """Yield the journal, and go on for ever; beside an owner only what is durable.

    Raises as `parts` and `Follower.read`: damage ends it, after it was shown.
    """
    newest = max(segment_numbers(disk), default=0) if disk.is_dir(JOURNAL) else 0
    for part in parts(disk, owned=True):
        if part.number >= newest:
            break
        yield part
    fd = os.open(disk.path / JOURNAL, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    news = Appearance(fd, modified=True)
    following = _Following(disk, newest)
    try:
        while True:
            yield from following.news()
            news.wait(LOOK_S)
    finally:
        news.close()
        os.close(fd)


class _Following:
    def __init__(self, disk: Disk, number: int) -> None:
        self._disk = disk
        self._follower = Follower(disk, number)
        self._held: list[Found] = []
        self._numbers: list[int] = []
        """The segments in which those that are held stand."""
        self._shown_lsn = 0
        self._shown_segment = 0
        self._bad_at = (0, 0)
        self._bad_shown = False

    def news(self) -> Iterator[Part]:
        """Yield what became durable since the last call."""
        try:
            for found in self._follower.read():
                yield from self._begun()
                # What a new owner took over from an older segment was here before.
                if found.lsn > self._shown_lsn:
                    self._held.append(found)
                    self._numbers.append(self._follower.number)
        except Rewound:
            self._held.clear()
            self._numbers.clear()
            self._follower = Follower(self._disk, self._follower.number)
            return
        except QueueCorrupt as error:
            # What stands before it was durable, too.
            yield from self._let_go(len(self._held))
            text = "no whole record, though it was durable"
            yield Part(self._follower.number, Damage(text, error.offset, 0))
            raise
        yield from self._begun()
        header = self._follower.header
        assert header is not None
        # Without an owner all counts that an opening would keep, in process mode all there is.
        everything = header.mode == "process" or not is_owned(self._disk.path)
        ready = [everything or found.lsn <= self._follower.claim for found in self._held].count(
            True
        )
        yield from self._let_go(ready)
        yield from self._damage()

    def _let_go(self, count: int) -> Iterator[Part]:
        for number, found in zip(self._numbers[:count], self._held[:count], strict=True):
            self._shown_lsn = found.lsn
            yield Part(number, found)
        del self._held[:count], self._numbers[:count]

    def _begun(self) -> Iterator[Part]:
        header: Header | None = self._follower.header
        if header is not None and header.segment > self._shown_segment:
            # All before it was synced when it was born.
            yield from self._let_go(len(self._held))
            self._shown_segment = header.segment
            yield Part(header.segment, header)

    def _damage(self) -> Iterator[Part]:
        """Yield a bad line at the end, once, if it is still there when it is looked at again."""
        bad = self._follower.bad
        if bad is None:
            self._bad_at, self._bad_shown = (0, 0), False
            return
        at = (self._follower.number, bad.offset)
        if at == self._bad_at and not self._bad_shown:
            said = self._said_of(bad)
            self._bad_shown = bool(said)
            if said:
                yield Part(self._follower.number, Damage(said, bad.offset, bad.size))
        self._bad_at = at

    def _said_of(self, bad: Found | Bad) -> str:
        """Return what is to be said of a bad line; nothing while it may be being written."""
        beyond, header = self._follower.beyond, self._follower.header
        if header is not None and header.mode == "process" and beyond:
            # Nothing claims these durable, but they were written after it.
            return "no whole record, though there are some behind it; those can't be followed"
        if is_owned(self._disk.path):
            # The next segment will show it, if it is damaged.
            return ""
        return f"{bad.size} bytes are no whole record: torn, or damaged"
