"""A disk whose calls fail, tear or crash on demand, and loops that do so at every call."""

import errno
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from jqueue.store.disk import AppendFile, Disk
from tests.fakes.disk import Crash, FakeAppendFile, FakeDisk

Fail = Callable[[int, str, str], BaseException | None]
Short = Callable[[int, str, str], int | None]


class Faulty(Disk):
    """Any disk, counted and interfered with.

    `fail(n, name, path)` is asked before the n-th call (from 0, reads included, a rename by its
    target) and returns None or what the call ends with instead. A failed call changes nothing,
    but for a write where `short(n, name, path)` gives the number of bytes that still land. After
    a `Crash` every call raises `Crash`: the program is dead, with all its threads.
    """

    def __init__(self, disk: Disk, fail: Fail | None = None, short: Short | None = None) -> None:
        self.disk = disk
        self.path = disk.path
        self.fd = disk.fd
        self.calls: list[tuple[str, str]] = []
        self.fired = 0
        self.crashed = False
        self._fail = fail
        self._short = short

    def close(self) -> None:
        self.disk.close()

    def read(self, path: str, limit: int) -> bytes:
        return self._run("read", path, lambda: self.disk.read(path, limit))

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        return self._run("read_range", path, lambda: self.disk.read_range(path, offset, size))

    def size(self, path: str) -> int:
        return self._run("size", path, lambda: self.disk.size(path))

    def mtime_ns(self, path: str) -> int:
        return self._run("mtime_ns", path, lambda: self.disk.mtime_ns(path))

    def exists(self, path: str) -> bool:
        return self._run("exists", path, lambda: self.disk.exists(path))

    def is_dir(self, path: str) -> bool:
        return self._run("is_dir", path, lambda: self.disk.is_dir(path))

    def names(self, path: str = "") -> list[str]:
        return self._run("names", path, lambda: self.disk.names(path))

    def create(self, path: str, data: bytes) -> None:
        def short(size: int, error: BaseException) -> None:
            if isinstance(error, Crash):  # after an error the disk itself takes the file away
                self.disk.create(path, data[:size])

        self._run("create", path, lambda: self.disk.create(path, data), short=short)

    def append(self, path: str, *, create: bool = False, ahead: bool = False) -> AppendFile:
        def run() -> AppendFile:
            return _FaultyAppendFile(self, self.disk.append(path, create=create, ahead=ahead))

        return self._run("append", path, run)

    def overwrite(self, path: str, data: bytes) -> None:
        def short(size: int, _: BaseException) -> None:
            old = self.disk.read(path, 1 << 30) if self.disk.exists(path) else b""
            self.disk.overwrite(path, data[:size] + old[size:])

        self._run("overwrite", path, lambda: self.disk.overwrite(path, data), short=short)

    def allocate(self, path: str, size: int) -> None:
        self._run("allocate", path, lambda: self.disk.allocate(path, size))

    def rename(self, source: str, target: str) -> None:
        self._run("rename", target, lambda: self.disk.rename(source, target))

    def rename_new(self, source: str, target: str) -> None:
        self._run("rename_new", target, lambda: self.disk.rename_new(source, target))

    def replace(self, source: str, target: str) -> None:
        self._run("replace", target, lambda: self.disk.replace(source, target))

    def swap(self, source: str, target: str) -> bool:
        return self._run("swap", target, lambda: self.disk.swap(source, target))

    def refill(self, path: str, data: bytes) -> bool:
        def short(size: int, _: BaseException) -> None:
            old = self.disk.read(path, 1 << 30)
            self.disk.refill(path, data[:size] + old[size:])

        return self._run("refill", path, lambda: self.disk.refill(path, data), short=short)

    def unlink(self, path: str) -> None:
        self._run("unlink", path, lambda: self.disk.unlink(path))

    def mkdir(self, path: str, *, exist_ok: bool = False) -> None:
        self._run("mkdir", path, lambda: self.disk.mkdir(path, exist_ok=exist_ok))

    def sync_file(self, path: str) -> None:
        self._run(
            "sync_file", path, lambda: self.disk.sync_file(path), lambda d: d.poison_file(path)
        )

    def sync_dir(self, path: str = "") -> None:
        self._run("sync_dir", path, lambda: self.disk.sync_dir(path), lambda d: d.poison_dir(path))

    def sync_all(self) -> None:
        self._run("sync_all", "", self.disk.sync_all, lambda d: d.poison_all())

    def _run(
        self,
        name: str,
        path: str,
        call: Callable[[], Any],
        poison: Callable[[FakeDisk], None] | None = None,
        short: Callable[[int, BaseException], None] | None = None,
    ) -> Any:
        if self.crashed:
            raise Crash
        number = len(self.calls)
        self.calls.append((name, path))
        error = self._fail(number, name, path) if self._fail is not None else None
        if error is None:
            return call()
        self.fired += 1
        size = self._short(number, name, path) if self._short is not None else None
        if short is not None and size is not None:
            short(size, error)
        if isinstance(error, Crash):
            self.crashed = True
        elif poison is not None and isinstance(self.disk, FakeDisk):
            poison(self.disk)
        raise error


class _FaultyAppendFile:
    def __init__(self, faulty: Faulty, file: AppendFile) -> None:
        self.path = file.path
        self._faulty = faulty
        self._file = file
        self._failed = False

    @property
    def size(self) -> int:
        return self._file.size

    @size.setter
    def size(self, size: int) -> None:
        self._file.size = size

    def write(self, data: bytes) -> None:
        def short(size: int, _: BaseException) -> None:
            good = self._file.size
            self._file.write(data[:size])
            self._file.size = good  # now its end is in doubt, as after a real short write

        self._faulty._run("write", self.path, lambda: self._file.write(data), short=short)

    def sync(self) -> None:
        self._sync("sync", self._file.sync)

    def cut(self) -> None:
        self._sync("cut", self._file.cut)

    def trim(self) -> None:
        self._file.trim()

    def close(self) -> None:
        self._file.close()

    def _sync(self, name: str, call: Callable[[], None]) -> None:
        if self._failed:
            raise OSError(errno.EIO, "an earlier sync of this file failed", self.path)
        try:
            self._faulty._run(name, self.path, call)
        except OSError:
            self._failed = True
            if isinstance(self._file, FakeAppendFile):
                self._file.poison()
            raise


def every_failure(
    make: Callable[[], Disk],
    error: Callable[[], BaseException] = lambda: OSError(errno.EIO, "Input/output error"),
    *,
    short: Short | None = None,
) -> Iterator[Faulty]:
    """Yield a faulty disk for each call of the loop's body: its first fails, its second, …

    Ends when a run got through without reaching its failing call.
    """
    for number in itertools.count():
        faulty = Faulty(make(), lambda n, *_, at=number: error() if n == at else None, short)
        yield faulty
        if not faulty.fired:
            return


def every_crash(make: Callable[[], FakeDisk] = FakeDisk) -> Iterator[FakeDisk]:
    """Yield a disk for each step of the loop's body, crashing before the first, the second, …

    The last one does not crash; the body must catch `Crash` itself.
    """
    for number in itertools.count():
        disk = make()
        done = len(disk.calls)

        def crash_there(_name: str, _path: str, disk=disk, at=done + number) -> None:
            if len(disk.calls) > at:
                raise Crash

        disk.on_call = crash_there
        yield disk
        if not disk.crashed:
            return
