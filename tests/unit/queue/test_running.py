import pytest

from jqueue.errors import JobNotFound, Refused
from jqueue.job.transitions import Outcome
from jqueue.queue import running
from jqueue.queue.running import (
    age,
    cancel_done,
    interrupted,
    log,
    progress,
    requeue,
    stop_waiting,
    wait_for_locks,
)
from tests.unit.queue.making import (
    LIVELOCK,
    NOON,
    NS,
    WORKER,
    begin,
    delay,
    end,
    lsn,
    new_queue,
    op_of,
    run,
    statuses,
)

NOON_STAMP = [NOON // NS, 0]


def one_running(**options):
    queue = new_queue()
    queue.submit([delay(), delay()])
    return queue, begin(queue, 1, **options)


def interrupt(queue, token, **options):
    return queue.ask(interrupted(1, 0, token, now=queue.clock.now_ns(), **options))


# Start


def test_the_record_of_a_start_says_all_that_recovery_needs():
    queue, token = one_running(
        policy="fail", max_interruptions=1, retries=4, timeout_s=9.5, locks={"n": "shared"}
    )
    op = op_of(queue, 1)
    assert op["status"] == "running"
    assert op["token"] == token == lsn(queue)
    assert (op["livelock"], op["worker"]) == (LIVELOCK, WORKER)
    assert (op["interruption"], op["max_interruptions"]) == ("fail", 1)
    assert (op["retries"], op["timeout_s"], op["locks"]) == (4, 9.5, {"n": "shared"})
    assert op["attempts"] == 1
    assert op["start_timestamp"] == op["exec_timestamp"] == NOON_STAMP
    job = queue.job(1).to_dict()
    assert (job["livelock"], job["process_id"]) == (LIVELOCK, WORKER["pid"])
    assert job["start_timestamp"] == NOON_STAMP


def test_the_opcodes_own_limits_have_the_first_word():
    queue = new_queue()
    queue.submit([delay(retries=0, timeout_s=1)])
    begin(queue, 1, retries=4, timeout_s=9)
    assert (op_of(queue, 1)["retries"], op_of(queue, 1)["timeout_s"]) == (0, 1)


def test_a_claim_has_no_worker_and_leaves_none_of_an_earlier_attempt():
    queue, token = one_running()
    interrupt(queue, token)
    begin(queue, 1, worker=None, livelock="c-1")
    op = op_of(queue, 1)
    assert op["livelock"] == "c-1"
    assert "worker" not in op
    assert queue.job(1).to_dict()["process_id"] is None


@pytest.mark.parametrize("op", [1, 2, -1])
def test_only_the_next_opcode_can_start(op):
    queue = new_queue()
    queue.submit([delay(), delay()])
    with pytest.raises(Refused, match="not the next"):
        begin(queue, 1, op)


def test_what_runs_or_has_ended_can_not_start():
    queue, token = one_running()
    with pytest.raises(Refused, match="running, not queued"):
        begin(queue, 1)
    end(queue, 1, token)
    with pytest.raises(Refused):
        begin(queue, 1, 0)
    run(queue, 1, 1)
    with pytest.raises(Refused):
        begin(queue, 1, 1)
    with pytest.raises(JobNotFound):
        begin(queue, 7)


def test_nothing_starts_in_a_paused_queue():
    queue = new_queue()
    queue.submit([delay()])
    queue.pause()
    with pytest.raises(Refused, match="paused"):
        begin(queue, 1)
    queue.resume()
    begin(queue, 1)


def test_nothing_starts_before_its_time():
    queue = new_queue()
    queue.submit([delay(not_before=NOON / NS + 60)])
    with pytest.raises(Refused, match="not start yet"):
        begin(queue, 1)
    queue.clock.forward(60)
    begin(queue, 1)


# Log and progress


def test_log_serials_count_across_the_opcodes_of_a_job():
    queue, token = one_running()
    entry = [NOON_STAMP, "message", "one"]
    assert queue.ask(log(1, 0, token, [entry, entry])) == 2
    end(queue, 1, token)
    second = begin(queue, 1, 1)
    assert queue.ask(log(1, 1, second, [entry])) == 3
    assert [e[0] for e in queue.job(1).ops[0].log] == [1, 2]
    assert queue.job(1).ops[1].log == [[3, NOON_STAMP, "message", "one"]]
    assert queue.ask(log(1, 1, second, [])) == 3


# What a unit calls full was once taken for the end of the log.
def test_entries_of_any_type_are_followed_by_others():
    queue, token = one_running()
    for kind in ("full", "interrupted", "retry", "message"):
        queue.ask(log(1, 0, token, [[NOON_STAMP, kind, "the disk is"]]))
    kept = op_of(queue, 1)["log"]
    assert [entry[2] for entry in kept] == ["full", "interrupted", "retry", "message"]


# A document that fits no record can't change any more: its job ran for ever.
def test_log_of_a_job_is_bounded_and_says_so_once(monkeypatch):
    monkeypatch.setattr(running, "MAX_LOG_BYTES", 1000)
    queue, token = one_running()
    for number in range(20):
        entry = [NOON_STAMP, "message", f"{number:3}" + "x" * 95]
        queue.ask(log(1, 0, token, [entry]))
    kept = op_of(queue, 1)["log"]
    assert [entry[3][:3].strip() for entry in kept[:-1]] == [str(at) for at in range(len(kept) - 1)]
    assert 7 <= len(kept) <= 9
    assert (kept[-1][2], "1000 bytes" in kept[-1][3]) == ("full", True)
    end(queue, 1, token)
    second = begin(queue, 1, 1)
    assert queue.ask(log(1, 1, second, [[NOON_STAMP, "message", "y"]])) == len(kept)
    # What the queue itself has to say is still said.
    queue.ask(interrupted(1, 1, second, now=queue.clock.now_ns()))
    assert [entry[2] for entry in op_of(queue, 1, 1)["log"]] == ["interrupted"]


def test_log_entries_that_are_sent_again_are_told_apart_in_journal_order():
    queue, token = one_running()
    first, second = [NOON_STAMP, "message", "x"], [NOON_STAMP, "message", ["y"]]
    # Not durable yet: what is sent again meanwhile must not be taken for new.
    pending = queue.store.begin(log(1, 0, token, [first]))
    again = queue.store.begin(log(1, 0, token, [first, second], again=True))
    queue.store.flush()
    assert [ticket.wait().lsn for ticket in (pending, again)] == [token + 1, token + 2]
    assert queue.ask(log(1, 0, token, [first, second], again=True)) == 2
    assert [entry[3] for entry in op_of(queue, 1)["log"]] == ["x", ["y"]]


def test_progress_replaces_what_was_said_before():
    queue, token = one_running()
    queue.ask(progress(1, 0, token, {"done": 1}))
    queue.ask(progress(1, 0, token, {"done": 2}))
    assert queue.job(1).ops[0].progress == {"done": 2}


def test_what_an_execution_says_counts_only_under_its_token():
    queue, token = one_running()
    interrupt(queue, token)
    second = begin(queue, 1)
    before = lsn(queue)
    for rule in (
        log(1, 0, token, [[NOON_STAMP, "message", "x"]]),
        progress(1, 0, token, 1),
        requeue(1, 0, token),
        interrupted(1, 0, token, now=NOON),
        log(1, 1, second, [[NOON_STAMP, "message", "x"]]),
        log(9, 0, token, [[NOON_STAMP, "message", "x"]]),
        log(1, 9, token, [[NOON_STAMP, "message", "x"]]),
    ):
        with pytest.raises(Refused):
            queue.ask(rule)
    assert lsn(queue) == before


def test_the_log_is_heard_until_a_killed_execution_is_gone():
    queue, token = one_running()
    queue.cancel(1, kill=True)
    queue.ask(log(1, 0, token, [[NOON_STAMP, "message", "last words"]]))
    queue.ask(cancel_done(1, now=NOON))
    with pytest.raises(Refused):
        queue.ask(log(1, 0, token, [[NOON_STAMP, "message", "x"]]))


# Giving back and interruptions


def test_an_opcode_that_was_never_begun_is_given_back_as_if_it_had_not_been_started():
    queue, token = one_running()
    queue.ask(requeue(1, 0, token))
    op = op_of(queue, 1)
    assert op["status"] == "queued"
    assert not {"token", "attempts", "interruptions"} & op.keys()
    assert op["livelock"] is None
    with pytest.raises(Refused):
        end(queue, 1, token)


def test_a_canceling_opcode_is_not_given_back():
    queue, token = one_running()
    queue.cancel(1, kill=True)
    with pytest.raises(Refused):
        queue.ask(requeue(1, 0, token))


def test_an_interrupted_opcode_is_queued_again_up_to_its_limit_and_says_so():
    queue = new_queue()
    queue.submit([delay(), delay()])
    for count in (1, 2):
        assert interrupt(queue, begin(queue, 1, max_interruptions=2)) == "queued"
        assert op_of(queue, 1)["interruptions"] == count
    assert interrupt(queue, begin(queue, 1, max_interruptions=2)) == "error"
    assert statuses(queue, 1) == ["error", "error"]
    assert [entry[2] for entry in queue.job(1).ops[0].log] == ["interrupted"] * 3
    assert "queued again" in queue.job(1).ops[0].log[0][3]
    assert "failed" in queue.job(1).ops[0].log[2][3]


def test_a_late_finish_of_an_interrupted_execution_is_refused():
    queue, token = one_running(policy="fail")
    assert interrupt(queue, token) == "error"
    with pytest.raises(Refused):
        end(queue, 1, token)
    assert op_of(queue, 1)["result"][0] == "OpExecError"


def test_an_opcode_of_unknown_outcome_is_set_aside_until_it_is_resolved():
    queue, token = one_running(policy="unknown")
    assert interrupt(queue, token) == "waiting"
    with pytest.raises(Refused, match="set aside"):
        begin(queue, 1)
    with pytest.raises(Refused):
        queue.ask(stop_waiting(1, 0))
    assert queue.resolve(1, happened=True)
    assert statuses(queue, 1) == ["success", "queued"]
    assert queue.resolve(1, happened=True) == Outcome(False, "Job 1 has nothing to resolve")


def test_an_opcode_that_did_not_happen_runs_again():
    queue, token = one_running(policy="unknown")
    interrupt(queue, token)
    assert queue.resolve(1, happened=False)
    run(queue, 1)
    assert statuses(queue, 1) == ["success", "queued"]


def test_an_interruption_by_a_reboot_does_not_count():
    queue = new_queue()
    queue.submit([delay(retries=1)])
    for _ in range(5):
        assert interrupt(queue, begin(queue, 1, max_interruptions=0), counted=False) == "queued"
    op = op_of(queue, 1)
    assert "interruptions" not in op
    assert "attempts" not in op
    assert run(queue, 1, ok=False).status == "queued"


def test_an_interruption_by_a_reboot_follows_the_policy_all_the_same():
    for policy, after in (("fail", "error"), ("unknown", "waiting")):
        queue, token = one_running(policy=policy)
        assert interrupt(queue, token, counted=False) == after
        assert "interruptions" not in op_of(queue, 1)


def test_an_interrupted_opcode_that_was_being_canceled_is_canceled():
    queue, token = one_running()
    queue.cancel(1, kill=True)
    assert interrupt(queue, token) == "canceled"
    assert statuses(queue, 1) == ["canceled", "canceled"]


def test_a_killed_job_is_canceled_when_its_process_is_gone():
    queue, token = one_running()
    assert queue.cancel(1, kill=True)
    assert statuses(queue, 1) == ["canceling", "canceling"]
    assert queue.job(1).ended is None
    with pytest.raises(Refused):
        end(queue, 1, token)
    queue.ask(cancel_done(1, now=NOON))
    assert statuses(queue, 1) == ["canceled", "canceled"]
    assert queue.job(1).ended is not None
    with pytest.raises(Refused):
        queue.ask(cancel_done(1, now=NOON))


def test_what_is_not_being_canceled_does_not_end_so():
    queue, _ = one_running()
    with pytest.raises(Refused):
        queue.ask(cancel_done(1, now=NOON))


# Locks


def test_an_opcode_may_wait_for_its_locks_visibly_and_then_start():
    queue = new_queue()
    queue.submit([delay(), delay()])
    queue.ask(wait_for_locks(1, 0, now=NOON))
    assert statuses(queue, 1) == ["waiting", "queued"]
    before = lsn(queue)
    queue.ask(wait_for_locks(1, 0, now=NOON))
    assert lsn(queue) == before
    queue.ask(age(1, 0))
    assert op_of(queue, 1)["priority"] == -1
    run(queue, 1)
    assert statuses(queue, 1) == ["success", "queued"]


def test_a_restart_queues_what_waited_for_locks():
    queue = new_queue()
    queue.submit([delay()])
    queue.ask(wait_for_locks(1, 0, now=NOON))
    queue.ask(stop_waiting(1, 0))
    assert statuses(queue, 1) == ["queued"]


def test_aging_ends_at_the_most_urgent_priority():
    queue = new_queue()
    queue.submit([delay()])
    queue.change_priority(1, -20)
    before = lsn(queue)
    queue.ask(age(1, 0))
    assert lsn(queue) == before
