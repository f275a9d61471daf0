"""Carrying a repair plan out, and taking it back.

Nothing is deleted or overwritten: what is in the way goes to `quarantine/repair-K/` by a rename,
what is new is written and synced there first and gets its name by a rename.  So each step can be
done again, or undone, whatever a crash left.  In this order:

    the new files, the plan and `undo.json` are written to quarantine/repair-K/ and synced
    `version` says "repair quarantine/repair-K": no opening goes on until it says "1" again
    renames, rights, the index; all synced
    `version` is as before
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from archive_tools.repair import check_directory, make_plan
from archive_tools.repair_plan import BadPlan, Plan, difference, dump_plan, load_plan
from jqueue.errors import QueueFailed
from jqueue.job.change import Quarantined
from jqueue.store import jobfiles, opening
from jqueue.store.disk import TEMP_PREFIX, Disk
from jqueue.store.files import QUARANTINE
from jqueue.store.index import INDEX, make_index, write_index
from jqueue.store.lock import QueueLock
from jqueue.store.realdisk import RealDisk
from jqueue.store.record import FORMAT, Header, encode_header, encode_line, seed
from jqueue.store.segment import JOURNAL, MAX_SEGMENT_BYTES, segment_numbers, segment_path

Record = dict[str, Any]
"""What `undo.json` says: all that is needed to go on or back, after a crash too."""

RECORD: Final = "undo.json"
UNDONE: Final = "undone.json"
PLAN: Final = "plan.json"
_NUMBERED: Final = re.compile(r"repair-([1-9][0-9]{0,8})", re.ASCII)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}", re.ASCII)


def apply_file(path: Path, plan_file: Path) -> Path | None:
    """Carry out the plan in `plan_file` on the queue at `path`; return where its undo record is.

    None if there is nothing to repair (any more).  A repair of the same plan that was cut off is
    completed.  Raises QueueLocked, and BadPlan if the directory is not as it was when the plan was
    made; then nothing was changed.
    """
    asked = load_plan(plan_file.read_bytes(), str(plan_file))
    with locked(path) as disk:
        record = unfinished(disk)
        if record is None:
            plan = make_plan(path, locked=True)
            if not plan.steps:
                return None
            if plan.id != asked["id"]:
                raise BadPlan(
                    f"{path}: the directory has changed since the plan was made"
                    f" ({difference(asked, plan)}); nothing was changed, make a new one:"
                    f" jqueue-archive repair {path}"
                )
            record = begin(disk, plan)
        elif record["plan"] != asked["id"]:
            raise BadPlan(f"{path}: another repair was begun; finish or undo {record['directory']}")
        complete(disk, record)
        return path / str(record["directory"]) / RECORD


def apply_plan(path: Path, plan: Plan) -> Path:
    """Carry out a plan that was just made."""
    with locked(path) as disk:
        record = begin(disk, plan)
        complete(disk, record)
        return path / str(record["directory"]) / RECORD


def undo_file(path: Path, record_file: Path) -> None:
    """Put everything back as it was before the repair of this record.

    Raises BadPlan if the queue was changed since; then nothing was changed.
    """
    directory = f"{QUARANTINE}/{record_file.resolve().parent.name}"
    if record_file.resolve() != (path / directory / record_file.name).resolve():
        raise BadPlan(f"{record_file}: this is no record in {path / QUARANTINE}")
    with locked(path) as disk:
        begun = unfinished(disk)
        if begun is not None and begun["directory"] != directory:
            raise BadPlan(f"{path}: another repair was begun; finish or undo {begun['directory']}")
        record = _load(disk, directory)
        if begun is None:
            check_unchanged(disk, record)
        undo(disk, record)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[RealDisk]:
    """Hold the queue's lock; raises QueueLocked or QueueFailed."""
    check_directory(path)
    lock = QueueLock(path, 0)
    try:
        with RealDisk(path) as disk:
            yield disk
    finally:
        lock.release()


def unfinished(disk: Disk) -> Record | None:
    """Return the record of a repair (or undoing) that was cut off."""
    try:
        text = disk.read("version", 64).decode("ascii", "replace").strip()
    except OSError:
        return None
    if not text.startswith(opening.REPAIRING):
        return None
    return _load(disk, text.removeprefix(opening.REPAIRING))


def _load(disk: Disk, directory: str) -> Record:
    path = f"{directory}/{RECORD}"
    if disk.exists(f"{directory}/{UNDONE}"):
        raise QueueFailed(f"{disk.path / directory}: this repair was undone; nothing was changed")
    try:
        record: Record = json.loads(disk.read(path, MAX_SEGMENT_BYTES))
    except (OSError, ValueError) as error:
        full = str(disk.path / path)
        raise QueueFailed(f"{full}: the record of the repair can't be read", path=full) from error
    return record


# Forward


def begin(disk: Disk, plan: Plan) -> Record:
    """Make the repair's files and its record durable, and the repair begun."""
    disk.mkdir(QUARANTINE, exist_ok=True)
    taken = [_NUMBERED.fullmatch(name) for name in disk.names(QUARANTINE)]
    number = max((int(match[1]) for match in taken if match), default=0) + 1
    directory = f"{QUARANTINE}/repair-{number}"
    disk.mkdir(directory)
    record = _record(disk, plan, directory)
    disk.create(f"{directory}/{PLAN}", dump_plan(plan))
    disk.create(f"{directory}/{RECORD}", json.dumps(record, indent=1).encode() + b"\n")
    disk.sync_all()
    _set_version(disk, directory, f"{opening.REPAIRING}{directory}\n".encode())
    return record


def _record(disk: Disk, plan: Plan, directory: str) -> Record:
    """Write the new files, and return what is to be done with them."""
    version = _version(disk)
    if version is not None:
        disk.create(f"{directory}/version", _decode(version) or b"")
    record: Record = {
        "jqueue_repair": 1,
        "plan": plan.id,
        "directory": directory,
        "version": [version, version],
        "moves": [],
        "writes": [],
        "modes": [],
        "journal": plan.journal,
        "keys": plan.keys,
        "transactions": plan.transactions,
    }
    names: set[str] = set()
    for step in plan.steps:
        if step.path == "version":
            record["version"][1] = _encode(b"1\n")
        elif step.do == "set-aside":
            record["moves"].append([step.path, f"{directory}/{_aside_name(step.path, names)}"])
        elif step.do == "move":
            record["moves"].append([step.path, step.to])
        elif step.do == "mode":
            old = (disk.path / step.path).stat().st_mode & 0o7777
            record["modes"].append([step.path, old, step.mode])
        else:
            data = step.data if step.do == "write" else _segment(plan)
            assert data is not None
            staged = f"{directory}/new.{len(record['writes'])}"
            disk.create(staged, data)
            digest = hashlib.sha256(data).hexdigest()
            record["writes"].append([staged, step.path, digest])
    return record


def _aside_name(path: str, names: set[str]) -> str:
    """Return a name that says where the file stood, and is nobody else's."""
    name = path.replace("/", ".").lstrip(".")
    if not _PLAIN.fullmatch(name) or name in names or name.startswith("new."):
        name = f"file.{len(names)}"
    names.add(name)
    return name


def _segment(plan: Plan) -> bytes:
    """Return the new segment: a header, and one record that says what could not be kept."""
    facts = plan.journal
    first = facts["first_lsn"]
    last_said = {name: facts[name] for name in ("serial", "drain", "pause")}
    header = Header(
        format=FORMAT,
        generation=os.urandom(8).hex(),
        segment=facts["segment"],
        first_lsn=first,
        mode=facts["mode"],
        durable=0 if facts["mode"] == "process" else first,
        reflects=first - 1,
        indexed=first,
        **last_said,
    )
    record = {
        "lsn": first,
        "durable": header.durable and first - 1,
        "tx": f"repair-{plan.id}",
        "time": time.time(),
        "changes": [Quarantined(job, file, why[:500]) for job, file, why in facts["quarantined"]],
        "reflects": first,
        "indexed": first,
        **last_said,
    }
    return encode_header(header) + encode_line(record, seed(header.generation))


def complete(disk: Disk, record: Record) -> None:
    """Do what is not done yet, and end the repair."""
    for source, target in record["moves"]:
        # The name may be taken again: what was in the way is gone, and the new file is there.
        if not disk.exists(target):
            _make_parents(disk, target)
            disk.rename_new(source, target)
    for staged, path, _ in record["writes"]:
        if disk.exists(staged):
            _make_parents(disk, path)
            disk.rename_new(staged, path)
    for path, _, mode in record["modes"]:
        disk.set_mode(path, mode)
    # What a crash before this left in the page cache only is made durable too.
    disk.sync_all()
    if record["journal"]:
        _write_index(disk, record)
    _set_version(disk, record["directory"], _decode(record["version"][1]))


def _make_parents(disk: Disk, path: str) -> None:
    parts = path.split("/")[:-1]
    for at in range(len(parts)):
        disk.mkdir("/".join(parts[: at + 1]), exist_ok=True)


def _write_index(disk: Disk, record: Record) -> None:
    """Build the index from the repaired files; only the users' keys are in no file."""
    _remove_index_temps(disk, record)
    found = opening.read(disk, use_index=False)
    values = {**found.values, **record["keys"]}
    known = [(name, lsn) for name, lsn in record["transactions"]]
    write_index(disk, make_index(record["journal"]["first_lsn"], values, known))


def _remove_index_temps(disk: Disk, record: Record) -> None:
    """Remove what this repair left when it was cut off at the index, and what nobody else did."""
    found_then = {source for source, _ in record["moves"]}
    for name in disk.names(JOURNAL) if disk.is_dir(JOURNAL) else []:
        path = f"{JOURNAL}/{name}"
        if name.startswith(f"{TEMP_PREFIX}index-") and path not in found_then:
            disk.unlink(path)


# The version file says that a repair is under way


def _version(disk: Disk) -> str | None:
    try:
        return _encode(disk.read("version", jobfiles.MAX_JOB_BYTES))
    except FileNotFoundError:
        return None


def _set_version(disk: Disk, directory: str, data: bytes | None) -> None:
    """Make this the content of the version file, at once; what a crash leaves is in `directory`."""
    staged = f"{directory}/version.new"
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(staged if data is not None else "version")
    if data is not None:
        disk.create(staged, data)
        disk.sync_file(staged)
        disk.rename(staged, "version")
    disk.sync_dir()
    disk.sync_dir(directory)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


# Back


def check_unchanged(disk: Disk, record: Record) -> None:
    """Raise BadPlan if something came after the repair that going back would lose."""
    for _, path, digest in record["writes"]:
        try:
            same = hashlib.sha256(disk.read(path, MAX_SEGMENT_BYTES)).hexdigest() == digest
        except OSError:
            same = False
        if not same:
            raise _changed(disk, path)
    back = [source for source, _ in record["moves"] if source != INDEX]
    written = {path for _, path, _ in record["writes"]}
    for path in back:
        if path not in written and disk.exists(path):
            raise _changed(disk, path)
    number = record["journal"].get("segment")
    if number is not None and segment_numbers(disk)[-1:] != [number]:
        raise _changed(disk, segment_path(number))


def _changed(disk: Disk, path: str) -> BadPlan:
    return BadPlan(
        f"{disk.path / path}: changed since the repair; undoing it would lose that, nothing was"
        " changed"
    )


def undo(disk: Disk, record: Record) -> None:
    """Put back what stood there before, byte for byte; only the record stays, as `undone.json`."""
    directory = record["directory"]
    _set_version(disk, directory, f"{opening.REPAIRING}{directory}\n".encode())
    if record["journal"]:
        _remove_index(disk, record)
    for staged, path, _ in reversed(record["writes"]):
        if disk.exists(path) and not disk.exists(staged):
            disk.rename_new(path, staged)
    for source, target in reversed(record["moves"]):
        if disk.exists(target) and not disk.exists(source):
            disk.rename_new(target, source)
    for path, mode, _ in record["modes"]:
        disk.set_mode(path, mode)
    disk.sync_all()
    _set_version(disk, directory, _decode(record["version"][0]))
    disk.rename(f"{directory}/{RECORD}", f"{directory}/{UNDONE}")
    disk.sync_dir(directory)
    # Not before: to whoever goes on after a crash they say what is back already.
    for staged, _, _ in record["writes"]:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(staged)


def _remove_index(disk: Disk, record: Record) -> None:
    """Remove the index that the repair wrote, unless the old one is back already."""
    _remove_index_temps(disk, record)
    aside = [target for source, target in record["moves"] if source == INDEX]
    if not aside or disk.exists(aside[0]):
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(INDEX)
