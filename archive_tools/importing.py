"""Import: a queue directory made from an export, or from another directory, Ganeti's too.

Everything is built in a directory aside, under a name of its own; when all is verified and synced
it gets its name, and that is synced: a crash leaves no queue, or the whole one.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
from pathlib import Path
from typing import Final

from archive_tools.contents import Contents, Exported, State, Unreadable
from archive_tools.export_file import Manifest, NotVerified
from jqueue.errors import JQueueError
from jqueue.job import jsonio
from jqueue.job.ids import archive_dir, job_file_name
from jqueue.job.snapshot import Job
from jqueue.store import opening
from jqueue.store.disk import Disk, temp_path
from jqueue.store.index import make_index, write_index
from jqueue.store.journal import Journal
from jqueue.store.realdisk import PRIVATE_FILE, RealDisk
from jqueue.store.segment import JOURNAL

_FILE: Final = re.compile(
    r"job-[0-9]+|archive/[0-9]+/job-[0-9]+"
    r"|quarantine/(repair-[0-9]{1,9}/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,200}",
    re.ASCII,
)


class Exists(JQueueError):
    """There is something at the new queue's place already; it was left as it is."""


def import_queue(contents: Contents, target: Path) -> Manifest:
    """Make a queue of `contents` at `target`, durably, and return what is in it.

    Raises Exists, NotVerified and OSError; then nothing is at `target`, as before.
    """
    target = target.absolute()
    if os.path.lexists(target):
        raise Exists(f"{target}: exists already; nothing was imported, name a new directory")
    # Private whatever the parent is, as a queue that was opened first.
    with RealDisk(target.parent, file_mode=PRIVATE_FILE) as parent:
        aside = temp_path(target.name)
        parent.mkdir(aside)
        try:
            with RealDisk(target.parent / aside, file_mode=PRIVATE_FILE) as disk:
                manifest = build(contents, disk)
            parent.rename_new(aside, target.name)
        except BaseException:
            shutil.rmtree(target.parent / aside, ignore_errors=True)
            raise
        parent.sync_dir()
    return manifest


def build(contents: Contents, disk: Disk) -> Manifest:
    """Write the queue into the empty directory of `disk`, and sync it."""
    for name in (JOURNAL, "archive", "livelocks"):
        disk.mkdir(name)
    state = contents.state
    manifest = _write_items(contents, disk)
    disk.create("serial", b"%d\n" % state.serial)
    for name, flag in (("drain", state.drain), ("pause", state.pause)):
        if flag is not None:
            disk.create(name, jsonio.dumps(flag) + b"\n")
    disk.create("version", b"1\n")
    _begin_journal(state, disk)
    # Once for all: until the directory has its name nobody takes it for a queue.
    disk.sync_all()
    return manifest


def _write_items(contents: Contents, disk: Disk) -> Manifest:
    manifest = Manifest()
    made: set[str] = set()
    seen: set[int] = set()
    for item in contents.items:
        manifest.count(item)
        if isinstance(item, Unreadable):
            _write_raw(item, disk, made)
            continue
        job = item.document["id"]
        if job in seen:
            raise NotVerified(f"job {job} is there twice; nothing was imported")
        seen.add(job)
        _check(item, contents.state)
        manifest.unfinished += not Job(item.document).finalized
        path = f"{archive_dir(job)}/{job_file_name(job)}" if item.archived else job_file_name(job)
        _create(disk, path, jsonio.dumps(item.document) + b"\n", made)
    return manifest


def _check(item: Exported, state: State) -> None:
    job, lsn = item.document["id"], item.document.get("lsn", 0)
    if job > state.serial:
        raise NotVerified(f"job {job} is beyond the serial {state.serial}; nothing was imported")
    if lsn > state.lsn:
        raise NotVerified(f"job {job} reflects LSN {lsn}, the queue only {state.lsn}")
    if item.archived and not Job(item.document).finalized:
        raise NotVerified(f"job {job} is archived and not finished; nothing was imported")


def _write_raw(item: Unreadable, disk: Disk, made: set[str]) -> None:
    if not _FILE.fullmatch(item.file):
        raise NotVerified(f"{item.file!r:.100} is no file of a queue; nothing was imported")
    if item.data is None:
        return
    try:
        data = base64.b64decode(item.data, validate=True)
    except (binascii.Error, TypeError) as error:
        raise NotVerified(f"{item.file}: its bytes can't be decoded: {error}") from error
    _create(disk, item.file, data, made)


def _create(disk: Disk, path: str, data: bytes, made: set[str]) -> None:
    directory = path.rpartition("/")[0]
    if directory and directory not in made:
        for parent in (directory.partition("/")[0], directory):
            disk.mkdir(parent, exist_ok=True)
        made.add(directory)
    try:
        disk.create(path, data)
    except FileExistsError as error:
        raise NotVerified(f"{path} is there twice; nothing was imported") from error


def _begin_journal(state: State, disk: Disk) -> None:
    """Let the journal go on where that of the original was; the index brings the keys along."""
    journal = Journal(disk, mode="full", on_durable=lambda _: None)
    journal.reflects = state.lsn
    values = {"serial": state.serial, "drain": state.drain, "pause": state.pause}
    journal.begin_segment(1, state.lsn, values)
    journal.close()
    found = opening.find(disk).values
    for key in [key for key in found if str(key).startswith("key/")]:
        del found[key]
    found.update({f"key/{key}": named for key, named in state.keys.items()})
    write_index(disk, make_index(state.lsn, found, []))
