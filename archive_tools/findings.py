"""What can be wrong with a queue directory: a stable code for each kind, and what it means.

docs/findings.md is this table for people; a test keeps the two equal.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["error", "note"]

CODES: Final[dict[str, tuple[Level, str]]] = {
    "format": ("error", "the version or a journal format is one that this program does not know"),
    "unreadable": ("error", "the operating system does not let us read it"),
    "journal-missing": ("error", "job files speak of a journal, or one was begun, and it is gone"),
    "journal-header": ("error", "the first line of a segment is damaged, or names another one"),
    "journal-corrupt": ("error", "a record is damaged or missing though it was durable"),
    "journal-gap": ("error", "a segment is missing between others"),
    "journal-record": ("error", "a whole record says what can't be"),
    "journal-generation": ("error", "two segments have the same generation"),
    "journal-torn": ("note", "damage at the end that nothing says was durable; openings ignore it"),
    "watermark": ("note", "the watermark can't be read; it is only evidence"),
    "index": ("note", "the open-jobs index can't be read; openings rebuild it"),
    "index-wrong": ("error", "the open-jobs index does not say what journal and job files say"),
    "job-empty": ("error", "a job file is empty"),
    "job-not-json": ("error", "a job file is not JSON: cut off, not UTF-8, or something else"),
    "job-wrong-id": ("error", "a job file holds another job than its name says"),
    "job-invalid": ("error", "a job file is JSON, but can't be a job's"),
    "job-not-regular": ("error", "a job's name is a link, directory or device, or is too long"),
    "job-missing": ("error", "the journal knows a job whose file is gone"),
    "job-differs": ("error", "a job file says something else than the journal at the same LSN"),
    "job-stale": ("error", "a job file is older than the journal says that it is"),
    "job-newer": ("error", "a job file reflects an LSN that the journal does not reach"),
    "job-behind": ("note", "a job file that the journal will write anew is not whole"),
    "job-revived": ("error", "there is a file of a job that was pruned or set aside"),
    "job-status": ("error", "the statuses of a job's opcodes can't stand beside each other"),
    "job-times": ("note", "a job's times can't be: an end before the start, or in the future"),
    "job-priority": ("error", "a priority outside -20 to 19"),
    "job-twin": ("error", "a job is both live and archived"),
    "pack": ("error", "a packed archive directory, or a job in it, can't be read"),
    "archive-misplaced": ("error", "an archived job in the wrong directory"),
    "archive-unfinished": ("error", "an archived job that has not ended"),
    "op-unknown": ("note", "an opcode whose kind can't be read, or is none of Ganeti's"),
    "key-unknown": ("note", "a job or opcode has a key that is neither Ganeti's nor ours; kept"),
    "serial": ("error", "the serial file is missing or no number, or lower than a job's ID"),
    "flag": ("error", "the drain or pause file says something else than the journal"),
    "dependency": ("error", "an unfinished job depends on a job that is nowhere"),
    "child-missing": ("error", "a job names a child that never existed"),
    "child-disowned": ("error", "a job names a child that another submitted"),
    "child-unknown": ("error", "a job says that another submitted it, and that one doesn't know"),
    "key-twice": ("error", "two requests have the same key"),
    "unique-twice": ("error", "two unfinished jobs have the same unique name"),
    "temp": ("note", "a temporary file of a writer that was cut off"),
    "foreign": ("note", "a file that is none of the queue's; it is left alone"),
    "permissions": ("error", "others may write to it, or it belongs to somebody else"),
}


class Finding(NamedTuple):
    """One thing that is wrong: a stable code, where, and what, in one line."""

    code: str
    level: Level
    path: str
    text: str
    job: int | None = None
    offset: int | None = None
    lsn: int | None = None


def found(  # the facts of a finding
    code: str,
    path: str,
    text: str,
    *,
    job: int | None = None,
    offset: int | None = None,
    lsn: int | None = None,
) -> Finding:
    """Return a finding with the level of its code."""
    return Finding(code, CODES[code][0], path, text, job, offset, lsn)
