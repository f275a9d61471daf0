"""Export for Ganeti: a queue directory that its Python code and its luxid can both read.

luxid refuses keys that it doesn't know, and the Python code parameters of an opcode, so ours go.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from archive_tools.contents import Contents, Exported
from archive_tools.export_file import Manifest
from jqueue.errors import QueueFailed
from jqueue.job import jsonio
from jqueue.job.change import Document
from jqueue.job.ganeti import JOB_KEYS, OP_KEYS, OWN_PARAMETERS
from jqueue.job.ids import archive_dir, job_file_name
from jqueue.store.realdisk import GROUP_FILE, RealDisk

_HOLDER: Final[dict[str, None]] = {"livelock": None, "process_id": None}


def for_ganeti(document: Document) -> Document:
    """Return the document with Ganeti's keys only; whoever ran it, nobody holds it here."""
    job = {key: document[key] for key in JOB_KEYS if key not in _HOLDER}
    job["ops"] = [
        {**{key: op[key] for key in OP_KEYS}, "input": _input(op["input"])}
        for op in document["ops"]
    ]
    return {**job, **_HOLDER}


def _input(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    return {name: value for name, value in given.items() if name not in OWN_PARAMETERS}


def export_ganeti(contents: Contents, target: Path) -> Manifest:
    """Write the directory `target`, which must not be there, synced when this returns.

    Raises QueueFailed if it is there.
    """
    manifest = Manifest()
    try:
        target.mkdir(mode=0o750)
    except FileExistsError as error:
        raise QueueFailed(f"{target}: exists already; nothing was exported") from error
    with RealDisk(target, file_mode=GROUP_FILE) as disk:
        disk.mkdir("archive")
        made: set[str] = set()
        for path, data in _files(contents, manifest):
            directory = path.rpartition("/")[0]
            if directory and directory not in made:
                disk.mkdir(directory)
                made.add(directory)
            disk.create(path, data)
        disk.create("serial", b"%d\n" % contents.state.serial)
        disk.create("lock", b"")
        if contents.state.drain is not None:
            disk.create("drain", b"")
        # Last: a directory without it is no queue to Ganeti.
        disk.create("version", b"1\n")
        disk.sync_all()
    return manifest


def _files(contents: Contents, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    for item in contents.items:
        manifest.count(item)
        if isinstance(item, Exported):
            yield _path(item), jsonio.dumps(for_ganeti(item.document)) + b"\n"


def _path(item: Exported) -> str:
    job: Any = item.document["id"]
    return f"{archive_dir(job)}/{job_file_name(job)}" if item.archived else job_file_name(job)
