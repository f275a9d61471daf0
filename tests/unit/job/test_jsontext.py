"""JSON as text: what stands outside of its strings is counted right, wherever a window ends."""

import json
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.job import jsontext
from jqueue.job.jsontext import count_keys, has_more_values

TEXTS = st.text('ab"\\,:[]{}é\n\u2028', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def marks(value):
    """How many values and keys there are below a value; an empty container has one more."""
    if isinstance(value, list):
        return max(len(value), 1) + sum(map(marks, value))
    if isinstance(value, dict):
        return max(2 * len(value), 1) + sum(map(marks, value.values()))
    return 0


def keys(value):
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (len(value) if isinstance(value, dict) else 0) + sum(map(keys, below))


@pytest.mark.parametrize("window_bytes", [2, 3, 7, 16, 1 << 16])
@given(value=VALUES, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_keys_and_values_are_counted_wherever_a_window_ends(
    window_bytes, value, indent, ascii_only
):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    with (
        mock.patch.object(jsontext, "WINDOW_BYTES", window_bytes),
        mock.patch.object(jsontext, "_SCANNED_BYTES", 2 * window_bytes),
    ):
        assert count_keys(text) == count_keys(bytearray(text)) == keys(value)
        assert not has_more_values(text, marks(value))
        assert has_more_values(text, marks(value) - 1)


@given(st.binary(max_size=40) | st.text('{}[]":,\\1', max_size=40).map(str.encode))
def test_no_bytes_keep_the_count_from_its_end(data):
    with mock.patch.object(jsontext, "WINDOW_BYTES", 2):
        assert not has_more_values(data, len(data))
        has_more_values(data, 0)


def test_what_looks_like_a_million_values_within_a_string_is_one():
    text = b'["' + b"[,{:" * (1 << 18) + b'"]'
    assert not has_more_values(text, 1)


def test_the_count_ends_where_the_limit_is_passed():
    text = b"[" + b'"",' * (1 << 18) + b"1]"
    looked_at = []
    marks_of = jsontext._marks

    def noted(window):
        looked_at.append(len(window))
        return marks_of(window)

    with (
        mock.patch.object(jsontext, "_marks", noted),
        mock.patch.object(jsontext, "WINDOW_BYTES", 1 << 12),
    ):
        assert has_more_values(text, 1000)
    assert looked_at[-1] < 1 << 12
    assert sum(looked_at) < len(text) + (1 << 12)
