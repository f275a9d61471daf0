"""JSON as text, before it is a value: what stands outside of its strings, counted.

A call of C that goes through a whole long text holds the interpreter for as long; here it goes
through one window at a time, and other threads have their turn in between.
"""

from collections.abc import Iterator
from typing import Final

WINDOW_BYTES: Final = 1 << 16
"""What is looked at in one go: at most three milliseconds, if all of it are quotes."""
_SCANNED_BYTES: Final = 1 << 20
"""Counting a byte is a hundred times cheaper."""
_MARKS: Final = b"[{,:"
"""One of these stands before every value and every key but the first value."""


def count_keys(text: bytes | bytearray) -> int:
    """How many keys the objects of a valid JSON text have together; equal ones are counted too."""
    return sum(window.count(b":") for window in _outside(text))


def has_more_values(text: bytes | bytearray, limit: int) -> bool:
    """Whether a JSON text has more values and keys than `limit`; an empty container counts as two.

    Whether it is valid doesn't matter.  The count ends where the limit is passed.
    """
    if sum(map(_marks, _scanned(text))) <= limit:
        return False
    found = 0
    for window in _outside(text):
        found += _marks(window)
        if found > limit:
            return True
    return False


def _marks(text: bytes | bytearray) -> int:
    return sum(map(text.count, _MARKS))


def _scanned(text: bytes | bytearray) -> Iterator[bytes | bytearray]:
    for at in range(0, len(text), _SCANNED_BYTES):
        yield text[at : at + _SCANNED_BYTES]


def _outside(text: bytes | bytearray) -> Iterator[bytes]:
    """What of each window is no part of a string."""
    at, inside = 0, 0
    while at < len(text):
        window = bytes(text[at : at + WINDOW_BYTES])
        at += len(window)
        if at < len(text) and (len(window) - len(window.rstrip(b"\\"))) % 2:
            # The end cuts an escape, which is left to the next one.
            at -= 1
            window = window[:-1]
        # Without what is escaped, each quote begins a string or ends it.
        parts = window.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        yield b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) % 2
