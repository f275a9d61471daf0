"""Job files that follow the journal: one writer per job at a time, never an older LSN over a newer.

A file is written after its record is durable, by whoever claims the job first: the submitter, so
that `ls` shows the job, or the checkpointer.  The claimant always writes the newest durable entry.
Nothing here is synced until `sync`; until then the journal keeps the segments that imply the files.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from jqueue.job import jsonio
from jqueue.job.ids import archive_dir, job_file_name
from jqueue.job.state import Entry, Layer, Place
from jqueue.store.disk import Disk
from jqueue.store.packing import Packer
from jqueue.store.rewriting import Rewriter

QUARANTINE: Final = "quarantine"
FLAGS: Final = ("serial", "drain", "pause")
MAX_FLAG_BYTES: Final = 1 << 16
MANY_FILES: Final = 256
"""From this many on, one syncfs is cheaper than a sync of each."""


class Files:
    """The job files of a queue, and the small files beside them."""

    def __init__(
        self, disk: Disk, evict: Callable[[int, Entry, int], None], packer: Packer
    ) -> None:
        """`evict` is told of each entry that a file holds now, and of how many bytes."""
        self._disk = disk
        self._packer = packer
        self._evict = evict
        self._changed = threading.Condition()
        self._dirty: dict[int, Entry] = {}
        self._found: set[int] = set()
        self._flags: dict[str, Any] = {}
        self._busy: set[int] = set()
        self._movable: set[int] = set()
        self._unsynced: set[str] = set()
        self._unsynced_dirs: set[str] = set()
        self._archive_dirs: set[str] = set()
        self.syncs = 0
        """How many syncs files and directories took."""

    # What is to be written

    def note(self, layers: Iterable[Layer]) -> None:
        """Learn the new durable values of records and those they replaced, in journal order."""
        with self._changed:
            for layer in layers:
                for key, value in layer.new.items():
                    if type(key) is int:
                        self._note_job(key, value, layer.before.get(key))
                    elif key in FLAGS:
                        self._flags[key] = value

    def _note_job(self, job: int, entry: Entry, before: Entry | None) -> None:
        if entry.place is not Place.ARCHIVE:
            self._movable.discard(job)
        elif (
            job not in self._dirty
            and job not in self._busy
            and before is not None
            and before.document is entry.document
        ):
            # Its live file holds this very document: a rename will do.
            self._movable.add(job)
        self._dirty[job] = entry

    def note_found(self, job: int, entry: Entry) -> None:
        """Learn at opening that the journal implies this file: it is written anew.

        What is there may be of an owner before whose sync failed: its inode is not written again.
        """
        self._dirty[job] = entry
        self._found.add(job)

    def note_flags(self, values: dict[Any, Any]) -> None:
        """Learn at opening what the small files should hold; those that hold it are let alone."""
        for name in FLAGS:
            try:
                held = self._disk.read(name, MAX_FLAG_BYTES)
            except OSError:
                held = None
            if held != _flag_data(name, values.get(name)):
                self._flags[name] = values.get(name)

    @property
    def dirty(self) -> list[int]:
        """Return the jobs whose files are behind."""
        with self._changed:
            return list(self._dirty)

    @property
    def behind(self) -> int:
        """Return how many files are behind."""
        return len(self._dirty) + len(self._flags)

    # Writing

    def write(self, job: int, rewriter: Rewriter | None = None) -> None:
        """Bring the file of `job` up to the newest durable entry, unless it is there already.

        Raises OSError; the job then stays to be written.
        """
        with self._changed:
            while job in self._busy:
                self._changed.wait()
            entry = self._dirty.get(job)
            if entry is None:
                return
            movable = job in self._movable
            self._busy.add(job)
        done = False
        try:
            if job in self._found:
                rewriter = None
            size_bytes = self._place(job, entry, rewriter, movable=movable)
            self._found.discard(job)
            done = True
        finally:
            with self._changed:
                self._busy.discard(job)
                if done:
                    self._movable.discard(job)
                    if self._dirty.get(job) is entry:
                        del self._dirty[job]
                self._changed.notify_all()
        self._evict(job, entry, size_bytes)

    def write_all(self) -> None:
        """Bring every file up to date; raises the first OSError after trying the rest."""
        failed: OSError | None = None
        # All at once: each pack that held some is written anew once.
        self._packer.drop(self._gone())
        with contextlib.closing(Rewriter(self._disk)) as rewriter:
            for job in self.dirty:
                try:
                    self.write(job, rewriter)
                except OSError as error:
                    failed = failed or error
        self.write_flags()
        if failed is not None:
            raise failed

    def _gone(self) -> list[int]:
        with self._changed:
            return [job for job, entry in self._dirty.items() if entry.place is Place.GONE]

    def write_flags(self) -> None:
        """Bring `serial`, `drain` and `pause` up to date."""
        with self._changed:
            flags, self._flags = self._flags, {}
        try:
            for name, value in flags.items():
                self._write_flag(name, value)
        except OSError:
            with self._changed:
                self._flags = {**flags, **self._flags}
            raise

    def _write_flag(self, name: str, value: Any) -> None:
        data = _flag_data(name, value)
        if data is None:
            self._remove(name)
            return
        self._disk.write_file(name, data, new=False)
        self._touched(name)

    def _place(self, job: int, entry: Entry, rewriter: Rewriter | None, *, movable: bool) -> int:
        live = job_file_name(job)
        if entry.place is Place.LIVE:
            return self._put(live, entry, rewriter)
        if entry.place is Place.ARCHIVE:
            directory = archive_dir(job)
            self._make_archive_dir(directory)
            target = f"{directory}/{live}"
            if not (movable and self._moved(live, target)):
                self._put(target, entry)
                self._remove(live)
        elif entry.place is Place.GONE:
            self._remove(live)
            with self._packer.resting():
                self._remove(f"{archive_dir(job)}/{live}")
                self._packer.drop([job])
        else:
            self._set_aside(live, f"{QUARANTINE}/{live}.{entry.lsn}")
        return 0

    def _put(self, path: str, entry: Entry, rewriter: Rewriter | None = None) -> int:
        data = jsonio.dumps(entry.document) + b"\n"
        if rewriter is None:
            self._disk.write_file(path, data, new=False)
        else:
            rewriter.write(path, data)
        self._touched(path)
        return len(data)

    def _moved(self, live: str, target: str) -> bool:
        try:
            self._disk.rename(live, target)
        except FileNotFoundError:
            return False
        self._unsynced.discard(live)
        self._touched(target)
        self._unsynced_dirs.add("")
        return True

    def _set_aside(self, live: str, target: str) -> None:
        self._disk.mkdir(QUARANTINE, exist_ok=True)
        try:
            self._disk.rename(live, target)
        except FileNotFoundError:
            return
        with self._changed:
            self._unsynced.discard(live)
            self._unsynced_dirs.update(("", QUARANTINE))

    def _make_archive_dir(self, directory: str) -> None:
        if directory in self._archive_dirs:
            return
        for path, parent in (("archive", ""), (directory, "archive")):
            if not self._disk.exists(path):
                self._disk.mkdir(path, exist_ok=True)
            # Found or made: the one who made it may have been cut off before its entry was durable.
            self._unsynced_dirs.add(parent)
        self._archive_dirs.add(directory)

    def _remove(self, path: str) -> None:
        try:
            self._disk.unlink(path)
        except FileNotFoundError:
            return
        with self._changed:
            self._unsynced.discard(path)
            self._unsynced_dirs.add(path.rpartition("/")[0])

    def _touched(self, path: str) -> None:
        with self._changed:
            self._unsynced.add(path)
            self._unsynced_dirs.add(path.rpartition("/")[0])

    # Syncing

    def sync(self) -> None:
        """Make everything written so far durable, names included.

        Raises OSError; then what the files hold is not known and the queue must stop.
        """
        with self._changed:
            files, self._unsynced = self._unsynced, set()
            directories, self._unsynced_dirs = self._unsynced_dirs, set()
        if len(files) >= MANY_FILES:
            self._disk.sync_all()
            self.syncs += 1
            return
        self.syncs += len(files) + len(directories)
        moved = False
        for path in files:
            try:
                self._disk.sync_file(path)
            except FileNotFoundError:
                # Archived meanwhile by another writer, who noted the new name.
                moved = True
        for directory in sorted(directories):
            self._disk.sync_dir(directory)
        if moved:
            self.sync()


def _flag_data(name: str, value: Any) -> bytes | None:
    """Return what the file `name` holds for `value`; None if it is not there."""
    if name == "serial":
        return b"%d\n" % (value or 0)
    return None if value is None else jsonio.dumps(value) + b"\n"
