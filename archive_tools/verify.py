"""What is wrong with a queue directory: each finding with a stable code and its place.

Nothing is changed.  Beside a live owner, what it changed while we looked is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from archive_tools.check_files import Relations, against_journal
from archive_tools.check_job import Facts, check_file, facts_of
from archive_tools.check_journal import JournalFacts, check_journal
from archive_tools.check_names import (
    check_archive,
    check_flags,
    check_permissions,
    check_root,
    check_serial,
)
from archive_tools.findings import Finding, found
from archive_tools.parallel import in_chunks
from archive_tools.progress import Advance, unseen
from jqueue.errors import FormatTooNew, JQueueError, QueueCorrupt, QueueFailed
from jqueue.job.ids import JobId, archive_dir, job_file_name, parse_job_file_name
from jqueue.job.state import Entry
from jqueue.store import jobfiles, opening
from jqueue.store.disk import Disk
from jqueue.store.index import INDEX, claim_order
from jqueue.store.lock import is_owned
from jqueue.store.packed import DamagedPack, Packs, pack_path
from jqueue.store.realdisk import QuietDisk
from jqueue.store.segment import JOURNAL

Place = tuple[str, int, bool]
"""Path, job, archived."""


def verify(
    path: Path,
    *,
    owned: bool | None = None,
    any_version: bool = False,
    advance: Advance = unseen,
) -> list[Finding]:
    """Return every finding; an empty list is a healthy queue.  Changes nothing.

    `owned` says whether another process changes it meanwhile; None: look who holds the lock.  A
    wrong version is the only finding, unless the caller takes it for damage: `any_version`.
    `advance` is told of every so many job files.

    Raises QueueFailed if there is no directory to read.
    """
    if not path.is_dir():
        raise QueueFailed(f"{path}: there is no queue", path=str(path))
    wrong: list[Finding] = []
    with QuietDisk(path) as disk:
        try:
            opening.check_version(disk)
        except (FormatTooNew, QueueCorrupt) as error:
            wrong = [found("format", "version", str(error))]
            if not any_version:
                return wrong
        return wrong + _Verification(disk, owned=owned, advance=advance).run()


def jobs_at_most(path: Path) -> int | None:
    """Return how many jobs there may be, by the serial file alone: a guess; None is not known."""
    if not path.is_dir():
        return None
    with QuietDisk(path) as disk:
        return _serial_file(disk) or None


def _serial_file(disk: Disk) -> int:
    try:
        text = disk.read("serial", 64)
    except OSError:
        return 0
    return int(text) if text.strip().isdigit() else 0


class _Verification:
    def __init__(self, disk: QuietDisk, *, owned: bool | None, advance: Advance) -> None:
        self.disk = disk
        self.advance = advance
        self.owned = is_owned(disk.path) if owned is None else owned
        self.journal = JournalFacts()
        self.has_journal = opening.has_journal(disk)
        self.relations = Relations()
        self.highest = 0
        self.ahead: dict[int, Facts | None] = {}
        """What the journal says of jobs whose files may be behind it; None: the job is gone."""
        self.findings: list[Finding] = []

    def run(self) -> list[Finding]:
        # Before the journal is read: what is made later is not missed there.
        live = [job for job in map(parse_job_file_name, self.disk.names()) if job is not None]
        compared: list[Finding] = []
        if self.has_journal:

            def on_last(job: int, entry: Entry) -> None:
                compared.extend(against_journal(self.disk, job, entry, self.journal))
                if entry.lsn > self.journal.reflects:
                    self.ahead[job] = _facts_ahead(job, entry)

            check_journal(self.disk, owned=self.owned, on_last=on_last, facts=self.journal)
            self.findings += self.journal.findings
        self.findings += check_root(self.disk)
        self.findings += check_archive(self.disk)
        if self.owned or not self.journal.whole:
            self.ahead.clear()
        self._files(live)
        if self.journal.whole:
            self.findings += compared
        self._state()
        self.findings += check_permissions(self.disk, self._paths())
        return self._settled()

    def _places(self, live: list[JobId]) -> Iterator[Place]:
        for job in live:
            self.relations.live.add(job)
            self.highest = max(self.highest, job)
            yield job_file_name(job), job, False
        packs = Packs(self.disk)
        for number in jobfiles.archive_numbers(self.disk):
            directory = f"archive/{number}"
            try:
                packs.ids(number)
            except DamagedPack as error:
                self.findings.append(found("pack", pack_path(number), str(error)))
            for kept in sorted(jobfiles.archived_in(self.disk, number, packs)):
                self.relations.archived.add(kept)
                self.highest = max(self.highest, kept)
                yield f"{directory}/{job_file_name(kept)}", kept, True

    def _files(self, live: list[JobId]) -> None:
        after = self.journal.last_lsn if self.has_journal else 0
        work = partial(_check_chunk, str(self.disk.path), after, ganeti=not self.has_journal)
        newer: list[Stamp] = []
        for checked in in_chunks(work, self._places(live)):
            for finding in checked.findings:
                if finding.job is not None and finding.code.startswith("job-"):
                    self.relations.unreadable.add(finding.job)
            self.findings += checked.findings
            for job in checked.ours:
                self.relations.ours.add(job)
            for facts in checked.related:
                if facts.job not in self.ahead:
                    self.relations.add(facts)
            newer += checked.newer
            self.advance(checked.looked)
        self._newer(newer)
        for job, ahead in self.ahead.items():
            if ahead is None:
                # Its file may be there still, and says nothing any more.
                self.relations.unreadable.add(job)
                continue
            self.relations.promised.add(job)
            if ahead.relates:
                self.relations.add(ahead)

    def _newer(self, stamps: list[Stamp]) -> None:
        """Note files that reflect what the journal does not hold."""
        if self.has_journal and self.journal.mode != "process":
            for lsn, path, job in stamps:
                end = self.journal.last_lsn
                text = f"{path}: job {job} reflects LSN {lsn}, the journal ends at {end}"
                self.findings.append(found("job-newer", path, text, job=job, lsn=lsn))
        elif not self.has_journal and stamps:
            lsn = max(stamps)[0]
            text = f"{JOURNAL}: missing, though job files reflect LSN {lsn}"
            self.findings.append(found("journal-missing", JOURNAL, text, lsn=lsn))

    def _state(self) -> None:
        """Check what an opening would make of it: serial, flags, index, relations."""
        highest = self.highest
        values: dict[Any, Any] | None = None
        try:
            state = opening.read(self.disk)
            values = state.values
            if state.index is None and self.disk.exists(INDEX):
                self.findings.append(found("index", INDEX, f"{INDEX}: damaged or out of date"))
            if state.index is not None and not self.owned:
                self.findings += _index(values, opening.read(self.disk, use_index=False).values)
        except FormatTooNew as error:
            self._once("format", JOURNAL, error)
        except QueueCorrupt as error:
            code = "journal-missing" if not self.has_journal else "journal-corrupt"
            self._once(code, JOURNAL, error)
        except (JQueueError, OSError) as error:
            self.findings.append(found("unreadable", "", str(error)))
        serial = None if values is None or not self.has_journal else values.get("serial") or 0
        caught_up = self.journal.reflects >= self.journal.last_lsn and not self.owned
        if caught_up or not self.has_journal:
            self.findings += check_serial(self.disk, highest=highest, serial=serial)
        if caught_up and self.has_journal and values is not None:
            self.findings += check_flags(self.disk, values)
        known = self.relations
        self.findings += known.findings(max(highest, serial or 0, _serial_file(self.disk)))

    def _once(self, code: str, path: str, error: JQueueError) -> None:
        kinds = {"format", "journal-missing"}
        if not any(f.code in kinds or f.code.startswith("journal-") for f in self.findings):
            offset, lsn = getattr(error, "offset", None), getattr(error, "lsn", None)
            self.findings.append(found(code, path, str(error), offset=offset, lsn=lsn))

    def _paths(self) -> list[str]:
        names = [name for name in self.disk.names() if parse_job_file_name(name) is None]
        kept = (
            [f"{JOURNAL}/{name}" for name in self.disk.names(JOURNAL)] if self.has_journal else []
        )
        archives = [f"archive/{number}" for number in jobfiles.archive_numbers(self.disk)]
        return ["", *names, *kept, *archives]

    def _settled(self) -> list[Finding]:
        """Leave out what a live owner may have changed since the journal was read."""
        if not self.owned:
            return self.findings
        if not self.has_journal:  # a queue that is just being made
            return [f for f in self.findings if f.code not in _MOVING]
        touched: set[int] = set()
        later = check_journal(
            self.disk, owned=True, on_last=lambda job, entry: _note(touched, job, entry, self)
        )
        moved = later.last_lsn > self.journal.last_lsn
        return [
            finding
            for finding in self.findings
            if not (moved and finding.job is None and finding.code in _MOVING)
            and finding.job not in touched
        ]


_MOVING = frozenset({"temp", "index", "watermark", "journal-torn", "journal-missing"})
"""What is there for a moment while an owner works."""


def _facts_ahead(job: int, entry: Entry) -> Facts | None:
    if entry.document is None:
        return None
    name = job_file_name(JobId(job))
    path = name if entry.live else f"{archive_dir(job)}/{name}"
    return facts_of(entry.document, path, archived=not entry.live)


def _note(touched: set[int], job: int, entry: Entry, seen: _Verification) -> None:
    if entry.lsn > seen.journal.reflects:
        touched.add(job)


Stamp = tuple[int, str, int]
"""The LSN that a file reflects, its path, its job."""


class Checked(NamedTuple):
    """Of some files: only what is worth remembering, so that a million healthy ones cost little."""

    findings: list[Finding]
    related: list[Facts]
    ours: list[int]
    newer: list[Stamp]
    looked: int


def _check_chunk(root: str, after: int, places: list[Place], *, ganeti: bool) -> list[Checked]:
    """Check these files; `newer` are those that reflect more than LSN `after`."""
    checked = Checked([], [], [], [], len(places))
    with QuietDisk(root) as disk:
        packs = Packs(disk)
        for path, job, archived in places:
            facts, findings = check_file(
                disk, path, job, packs if archived else None, ganeti=ganeti
            )
            checked.findings.extend(findings)
            if facts is None:
                continue
            if facts.relates:
                checked.related.append(facts)
            if facts.ours:
                checked.ours.append(job)
            if facts.lsn > after:
                checked.newer.append((facts.lsn, path, job))
        checked.findings.extend(check_permissions(disk, (path for path, _, _ in places)))
    # Without a journal the newest says all there is to say.
    return [checked._replace(newer=sorted(checked.newer)[-1:]) if not after else checked]


def _index(indexed: dict[Any, Any], scanned: dict[Any, Any]) -> Iterator[Finding]:
    """Compare what opening by the index came to with what a scan of all files comes to."""
    order, scan = claim_order(indexed), claim_order(scanned)
    for _, job in sorted(set(order) ^ set(scan))[:10]:
        text = f"{INDEX}: says something else of job {job} than its file"
        yield found("index-wrong", INDEX, text, job=job)
    for key in sorted(key for key in {*indexed, *scanned} if isinstance(key, str)):
        derived = key.startswith(("count/", "unique/", "retry/", "waited/")) or key == "serial"
        if derived and (indexed.get(key) or 0) != (scanned.get(key) or 0):
            text = f"{INDEX}: {key} is {indexed.get(key)}, the files say {scanned.get(key)}"
            yield found("index-wrong", INDEX, text)


def is_clean(findings: Iterable[Finding]) -> bool:
    """Say whether there is nothing but notes."""
    return all(finding.level == "note" for finding in findings)


__all__ = ["Finding", "is_clean", "verify"]
