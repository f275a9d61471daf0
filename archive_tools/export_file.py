"""The export file: gzip of NDJSON, which `zcat FILE | jq` can read anywhere.  FORMAT.md has it.

The first line is the queue's state, the last the manifest: how many of what, and the SHA-256 of all
the lines before it.  Equal queues give equal bytes: no time, no name of a file or host is in it.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from archive_tools.contents import Contents, Exported, State, Unreadable
from jqueue.errors import JQueueError
from jqueue.job import jsonio
from jqueue.job.document import check_document
from jqueue.store.record import MAX_RECORD_BYTES

VERSION: Final = 1
LEVEL: Final = 6
MAX_LINE_BYTES: Final = 2 * MAX_RECORD_BYTES
"""A damaged file of the largest size, in base64, and its name."""


class NotVerified(JQueueError):
    """An export file that is not what its manifest says; nothing was imported."""


class Manifest:
    """What was written, or found, so far."""

    def __init__(self) -> None:
        self.live = 0
        self.archived = 0
        self.files = 0
        self.unfinished = 0
        self._digest = hashlib.sha256()

    def add_line(self, line: bytes) -> None:
        """Take a line into the checksum."""
        self._digest.update(line)

    def count(self, item: Exported | Unreadable) -> None:
        """Take an item into the numbers."""
        if isinstance(item, Unreadable):
            self.files += 1
        elif item.archived:
            self.archived += 1
        else:
            self.live += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as the last line holds it."""
        return {
            "live": self.live,
            "archived": self.archived,
            "files": self.files,
            "sha256": self._digest.hexdigest(),
        }


def write_export(contents: Contents, to: BinaryIO) -> Manifest:
    """Write everything to `to`, and return what it was."""
    manifest = Manifest()
    with gzip.GzipFile(fileobj=to, mode="wb", filename="", mtime=0, compresslevel=LEVEL) as file:

        def put(value: dict[str, Any]) -> None:
            line = jsonio.dumps(value) + b"\n"
            manifest.add_line(line)
            file.write(line)

        put({"jqueue_export": VERSION, **contents.state._asdict()})
        for item in contents.items:
            manifest.count(item)
            put(_value(item))
        file.write(jsonio.dumps({"manifest": manifest.to_dict()}) + b"\n")
    return manifest


def _value(item: Exported | Unreadable) -> dict[str, Any]:
    if isinstance(item, Unreadable):
        return item._asdict()
    return {"job": item.document, "archived": item.archived}


def read_export(source: BinaryIO, name: str) -> Contents:
    """Return what an export file holds.

    `items` raises NotVerified at the first thing that is not as it should be, at the latest at the
    manifest: what came before is to be trusted only when it has ended.
    """
    lines = _lines(source, name)
    manifest = Manifest()
    first = next(lines, b"")
    manifest.add_line(first)
    value = _parse(first, name, 1)
    if value.get("jqueue_export") != VERSION:
        raise NotVerified(
            f"{name}: not a jqueue export of version {VERSION}: {value.get('jqueue_export')!r:.40}"
        )
    try:
        state = State(*(value[field] for field in State._fields))
    except KeyError as error:
        raise NotVerified(f"{name}: line 1 has no {error}") from error
    _check_state(state, name)
    return Contents(state, _items(lines, name, manifest))


def _items(
    lines: Iterator[bytes], name: str, manifest: Manifest
) -> Iterator[Exported | Unreadable]:
    number = 1
    for number, line in enumerate(lines, 2):
        value = _parse(line, name, number)
        if "manifest" in value:
            if value["manifest"] != manifest.to_dict():
                raise NotVerified(
                    f"{name}: the manifest says {value['manifest']!r:.200}, found"
                    f" {manifest.to_dict()}; the file is damaged or was changed"
                )
            if next(lines, None) is not None:
                raise NotVerified(f"{name}: line {number + 1}: there is more behind the manifest")
            return
        manifest.add_line(line)
        item = _item(value, name, number)
        manifest.count(item)
        yield item
    raise NotVerified(f"{name}: it ends at line {number}, before its manifest: a part is missing")


def _item(value: dict[str, Any], name: str, number: int) -> Exported | Unreadable:
    try:
        if "file" in value:
            return Unreadable(str(value["file"]), str(value["reason"]), value["data"])
        given = value["job"]
        return Exported(check_document(given, given["id"]), bool(value["archived"]))
    except (KeyError, TypeError, ValueError) as error:
        raise NotVerified(f"{name}: line {number}: no job can be read from it: {error}") from error


def _check_state(state: State, name: str) -> None:
    flags = all(flag is None or isinstance(flag, dict) for flag in (state.drain, state.pause))
    numbers = all(type(n) is int and 0 <= n < 1 << 63 for n in (state.lsn, state.serial))
    keys = isinstance(state.keys, dict) and all(
        isinstance(named, dict)
        and isinstance(named.get("jobs"), list)
        and isinstance(named.get("digest"), str)
        for named in state.keys.values()
    )
    if not (flags and numbers and keys):
        raise NotVerified(f"{name}: line 1: the queue's state can't be understood")


def _parse(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        value = jsonio.loads(line)
    except ValueError as error:
        raise NotVerified(f"{name}: line {number} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise NotVerified(f"{name}: line {number} is no object")
    return value


def _lines(source: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise NotVerified(f"{name}: not a whole gzip file: {error}") from error
