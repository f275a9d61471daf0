"""What `list --json` says of a job, and what chooses and orders jobs; in any process."""

import pickle
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jqueue.job.document import new_document
from jqueue.job.parameters import MAX_SECONDS
from jqueue.job.query import ALL, Choice, compile_filter, in_order, parse_filter
from jqueue.job.row import iso_time
from jqueue.job.snapshot import Job

JOB = Job(new_document(7, [{"OP_ID": "OP_COPY"}], now=1_700_000_000 * 10**9))


@given(st.integers(0, MAX_SECONDS), st.integers(0, 999_999))
def test_a_time_reads_as_pythons_own_isoformat(seconds, micros):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micros)
    assert iso_time([seconds, micros]) == moment.isoformat()


def test_a_choice_means_the_same_in_another_process():
    for text, meant in (
        ("id == 7 and 'OP_COPY' in kinds", True),
        ('received_ts > "2h ago"', False),
    ):
        form = parse_filter(text, now=datetime(2026, 1, 1, tzinfo=UTC))
        choice = Choice(("queued",), 5.0, compile_filter(form))
        copy = pickle.loads(pickle.dumps(choice))
        assert choice.matches(JOB) is copy.matches(JOB) is meant


def test_a_field_means_the_same_in_another_process():
    for field in ALL.values():
        assert pickle.loads(pickle.dumps(field)) is field


def test_what_has_no_value_comes_last_and_equals_keep_their_order():
    keyed = [(2, "a"), (None, "b"), (1, "c"), (2, "d")]
    assert in_order(keyed, descending=False) == ["c", "a", "d", "b"]
    assert in_order(keyed, descending=True) == ["a", "d", "c", "b"]
    assert in_order([([1], "a"), (["x"], "b")], descending=False) == ["b", "a"]
