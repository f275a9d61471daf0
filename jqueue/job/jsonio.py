"""JSON: strict at the door, fast inside.

What comes from outside passes `loads_strict` (bytes) or `check_storable` (Python values); whatever
they let through is written by `dumps` and reads back equal. Our own bytes are read by `loads`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

from jqueue.errors import InvalidJob
from jqueue.job.jsontext import count_keys
from jqueue.job.log import Log

MAX_DEPTH = 100
"""Nesting of one value. orjson writes 254 levels; a job document adds some of its own."""

MAX_BYTES = 64 * 1024 * 1024
"""Size of one text: nothing larger fits a record of the journal."""

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_LARGE_FLOAT = 2.0**63
_PLAIN_ONLY = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)


def loads(data: bytes | bytearray) -> Any:
    """The value of trusted JSON: our own journal and files. Raises ValueError if it is none."""
    return orjson.loads(data)


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON of a storable value, without a newline; logs become lists."""
    return orjson.dumps(value, default=_default)


def loads_strict(
    data: bytes | bytearray, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> Any:
    """The value of JSON from outside.

    Raises InvalidJob for what is too long or too deep, for bad UTF-8, lone surrogates, NaN,
    infinities, duplicate keys, and integers that need more than 64 bits.
    """
    if len(data) > max_bytes:
        raise InvalidJob(f"JSON text of {len(data)} bytes is longer than {max_bytes} bytes")
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise InvalidJob(f"not JSON: {error}") from error
    keys, suspect = _survey(value, max_depth)
    # A key that the value lacks was there twice; not every message has keys.
    if suspect or (keys and keys != count_keys(data)):
        return _loads_slowly(data)
    return value


def _survey(value: Any, max_depth: int) -> tuple[int, bool]:
    """The number of keys in `value`, and whether a number in it needs a closer look."""
    keys, suspect, depth = 0, False, 0
    level = [value]
    while level:
        below: list[Any] = []
        nested = False
        for item in level:
            kind = type(item)
            if kind is dict:
                nested = True
                keys += len(item)
                below.extend(item.values())
            elif kind is list:
                nested = True
                below.extend(item)
            elif kind is float and not -_LARGE_FLOAT < item < _LARGE_FLOAT:
                suspect = True
        depth += nested
        if depth > max_depth:
            raise InvalidJob(f"JSON is nested deeper than {max_depth} levels")
        level = below
    return keys, suspect


def _loads_slowly(data: bytes | bytearray) -> Any:
    """The standard library's reading of valid JSON, which can tell what orjson can't.

    orjson takes the last of two equal keys, and makes a float of an integer beyond 64 bits.
    """
    return json.loads(
        data.decode(),
        parse_int=_checked_int,
        parse_float=_checked_float,
        object_pairs_hook=_checked_object,
    )


def _checked_int(text: str) -> int:
    # Python refuses to convert 4301 digits; 20 are more than 64 bits hold.
    if len(text) > len(str(_INT_MIN)) or not _INT_MIN <= int(text) <= _INT_MAX:
        raise InvalidJob(f"integer needs more than 64 bits: {text:.40}")
    return int(text)


def _checked_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJob(f"number is out of range: {text:.40}")
    return number


def _checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidJob(f"duplicate key {key!r:.80}", field=key)
            seen.add(key)
    return value


def check_parsed(value: Any, *, max_depth: int = MAX_DEPTH) -> Any:
    """As `check_storable`, of a value out of `loads_strict` that nobody else holds: no copy."""
    try:
        _survey(value, max_depth)
    except InvalidJob:
        return _storable(value, "", max_depth)
    return value


def check_storable(value: Any, *, max_depth: int = MAX_DEPTH) -> Any:
    """A copy of `value` made of plain JSON types, which reads back equal from what `dumps` writes.

    Tuples become lists, subclasses of the plain types become these. Raises InvalidJob, with the
    place as its field, for anything that JSON can't hold (as in `loads_strict`).
    """
    try:
        text = orjson.dumps(value, option=_PLAIN_ONLY)
    except orjson.JSONEncodeError:
        return _storable(value, "", max_depth)
    copy = orjson.loads(text)
    # Equal, and certainly not too deep: the usual case, at the speed of C.
    if copy == value and text.count(b"[") + text.count(b"{") <= max_depth:
        return copy
    return _storable(value, "", max_depth)


def _storable(value: Any, place: str, depth_left: int) -> Any:
    """`check_storable` in Python; recursion is bounded by `depth_left`."""
    if not isinstance(value, list | tuple | Mapping | Log):
        return _storable_scalar(value, place)
    if depth_left == 0:
        raise _refused(place, "nested too deeply")
    if not isinstance(value, Mapping):
        items = enumerate(value)
        return [_storable(item, f"{place}[{at}]", depth_left - 1) for at, item in items]
    copy = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _refused(place, f"an object with the key {key!r:.40}, which is not text")
        inner = f"{place}.{key}" if place else str.__str__(key)
        copy[_storable_text(str.__str__(key), inner)] = _storable(item, inner, depth_left - 1)
    return copy


def _storable_scalar(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _storable_text(str.__str__(value), place)
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise _refused(place, "an integer that needs more than 64 bits")
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(place, "a number that JSON can't hold")
        return float.__float__(value)
    raise _refused(place, f"a {type(value).__name__}, which JSON can't hold")


def _storable_text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(place, "text with a lone surrogate") from None
    return text


def _refused(place: str, what: str) -> InvalidJob:
    shown = place.encode(errors="backslashreplace").decode()[:200]
    return InvalidJob(f"{shown or 'the value'} is {what}", field=shown or None)


def _default(value: Any) -> Any:
    if isinstance(value, Log):
        return value.flatten()
    raise TypeError(f"{type(value).__name__} is not storable")
