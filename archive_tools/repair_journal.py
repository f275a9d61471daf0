"""What a damaged journal still says: every whole record, and where some are missing.

Nothing is reordered: records count in the order of their LSNs, and a hole stays a hole.  A segment
stands by itself (FORMAT.md), so each is replayed alone, the newest first, and the newest that
mentions a job says how the job is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, Final, NamedTuple

from archive_tools.repair_segment import Salvaged, count_of, salvage
from jqueue.job.change import (
    Archived,
    Change,
    Document,
    KeyDropped,
    KeySet,
    Submitted,
    decode_change,
    touched_job,
)
from jqueue.job.state import KEY_LIFETIME_S, Entry, Layer, Place, apply
from jqueue.store.disk import Disk
from jqueue.store.index import INDEXED_TRANSACTIONS
from jqueue.store.replay import ABSOLUTE, Replayed
from jqueue.store.segment import (
    MAX_SEGMENT_BYTES,
    Found,
    read_watermark,
    segment_numbers,
    segment_path,
)

_NONSENSE: Final = (ValueError, KeyError, TypeError, AttributeError, IndexError)


class Word(NamedTuple):
    """The journal's last word about a job.

    `entry` is None where its changes are known, but not what they changed.  `sure`: no record that
    is missing can have changed the job after what the word rests on.
    """

    entry: Entry | None
    lsn: int
    sure: bool


class JournalEvidence:
    """What all segments say together."""

    def __init__(self, disk: Disk) -> None:
        """Look at every segment, one after the other; raises FormatTooNew or OSError."""
        self._disk = disk
        self.names = segment_numbers(disk) if disk.is_dir("journal") else []
        self.segments = self._segments()
        self.watermark = read_watermark(disk)
        self.mode = next((s.header.mode for s in self.segments[::-1] if s.header), "full")
        self.reflects = max((s.said("reflects") for s in self.segments), default=0)
        self.serial = 0
        self.flags: dict[str, tuple[Any, int]] = {}
        """Drain and pause: the last word and the LSN that said it."""
        self.keyed: list[tuple[int, KeySet | KeyDropped | tuple[str, float]]] = []
        """Changes of the users' keys, and the archiving of a job with one, by LSN."""
        self.transactions: list[tuple[str, int]] = []
        """The last ones, each with its LSN."""
        self.nonsense: list[tuple[str, int, str]] = []
        self._cut()
        self.end = self._find_end()
        self.holes = self._find_holes()

    def _segments(self) -> list[Salvaged]:
        best: dict[int, Salvaged] = {}
        for number in self.names:
            found = self._salvage(number)
            found.let_go()
            other = best.get(found.number)
            if other is None or _rank(found) > _rank(other):
                best[found.number] = found
        return [best[number] for number in sorted(best)]

    def _salvage(self, name: int) -> Salvaged:
        path = segment_path(name)
        return salvage(self._disk.read(path, MAX_SEGMENT_BYTES), name, path)

    def _records(self, segment: Salvaged) -> Iterator[Found]:
        """Yield the records of a segment that count, ascending; it is read again for them."""
        name = int(segment.path.rpartition("/")[2])
        records = self._salvage(name).records
        yield from (records[lsn] for lsn in segment.lsns if lsn <= self.end)

    def _cut(self) -> None:
        """Let go of records that the next segment holds, or that were cut off before it began."""
        first = None
        for segment in reversed(self.segments):
            if first is not None:
                segment.cut(first)
            if segment.first_lsn:
                first = segment.first_lsn

    def _find_end(self) -> int:
        """Return the LSN of the last record that counts.

        All that anything says was durable counts, and what follows it without a gap.
        """
        end = self.watermark if self.mode != "process" else 0
        for segment in self.segments:
            end = max(end, segment.said("durable"), segment.said("reflects"), segment.first_lsn - 1)
        there = {lsn for segment in self.segments for lsn in segment.lsns if lsn > end}
        while end + 1 in there:
            end += 1
        return end

    def _find_holes(self) -> list[tuple[int, int]]:
        there = sorted({lsn for s in self.segments for lsn in s.lsns if lsn <= self.end})
        first = min((s.first_lsn for s in self.segments if s.first_lsn), default=self.end + 1)
        holes = []
        for lsn in [*there, self.end + 1]:
            if lsn > first:
                holes.append((first, lsn - 1))
            first = lsn + 1
        return holes

    def hole_after(self, lsn: int) -> bool:
        """Say whether a record that came after `lsn` is missing."""
        return any(last > lsn for _, last in self.holes)

    def words(
        self, stamp: Callable[[int], int], load: Callable[[int], Entry | None]
    ) -> Iterator[tuple[int, Word]]:
        """Yield each mentioned job with the last word about it, newest segments first.

        `stamp` gives the LSN that the best file of a job reflects (-1: none), `load` what it holds:
        where a record is missing, a file that was written later knows what it changed.
        """
        seen: set[int] = set()
        for segment in reversed(self.segments):
            replay = _Replay(self, segment, stamp, load)
            replay.run(self._records(segment))
            latest = sorted(self.transactions, key=itemgetter(1))
            self.transactions = latest[-INDEXED_TRANSACTIONS:]
            for job, word in replay.words():
                if job not in seen:
                    seen.add(job)
                    yield job, word

    def keys(self, indexed: dict[str, Any], since: int) -> dict[str, Any]:
        """Return the users' keys; `indexed` are those of an index, as of LSN `since`."""
        keys = dict(indexed)
        for lsn, change in sorted(self.keyed, key=lambda pair: pair[0]):
            if lsn <= since:
                continue
            if isinstance(change, KeySet):
                keys[f"key/{change.key}"] = {"jobs": change.jobs, "digest": change.digest}
            elif isinstance(change, KeyDropped):
                keys.pop(f"key/{change.key}", None)
            elif f"key/{change[0]}" in keys:
                named = keys[f"key/{change[0]}"]
                keys[f"key/{change[0]}"] = {**named, "until": change[1] + KEY_LIFETIME_S}
        return keys


def _rank(segment: Salvaged) -> tuple[int, bool, bool]:
    own = segment.path == segment_path(segment.number)
    return len(segment.lsns), segment.header is not None, own


class _Replay:
    """One segment, replayed alone, over the holes in it."""

    def __init__(
        self,
        journal: JournalEvidence,
        segment: Salvaged,
        stamp: Callable[[int], int],
        load: Callable[[int], Entry | None],
    ) -> None:
        self._journal = journal
        self._segment = segment
        self._stamp = stamp
        self._load = load
        self._state = Replayed({})
        self._exact: dict[int, int] = {}
        """The LSN as of which a job's document was certain; -1: never."""
        self._mentioned: dict[int, int] = {}
        self._flags: dict[str, tuple[Any, int]] = {}
        self._hole = 0

    def run(self, records: Iterable[Found]) -> None:
        journal, segment = self._journal, self._segment
        if segment.header:
            journal.serial = max(journal.serial, count_of(segment.header.serial))
            for name in ("drain", "pause"):
                self._flags[name] = (getattr(segment.header, name), segment.first_lsn - 1)
        expected = segment.first_lsn
        for found in records:
            lsn = found.lsn
            if lsn > expected:
                self._hole = lsn - 1
            expected = lsn + 1
            try:
                self._record(found)
            except _NONSENSE as error:
                journal.nonsense.append((segment.path, lsn, str(error)))
                journal.holes.append((lsn, lsn))
                self._hole = lsn
        for name, said in self._flags.items():
            journal.flags.setdefault(name, said)

    def words(self) -> Iterator[tuple[int, Word]]:
        for job, lsn in self._mentioned.items():
            entry = self._state.values.get(job)
            sure = not self._journal.hole_after(self._exact.get(job, -1))
            yield job, Word(entry if isinstance(entry, Entry) else None, lsn, sure)

    def _record(self, found: Found) -> None:
        value, lsn, values = found.value, found.lsn, self._state.values
        changes = [decode_change(change) for change in value["changes"]]
        for document in value.get("base", ()):
            job = document["id"]
            if job not in self._exact:
                values[job] = Entry(document, Place.LIVE, document.get("lsn", 0))
                self._exact[job] = lsn - 1
        for change in changes:
            self._change(change, lsn)
        if "reflects" in value:
            for name in ("drain", "pause"):
                self._flags[name] = (value.get(name), lsn)
            self._journal.serial = max(self._journal.serial, count_of(value.get("serial")))
        if value.get("tx"):
            self._journal.transactions.append((value["tx"], lsn))

    def _change(self, change: Change, lsn: int) -> None:
        job = touched_job(change)
        if job is not None:
            self._journal.serial = max(self._journal.serial, job)
            self._mentioned[job] = lsn
            if isinstance(change, Submitted):
                self._exact[job] = lsn
            elif self._file_knows(job, lsn):
                return
        elif isinstance(change, KeySet | KeyDropped):
            self._journal.keyed.append((lsn, change))
        layer = Layer(self._state, lsn)
        try:
            apply(layer, change)
        except _NONSENSE:
            if job is None:
                raise
            # What the change was made to stood in a record that is missing.
            self._exact[job] = -1
            return
        self._keep(layer)
        if isinstance(change, Archived):
            self._note_archived(change, lsn)

    def _keep(self, layer: Layer) -> None:
        for key, value in layer.new.items():
            if isinstance(key, int):
                self._state.values[key] = value
            elif key in ABSOLUTE:
                self._absolute(key, value, layer.lsn)

    def _absolute(self, key: str, value: Any, lsn: int) -> None:
        self._state.values[key] = value
        if key == "serial":
            self._journal.serial = max(self._journal.serial, count_of(value))
        else:
            self._flags[key] = (value, lsn)

    def _note_archived(self, change: Archived, lsn: int) -> None:
        entry = self._state.values.get(change.job)
        document: Document | None = entry.document if isinstance(entry, Entry) else None
        if document and document.get("key") is not None:
            self._journal.keyed.append((lsn, (document["key"], change.at)))

    def _file_knows(self, job: int, lsn: int) -> bool:
        """After a hole let a later file speak; return whether it reflects the change of `lsn` too.

        A move to the archive is no change of the document, and no file's stamp tells of it.
        """
        if self._hole <= self._exact.get(job, -1) and job in self._exact:
            return False
        stamp = self._stamp(job)
        known = self._state.values.get(job)
        if stamp < (known.lsn if isinstance(known, Entry) else 0):
            return False
        entry = self._load(job) if stamp >= 0 else None
        if entry is None:
            return False
        self._state.values[job] = Entry(entry.document, Place.LIVE, stamp)
        self._exact[job] = stamp if stamp >= self._hole else -1
        return stamp >= lsn
