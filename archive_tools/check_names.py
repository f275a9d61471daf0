"""What is wrong with the names in a queue directory: foreign, temporary, misplaced, unsafe."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Any, Final

from archive_tools.findings import Finding, found
from jqueue.job import jsonio
from jqueue.job.ids import archive_dir, parse_job_file_name
from jqueue.store import jobfiles
from jqueue.store.disk import TEMP_NAME, Disk
from jqueue.store.packed import pack_path

KNOWN: Final = frozenset(
    {"version", "serial", "drain", "pause", "lock", "owner", "socket", "config.toml"}
    | {"archive", "journal", "livelocks", "quarantine"}
)
GANETI_TEMP: Final = re.compile(r"(job-[0-9]+|serial|version|drain)[^/]*\.(new|tmp)")
"""Of Ganeti's two writers: `job-12ab3xyz.new` and `job-12-4711.tmp`."""

MAX_FLAG_BYTES: Final = 1 << 16


def is_temp(name: str) -> bool:
    """Say whether a writer that was cut off left this."""
    return bool(TEMP_NAME.fullmatch(name) or GANETI_TEMP.fullmatch(name))


def check_root(disk: Disk) -> Iterator[Finding]:
    """Yield names in the queue's own directory that are none of the queue's."""
    for name in sorted(disk.names()):
        if is_temp(name):
            yield found("temp", name, f"{name!r} is a file that was never renamed into place")
        elif name not in KNOWN and parse_job_file_name(name) is None:
            yield found("foreign", name, f"{name!r} is none of the queue's files; left alone")


def check_archive(disk: Disk) -> Iterator[Finding]:
    """Yield names in the archive that are none of an archive's, or not where they belong."""
    if not disk.is_dir("archive"):
        return
    numbers = jobfiles.archive_numbers(disk)
    for name in sorted(set(disk.names("archive")) - {str(number) for number in numbers}):
        path = f"archive/{name}"
        yield found("foreign", path, f"{path!r} is no archive directory; left alone")
    for number in numbers:
        directory = f"archive/{number}"
        for name in sorted(disk.names(directory)):
            job = parse_job_file_name(name)
            path = f"{directory}/{name}"
            if path == pack_path(number):
                continue
            if job is None and is_temp(name):
                yield found("temp", path, f"{path!r} is a file that was never renamed into place")
            elif job is None:
                yield found("foreign", path, f"{path!r} is no archived job; left alone")
            elif archive_dir(job) != directory:
                text = f"{path}: job {job} belongs in {archive_dir(job)}"
                yield found("archive-misplaced", path, text, job=job)


def check_permissions(disk: Disk, paths: Iterable[str]) -> Iterator[Finding]:
    """Yield what others may write to, and what belongs to somebody else than the directory."""
    root = os.stat(disk.path)
    above = f"{disk.path}/"
    for path in paths:
        try:
            status = os.lstat(above + path)
        except FileNotFoundError:
            continue
        if status.st_mode & stat.S_IWOTH and not stat.S_ISLNK(status.st_mode):
            mode = f"{status.st_mode & 0o7777:o}"
            text = f"{path or disk.path}: everybody may write to it (mode {mode})"
            yield found("permissions", path, text)
        if status.st_uid not in {root.st_uid, 0}:
            text = (
                f"{path or disk.path}: belongs to user {status.st_uid}, the queue to {root.st_uid}"
            )
            yield found("permissions", path, text)


def check_serial(disk: Disk, *, highest: int, serial: int | None) -> Iterator[Finding]:
    """Check the serial file against the highest job ID; `serial` is what the journal says."""
    try:
        text = disk.read("serial", 64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        if highest or serial is not None:
            yield found("serial", "serial", f"missing, though job {highest} exists")
        return
    except OSError as error:
        yield found("serial", "serial", f"serial can't be read: {error.strerror}")
        return
    if not (text.isascii() and text.isdigit()):
        yield found("serial", "serial", f"not a number: {text!r:.60}")
    elif serial is None and int(text) < highest:
        yield found("serial", "serial", f"serial {text} is lower than the ID of job {highest}")
    elif serial is not None and int(text) != serial:
        yield found("serial", "serial", f"serial {text}, the journal says {serial}")


def check_flags(disk: Disk, values: dict[Any, Any]) -> Iterator[Finding]:
    """Check the drain and pause files against what the journal says."""
    for name in ("drain", "pause"):
        try:
            held: bytes | None = disk.read(name, MAX_FLAG_BYTES)
        except FileNotFoundError:
            held = None
        except OSError as error:
            yield found("flag", name, f"{name} can't be read: {error.strerror}")
            continue
        said = values.get(name)
        if (None if held is None else _flag(held)) != said:
            yield found("flag", name, f"{name} says {held!r:.80}, the journal says {said!r:.80}")


def _flag(data: bytes) -> Any:
    try:
        return jsonio.loads(data)
    except ValueError:
        return {} if not data.strip() else data
