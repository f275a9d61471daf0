import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqueue.job.status import FINALIZED, JobStatus, calc_priority, calc_status, parse_status
from tests.unit.job.making import fresh, with_statuses
from tests.unit.job.oracle import status_and_priority

OPS = st.lists(
    st.tuples(st.sampled_from([status.value for status in JobStatus]), st.integers(-20, 19)),
    max_size=12,
)


def as_ops(pairs):
    return [{"status": status, "priority": priority} for status, priority in pairs]


@settings(max_examples=2000)
@given(OPS)
def test_status_and_priority_agree_with_an_independent_reading_of_the_facts(pairs):
    ops = as_ops(pairs)
    assert (calc_status(ops), calc_priority(ops)) == status_and_priority(pairs)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("", "success"),
        ("success success", "success"),
        ("queued queued", "queued"),
        ("success success waiting", "waiting"),
        ("success running queued queued", "running"),
        ("success success canceling canceling", "canceling"),
        ("success success success success error error", "error"),
        ("canceled canceled", "canceled"),
        ("success queued", "queued"),
        ("waiting running queued", "running"),
        ("running waiting", "waiting"),
        ("canceling error", "canceling"),
        ("error canceled running", "error"),
        ("running canceled", "canceled"),
    ],
)
def test_status_is_ganetis(statuses, expected):
    assert calc_status(as_ops([(status, 0) for status in statuses.split()])) == expected


@given(OPS, st.integers(0, 12))
def test_a_successful_opcode_never_changes_the_status(pairs, at):
    more = [*pairs[:at], ("success", 0), *pairs[at:]]
    assert calc_status(as_ops(more)) == calc_status(as_ops(pairs))


@given(OPS, st.sampled_from(["error", "canceling", "canceled"]))
def test_a_deciding_opcode_put_before_decides(pairs, status):
    assert calc_status(as_ops([(status, 0), *pairs])) == status


def test_a_fresh_job_is_queued_with_priority_0():
    assert (calc_status(fresh()["ops"]), calc_priority(fresh()["ops"])) == ("queued", 0)


@pytest.mark.parametrize(
    ("statuses", "priorities", "expected"),
    [
        ("queued queued", [5, -10], -10),
        ("running queued", [-20, 0], -20),
        ("success error", [-20, -20], 0),
        ("success queued", [-20, 7], 7),
        ("canceling waiting", [3, 4], 3),
        ("", [], 0),
    ],
)
def test_the_priority_is_the_most_urgent_of_the_unfinished(statuses, priorities, expected):
    ops = with_statuses(*statuses.split(), priorities=priorities)["ops"] if statuses else []
    assert calc_priority(ops) == expected


def test_a_status_is_its_text():
    assert "success" in FINALIZED
    assert "running" not in FINALIZED
    assert parse_status("error") is JobStatus.ERROR
    assert [parse_status(wrong) for wrong in ("Error", "", None, 5, ["error"])] == [None] * 5
