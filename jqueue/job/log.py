"""The log of an opcode: appending costs the same however long it is."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import orjson


class Log(Sequence[Any]):
    """An immutable sequence of log entries that shares its entries with the logs it grew from.

    `append` returns a longer log and leaves this one as it is. The longest log of a family appends
    in place to the shared list; a log that was overtaken (its records were cut from the journal
    and others follow) copies first. Appends to one family must not run at the same time; reading
    needs no lock.
    """

    __slots__ = ("_entries", "_length", "_size_bytes")

    def __init__(self, entries: Iterable[Any] = ()) -> None:
        self._entries = list(entries)
        self._length = len(self._entries)
        self._size_bytes = None if self._entries else 0

    @classmethod
    def of(cls, entries: "Log | Iterable[Any] | None") -> "Log":
        """The log of a document: itself if it is a Log already, else a new one of its entries."""
        return entries if isinstance(entries, Log) else cls(entries or ())

    def append(self, entries: Iterable[Any]) -> "Log":
        """This log and then `entries`."""
        overtaken = len(self._entries) != self._length
        shared = self.flatten() if overtaken else self._entries
        shared.extend(entries)
        longer = Log()
        longer._entries, longer._length = shared, len(shared)
        if self._size_bytes is None:
            longer._size_bytes = None
        else:
            longer._size_bytes = self._size_bytes + _size_bytes(shared[self._length :])
        return longer

    @property
    def size_bytes(self) -> int:
        """How long all entries are as JSON; counted once, then kept up by `append`."""
        if self._size_bytes is None:
            self._size_bytes = _size_bytes(self.flatten())
        return self._size_bytes

    def flatten(self) -> list[Any]:
        """The entries as a list of their own."""
        return self._entries[: self._length]

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._entries[at] for at in range(*index.indices(self._length))]
        at = index + self._length if index < 0 else index
        if not 0 <= at < self._length:
            raise IndexError("log index out of range")
        return self._entries[at]

    def __iter__(self) -> Iterator[Any]:
        return islice(self._entries, self._length)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Log):
            return self.flatten() == other.flatten()
        return self.flatten() == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list: equal to lists, which have no hash

    def __repr__(self) -> str:
        return f"Log({self.flatten()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Log, (self.flatten(),)


def _size_bytes(entries: Iterable[Any]) -> int:
    return sum(len(orjson.dumps(entry)) for entry in entries)
