import enum
import json
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidJob
from jqueue.job.jsonio import MAX_DEPTH, check_storable, dumps, loads, loads_strict
from jqueue.job.status import JobStatus

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)
# What a reader of string tokens stumbles over.
TRICKY = st.text('"\\:, \n{ä', max_size=20)
TEXTS = st.recursive(
    TRICKY, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4)
)


def same(one, other):
    """Equal, and of the same types: 1, 1.0 and True are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@given(VALUES)
def test_what_is_accepted_reads_back_equal(value):
    copy = check_storable(value)
    assert same(copy, value)
    assert same(loads(dumps(copy)), value)
    assert same(loads_strict(dumps(copy)), value)


@given(VALUES, st.sampled_from([None, 2]), st.booleans())
def test_whoever_wrote_the_text_it_means_the_same(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert same(loads_strict(text.encode()), value)


@given(st.binary(max_size=60) | st.text('{}[]":,\\ua1e9.-\n').map(str.encode))
def test_no_bytes_do_more_than_be_refused(data):
    try:
        value = loads_strict(data)
    except InvalidJob:
        return
    assert same(loads_strict(dumps(value)), value)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", 'c":', "d\\"]), st.integers(-9, 9)), max_size=5)
)
def test_a_key_that_is_there_twice_is_refused(pairs):
    members = ", ".join(f"{json.dumps(key)} : {value}" for key, value in pairs)
    text = f'[{{"x": {{{members}}}}}, ":"]'.encode()
    if len(dict(pairs)) == len(pairs):
        assert loads_strict(text) == [{"x": dict(pairs)}, ":"]
    else:
        with pytest.raises(InvalidJob, match="duplicate key"):
            loads_strict(text)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"",
            b"1 1",
            b"{",
            b"NaN",
            b"-Infinity",
            b"1e999",
            b"-1e999",
            b'"\xff"',
            b"\xff\xfe1\x00",
        ),
        *(b'"\\ud800"', b'"\\udc00x"', b'{"\\ud800":1}', b'"\xed\xa0\x80"', b"\xef\xbb\xbf1"),
        *(b"18446744073709551616", b"-9223372036854775809", b"9" * 30, b"9" * 5000),
        *(b'{"a":1,"\\u0061":2}', b'{"a":{"b":1,"b":1}}', b'"\n"', b"[1,]", b"01", b"'a'"),
        *(b"[" * 101 + b"]" * 101, b"[" * 100_000, b'{"a":' * 101 + b"1" + b"}" * 101),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_hostile_json_is_refused_at_the_door(data):
    with pytest.raises(InvalidJob) as caught:
        loads_strict(data)
    assert "\n" not in str(caught.value)


def test_the_limits_are_the_callers():
    assert loads_strict(b"[[1]]", max_bytes=5, max_depth=2) == [[1]]
    with pytest.raises(InvalidJob, match="longer than 4 bytes"):
        loads_strict(b"[[1]]", max_bytes=4)
    with pytest.raises(InvalidJob, match="deeper than 1 levels"):
        loads_strict(b"[[1]]", max_depth=1)


def test_depth_is_counted_not_size():
    wide = [[[]] for _ in range(1000)]
    assert loads_strict(dumps(wide)) == wide
    assert check_storable(wide) == wide
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert check_storable(loads_strict(deepest)) == loads(deepest)
    with pytest.raises(InvalidJob, match="nested too deeply"):
        check_storable([loads(deepest)])


def test_a_large_float_is_a_float():
    assert same(loads_strict(b"[1e20, 9223372036854775808.0]"), [1e20, 2.0**63])


class Colour(enum.StrEnum):
    RED = "red"


class Pair(NamedTuple):
    a: int
    b: int


class Plain(enum.Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, (2, "x")), [1, [2, "x"]]),
        ({"a": (1,), "b": [()]}, {"a": [1], "b": [[]]}),
        ({"status": JobStatus.ERROR, Colour.RED: Colour.RED}, {"status": "error", "red": "red"}),
        (OrderedDict(a=1), {"a": 1}),
        (Pair(1, 2), [1, 2]),
        (enum.IntEnum("Number", "ONE").ONE, 1),
    ],
)
def test_python_values_become_plain_ones(value, stored):
    assert same(check_storable(value), stored)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        *((float("nan"), None), ({"x": float("inf")}, "x"), ({"a": [1, {"b": {1}}]}, "a[1].b")),
        *(({1: 2}, None), ({"a": {None: 1}}, "a"), (2**64, None), ({"n": -(2**63) - 1}, "n")),
        *(({"s": "\ud800"}, "s"), ({"\ud800": 1}, "\\ud800"), (b"x", None), (object(), None)),
        *((uuid.UUID(int=1), None), (datetime.now(UTC), None), (Plain.ONE, None)),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value, field):
    with pytest.raises(InvalidJob) as caught:
        check_storable(value)
    assert caught.value.field == field


def test_a_value_that_contains_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(InvalidJob):
        check_storable(value)


def test_the_stored_copy_is_not_the_callers():
    value = {"list": [1]}
    copy = check_storable(value)
    value["list"].append(2)
    assert copy == {"list": [1]}


def test_only_storable_values_and_logs_are_written():
    with pytest.raises(TypeError):
        dumps({"x": object()})
