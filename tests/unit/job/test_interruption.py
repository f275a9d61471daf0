import pytest

from jqueue.job.document import timestamp, with_op
from jqueue.job.interruption import (
    PARKED_UNKNOWN,
    interruption_updates,
    is_unresolved,
    resolve_updates,
)
from jqueue.job.status import calc_status
from jqueue.job.transitions import cancel, cancel_final_updates, start_updates
from tests.unit.job.making import LATER, NOW, applied, delay, fresh, statuses


def running(policy="requeue", limit=3):
    job = fresh(delay(), delay())
    started = start_updates(
        *(job, 0, NOW), interruption=policy, max_interruptions=limit, locks={"a": "shared"}
    )
    return with_op(applied(job, started), 0, token=5)


def interrupted(job):
    return applied(job, interruption_updates(job, 0, LATER))


def test_a_requeued_opcode_says_how_often_it_was_interrupted_and_forgets_its_token():
    job = interrupted(running())
    op = job["ops"][0]
    assert (op["status"], op["interruptions"], op["attempts"]) == ("queued", 1, 1)
    assert "token" not in op
    assert "locks" not in op


def test_an_opcode_that_kills_its_process_again_and_again_fails_at_its_limit():
    job = fresh()
    for _ in range(3):
        job = applied(job, start_updates(job, 0, NOW, max_interruptions=3))
        job = interrupted(job)
        assert calc_status(job["ops"]) == "queued"
    job = applied(job, start_updates(job, 0, NOW, max_interruptions=3))
    job = interrupted(job)
    assert (calc_status(job["ops"]), job["ops"][0]["interruptions"]) == ("error", 4)
    assert "interrupted 4 times" in job["ops"][0]["result"][1][0]
    assert job["end_timestamp"] == timestamp(LATER)


def test_a_limit_of_none_at_all_is_kept():
    assert statuses(interrupted(running(limit=0))) == ["error", "error"]


def test_an_opcode_may_fail_when_it_is_interrupted():
    job = interrupted(running("fail"))
    assert statuses(job) == ["error", "error"]
    assert "interrupted" in job["ops"][0]["result"][1][0]
    assert job["ops"][0]["interruptions"] == 1


@pytest.mark.parametrize("policy", ["unknown", "a policy of a later version"])
def test_an_opcode_that_runs_at_most_once_is_set_aside(policy):
    job = interrupted(running(policy))
    op = job["ops"][0]
    assert (op["status"], op["parked"]) == ("waiting", PARKED_UNKNOWN)
    assert is_unresolved(op)
    assert "locks" not in op
    assert not is_unresolved(job["ops"][1])


def test_a_person_resolves_what_was_set_aside():
    job = interrupted(running("unknown"))
    happened = applied(job, resolve_updates(job, 0, happened=True, now=LATER))
    assert statuses(happened) == ["success", "queued"]
    assert "parked" not in happened["ops"][0]
    again = applied(job, resolve_updates(job, 0, happened=False, now=LATER))
    assert statuses(again) == ["queued", "queued"]
    assert "parked" not in again["ops"][0]


def test_what_was_set_aside_can_be_canceled():
    job = interrupted(running("unknown"))
    outcome, updates = cancel(job, now=LATER)
    job = applied(job, updates)
    assert outcome
    job = applied(job, cancel_final_updates(job, LATER))
    assert statuses(job) == ["canceled", "canceled"]
    assert "parked" not in job["ops"][0]


@pytest.mark.parametrize("policy", ["requeue", "fail", "unknown"])
def test_a_killed_opcode_whose_process_is_gone_is_canceled_whatever_its_policy(policy):
    job = running(policy)
    job = applied(job, cancel(job, now=NOW, kill=True)[1])
    assert statuses(job) == ["canceling", "canceling"]
    job = interrupted(job)
    assert statuses(job) == ["canceled", "canceled"]
    assert "interruptions" not in job["ops"][0]


def test_an_opcode_of_ganetis_has_the_default_policy():
    job = with_op(fresh(), 0, status="running")
    assert statuses(interrupted(job)) == ["queued"]
