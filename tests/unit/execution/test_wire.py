"""Frames: however the bytes are cut, the same messages come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue import TooLarge
from jqueue.execution.wire import END, Splitter, frame
from jqueue.job import jsonio

MESSAGES = st.lists(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=8,
)


@given(MESSAGES, st.lists(st.integers(1, 50), max_size=50))
def test_messages_survive_any_cut(messages, sizes):
    stream = b"".join(frame(message) for message in messages)
    splitter, found = Splitter(), []
    for size in [*sizes, len(stream)]:
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert [jsonio.loads(text) for text in found] == messages
    assert splitter.pending_bytes == 0


def test_control_characters_never_end_a_frame():
    assert frame("\x03").count(END) == 1


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_longer_frames_than_allowed_are_refused_before_they_are_whole(cut):
    splitter = Splitter(limit_bytes=10)
    assert splitter.feed(b"x" * 10 + END) == [b"x" * 10]
    pieces = [b"y" * cut] * 100
    with pytest.raises(TooLarge):
        list(map(splitter.feed, pieces))


def test_too_long_frame_among_others_is_refused():
    with pytest.raises(TooLarge):
        Splitter(limit_bytes=4).feed(b"ok" + END + b"too long" + END)
