"""Which of the copies of a job counts, and where it belongs: by evidence, never by guess.

In this order: the journal's last word, if no record that could have changed it is missing; else the
later of the two, journal or file, by the LSN that each reflects; without a journal a finished job
before an unfinished one, the later end before the earlier, the archive before the live name.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from archive_tools.repair_copies import Copy, content_of, path_of
from archive_tools.repair_journal import JournalEvidence, Word
from jqueue.errors import InvalidJob
from jqueue.job.change import Document
from jqueue.job.state import Place
from jqueue.job.status import FINALIZED, calc_status

GONE: Final = "the journal says that it was removed for good"


class Target(NamedTuple):
    """What a job's file shall hold, and where.

    A `copy` is right as it stands; else `document` is written.  Neither: there shall be no file,
    and `lost` says whether that is a loss.
    """

    archived: bool = False
    copy: Copy | None = None
    document: Document | None = None
    evidence: str = ""
    sure: bool = True
    lost: bool = False

    @property
    def there(self) -> bool:
        """Say whether there shall be a file."""
        return self.copy is not None or self.document is not None


def decide(job: int, copies: list[Copy], word: Word | None, journal: JournalEvidence) -> Target:
    """Return what a job's file shall hold."""
    entry = word.entry if word else None
    if word is None or entry is None:
        return _from_files(copies, journal)
    newest = max(copies, key=_rank, default=None)
    if entry.place in {Place.GONE, Place.QUARANTINE}:
        if newest is None or word.sure or newest.lsn <= entry.lsn:
            return Target(evidence=f"{GONE} (LSN {entry.lsn})")
        return _from_files(copies, journal)
    document = entry.document
    content = _content(document, job)
    if document is None or content is None:
        return _from_files(copies, journal)
    lsn = document.get("lsn", 0)
    if (
        newest is not None
        and newest.lsn > lsn
        and newest.content != content
        and (newest.lsn > journal.end or journal.hole_after(lsn))
    ):
        return _from_files(copies, journal)
    same = [copy for copy in copies if copy.content == content]
    archived = entry.place is Place.ARCHIVE or (
        not word.sure and any(c.archived and c.final and c.kind != "temp" for c in same)
    )
    path = path_of(job, archived=archived)
    exact = [copy for copy in same if copy.lsn == lsn]
    right = [copy for copy in exact if copy.path == path] or exact
    evidence = f"the journal has job {job} as of LSN {lsn}"
    if right:
        sure = word.sure or right[0].final or not journal.hole_after(max(lsn, journal.reflects))
        return Target(archived, right[0], evidence=evidence, sure=sure)
    sure = word.sure or calc_status(document["ops"]) in FINALIZED
    return Target(archived, document=document, evidence=evidence, sure=sure)


def _from_files(copies: list[Copy], journal: JournalEvidence) -> Target:
    best = max(copies, key=_rank, default=None)
    if best is None:
        return Target(lost=True)
    # A file that reflects an LSN, or was said to reflect all, misses nothing before that.
    sure = not journal.hole_after(max(best.lsn, journal.reflects))
    evidence = f"{best.path} reflects LSN {best.lsn}" if best.lsn else f"{best.path} is whole"
    return Target(best.archived, best, evidence=evidence, sure=sure or best.final)


def _rank(copy: Copy) -> tuple[int, bool, tuple[int, ...], bool, bool, bool]:
    own = copy.path == path_of(copy.job, archived=copy.archived)
    return copy.lsn, copy.final, copy.ended, copy.archived == copy.final, copy.kind == "file", own


def _content(document: Document | None, job: int) -> int | None:
    if document is None:
        return None
    try:
        return content_of(document) if document["id"] == job else None
    except (InvalidJob, ValueError, TypeError):
        return None
