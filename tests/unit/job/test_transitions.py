import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidJob, Refused
from jqueue.job.document import check_document, timestamp, with_job, with_op
from jqueue.job.failure import encode_error
from jqueue.job.jsonio import check_storable, dumps, loads
from jqueue.job.snapshot import Job
from jqueue.job.status import calc_priority, calc_status
from jqueue.job.transitions import (
    age_updates,
    archivable,
    cancel,
    cancel_final_updates,
    change_priority,
    finish_updates,
    finished_at,
    next_op,
    not_before,
    requeue_updates,
    retry_at,
    retry_inputs,
    set_priority_of,
    start_updates,
    wait_updates,
)
from tests.unit.job.making import LATER, NOW, applied, delay, fresh, statuses, with_statuses

END = timestamp(LATER)


class TestCancel:
    def test_a_queued_job_is_canceled_at_once(self):
        outcome, updates = cancel(fresh(delay(), delay()), now=LATER)
        job = applied(fresh(delay(), delay()), updates)
        assert outcome == (True, "Job 7 canceled")
        assert statuses(job) == ["canceled", "canceled"]
        assert (job["start_timestamp"], job["end_timestamp"]) == (None, END)
        for op in job["ops"]:
            times = [op["start_timestamp"], op["exec_timestamp"], op["end_timestamp"]]
            assert times == [None, None, None]

    def test_a_job_between_two_opcodes_is_canceled_and_keeps_what_it_did(self):
        document = with_op(with_statuses("success", "queued", "queued"), 0, result=[1])
        outcome, updates = cancel(document, now=LATER)
        job = applied(document, updates)
        assert outcome
        assert statuses(job) == ["success", "canceled", "canceled"]
        assert job["ops"][0] == document["ops"][0]

    def test_a_waiting_job_is_canceling_then_canceled(self):
        document = with_statuses("success", "waiting", "queued")
        outcome, updates = cancel(document, now=NOW)
        canceling = applied(document, updates)
        assert outcome
        assert statuses(canceling) == ["success", "canceling", "canceling"]
        assert canceling["end_timestamp"] is None
        job = applied(canceling, cancel_final_updates(canceling, LATER))
        assert statuses(job) == ["success", "canceled", "canceled"]
        assert [op["result"] for op in job["ops"]] == [None] + ["Job canceled by request"] * 2
        assert [op["end_timestamp"] for op in job["ops"]] == [None] * 3
        assert job["end_timestamp"] == END

    def test_a_running_job_is_not_canceled(self):
        outcome, updates = cancel(with_statuses("running", "queued"), now=NOW)
        assert (bool(outcome), updates) == (False, [])

    def test_a_running_job_can_be_killed(self):
        document = with_op(with_statuses("success", "running", "queued"), 1, token=9)
        document = with_op(document, 1, exec_timestamp=timestamp(NOW), locks={"a": "shared"})
        outcome, updates = cancel(document, now=NOW, kill=True)
        canceling = applied(document, updates)
        assert outcome
        assert statuses(canceling) == ["success", "canceling", "canceling"]
        assert canceling["ops"][1]["token"] == 9
        job = applied(canceling, cancel_final_updates(canceling, LATER))
        assert statuses(job) == ["success", "canceled", "canceled"]
        assert (job["ops"][1]["end_timestamp"], job["ops"][1]["token"]) == (END, 9)
        assert "locks" not in job["ops"][1]

    def test_a_job_that_is_canceling_stays_so(self):
        outcome, updates = cancel(with_statuses("canceling", "canceling"), now=NOW, kill=True)
        assert (bool(outcome), updates) == (True, [])

    @pytest.mark.parametrize("status", ["success", "error", "canceled"])
    def test_a_finished_job_is_not_canceled(self, status):
        outcome, updates = cancel(with_statuses(status), now=NOW, kill=True)
        assert (outcome, updates) == ((False, "Job 7 is finished"), [])


class TestChangePriority:
    @pytest.mark.parametrize("priority", [-20, -1, 0, 19])
    def test_of_a_queued_job_changes_every_opcode(self, priority):
        document = fresh(delay(), delay())
        outcome, updates = change_priority(document, priority)
        assert outcome == (
            True,
            f"Priorities of pending opcodes for job 7 have been changed to {priority}",
        )
        assert [op["priority"] for op in applied(document, updates)["ops"]] == [priority] * 2

    @pytest.mark.parametrize("priority", [-21, 20, -99, 0.0, "0", None, True])
    def test_outside_the_range_is_refused(self, priority):
        outcome, updates = change_priority(fresh(), priority)
        assert (bool(outcome), updates) == (False, [])

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ("success success", "is finished"),
            ("error error", "is finished"),
            ("canceled", "is finished"),
            ("canceling canceling", "is cancelling"),
            ("success running", "had no pending opcodes"),
        ],
    )
    def test_of_a_job_with_nothing_pending_is_refused(self, given, text):
        outcome, updates = change_priority(with_statuses(*given.split()), -10)
        assert (outcome, updates) == ((False, f"Job 7 {text}"), [])

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("running queued queued", [0, -10, -10]),
            ("success running queued", [0, 0, -10]),
            ("success waiting queued", [0, -10, -10]),
            ("success queued", [0, -10]),
        ],
    )
    def test_changes_only_what_has_not_begun(self, given, expected):
        document = with_statuses(*given.split())
        job = applied(document, change_priority(document, -10)[1])
        assert [op["priority"] for op in job["ops"]] == expected

    def test_of_an_inconsistent_job_is_refused_aloud(self):
        outcome, updates = change_priority(with_statuses("queued", "running"), 5)
        assert (bool(outcome), updates) == (False, [])
        assert "inconsistent" in outcome.text

    def test_between_opcodes_rules_the_next_one_and_finished_ones_keep_theirs(self):
        job = fresh(delay(), delay(), delay())
        for at, priority in enumerate([None, -10, 5]):
            if priority is not None:
                job = applied(job, change_priority(job, priority)[1])
            job = applied(job, start_updates(job, at, NOW))
            job = applied(job, finish_updates(job, at, "success", None, LATER))
        assert [op["priority"] for op in job["ops"]] == [0, -10, 5]
        assert calc_priority(job["ops"]) == 0


class TestAging:
    def test_raises_by_one_up_to_the_limit_and_remembers_what_was_set(self):
        job = fresh(delay(priority=10))
        for _ in range(40):
            job = applied(job, age_updates(job, 0))
        assert job["ops"][0]["priority"] == -20
        assert set_priority_of(job["ops"][0]) == 10
        assert age_updates(job, 0) == []

    def test_is_forgotten_when_the_priority_is_set(self):
        job = applied(fresh(), age_updates(fresh(), 0))
        assert (job["ops"][0]["priority"], set_priority_of(job["ops"][0])) == (-1, 0)
        job = applied(job, change_priority(job, 5)[1])
        assert (job["ops"][0]["priority"], set_priority_of(job["ops"][0])) == (5, 5)
        assert "base_priority" not in job["ops"][0]


class TestRunning:
    def test_an_opcode_waits_runs_and_succeeds(self):
        job = fresh(delay(), delay())
        job = applied(job, wait_updates(job, 0, NOW))
        assert (statuses(job), job["start_timestamp"]) == (["waiting", "queued"], timestamp(NOW))
        job = applied(
            job,
            start_updates(
                job, 0, LATER, livelock="worker-1", process_id=99, locks={"a": "exclusive"}
            ),
        )
        op = job["ops"][0]
        assert (op["status"], op["attempts"], op["livelock"]) == ("running", 1, "worker-1")
        assert (op["start_timestamp"], op["exec_timestamp"]) == (timestamp(NOW), END)
        assert (op["interruption"], op["max_interruptions"]) == ("requeue", 3)
        assert op["locks"] == {"a": "exclusive"}
        assert (job["livelock"], job["process_id"]) == ("worker-1", 99)
        assert job["start_timestamp"] == timestamp(NOW)
        job = applied(job, finish_updates(job, 0, "success", {"x": 1}, LATER))
        op = job["ops"][0]
        assert (op["status"], op["result"], op["end_timestamp"]) == ("success", {"x": 1}, END)
        assert "locks" not in op
        assert (calc_status(job["ops"]), job["end_timestamp"], next_op(job)) == ("queued", None, 1)
        job = applied(job, start_updates(job, 1, LATER))
        job = applied(job, finish_updates(job, 1, "success", None, LATER))
        assert (calc_status(job["ops"]), job["end_timestamp"], next_op(job)) == (
            "success",
            END,
            None,
        )

    def test_policy_and_limit_are_recorded_at_the_start(self):
        updates = start_updates(fresh(), 0, NOW, interruption="unknown", max_interruptions=0)
        op = applied(fresh(), updates)["ops"][0]
        assert (op["interruption"], op["max_interruptions"]) == ("unknown", 0)
        assert "locks" not in op
        assert "livelock" not in op

    def test_a_failed_opcode_ends_the_job(self):
        job = fresh(delay(), delay(), delay())
        job = applied(job, start_updates(job, 0, NOW))
        job = applied(job, finish_updates(job, 0, "success", 1, NOW))
        job = applied(job, start_updates(job, 1, NOW))
        job = applied(job, finish_updates(job, 1, "error", encode_error("boom"), LATER))
        assert statuses(job) == ["success", "error", "error"]
        assert [op["result"] for op in job["ops"]] == [
            1,
            ["OpExecError", ["boom"]],
            ["OpExecError", ["Preceding opcode failed"]],
        ]
        assert (calc_status(job["ops"]), job["end_timestamp"]) == ("error", END)
        assert job["ops"][0]["end_timestamp"] == timestamp(NOW)
        assert job["ops"][2]["end_timestamp"] is None

    def test_a_job_restored_from_its_file_goes_on_with_the_next_opcode(self):
        job = fresh(delay(), delay())
        job = applied(job, start_updates(job, 0, NOW))
        job = applied(job, finish_updates(job, 0, "success", 1, NOW))
        assert next_op(loads(dumps(job))) == 1

    def test_a_requeued_opcode_is_as_before_but_for_its_count(self):
        job = applied(fresh(), start_updates(fresh(), 0, NOW, livelock="w", locks={"a": "shared"}))
        job = with_op(job, 0, token=5, progress=0.5)
        op = applied(job, requeue_updates(job, 0))["ops"][0]
        kept = {"attempts": 1, "interruption": "requeue", "max_interruptions": 3}
        assert op.pop("livelock", None) is None
        assert op == {**fresh()["ops"][0], **kept}

    def test_whatever_was_set_and_unset_can_be_read_again(self):
        job = applied(fresh(), start_updates(fresh(), 0, NOW, livelock="w", locks={"a": "shared"}))
        for again in (job, applied(job, requeue_updates(job, 0, retry_at=5.5))):
            assert check_document(loads(dumps(again)), 7) == again

    def test_an_uncounted_attempt_is_as_if_it_had_not_been(self):
        job = applied(fresh(), start_updates(fresh(), 0, NOW))
        once = applied(job, requeue_updates(job, 0, counted=False))
        assert "attempts" not in once["ops"][0]
        twice = with_op(job, 0, attempts=2)
        assert applied(twice, requeue_updates(twice, 0, counted=False))["ops"][0]["attempts"] == 1

    def test_a_waiting_opcode_that_is_requeued_has_no_attempt_to_take_back(self):
        job = with_op(with_statuses("waiting"), 0, attempts=1)
        assert applied(job, requeue_updates(job, 0, counted=False))["ops"][0]["attempts"] == 1

    def test_a_retry_has_its_time_until_it_starts_beside_that_of_the_submitter(self):
        job = fresh(delay(not_before=50))
        assert (not_before(job["ops"][0]), retry_at(job["ops"][0])) == (50, 0)
        job = applied(job, start_updates(job, 0, NOW))
        job = applied(job, requeue_updates(job, 0, retry_at=70.5))
        assert (not_before(job["ops"][0]), retry_at(job["ops"][0])) == (50, 70.5)
        job = applied(job, start_updates(job, 0, NOW))
        assert retry_at(job["ops"][0]) == 0
        assert not_before(fresh()["ops"][0]) == 0

    def test_updates_remove_only_what_is_there(self):
        for updates in (start_updates(fresh(), 0, NOW), requeue_updates(fresh(), 0)):
            for at, values in updates:
                had = fresh() if at is None else fresh()["ops"][at]
                assert all(name in had for name, value in values.items() if value is None)


class TestErrors:
    def test_any_exception_becomes_an_encoded_error(self):
        assert encode_error(ValueError("bad")) == ["OpExecError", ["ValueError: bad"]]
        assert encode_error(KeyError()) == ["OpExecError", ["KeyError"]]
        assert encode_error(InvalidJob("x", index=1)) == [
            "OpExecError",
            ["InvalidJob: opcode 1: x"],
        ]

    @given(st.text())
    def test_it_can_always_be_stored(self, text):
        for error in (encode_error(text), encode_error(OSError(text))):
            assert check_storable(error) == error

    def test_it_is_bounded(self):
        assert len(encode_error("x" * 10**6)[1][0]) == 65_536
        assert check_storable(encode_error("\ud800")) == ["OpExecError", ["\\ud800"]]


class TestArchiveAndRetry:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            *(("success", True), ("error", True), ("canceled", True), ("success queued", False)),
            *(("queued", False), ("waiting", False), ("running", False), ("canceling", False)),
        ],
    )
    def test_only_finished_jobs_may_be_archived(self, given, expected):
        assert bool(archivable(with_statuses(*given.split()))) is expected

    def test_a_job_canceled_while_queued_may_be_archived(self):
        job = applied(fresh(), cancel(fresh(), now=LATER)[1])
        assert archivable(job)

    def test_the_age_of_a_job_counts_from_the_latest_time_it_knows(self):
        job = fresh()
        assert finished_at(job) == pytest.approx(1_700_000_000.123456)
        assert finished_at(with_job(job, end_timestamp=[5, 500_000])) == 5.5
        assert finished_at(with_job(job, received_timestamp=None)) is None

    def test_a_retry_repeats_all_or_what_follows_the_first_failure(self):
        job = with_statuses("success", "error", "error")
        assert len(retry_inputs(job, now=LATER)) == 3
        rest = retry_inputs(job, from_failed=True, now=LATER)
        assert len(rest) == 2
        assert rest[0]["reason"] == [
            *job["ops"][1]["input"]["reason"],
            ["jqueue:retry", "job=7", LATER],
        ]
        assert Job(job).ops[1].input["reason"][-1][0] == "jqueue:opcode:test_delay"

    def test_a_retry_drops_dependencies_that_were_met(self):
        job = fresh(delay(depends=[[1, []], [2, ["success"]], [3, []]]))
        job = with_op(job, 0, status="error", dependencies={"1": "success", "2": "error"})
        assert retry_inputs(job, now=NOW)[0]["depends"] == [[2, ["success"]], [3, []]]

    @pytest.mark.parametrize(
        ("given", "from_failed"), [("queued", False), ("running", True), ("success", True)]
    )
    def test_what_has_nothing_to_repeat_is_refused(self, given, from_failed):
        with pytest.raises(Refused):
            retry_inputs(with_statuses(given), from_failed=from_failed, now=NOW)

    def test_an_opcode_without_a_kind_can_not_be_repeated(self):
        job = with_statuses("error")
        job["ops"][0]["input"] = "strange"
        with pytest.raises(Refused):
            retry_inputs(job, now=NOW)
