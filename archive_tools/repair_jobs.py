"""Which steps bring every job's file to what the evidence says that it shall be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from archive_tools.check_files import Relations
from archive_tools.check_job import check_document, facts_of
from archive_tools.findings import Finding
from archive_tools.repair_copies import Copy, path_of
from archive_tools.repair_decide import Target, decide
from archive_tools.repair_files import FilesEvidence
from archive_tools.repair_journal import JournalEvidence, Word
from archive_tools.repair_pack import packed
from archive_tools.repair_plan import Step, rests_on
from jqueue.job import jsonio
from jqueue.job.document import check_document as normal
from jqueue.job.state import Entry, Place
from jqueue.store.disk import Disk
from jqueue.store.index import Index
from jqueue.store.packed import pack_path

MANY: Final = 20
"""So many jobs are named in one line."""


class JobSteps:
    """The targets of all jobs, and the steps to them: first what goes aside, then what is new."""

    def __init__(
        self, disk: Disk, files: FilesEvidence, journal: JournalEvidence, *, ganeti: bool
    ) -> None:
        self.disk = disk
        self.files = files
        self.journal = journal
        self.ganeti = ganeti
        self.targets: dict[int, Target] = {}
        """Of all jobs but those with one copy, where it belongs, that certainly counts."""
        self.last_lsn = 0
        """The highest that a job's document will reflect."""
        self.quarantined: dict[int, tuple[str, str]] = {}
        """Jobs without a document: the damaged file, and what is wrong."""
        self.relations = Relations()
        """What the jobs will say of one another."""
        self.content: list[Finding] = []
        """What will be wrong inside the files that are written."""
        self.aside: dict[str, Step] = {}
        self.moves: list[Step] = []
        self.writes: list[Step] = []
        self._unsure: list[int] = []
        self._broken: dict[int, list[str]] = {}
        for path, (job, _) in files.broken.items():
            self._broken.setdefault(job, []).append(path)
        self._judge_jobs()
        for job in sorted(self.targets.keys() | files.copies.jobs()):
            if job in self.targets:
                self._settle(job, self.targets[job])
            else:
                self._stay(files.copies.of(job)[0])
        moved = {step.path for step in self.moves}
        for path in files.temps:
            if path not in moved:
                self.set_aside(path, "a writer was cut off before it gave this file its name")
        self._packs()

    @property
    def steps(self) -> list[Step]:
        """Return the steps, in order."""
        return [*self.aside.values(), *self.moves, *self.writes]

    def _judge_jobs(self) -> None:
        copies, judged = self.files.copies, set()
        for job, word in self.journal.words(copies.stamp, self._load):
            judged.add(job)
            self._judge(job, word)
        packed = {job for pack in self.files.packs.values() for job in pack.listed}
        for job in sorted((copies.jobs() | self._broken.keys() | packed) - judged):
            self._judge(job, None)

    def _judge(self, job: int, word: Word | None) -> None:
        target = decide(job, self.files.copies.of(job), word, self.journal)
        if not self._stays(job, target):
            self.targets[job] = target
        gone = word is not None and word.entry is not None and word.entry.document is None
        if target.lost and not gone:
            self._quarantine(job, word)
        if target.there and not target.sure:
            self._unsure.append(job)

    def _stays(self, job: int, target: Target) -> bool:
        """Say whether the one copy of a job certainly counts, and is where it belongs."""
        single = self.files.copies.is_single(job) and job not in self._broken
        there = target.copy is not None and target.copy.archived == target.archived
        return single and there and target.sure

    def _load(self, job: int) -> Entry | None:
        copy = max(self.files.copies.of(job), key=lambda c: c.lsn, default=None)
        if copy is None:
            return None
        document = normal(jsonio.loads(self.files.read(copy)), job)
        return Entry(document, Place.LIVE, document.get("lsn", 0))

    def _quarantine(self, job: int, word: Word | None) -> None:
        file = next(iter(self._broken.get(job, ())), "")
        why = self.files.broken[file][1] if file else "no file of it is there"
        if word is not None:
            why += f"; of its record of LSN {word.lsn} only the change is known"
        self.quarantined[job] = (file, why)

    def _settle(self, job: int, target: Target) -> None:
        """Find the steps from the files of a job as they are to what they shall be."""
        path = path_of(job, archived=target.archived)
        copy = target.copy
        keep = copy is not None and copy.path == path and copy.kind in {"file", "pack"}
        mine = [held for held in self.files.copies.of(job) if held.kind == "file"]
        for other in mine:
            if not (keep and other == copy):
                self.set_aside(other.path, self._why_aside(other, target), target.evidence, job)
        for broken in self._broken.get(job, ()):
            why = f"damaged: {self.files.broken[broken][1]}"
            self.set_aside(broken, why, target.evidence, job)
        if not target.there:
            return
        if keep:
            assert copy is not None
            self._stay(copy)
        elif copy is not None and self._movable(copy):
            self.aside.pop(copy.path, None)
            why = f"this is where job {job} belongs"
            rests = rests_on(self.disk, copy.path)
            step = Step("move", copy.path, why, target.evidence, path, job, rests_on=rests)
            self.moves.append(step)
            self._new(job, path, self.files.read(copy), archived=target.archived)
        else:
            self._write(job, path, target)

    def _stay(self, copy: Copy) -> None:
        """Note what a copy says that stays where it is."""
        self._note(copy.job, copy.lsn, archived=copy.archived)
        if copy.facts is not None:
            self.relations.add(copy.facts)
        elif copy.ours:
            self.relations.ours.add(copy.job)

    def _note(self, job: int, lsn: int, *, archived: bool) -> None:
        (self.relations.archived if archived else self.relations.live).add(job)
        self.last_lsn = max(self.last_lsn, lsn)

    def _movable(self, copy: Copy) -> bool:
        """A file that holds another job than its name says is copied: two may be swapped."""
        return copy.kind != "pack" and copy.path not in self.files.broken

    def _write(self, job: int, path: str, target: Target) -> None:
        if target.copy is not None:
            data = self.files.read(target.copy)
            why = f"job {job} was found in {target.copy.path}"
        else:
            data = jsonio.dumps(target.document) + b"\n"
            why = f"job {job} as the journal has it"
        self.writes.append(Step("write", path, why, target.evidence, job=job, data=data))
        self._new(job, path, data, archived=target.archived)

    def _new(self, job: int, path: str, data: bytes, *, archived: bool) -> None:
        document = normal(jsonio.loads(data), job)
        self._note(job, document.get("lsn", 0), archived=archived)
        self.relations.add(facts_of(document, path, archived=archived))
        self.content += check_document(document, path, archived=archived, ganeti=self.ganeti)

    def _why_aside(self, other: Copy, target: Target) -> str:
        if not target.there:
            return "its job was removed"
        if target.document is not None or target.copy is None:
            return f"it reflects LSN {other.lsn}; what counts is written in its place"
        if other.content == target.copy.content:
            return "another file holds the same"
        return f"{target.copy.path} counts: it is later, or finished"

    def set_aside(self, path: str, why: str, evidence: str = "", job: int | None = None) -> None:
        """Add the step that moves `path` to quarantine, once."""
        if path not in self.aside and self.disk.exists(path):
            rests = rests_on(self.disk, path)
            self.aside[path] = Step("set-aside", path, why, evidence, job=job, rests_on=rests)

    def _packs(self) -> None:
        for number, pack in self.files.packs.items():
            path = pack_path(number)
            self.set_aside(path, f"damaged; {len(pack.readable)} jobs in it can be read")
            if pack.readable:
                why = f"the {len(pack.readable)} jobs of the damaged pack that can be read"
                data = packed(number, self.files.salvaged(pack))
                self.writes.append(Step("write", path, why, data=data))

    def lost_from(self, index: Index) -> None:
        """An index names the unfinished jobs: one that nothing else knows has lost its file."""
        first = min((s.first_lsn for s in self.journal.segments if s.first_lsn), default=0)
        if self.journal.hole_after(index.lsn) or not 0 < first <= index.lsn + 1:
            return
        for job in index.jobs:
            if job not in self.targets and job not in self.files.copies:
                self.targets[job] = Target(lost=True)
                self.quarantined[job] = ("", "the index knows it as unfinished, its file is gone")

    def said(self) -> Iterator[str]:
        """Yield what is lost of jobs, and which are not certain."""
        for job, (file, why) in sorted(self.quarantined.items()):
            kept = f"; {file} goes to quarantine" if file else ""
            yield f"job {job}: no evidence for its last state ({why}){kept}; its ID stays used"
        for number, pack in self.files.packs.items():
            if not pack.listed:
                text = "its index is damaged; which other jobs it held is not known"
                yield f"{pack_path(number)}: {text}"
        named = {job for s in self.journal.segments for bad in s.bad for job in bad.jobs}
        for job in sorted(named.intersection(self._unsure)):
            evidence = self.targets[job].evidence
            yield f"job {job}: a damaged record still names it; what counts: {evidence}"
        others = sorted(set(self._unsure) - named)
        for at in range(0, len(others), MANY):
            jobs = ", ".join(map(str, others[at : at + MANY]))
            yield f"jobs {jobs}: as last known, unless a missing record changed them"
