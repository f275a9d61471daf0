"""A disk in memory with a power switch.

It has the interface of `jqueue.store.disk.Disk`, and keeps apart what running programs see (the
volatile state) and what a power cut is sure to leave (the durable state):

- A file's bytes become durable by a sync of that file alone, and its name by a sync of every
  directory that the operation on the name touched. A rename between directories needs both.
- After a power cut any subset of the unsynced operations on names may have happened, whole
  operations only, and for one name always the earlier before the later. Stricter than ext4 (which
  keeps the order of all), as POSIX allows and other file systems do.
- Of a file's unsynced bytes nothing, a prefix, zeros, a garbage tail or all but a hole may be
  there; bytes that were synced and not touched since never change.
- A failed sync makes nothing durable, and what it covered is *poisoned*: the page cache calls it
  clean, so no later sync writes it. Only writing the bytes, or the name, again does.

Tests crash or fail any mutating step by `on_call`. After a `Crash` the disk is dead: every call by
any thread raises `Crash` too, so that no thread of the "dead" program goes on writing.
"""

import contextlib
import errno
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from jqueue.store.disk import Disk, FileTooLarge, NotRegular, split_path
from jqueue.store.failed import FULL_ERRNOS
from tests.fakes.inodes import (
    REMAINS,
    Directory,
    File,
    Node,
    Operation,
    Remains,
    set_name,
    with_predecessors,
)

AHEAD_BYTES = 1500
"""Some records, so that growing and overwriting take turns."""


class Crash(BaseException):
    """The power went, or the process was killed: nothing after this line ran."""


class FakeAppendFile:
    def __init__(self, disk: "FakeDisk", path: str, file: File, ahead: int) -> None:
        self.path = path
        self.size = len(file.data)
        self._disk = disk
        self._file = file
        self._ahead = ahead
        self._end = self.size
        self._failed = False

    def write(self, data: bytes) -> None:
        assert self._end == self.size, "cut() comes before the next write"
        self._end = -1
        grows = self.size + len(data) > len(self._file.data)
        if grows and self._ahead:
            try:
                self._write(data + b" " * self._ahead)
            except OSError as error:
                if error.errno not in FULL_ERRNOS:
                    raise
                self._truncate()
                self._write(data)
        else:
            self._write(data)
        self.size += len(data)
        self._end = self.size

    def _write(self, data: bytes) -> None:
        self._disk._write(self._file, self.path, self.size, data)

    def _truncate(self) -> None:
        self._disk._call("truncate", self.path)
        with self._disk._lock:
            self._file.resize(self.size)

    def sync(self) -> None:
        if self._failed:
            raise OSError(errno.EIO, "an earlier sync of this file failed", self.path)
        try:
            self._disk._sync("sync", self.path, [self._file], [])
        except OSError:
            self._failed = True
            raise

    def cut(self) -> None:
        self._truncate()
        self.sync()
        self._end = self.size

    def trim(self) -> None:
        if len(self._file.data) > self.size == self._end:
            with contextlib.suppress(OSError):
                self._truncate()

    def close(self) -> None:
        """Nothing is held."""

    def poison(self) -> None:
        """Make it as if a sync of this file had just failed."""
        self._failed = True
        self._file.poison(self._file)


class FakeDisk(Disk):
    """A queue directory in memory. Its `fd` is -1.

    `on_call(name, path)` is called before every step that changes something or syncs (a rename is
    named by its target), without a lock held, so it may block; what it raises is the step's
    outcome, and a step that fails has changed nothing. `calls` lists the steps. With `capacity`
    the files' bytes together can't exceed it: a write stops there, short, with ENOSPC.
    """

    def __init__(
        self,
        *,
        on_call: Callable[[str, str], None] | None = None,
        capacity: int | None = None,
    ) -> None:
        self.path = Path("/fake/queue")
        self.fd = -1
        self.on_call = on_call
        self.capacity = capacity
        self.calls: list[tuple[str, str]] = []
        self.crashed = False
        self.now_ns = 1_700_000_000 * 10**9
        self._lock = threading.RLock()
        self._root = Directory(mtime_ns=self.now_ns)
        self._pending: list[Operation] = []
        self._last_write: tuple[File, bytes, int] | None = None  # file, content before, offset

    def close(self) -> None:
        """Nothing is held."""

    # Reading

    def read(self, path: str, limit: int) -> bytes:
        with self._living():
            file = self._file(path)
            if len(file.data) > limit:
                raise FileTooLarge(errno.EFBIG, f"file is longer than {limit} bytes", path)
            return bytes(file.data)

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        with self._living():
            return bytes(self._file(path).data[offset : offset + size])

    def size(self, path: str) -> int:
        with self._living():
            node = self._node(path)
            return len(node.data) if isinstance(node, File) else 4096

    def mtime_ns(self, path: str) -> int:
        with self._living():
            return self._node(path).mtime_ns

    def exists(self, path: str) -> bool:
        try:
            with self._living():
                self._node(path)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, path: str) -> bool:
        try:
            with self._living():
                return isinstance(self._node(path), Directory)
        except FileNotFoundError:
            return False

    def names(self, path: str = "") -> list[str]:
        with self._living():
            return [*self._directory(path).names]

    # Files

    def create(self, path: str, data: bytes) -> None:
        file = self._make(path)
        try:
            if data:
                self._write(file, path, 0, data)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(path)
            raise

    def append(self, path: str, *, create: bool = False, ahead: bool = False) -> FakeAppendFile:
        if create:
            self.create(path, b"")
        with self._living():
            file = self._file(path, writing=True)
            return FakeAppendFile(self, path, file, AHEAD_BYTES if ahead else 0)

    def overwrite(self, path: str, data: bytes) -> None:
        file = self._open_or_make(path)
        self._write(file, path, 0, data)
        if len(file.data) > len(data):
            self._call("truncate", path)
            with self._lock:
                file.resize(len(data))

    def allocate(self, path: str, size: int) -> None:
        existed = self.exists(path)
        file = self._open_or_make(path)
        try:
            if size <= 0:
                raise _error(errno.EINVAL, path)
            self._call("allocate", path)
            with self._lock:
                if size - len(file.data) > self._room():
                    raise _error(errno.ENOSPC, path)
                if size > len(file.data):
                    file.resize(size)
        except OSError:
            if not existed:
                with contextlib.suppress(OSError):
                    self.unlink(path)
            raise

    # Names

    def rename(self, source: str, target: str) -> None:
        self._check_rename(source, target)
        self._call("rename", target)
        with self._lock:
            from_directory, from_name, to_directory, to_name = self._check_rename(source, target)
            node = from_directory.names[from_name]
            if (from_directory, from_name) != (to_directory, to_name):
                self._change((from_directory, from_name, None), (to_directory, to_name, node))

    def rename_new(self, source: str, target: str) -> None:
        self._check_rename(source, target, new=True)
        self._call("rename_new", target)
        with self._lock:
            from_directory, from_name, to_directory, to_name = self._check_rename(
                source, target, new=True
            )
            node = from_directory.names[from_name]
            self._change((from_directory, from_name, None), (to_directory, to_name, node))

    def replace(self, source: str, target: str) -> None:
        if self.swap(source, target):
            self.unlink(source)

    def swap(self, source: str, target: str) -> bool:
        from_directory, from_name = self._locate(source)
        to_directory, to_name = self._locate(target)
        if source == target or from_name not in from_directory.names:
            self.rename(source, target)
            return False
        if to_name not in to_directory.names or self._is_above(target, source):
            self.rename(source, target)
            return False
        if isinstance(to_directory.names[to_name], Directory):
            raise _error(errno.EISDIR, source)
        self._call("exchange", target)
        with self._lock:
            old, new = to_directory.names[to_name], from_directory.names[from_name]
            self._change((from_directory, from_name, old), (to_directory, to_name, new))
        return True

    def refill(self, path: str, data: bytes) -> bool:
        with self._living():
            file = self._file(path, writing=True)
        self._write(file, path, 0, data)
        if len(file.data) > len(data):
            self._call("truncate", path)
            with self._lock:
                file.resize(len(data))
        return True

    def unlink(self, path: str) -> None:
        self._check_unlink(path)
        self._call("unlink", path)
        with self._lock:
            self._change((*self._check_unlink(path), None))

    def mkdir(self, path: str, *, exist_ok: bool = False) -> None:
        directory, name = self._locate(path)
        if name in directory.names:
            if exist_ok and isinstance(directory.names[name], Directory):
                return
            raise _error(errno.EEXIST, path)
        self._call("mkdir", path)
        with self._lock:
            self._change((directory, name, Directory(mtime_ns=self._tick())))

    # Durability

    def sync_file(self, path: str) -> None:
        with self._living():
            file = self._file(path)
        self._sync("sync_file", path, [file], [])

    def sync_dir(self, path: str = "") -> None:
        with self._living():
            directory = self._directory(path)
        self._sync("sync_dir", path, [], [directory])

    def sync_all(self) -> None:
        with self._living():
            nodes = [node for _, node in self._walk(self._root)]
            gone = {d for operation in self._pending for d in operation.unsynced}
        files = [node for node in nodes if isinstance(node, File)]
        directories = {self._root, *gone, *(n for n in nodes if isinstance(n, Directory))}
        self._sync("sync_all", "", files, directories)

    def poison_file(self, path: str) -> None:
        """Make it as if a sync of this file had just failed."""
        file = self._file(path)
        file.poison(file)

    def poison_dir(self, path: str = "") -> None:
        """Make it as if a sync of this directory had just failed."""
        directory = self._directory(path)
        self._poison_names(op for op in self._pending if directory in op.unsynced)

    def poison_all(self) -> None:
        """Make it as if a sync of everything had just failed."""
        for _, node in self._walk(self._root):
            if isinstance(node, File):
                node.poison(node)
        self._poison_names(self._pending)

    # After the end

    def tree(self) -> dict[str, bytes | None]:
        """Return every path with its content as programs see it, None for a directory."""
        return {
            path: bytes(node.data) if isinstance(node, File) else None
            for path, node in self._walk(self._root)
        }

    def clone(self) -> "FakeDisk":
        """Return a copy in the same volatile and durable state, alive, without hooks or calls."""
        twins: dict[Node, Node] = {}

        def twin(node: Node) -> Node:
            if node not in twins:
                if isinstance(node, File):
                    twins[node] = node.copy()
                else:
                    copy = twins[node] = Directory(mtime_ns=node.mtime_ns)
                    copy.names = {name: twin(child) for name, child in node.names.items()}
                    copy.durable = {name: twin(child) for name, child in node.durable.items()}
            return twins[node]

        other = self._fresh()
        other._root = twin(self._root)
        for operation in self._pending:
            changes = [
                (twin(directory), name, None if node is None else twin(node))
                for directory, name, node in operation.changes
            ]
            unsynced = {twin(directory) for directory in operation.unsynced}
            other._pending.append(Operation(changes, unsynced, operation.poisoned))
        if self._last_write is not None:
            file, before, offset = self._last_write
            other._last_write = (twin(file), before, offset)
        return other

    def kill_state(self, short: int | None = None) -> "FakeDisk":
        """Return what a killed process leaves: all it did, none of it more durable than before.

        With `short` and a write as the very last step, the kill came in that write and only its
        first `short` bytes are there.
        """
        other = self.clone()
        if short is not None and other._last_write is not None:
            file, before, offset = other._last_write
            end = offset + short
            if end < len(file.data):
                file.resize(max(end, len(before)))
                file.write(end, before[end:])
        other._last_write = None
        return other

    def crash_states(self, rng: random.Random, limit: int = 20) -> Iterator["FakeDisk"]:
        """Yield up to `limit` different disks that a power cut now may leave, extremes first.

        For Hypothesis draw the seed; for small disks `st.randoms(use_true_random=False)` will do.
        """
        seen: set[frozenset[tuple[str, bytes | None]]] = set()
        count = len(self._pending)
        extremes: list[tuple[list[bool], Iterable[Remains]]] = [
            ([kept] * count, [remains]) for remains in REMAINS for kept in (True, False)
        ]
        for attempt in range(4 * limit):
            if attempt < len(extremes):
                choice, remains = extremes[attempt]
            else:
                choice, remains = self._random_choice(rng), REMAINS
            state = self._after_power_cut(choice, [*remains], rng)
            key = frozenset(state.tree().items())
            if key not in seen:
                seen.add(key)
                yield state
            if len(seen) >= limit:
                return

    def _random_choice(self, rng: random.Random) -> list[bool]:
        count = len(self._pending)
        if rng.random() < 0.5:
            return [rng.random() < 0.5 for _ in range(count)]
        cut = rng.randint(0, count)  # the order of all operations kept, as a journal does
        return [i < cut for i in range(count)]

    def _after_power_cut(
        self, choice: list[bool], remains: list[Remains], rng: random.Random
    ) -> "FakeDisk":
        names: dict[Directory, dict[str, Node]] = {}
        chosen, _ = with_predecessors(self._pending, choice)
        for operation in chosen:
            for directory, name, node in operation.changes:
                set_name(names.setdefault(directory, dict(directory.durable)), name, node)
        left: dict[Node, Node] = {}

        def leave(node: Node) -> Node:
            if node in left:
                return left[node]
            if isinstance(node, File):
                content = node.durable
                if node.unsynced():
                    content = (remains[0] if len(remains) == 1 else rng.choice(remains))(node, rng)
                left[node] = File(content, node.mtime_ns)
            else:
                copy = left[node] = Directory(mtime_ns=node.mtime_ns)
                entries = names.get(node, node.durable)
                copy.names = {name: leave(child) for name, child in entries.items()}
                copy.durable = dict(copy.names)
            return left[node]

        other = self._fresh()
        other._root = leave(self._root)
        return other

    def _fresh(self) -> "FakeDisk":
        other = FakeDisk(capacity=self.capacity)
        other.now_ns = self.now_ns
        return other

    # Steps

    @contextlib.contextmanager
    def _living(self) -> Iterator[None]:
        with self._lock:
            if self.crashed:
                raise Crash
            yield

    def _call(self, name: str, path: str) -> None:
        """Account for one step; raises what the test wants it to end with."""
        with self._living():
            self.calls.append((name, path))
            self._last_write = None
        if self.on_call is not None:
            try:
                self.on_call(name, path)
            except Crash:
                self.crashed = True
                raise
        if self.crashed:
            raise Crash

    def _tick(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def _write(self, file: File, path: str, offset: int, data: bytes) -> None:
        self._call("write", path)
        with self._lock:
            before = bytes(file.data)
            room = self._room() + len(file.data) - offset
            file.write(offset, data[: max(0, room)])
            file.mtime_ns = self._tick()
            self._last_write = (file, before, offset)
            if len(data) > room:
                raise _error(errno.ENOSPC, path)

    def _room(self) -> int:
        if self.capacity is None:
            return 1 << 62
        files = {node for _, node in self._walk(self._root) if isinstance(node, File)}
        return self.capacity - sum(len(file.data) for file in files)

    def _make(self, path: str) -> File:
        directory, name = self._locate(path)
        if name in directory.names:
            raise _error(errno.EEXIST, path)
        self._call("create", path)
        with self._lock:
            if name in directory.names:
                raise _error(errno.EEXIST, path)
            file = File(mtime_ns=self._tick())
            self._change((directory, name, file))
            return file

    def _open_or_make(self, path: str) -> File:
        if self.exists(path):
            return self._file(path, writing=True)
        return self._make(path)

    def _change(self, *changes: tuple[Directory, str, Node | None]) -> None:
        for directory, name, node in changes:
            set_name(directory.names, name, node)
            directory.mtime_ns = self._tick()
        self._pending.append(Operation([*changes], {directory for directory, _, _ in changes}))

    def _sync(
        self, call: str, path: str, files: Iterable[File], directories: Iterable[Directory]
    ) -> None:
        """Make durable what was there when the sync began; what came while it ran may be lost."""
        directories = set(directories)
        with self._lock:
            seen = [(file, file.copy()) for file in files if file.unsynced()]
            covered = [op for op in self._pending if op.unsynced & directories]
        try:
            self._call(call, path)
        except OSError:
            with self._lock:
                for file, copy in seen:
                    file.poison(copy)
                self._poison_names(covered)
            raise
        with self._lock:
            for file, copy in seen:
                file.sync(copy)
            for operation in covered:
                if not operation.poisoned:
                    operation.unsynced -= directories
            durable = [not operation.unsynced for operation in self._pending]
            chosen, self._pending = with_predecessors(self._pending, durable)
            for operation in chosen:
                for directory, name, node in operation.changes:
                    set_name(directory.durable, name, node)

    def _poison_names(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            operation.poisoned = True

    # Names to nodes

    def _directory(self, path: str) -> Directory:
        if not path:
            return self._root
        parent, name = self._locate(path)
        if name not in parent.names:
            raise _error(errno.ENOENT, path)
        node = parent.names[name]
        if not isinstance(node, Directory):
            raise _error(errno.ENOTDIR, path)
        return node

    def _locate(self, path: str) -> tuple[Directory, str]:
        directory, name = split_path(path)
        with self._living():
            return self._directory(directory), name

    def _node(self, path: str) -> Node:
        directory, name = self._locate(path)
        if name not in directory.names:
            raise _error(errno.ENOENT, path)
        return directory.names[name]

    def _file(self, path: str, *, writing: bool = False) -> File:
        node = self._node(path)
        if not isinstance(node, File):
            raise NotRegular(errno.EISDIR if writing else errno.EINVAL, "not a regular file", path)
        return node

    def _check_rename(
        self, source: str, target: str, *, new: bool = False
    ) -> tuple[Directory, str, Directory, str]:
        """Raise what rename(2) would, in its order of precedence."""
        from_directory, from_name = self._locate(source)
        to_directory, to_name = self._locate(target)
        moved = from_directory.names.get(from_name)
        there = to_directory.names.get(to_name)
        if moved is None:
            raise _error(errno.ENOENT, source)
        if new and there is not None:
            raise _error(errno.EEXIST, target)
        if self._is_above(source, target):
            raise _error(errno.EINVAL, source)
        if self._is_above(target, source):
            raise _error(errno.ENOTEMPTY, target)
        if there is not None and there is not moved:
            if isinstance(moved, Directory) and not isinstance(there, Directory):
                raise _error(errno.ENOTDIR, target)
            if isinstance(there, Directory) and not isinstance(moved, Directory):
                raise _error(errno.EISDIR, target)
            if isinstance(there, Directory) and there.names:
                raise _error(errno.ENOTEMPTY, target)
        return from_directory, from_name, to_directory, to_name

    def _check_unlink(self, path: str) -> tuple[Directory, str]:
        if isinstance(self._node(path), Directory):
            raise _error(errno.EISDIR, path)
        return self._locate(path)

    def _is_above(self, path: str, other: str) -> bool:
        return other.startswith(path + "/") and isinstance(self._node(path), Directory)

    def _walk(self, directory: Directory, prefix: str = "") -> Iterator[tuple[str, Node]]:
        for name, node in [*directory.names.items()]:
            yield prefix + name, node
            if isinstance(node, Directory):
                yield from self._walk(node, f"{prefix}{name}/")


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
