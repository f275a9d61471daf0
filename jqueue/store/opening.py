"""Opening a queue directory: make it, adopt Ganeti's, or replay what a crash left.

What is found is decided upon before anything is changed; a refusal leaves every byte as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from jqueue.errors import FormatTooNew, QueueCorrupt, QueueFailed
from jqueue.job.ids import (
    archive_dir,
    parse_job_file_name,
)
from jqueue.job.state import LOST, Entry, Key, Place, job_dependencies, live_status
from jqueue.job.status import FINALIZED, calc_priority
from jqueue.store.disk import TEMP_NAME, TEMP_PREFIX, Disk, FileTooLarge, NotRegular
from jqueue.store.index import Index, is_complete, read_index, unloaded
from jqueue.store.jobfiles import (
    QUARANTINED,
    damage,
    highest_archived,
    load,
    load_live,
    read_flag,
    serial_file,
)
from jqueue.store.packed import Packs
from jqueue.store.replay import Replayed, carried, replay, resume
from jqueue.store.segment import JOURNAL, Journal, read_journal

_log = logging.getLogger(__name__)

VERSION: Final = "1"
REPAIRING: Final = "repair "
"""What stands in the version file, before a directory's name, while a repair is carried out."""


@dataclass(slots=True)
class Found:
    """What an opening found: the state, what must be written anew, what is to be carried over."""

    values: dict[Key, Any]
    journal: Journal | None = None
    last_lsn: int = 0
    carried_from: dict[Key, Any] = field(default_factory=dict)
    copies: list[tuple[dict[str, Any], set[int]]] = field(default_factory=list)
    held: dict[int, set[int]] = field(default_factory=dict)
    transactions: list[tuple[str, int]] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    scanned: bool = False
    index: Index | None = None

    @property
    def rewrite(self) -> set[int]:
        """Return the jobs whose files the segments imply that are unretired after this opening.

        Of no other: its file is synced, and replacing it would leave nothing that could restore it.
        """
        return set().union(*self.held.values(), *(jobs for _, jobs in self.copies))


def check_version(disk: Disk) -> None:
    """Raise FormatTooNew unless the directory is of the format that Ganeti and we know.

    Raises QueueCorrupt in the middle of a repair.
    """
    try:
        text = disk.read("version", 64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return
    except (FileTooLarge, NotRegular) as error:
        text = str(error.strerror)
    if text != VERSION:
        path = str(disk.path / "version")
        if text.startswith(REPAIRING):
            plan = disk.path / text.removeprefix(REPAIRING) / "plan.json"
            raise QueueCorrupt(
                f"{path}: a repair was begun and not finished; finish it with: jqueue-archive"
                f" repair {disk.path} --apply {plan}",
                path=path,
            )
        raise FormatTooNew(
            f"{path}: queue format {text!r}, this version knows {VERSION!r}; nothing was changed",
            path=path,
        )


def find(
    disk: Disk, *, bound: Callable[[Journal, int], int] | None = None, use_index: bool = True
) -> Found:
    """Return what the directory holds, changing nothing.

    `bound` gives the last LSN to show, for a reader beside a live owner, who may be told the LSN of
    an index, too; if there is none to rely on, that reader looks at the job files himself.  Without
    `bound`, all that an opening keeps; without `use_index` the job files are scanned, as if there
    were none.

    Raises QueueCorrupt or FormatTooNew as `read_journal`, QueueCorrupt where job files speak of a
    journal that is missing, and `MovedOn`.
    """
    check_version(disk)
    return read(disk, bound=bound, use_index=use_index)


def read(
    disk: Disk, *, bound: Callable[[Journal, int], int] | None = None, use_index: bool = True
) -> Found:
    """Return the same whatever the version file says."""
    if not has_journal(disk):
        found = Found({})
        _scan(disk, found)
        return found
    journal = read_journal(disk)
    if journal.torn and bound is None:
        _log.warning("%s", journal.torn)
    index = _index(disk, journal, beside_owner=bound is not None) if use_index else None
    values = index.state() if index is not None else {}
    derived = index.lsn if index is not None else None
    last = journal.last_lsn if bound is None else bound(journal, derived or 0)
    result = replay(journal, values, derived_after=derived, until=min(journal.claim, last))
    before = dict(result.values) if journal.claim < journal.last_lsn else {}
    resume(result, journal, after=journal.claim, until=last, derived_after=derived)
    found = _found(journal, result, before)
    found.index = index
    if index is not None:
        found.transactions = [(name, lsn) for name, lsn in index.transactions] + found.transactions
    if bound is not None:
        found.last_lsn = last
    elif index is None:
        _log.info("%s: no index to rely on, scanning the job files", disk.path)
        _scan(disk, found)
    return found


def _index(disk: Disk, journal: Journal, *, beside_owner: bool) -> Index | None:
    """Return the index if nothing is missing between it and the journal."""
    index = read_index(disk)
    if index is None or is_complete(index, journal):
        return index
    if beside_owner and index.lsn > journal.last_lsn:
        raise MovedOn(
            f"{disk.path}: the queue moved on while it was read, from LSN {journal.last_lsn} to"
            f" {index.lsn}; read it again"
        )
    return None


class MovedOn(QueueFailed):
    """Beside a live owner: what was read first is too old for what was read then."""


def has_journal(disk: Disk) -> bool:
    """Say whether the queue ever had a journal.

    An empty directory is what a crash leaves before the first segment is born; everything else
    comes later, and so does the first stamped job file.
    """
    if not disk.is_dir(JOURNAL):
        return False
    return any(not TEMP_NAME.fullmatch(name) for name in disk.names(JOURNAL))


def _found(journal: Journal, result: Replayed, before: dict[Key, Any]) -> Found:
    last = journal.last_lsn
    if journal.watermark > last:
        _log.warning("job files reflect LSN %d, the journal ends at %d", journal.watermark, last)
        last = journal.watermark
    copies = carried(journal, before) if before and last == journal.last_lsn else []
    first = copies[0][0]["lsn"] if copies else last + 1
    ends = [segment.header.first_lsn - 1 for segment in journal.segments[1:]] + [first - 1]
    held = {
        segment.number: result.held[segment.number]
        for segment, end in zip(journal.segments, ends, strict=True)
        if end > journal.reflects
    }
    found = Found(
        result.values,
        journal=journal,
        last_lsn=last,
        carried_from=before,
        copies=copies,
        held=held,
        transactions=result.transactions,
    )
    for job in result.mentioned - found.rewrite:
        _unload(result.values, job)
    return found


def _unload(values: dict[Key, Any], job: int) -> None:
    """Leave to its file what its file holds."""
    entry = values.get(job)
    if not isinstance(entry, Entry):
        return
    status = live_status(entry)
    if status is None or status in FINALIZED or entry.document is None:
        del values[job]
    else:
        values[job] = unloaded(status, calc_priority(entry.document["ops"]))


def _scan(disk: Disk, found: Found) -> None:
    """Rebuild from the job files what the index would have said."""
    values = found.values
    names = map(parse_job_file_name, disk.names())
    jobs = [job for job in names if job is not None]
    highest = max([*jobs, *(key for key in values if isinstance(key, int))], default=0)
    packs = Packs(disk)
    stamped = rebuild(
        disk,
        found,
        # What the journal left to a file is there as bytes.
        ((job, load_live(disk, job)) for job in jobs if type(values.get(job, b"")) is bytes),
        lambda job: load(disk, job, packs),
    )
    if found.journal is None and stamped:
        path = str(disk.path / JOURNAL)
        raise QueueCorrupt(
            f"{path}: the journal is missing, though job files reflect LSN {stamped}; nothing was"
            " changed, look with: jqueue-archive verify,"
            " mend with: jqueue-archive repair",
            path=path,
            lsn=stamped,
        )
    values["serial"] = max(
        highest, highest_archived(disk), serial_file(disk), values.get("serial") or 0
    )
    if found.journal is None:
        for flag in ("drain", "pause"):
            values[flag] = read_flag(disk, flag)


def rebuild(
    disk: Disk,
    found: Found,
    entries: Iterable[tuple[int, Entry]],
    find_job: Callable[[int], Entry | None],
) -> int:
    """Derive what the index would have said; `entries` are the live jobs that only files tell of.

    Returns the highest LSN that one of them reflects.
    """
    found.scanned = True
    values = found.values
    stamped = 0
    waiting: dict[int, set[int]] = {}
    for job, entry in entries:
        if entry.document is None:
            found.damaged[job] = damage(disk, job) or "set aside"
            values[job] = QUARANTINED
            continue
        stamped = max(stamped, entry.lsn)
        _derive(values, entry, waiting, stub=True)
    for known in [key for key in values if isinstance(key, int)]:
        entry = values[known]
        if type(entry) is not bytes and known not in found.damaged:
            _derive(values, entry, waiting, stub=False)
    _note_fates(values, waiting, find_job)
    return stamped


def _derive(
    values: dict[Key, Any], entry: Entry, waiting: dict[int, set[int]], *, stub: bool
) -> None:
    """Count a job found by a scan; with `stub` leave its document in its file."""
    status = live_status(entry)
    document = entry.document
    if status is None or document is None:
        return
    job = document["id"]
    values[f"count/{status}"] = values.get(f"count/{status}", 0) + 1
    key = document.get("key")
    if key is not None and f"key/{key}" not in values:
        values[f"key/{key}"] = {"jobs": [job], "digest": document.get("key_digest", "")}
    if status in FINALIZED:
        return
    if document.get("unique") is not None:
        values[f"unique/{document['unique']}"] = job
    if document.get("retry_of") is not None:
        values[f"retry/{document['retry_of']}"] = job
    for target in job_dependencies(document):
        values[f"waited/{target}"] = values.get(f"waited/{target}", 0) + 1
        waiting.setdefault(target, set()).add(job)
    if stub:
        values[job] = unloaded(status, calc_priority(document["ops"]))


def _note_fates(
    values: dict[Key, Any],
    waiting: dict[int, set[int]],
    find_job: Callable[[int], Entry | None],
) -> None:
    for target in waiting:
        entry = values.get(target)
        if type(entry) is bytes:
            continue
        if entry is None:
            entry = find_job(target)
        status = None
        if entry is not None and entry.document is not None:
            status = live_status(Entry(entry.document, Place.LIVE, 0))
        if status is None:
            values[f"fate/{target}"] = LOST
        elif status in FINALIZED:
            values[f"fate/{target}"] = str(status)


def list_job(found: set[int], job: int, value: Any, *, archived: bool) -> None:
    """Put `job` into `found` or take it out, by what the state says of it."""
    if type(value) is bytes:
        found.add(job)
    elif value is None:
        found.discard(job)
    elif value.place is Place.LIVE or (archived and value.place is Place.ARCHIVE):
        found.add(job)
    else:
        found.discard(job)


def remove_temps(disk: Disk, found: Found) -> None:
    """Remove temporary files that a crash left, and nothing else.

    A job file is written only while its record is in an unretired segment, so where nothing is to
    be replayed there is none to look for among all the jobs, nor in an archive directory of others.
    """
    directories = {JOURNAL}
    if found.journal is None or not found.journal.caught_up:
        directories |= {"", "quarantine", *map(archive_dir, found.rewrite)}
    for directory in sorted(directories):
        if directory and not disk.is_dir(directory):
            continue
        for name in disk.names(directory):
            # The pattern takes its time with a hundred thousand job files.
            if name.startswith(TEMP_PREFIX) and TEMP_NAME.fullmatch(name):
                disk.unlink(f"{directory}/{name}" if directory else name)
