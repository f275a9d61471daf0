"""The readable copies of every job, held in little memory.

Most jobs have one copy, where it belongs.  Of such a copy only a number is held, and what it says
of other jobs if it does; it is told again from that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import orjson

from archive_tools.check_job import Facts, facts_of
from jqueue.errors import InvalidJob
from jqueue.job import jsonio
from jqueue.job.change import Document
from jqueue.job.document import check_document
from jqueue.job.ids import archive_dir, job_file_name
from jqueue.job.status import FINALIZED, calc_status

Kind = Literal["file", "pack", "temp"]

_PACKED: Final = 1
_ARCHIVED: Final = 2
_FINAL: Final = 4
_OURS: Final = 8
_CONTENT_AT: Final = 4
_LSN_AT: Final = _CONTENT_AT + 32


class Copy(NamedTuple):
    """One readable document of a job."""

    job: int
    path: str
    kind: Kind
    archived: bool
    lsn: int
    final: bool
    ended: tuple[int, ...]
    """When, to choose between several; not known of a single one."""
    content: int
    """CRC-32 of the document without its stamp."""
    ours: bool
    facts: Facts | None
    """What it says of other jobs, if it does."""


def path_of(job: int, *, archived: bool) -> str:
    """Return where the file of a job belongs."""
    name = job_file_name(job)
    return f"{archive_dir(job)}/{name}" if archived else name


def make_copy(data: bytes, path: str, kind: Kind, *, archived: bool) -> Copy:
    """Return what the bytes of a file say of a job; raises ValueError where that is none."""
    value = jsonio.loads(data)
    job = value.get("id") if isinstance(value, dict) else None
    if type(job) is not int or job < 0:
        raise InvalidJob("it holds no job")
    document = check_document(value, job)
    facts = facts_of(document, path, archived=archived)
    return Copy(
        job,
        path,
        kind,
        archived,
        facts.lsn,
        calc_status(document["ops"]) in FINALIZED,
        tuple(document["end_timestamp"] or (0, 0)),
        _content(document),
        facts.ours,
        facts if facts.relates else None,
    )


def content_of(document: Document) -> int:
    """Return the CRC-32 of a document as it reads back from a file, without its stamp."""
    return _content(check_document(jsonio.loads(jsonio.dumps(document)), document["id"]))


def _content(plain: Document) -> int:
    unstamped = {key: value for key, value in plain.items() if key != "lsn"}
    return zlib.crc32(orjson.dumps(unstamped, option=orjson.OPT_SORT_KEYS))


class Copies:
    """All copies by job.  `read` returns the bytes of one that was added."""

    def __init__(self, read: Callable[[Copy], bytes]) -> None:
        self._read = read
        self._single: dict[int, int] = {}
        self._facts: dict[int, Facts] = {}
        self._several: dict[int, list[Copy]] = {}

    def add(self, copy: Copy) -> None:
        """Take another copy; those of one job stay in this order."""
        job = copy.job
        own = copy.kind != "temp" and copy.path == path_of(job, archived=copy.archived)
        if job in self._single:
            first = self._told(job)
            again = make_copy(self._read(first), first.path, first.kind, archived=first.archived)
            self.drop(job)
            self._several[job] = [again, copy]
        elif job in self._several or not own:
            self._several.setdefault(job, []).append(copy)
        else:
            flags = _PACKED * (copy.kind == "pack") + _ARCHIVED * copy.archived
            flags += _FINAL * copy.final + _OURS * copy.ours
            self._single[job] = copy.lsn << _LSN_AT | copy.content << _CONTENT_AT | flags
            if copy.facts is not None:
                self._facts[job] = copy.facts

    def drop(self, job: int) -> None:
        """Forget the copies of a job."""
        self._single.pop(job, None)
        self._facts.pop(job, None)
        self._several.pop(job, None)

    def jobs(self) -> set[int]:
        """Return the jobs that have a copy."""
        return self._single.keys() | self._several.keys()

    def __contains__(self, job: int) -> bool:
        return job in self._single or job in self._several

    def is_single(self, job: int) -> bool:
        """Say whether there is one copy of a job, and that where it belongs."""
        return job in self._single

    def of(self, job: int) -> list[Copy]:
        """Return the copies of a job."""
        return [self._told(job)] if job in self._single else self._several.get(job, [])

    def _told(self, job: int) -> Copy:
        held = self._single[job]
        archived = bool(held & _ARCHIVED)
        return Copy(
            job,
            path_of(job, archived=archived),
            "pack" if held & _PACKED else "file",
            archived,
            held >> _LSN_AT,
            bool(held & _FINAL),
            (),
            held >> _CONTENT_AT & 0xFFFFFFFF,
            bool(held & _OURS),
            self._facts.get(job),
        )

    def stamp(self, job: int) -> int:
        """Return the highest LSN that a copy of the job reflects; -1 without one."""
        if job in self._single:
            return self._single[job] >> _LSN_AT
        return max((copy.lsn for copy in self._several.get(job, ())), default=-1)

    @property
    def stamped(self) -> bool:
        """Say whether any of them reflects an LSN."""
        singles = any(held >> _LSN_AT for held in self._single.values())
        return singles or any(copy.lsn for held in self._several.values() for copy in held)
