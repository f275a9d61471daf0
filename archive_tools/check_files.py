"""What is wrong with the job files as a whole: against the journal, each other, their places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archive_tools.check_job import Facts
from archive_tools.check_journal import JournalFacts
from archive_tools.findings import Finding, found
from archive_tools.idset import IdSet
from jqueue.job import jsonio
from jqueue.job.change import Document
from jqueue.job.document import check_document
from jqueue.job.ids import archive_dir, job_file_name
from jqueue.job.state import Entry, Place
from jqueue.store import jobfiles
from jqueue.store.disk import Disk


def against_journal(disk: Disk, job: int, entry: Entry, journal: JournalFacts) -> Iterator[Finding]:
    """Yield where the files of a job are not as the journal's last word about it says."""
    synced = entry.lsn <= journal.reflects
    live, kept = job_file_name(job), f"{archive_dir(job)}/{job_file_name(job)}"
    if entry.place is Place.QUARANTINE or entry.place is Place.GONE:
        if synced:
            yield from _gone(disk, job, entry, [live, kept])
        return
    path = live if entry.place is Place.LIVE else kept
    if entry.document is None:
        return
    archived = entry.place is Place.ARCHIVE
    try:
        document = (jobfiles.read_archived if archived else _read_live)(disk, job)
    except jobfiles.Damaged as error:
        if not synced:
            text = f"{path}: not whole ({error}); the journal has it and writes it anew"
            yield found("job-behind", path, text, job=job, lsn=entry.lsn)
        return
    if document is None:
        if synced:
            text = f"{path}: missing; the journal has job {job} as of LSN {entry.lsn}"
            yield found("job-missing", path, text, job=job, lsn=entry.lsn)
        return
    yield from _compared(path, document, entry, journal, synced=synced)


def _read_live(disk: Disk, job: int) -> Document | None:
    try:
        return jobfiles.read_document(disk, job_file_name(job), job)
    except FileNotFoundError:
        return None


def _gone(disk: Disk, job: int, entry: Entry, paths: list[str]) -> Iterator[Finding]:
    for path in paths:
        if disk.exists(path):
            text = f"{path}: there, though job {job} was removed at LSN {entry.lsn}"
            yield found("job-revived", path, text, job=job, lsn=entry.lsn)


def _compared(
    path: str, document: Document, entry: Entry, journal: JournalFacts, *, synced: bool
) -> Iterator[Finding]:
    assert entry.document is not None
    job = document["id"]
    ours, theirs = document.get("lsn", 0), entry.document.get("lsn", 0)
    if ours > theirs and ours > journal.last_lsn:
        return  # said once for all files, journal or not
    if ours == theirs or ours > theirs:
        if normal(entry.document) != document:
            text = f"{path}: job {job} is not what the journal says that it was at LSN {theirs}"
            yield found("job-differs", path, text, job=job, lsn=theirs)
    elif synced:
        text = f"{path}: job {job} reflects LSN {ours}, the journal says that it did {theirs}"
        yield found("job-stale", path, text, job=job, lsn=theirs)


def normal(document: Document) -> Document:
    """Return a document of the journal as it reads back from a file."""
    plain: Any = jsonio.loads(jsonio.dumps(document))
    return check_document(plain, plain["id"])


class Relations:
    """What jobs say of one another, gathered file by file."""

    def __init__(self) -> None:
        self.live = IdSet()
        self.archived = IdSet()
        self.promised: set[int] = set()
        """Those that an opening makes files of, whatever is there now."""
        self.unreadable: set[int] = set()
        self._depends: list[tuple[int, str, int]] = []
        self._named: dict[int, set[int]] = {}
        self._submitter: dict[int, int] = {}
        self.ours = IdSet()
        """Those that were changed here: who submitted them would stand in them."""
        self._keys: dict[str, tuple[str, int]] = {}
        self._unique: dict[str, int] = {}
        self._twice: list[Finding] = []
        self._paths: dict[int, str] = {}

    def add(self, facts: Facts) -> None:
        """Learn what one file says."""
        job = facts.job
        self._depends.extend((job, facts.path, target) for target in facts.depends)
        if facts.children:
            self._named[job] = set(facts.children)
            self._paths[job] = facts.path
        if facts.submitter is not None:
            self._submitter[job] = facts.submitter
            self._paths[job] = facts.path
        if facts.ours:
            self.ours.add(job)
        if facts.key is not None:
            self._note_key(facts, *facts.key)
        if facts.unique is not None:
            other = self._unique.setdefault(facts.unique, job)
            if other != job:
                text = f"{facts.path}: jobs {other} and {job} both have the name {facts.unique!r}"
                self._twice.append(found("unique-twice", facts.path, text, job=job))

    def _note_key(self, facts: Facts, key: str, digest: str) -> None:
        known, other = self._keys.setdefault(key, (digest, facts.job))
        if known != digest and not facts.archived:
            text = f"{facts.path}: jobs {other} and {facts.job} have the key {key!r}, and differ"
            self._twice.append(found("key-twice", facts.path, text, job=facts.job))

    def findings(self, serial: int) -> Iterator[Finding]:
        """Yield what does not fit."""
        for job in self.live.shared_with(self.archived):
            path = f"{archive_dir(job)}/{job_file_name(job)}"
            yield found("job-twin", path, f"job {job} is both live and archived", job=job)
        for job, path, target in self._depends:
            if not self._is_known(target):
                text = f"{path}: job {job} depends on job {target}, which is nowhere"
                yield found("dependency", path, text, job=job)
        yield from self._twice
        for parent, children in self._named.items():
            yield from self._children(parent, children, serial)
        for child, parent in self._submitter.items():
            unknown = parent >= child or (
                self._is_known(parent)
                and parent not in self.unreadable
                and child not in self._named.get(parent, ())
            )
            if unknown:
                text = f"{self._paths[child]}: job {parent} does not know its child {child}"
                yield found("child-unknown", self._paths[child], text, job=child)

    def _is_known(self, job: int) -> bool:
        return job in self.live or job in self.archived or job in self.promised

    def _children(self, parent: int, children: set[int], serial: int) -> Iterator[Finding]:
        path = self._paths[parent]
        for child in sorted(children):
            if child > serial:
                text = f"{path}: job {parent} names its child {child}; no such job was ever there"
                yield found("child-missing", path, text, job=parent)
            elif child in self.ours and self._submitter.get(child) != parent:
                text = f"{path}: job {parent} names its child {child}, which says otherwise"
                yield found("child-disowned", path, text, job=parent)
