"""The file-system seam: every system call of jqueue that changes the disk is made behind it.

A `Disk` is one queue directory. Paths are relative and use "/": "job-1", "archive/0/job-1",
"journal/00000001". Nothing here decides when to sync, and nothing is durable unless a method says
so; the promises about durability belong to the callers. `realdisk` is the operating system's,
`tests/fakes/disk.py` has the same interface with a power switch, and one conformance suite runs on
both.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Protocol

# A file that `write_file` has not yet renamed into place. Only names that match in full may be
# removed at open; the pattern is closed, so that it can't match a name that anybody else chose.
TEMP_PREFIX = ".tmp-"
TEMP_NAME = re.compile(r"\.tmp-[A-Za-z0-9._-]{1,200}-[0-9a-f]{16}", re.ASCII)


class NotRegular(OSError):
    """The path names a symbolic link, FIFO, device, directory or hard-linked file."""


class FileTooLarge(OSError):
    """The file is longer than the caller is ready to hold in memory."""


# What stands behind the end of a file that has space ahead: spaces, and after a power cut zeros.
PADDING = b" \0"


class AppendFile(Protocol):
    """A file that grows at its end; one thread writes at a time, another may sync meanwhile.

    With space ahead it grows by much at a time, and what is appended overwrites spaces: a sync then
    need not wait for the file system to record a new size, which takes a third of its time.
    """

    path: str
    size: int
    """The last good end: where the next write goes, and where `cut` and `trim` cut."""

    def write(self, data: bytes) -> None:
        """Append all of `data`, not synced.

        After an OSError any prefix of `data` may be in the file behind `size`, and nothing may be
        written before `cut` has removed it.
        """

    def sync(self) -> None:
        """Make everything written before this call durable (fdatasync).

        After a failure every later sync of this file fails too: the kernel reports a lost write
        once, then forgets it, so that a second sync would lie.
        """

    def cut(self) -> None:
        """Remove what lies behind `size`, durably. A failure counts as a failed sync."""

    def trim(self) -> None:
        """Give back the space ahead, not synced; as far as the disk lets us."""

    def close(self) -> None:
        """Close the descriptor; nothing is synced. Closing twice is harmless."""


class Disk(Protocol):
    """One queue directory. Safe to use from several threads; errors are plain OSErrors."""

    path: Path
    fd: int
    """Descriptor of the directory, -1 where there is none."""

    def read(self, path: str, limit: int) -> bytes:
        """Return the whole file. Raises NotRegular, and FileTooLarge beyond `limit` bytes."""

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only where the file ends."""

    def size(self, path: str) -> int:
        """Return the size in bytes."""

    def mtime_ns(self, path: str) -> int:
        """Return the time of the last modification, in nanoseconds since 1970."""

    def exists(self, path: str) -> bool:
        """Tell if the name exists, whatever it names (a dangling symbolic link too)."""

    def is_dir(self, path: str) -> bool:
        """Tell if the name is a directory, not a link to one."""

    def names(self, path: str = "") -> list[str]:
        """List a directory, in no order; bytes that are not UTF-8 become surrogates."""

    def create(self, path: str, data: bytes) -> None:
        """Write a new file, not synced; FileExistsError if the name is taken.

        After a failure the name is gone again, as far as the disk lets us remove it.
        """

    def append(self, path: str, *, create: bool = False, ahead: bool = False) -> AppendFile:
        """Open a file to append to; with `create` a new one, else FileExistsError.

        With `ahead` it has space ahead, as much as the disk sees fit.
        """

    def overwrite(self, path: str, data: bytes) -> None:
        """Make `data` the content of a small file, made if missing; neither atomic nor synced."""

    def allocate(self, path: str, size: int) -> None:
        """Give a new or existing file at least `size` bytes of space that is really there."""

    def rename(self, source: str, target: str) -> None:
        """Rename, over an existing target too (where ext4 then flushes the new data at once)."""

    def rename_new(self, source: str, target: str) -> None:
        """Rename to a free name, else FileExistsError and nothing changed."""

    def replace(self, source: str, target: str) -> None:
        """Put the file `source` at `target` atomically, without ext4's flush of its data.

        Where the target exists the two names are exchanged and the old file is unlinked at
        `source`; a crash in between leaves the old file under the source name.
        """

    def swap(self, source: str, target: str) -> bool:
        """As `replace`, but the old file stays, at `source`: True; False if there is none."""

    def refill(self, path: str, data: bytes) -> bool:
        """Make `data` the content of a file that nobody else has: no process, no other name.

        False, and nothing is changed, where that is not so or can't be known.  Neither atomic nor
        synced; much cheaper than a new file where files were removed a moment ago.
        """

    def unlink(self, path: str) -> None:
        """Remove a name of a file."""

    def set_mode(self, path: str, mode: int) -> None:
        """Give a regular file or a directory ("": the queue's own) these rights, durably."""

    def mkdir(self, path: str, *, exist_ok: bool = False) -> None:
        """Make a directory, not synced; its entry needs a `sync_dir` of the parent."""

    def sync_file(self, path: str) -> None:
        """Make the content of a file durable, though not its name."""

    def sync_dir(self, path: str = "") -> None:
        """Make the names in a directory durable, though not what the files hold."""

    def sync_all(self) -> None:
        """Make everything on the queue's file system durable (syncfs)."""

    def close(self) -> None:
        """Release all descriptors; open `AppendFile`s stay their owners'."""

    def write_file(self, path: str, data: bytes, *, new: bool) -> None:
        """Write a file that readers see whole or not at all, not synced.

        With `new` a taken name is a FileExistsError, without it the old file is replaced. A crash
        can leave a name that matches TEMP_NAME.
        """
        temp = temp_path(path)
        self.create(temp, data)
        try:
            if new:
                self.rename_new(temp, path)
            else:
                self.replace(temp, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(temp)
            raise


def temp_path(path: str) -> str:
    """Return a fresh temporary name beside `path`; it matches TEMP_NAME."""
    directory, slash, name = path.rpartition("/")
    return f"{directory}{slash}.tmp-{name}-{os.urandom(8).hex()}"


def split_path(path: str) -> tuple[str, str]:
    """Split "archive/0/job-1" into "archive/0" and "job-1"; ValueError unless the name is one."""
    directory, _, name = path.rpartition("/")
    if name in {"", ".", ".."} or "\0" in name or path[0] == "/":
        message = f"not a path inside the queue: {path!r}"
        raise ValueError(message)
    return directory, name
