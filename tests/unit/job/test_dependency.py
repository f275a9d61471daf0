import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidJob
from jqueue.job.dependency import (
    Verdict,
    dependencies_of,
    judge,
    resolve_inputs,
    resolve_relative,
    validate_depends,
)
from jqueue.job.status import FINALIZED
from tests.unit.job.making import delay, fresh, with_op

FINAL = ["success", "error", "canceled"]


@pytest.mark.parametrize("status", [None, "queued", "waiting", "running", "canceling"])
@pytest.mark.parametrize("wanted", [[], ["success"], FINAL])
def test_an_unfinished_dependency_waits_however_often_it_is_asked(status, wanted):
    recorded = {} if status is None else {"5": status}
    for _ in range(2):
        verdict, text = judge([[5, wanted]], recorded)
        assert (verdict, text) == (Verdict.WAIT, "waiting for job 5")


@pytest.mark.parametrize(
    ("wanted", "status", "verdict"),
    [
        ([], "canceled", Verdict.CANCEL),
        (["success"], "canceled", Verdict.CANCEL),
        (["success", "error"], "canceled", Verdict.CANCEL),
        (["canceled"], "canceled", Verdict.CONTINUE),
        ([], "success", Verdict.CONTINUE),
        ([], "error", Verdict.CONTINUE),
        (["error"], "error", Verdict.CONTINUE),
        (["success"], "error", Verdict.WRONGSTATUS),
        (["error"], "success", Verdict.WRONGSTATUS),
        (["canceled"], "success", Verdict.WRONGSTATUS),
        ([], "lost", Verdict.ERROR),
        (["success"], "lost", Verdict.ERROR),
    ],
)
def test_the_verdict_is_ganetis(wanted, status, verdict):
    assert judge([[5, wanted]], {"5": status})[0] is verdict


@pytest.mark.parametrize("status", FINAL)
def test_any_final_status_that_is_wanted_is_met(status):
    assert judge([[5, FINAL]], {"5": status})[0] is Verdict.CONTINUE


def test_a_job_that_depends_on_itself_is_an_error():
    assert judge([[7, []]], {}, own_id=7)[0] is Verdict.ERROR


def test_a_wrong_status_is_said_with_the_job_and_what_was_wanted():
    _, text = judge([[1, ["success"]]], {"1": "error"})
    assert text == (
        "dependency job 1 finished with status 'error', not one of 'success' as required"
    )


def test_several_dependencies_are_judged_in_order_and_each_passed_once_met():
    depends = [[1, []], [2, ["success"]], [3, []]]
    assert judge(depends, {})[1] == "waiting for job 1"
    assert judge(depends, {"1": "error"})[1] == "waiting for job 2"
    assert judge(depends, {"1": "error", "2": "error"})[0] is Verdict.WRONGSTATUS
    assert judge(depends, {"1": "error", "2": "success", "3": "canceled"})[0] is Verdict.CANCEL
    assert judge(depends, {"1": "error", "2": "success", "3": "error"})[0] is Verdict.CONTINUE


@pytest.mark.parametrize("depends", [None, []])
def test_no_dependencies_are_met(depends):
    assert judge(depends, {})[0] is Verdict.CONTINUE


@given(st.lists(st.sampled_from(FINAL), unique=True), st.sampled_from(FINAL))
def test_a_final_status_always_ends_the_waiting(wanted, status):
    verdict, _ = judge([[5, wanted]], {"5": status})
    assert verdict is not Verdict.WAIT
    assert (verdict is Verdict.CONTINUE) == (status in (wanted or {"success", "error"}))
    assert set(wanted) <= FINALIZED


@pytest.mark.parametrize("given", [None, "x", {}, {"depends": None}])
def test_an_opcode_without_dependencies_has_none(given):
    document = with_op(fresh(), 0, status="queued")
    document["ops"][0]["input"] = given
    assert dependencies_of(document["ops"][0]) == []


def test_a_relative_dependency_counts_entries_of_the_submission_refused_ones_included():
    ids = [101, None, 102]
    assert resolve_relative([[-1, ["error"]], [-3, []], [50, []]], 3, ids) == [
        [102, ["error"]],
        [101, []],
        [50, []],
    ]


def test_an_entry_that_depends_on_a_refused_one_is_refused():
    with pytest.raises(InvalidJob, match="entry 1, which was refused") as caught:
        resolve_relative([[-2, []]], 3, [101, None, 102])
    assert caught.value.field == "depends"


@pytest.mark.parametrize(("index", "back"), [(0, -1), (1, -2), (4, -5)])
def test_a_relative_dependency_never_reaches_before_the_submission(index, back):
    with pytest.raises(InvalidJob):
        resolve_relative([[back, []]], index, [101] * index)


def test_inputs_are_resolved_without_changing_the_submission():
    given = [delay(), delay(depends=[[-1, []]])]
    assert resolve_inputs(given, 1, [101]) == [delay(), delay(depends=[[101, []]])]
    assert given == [delay(), delay(depends=[[-1, []]])]
    with pytest.raises(InvalidJob) as caught:
        resolve_inputs(given, 1, [None])
    assert (caught.value.index, caught.value.field) == (1, "depends")


@pytest.mark.parametrize(
    ("target", "said"),
    [(10, "itself"), (11, "above the serial"), (9, "does not exist"), (-1, "does not exist")],
)
def test_a_dependency_that_can_never_be_met_is_refused_at_submission(target, said):
    with pytest.raises(InvalidJob, match=said) as caught:
        validate_depends([delay(), delay(depends=[[target, []]])], 10, lambda job: job != 9)
    assert (caught.value.index, caught.value.field) == (1, "depends")


def test_a_dependency_on_an_older_job_is_accepted():
    validate_depends([delay(depends=[[8, []]]), delay(depends=None)], 10, lambda job: job == 8)
