"""What the fake disk is made of: files, directories and operations on names, each in two states."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

CLEAN, DIRTY, POISONED = 0, 1, 2


class File:
    """An inode: what programs see in `data`, what the platter has in `durable`."""

    def __init__(self, data: bytes = b"", mtime_ns: int = 0) -> None:
        self.data = bytearray(data)
        self.durable = bytes(data)
        self.mask = bytearray(len(data))  # CLEAN, DIRTY or POISONED for each byte of data
        self.size_mask = CLEAN
        self.mtime_ns = mtime_ns

    def copy(self) -> "File":
        twin = File(mtime_ns=self.mtime_ns)
        twin.data, twin.durable = bytearray(self.data), self.durable
        twin.mask, twin.size_mask = bytearray(self.mask), self.size_mask
        return twin

    def write(self, offset: int, data: bytes) -> None:
        if offset > len(self.data):
            self.resize(offset)
        end = offset + len(data)
        if end > len(self.data):
            self.size_mask = DIRTY
        self.data[offset:end] = data
        self.mask[offset:end] = bytes([DIRTY]) * len(data)

    def resize(self, size: int) -> None:
        if size == len(self.data):
            return
        grown = max(0, size - len(self.data))
        del self.data[size:], self.mask[size:]
        self.data += bytes(grown)
        self.mask += bytes([DIRTY]) * grown
        self.size_mask = DIRTY

    def unsynced(self) -> bool:
        return self.size_mask != CLEAN or self.mask.count(CLEAN) != len(self.mask)

    def sync(self, seen: "File") -> None:
        """Make durable what was dirty in `seen`, the copy taken when the sync began."""
        size = len(seen.data)
        if POISONED not in seen.mask and seen.size_mask != POISONED:
            self.durable = bytes(seen.data)
        else:
            self.durable = seen.written_back()
        if self.data[:size] == seen.data and POISONED not in self.mask:
            self.mask[:size] = bytes(size)
        else:
            for i in range(min(size, len(self.data))):
                if self.mask[i] == seen.mask[i] == DIRTY and self.data[i] == seen.data[i]:
                    self.mask[i] = CLEAN
        if self.size_mask == DIRTY and len(self.data) == size:
            self.size_mask = CLEAN

    def written_back(self) -> bytes:
        """What the platter holds when only the dirty bytes are written, not the poisoned ones."""
        platter = bytearray(self.durable)
        dirty_end = self.mask.rfind(DIRTY) + 1
        size = len(self.data) if self.size_mask == DIRTY else max(len(platter), dirty_end)
        del platter[size:]
        platter += bytes(size - len(platter))
        for i, state in enumerate(self.mask):
            if state == DIRTY:
                platter[i] = self.data[i]
        return bytes(platter)

    def poison(self, seen: "File") -> None:
        for i in range(min(len(seen.data), len(self.data))):
            if self.mask[i] == seen.mask[i] == DIRTY:
                self.mask[i] = POISONED
        if self.size_mask == DIRTY:
            self.size_mask = POISONED

    # What a power cut may leave of it. `rng` decides where the cut goes.

    def lost(self, _: random.Random) -> bytes:
        return self.durable

    def kept(self, _: random.Random) -> bytes:
        return bytes(self.data)

    def torn(self, rng: random.Random) -> bytes:
        cut = rng.randint(self._first_unsynced(), len(self.data))
        return bytes(self.data[:cut]) + self.durable[cut:]

    def zeros(self, _: random.Random) -> bytes:
        return self.durable[: len(self.data)].ljust(len(self.data), b"\0")

    def garbage(self, rng: random.Random) -> bytes:
        content = bytearray(self.torn(rng)[: len(self.data)])
        content += rng.randbytes(len(self.data) - len(content))
        # What stood there before may be lost with what was to overwrite it.
        for at in range(rng.randint(self._first_unsynced(), len(content)), len(content)):
            if self.mask[at] != CLEAN:
                content[at] = rng.randrange(256)
        return bytes(content)

    def hole(self, rng: random.Random) -> bytes:
        begin = rng.randint(self._first_unsynced(), len(self.data))
        end = rng.randint(begin, len(self.data))
        content = bytearray(self.data)
        for i in range(begin, end):
            if self.mask[i] != CLEAN:
                content[i] = self.durable[i] if i < len(self.durable) else 0
        return bytes(content)

    def _first_unsynced(self) -> int:
        places = [i for i in (self.mask.find(DIRTY), self.mask.find(POISONED)) if i >= 0]
        return min(places, default=len(self.data))


Remains = Callable[[File, random.Random], bytes]
REMAINS: tuple[Remains, ...] = (
    File.lost,
    File.kept,
    File.torn,
    File.zeros,
    File.garbage,
    File.hole,
)


@dataclass(eq=False)
class Directory:
    names: "dict[str, Node]" = field(default_factory=dict)
    durable: "dict[str, Node]" = field(default_factory=dict)
    mtime_ns: int = 0


Node = File | Directory


@dataclass(eq=False)
class Operation:
    """A change of names, atomic: each of `changes` says which directory's name becomes what."""

    changes: list[tuple[Directory, str, Node | None]]
    unsynced: set[Directory]
    poisoned: bool = False

    def keys(self) -> set[tuple[Directory, str]]:
        return {(directory, name) for directory, name, _ in self.changes}


def with_predecessors(
    operations: list[Operation], choice: list[bool]
) -> tuple[list[Operation], list[Operation]]:
    """Split into the chosen operations with all earlier ones on their names, and the rest."""
    needed: set[tuple[Directory, str]] = set()
    chosen: list[Operation] = []
    rest: list[Operation] = []
    for operation, wanted in zip(reversed(operations), reversed(choice), strict=True):
        keys = operation.keys()
        if wanted or keys & needed:
            needed |= keys
            chosen.append(operation)
        else:
            rest.append(operation)
    return chosen[::-1], rest[::-1]


def set_name(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node
