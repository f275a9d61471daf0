"""Which steps bring the rest in order: version, serial, flags, the journal and its index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from archive_tools.findings import Finding
from archive_tools.repair_jobs import JobSteps
from archive_tools.repair_journal import JournalEvidence
from archive_tools.repair_plan import Plan, Step, rests_on
from archive_tools.repair_segment import Bad, Salvaged
from jqueue.errors import FormatTooNew, QueueCorrupt
from jqueue.job import jsonio
from jqueue.job.ids import MAX_JOB_ID
from jqueue.store import jobfiles, opening
from jqueue.store.disk import Disk, NotRegular
from jqueue.store.index import INDEX, INDEXED_TRANSACTIONS, Index
from jqueue.store.segment import WATERMARK, read_segment, segment_path

MAX_FLAG_BYTES: Final = 1 << 16
_STATE: Final = ("index", "index-wrong", "serial", "flag")
_SEGMENT: Final = frozenset(
    {"journal-header", "journal-corrupt", "journal-gap", "journal-record", "journal-generation"}
)


def version_steps(disk: Disk) -> list[Step]:
    """Put right a version file that can't be one.

    Raises FormatTooNew for what may be a newer version, QueueCorrupt in the middle of a repair.
    """
    try:
        opening.check_version(disk)
    except FormatTooNew:
        try:
            text = disk.read("version", jobfiles.MAX_JOB_BYTES)
        except NotRegular:
            text = b"0"
        if text.strip().isdigit():
            raise
        why = f"it says {text[:40]!r}, which is no version"
        evidence = "every journal segment and job file that can be read is of format 1"
        return [
            Step("set-aside", "version", why, rests_on=rests_on(disk, "version")),
            Step("write", "version", why, evidence, data=b"1\n"),
        ]
    return []


def serial_of(disk: Disk, jobs: JobSteps, index: Index | None) -> int:
    """Return the highest ID that anything says was given out: it never falls."""
    indexed = index.values.get("serial") if index is not None else 0
    said = [jobs.journal.serial, jobfiles.serial_file(disk), indexed or 0]
    # A damaged digit must not use up all IDs.
    known = [one for one in (*said, jobs.files.highest) if one <= MAX_JOB_ID // 2]
    # Without a serial nobody knows which jobs a pack holds whose index is gone.
    return max([*known, 0 if any(said) else jobs.files.unlisted])


def ganeti_steps(disk: Disk, findings: list[Finding], serial: int) -> Iterator[Step]:
    """Put right the serial of a directory that has no journal."""
    wrong = any(finding.code == "serial" for finding in findings)
    if wrong or (disk.exists("serial") and jobfiles.serial_file(disk) < serial):
        why = f"the highest ID that anything speaks of is {serial}"
        yield from _flag(disk, "serial", b"%d\n" % serial, why)


class JournalSteps:
    """A new segment is begun, where anything is wrong: job files hold everything before it."""

    def __init__(
        self, disk: Disk, jobs: JobSteps, findings: list[Finding], index: Index | None, serial: int
    ) -> None:
        self.disk = disk
        self.jobs = jobs
        self.journal: JournalEvidence = jobs.journal
        self.findings = findings
        self.index = index
        self.serial = serial
        self.state = {name: self._flag_value(name) for name in ("drain", "pause")}

    def steps(self, plan: Plan) -> list[Step]:
        """Return the steps, and tell the plan of the segment."""
        flags = list(self._flags())
        last = max(self.journal.end, self.jobs.last_lsn)
        watermark = []
        if self.disk.exists(WATERMARK) and not 0 < self.journal.watermark <= last:
            why = "damaged; it was evidence of what is durable, no more"
            rests = rests_on(self.disk, WATERMARK)
            watermark.append(Step("set-aside", WATERMARK, why, rests_on=rests))
        if not (flags or self._is_damaged()):
            return watermark
        number = max([*self.journal.names, *(s.number for s in self.journal.segments), 0]) + 1
        self._tell(plan, number, last)
        steps = [*self._old_segments(last), *watermark]
        if self.disk.exists(INDEX):
            why = "derived; it is built anew from the repaired files"
            rests = rests_on(self.disk, INDEX)
            steps.append(Step("set-aside", INDEX, why, rests_on=rests))
        why = f"LSN {last + 1} is next, serial {self.serial}: job files hold everything before it"
        mended = "; ".join(filter(None, map(_mended, self.journal.segments)))
        return [*steps, *flags, Step("journal", segment_path(number), why, mended)]

    def _is_damaged(self) -> bool:
        """Say whether anything is wrong but temporary files and rights."""
        jobs = self.jobs
        touched = any(step.job is not None for step in jobs.steps)
        said = any(f.code.startswith("journal-") or f.code in _STATE for f in self.findings)
        return bool(touched or said or jobs.quarantined or jobs.files.packs)

    def _tell(self, plan: Plan, number: int, last: int) -> None:
        quarantined = sorted(self.jobs.quarantined.items())
        segments = [segment_path(name) for name in self.journal.names]
        plan.journal = {
            "segment": number,
            "first_lsn": last + 1,
            "mode": self.journal.mode,
            "serial": self.serial,
            **self.state,
            "quarantined": [[job, *about] for job, about in quarantined],
            "rests_on": {path: rests_on(self.disk, path)[path] for path in segments},
        }
        index = self.index
        indexed = {} if index is None else index.values
        keys = {key: value for key, value in indexed.items() if key.startswith("key/")}
        plan.keys = self.journal.keys(keys, 0 if index is None else index.lsn)
        known = {} if index is None else dict(index.transactions)
        known.update(self.journal.transactions)
        latest = sorted(known.items(), key=lambda pair: pair[1])
        plan.transactions = [list(pair) for pair in latest[-INDEXED_TRANSACTIONS:]]

    def _old_segments(self, last: int) -> Iterator[Step]:
        """Keep the whole segments that reach up to the new one; those before a gap go aside."""
        next_lsn, expected = last + 1, None
        whole = True
        for number in reversed(self.journal.names):
            path = segment_path(number)
            why = "it stands before a gap; what its records say is in the job files"
            if whole:
                why = self._fault(number, next_lsn, expected)
                whole = not why
            if whole:
                first = read_segment(self.disk, number).header.first_lsn
                next_lsn, expected = first, number - 1
            else:
                yield Step("set-aside", path, why, rests_on=rests_on(self.disk, path))

    def _fault(self, number: int, next_lsn: int, expected: int | None) -> str:
        """Return why a segment can't stand before the next one that is kept; "" if it can."""
        try:
            segment = read_segment(self.disk, number)
        except QueueCorrupt:
            return "its header is damaged, or names another segment"
        if segment.next_lsn < next_lsn:
            return f"the record of LSN {segment.next_lsn} is damaged or missing"
        if expected is not None and number != expected:
            return f"segment {expected} is missing"
        path = segment_path(number)
        bad = [f.text for f in self.findings if f.path == path and f.code in _SEGMENT]
        return bad[0] if bad else ""

    def _flag_value(self, name: str) -> Any:
        """Return the value that counts; where a record is missing, any evidence that it was set."""
        said, lsn = self.journal.flags.get(name, (None, -1))
        if lsn >= 0 and not self.journal.hole_after(lsn):
            return said
        return said if said is not None else jobfiles.read_flag(self.disk, name)

    def _flags(self) -> Iterator[Step]:
        wanted: dict[str, bytes | None] = {"serial": b"%d\n" % self.serial}
        for name, value in self.state.items():
            wanted[name] = None if value is None else jsonio.dumps(value) + b"\n"
        for name, data in wanted.items():
            if not _equal(_held(self.disk, name), data):
                said = "not set" if data is None else data.decode().strip()
                yield from _flag(self.disk, name, data, f"what counts is: {said:.80}")

    def said(self) -> Iterator[str]:
        """Yield what is lost of the journal."""
        for segment in self.journal.segments:
            yield from map(_bad_bytes, segment.bad)
            for lsn in segment.twice:
                yield f"{segment.path}: LSN {lsn} stands there twice, the first counts"
        for path, lsn, why in self.journal.nonsense:
            yield f"{path}: the record of LSN {lsn} makes no sense and is skipped: {why}"
        for first, last in self.journal.holes:
            what = f"LSN {first}" if first == last else f"LSN {first} to {last}"
            kept = "; job files were said to reflect it" if last <= self.journal.reflects else ""
            yield f"{what}: no whole record{kept}"


def _flag(disk: Disk, name: str, data: bytes | None, why: str) -> Iterator[Step]:
    if disk.exists(name):
        yield Step("set-aside", name, why, rests_on=rests_on(disk, name))
    if data is not None:
        yield Step("write", name, why, data=data)


def _held(disk: Disk, name: str) -> bytes | None:
    try:
        return disk.read(name, MAX_FLAG_BYTES)
    except FileNotFoundError:
        return None
    except OSError:
        return b"\0"


def _equal(held: bytes | None, wanted: bytes | None) -> bool:
    if held is None or wanted is None:
        return held is wanted
    try:
        return bool(held == wanted or jsonio.loads(held) == jsonio.loads(wanted))
    except ValueError:
        return held.strip() == b"" and jsonio.loads(wanted) == {}


def _mended(segment: Salvaged) -> str:
    return "; ".join(
        f"{segment.path}: one flipped bit in {f'the record of LSN {lsn}' if lsn else 'the header'}"
        " is known by the checksum"
        for lsn, _ in segment.mended
    )


def _bad_bytes(bad: Bad) -> str:
    jobs = ", ".join(map(str, bad.jobs[:20]))
    named = f"; they still name job {jobs}" if bad.jobs else ""
    return f"{bad.path}: {bad.size} bytes at offset {bad.offset} are no whole record{named}"
