"""Claims, as the owner sees them."""

from jqueue.execution.recovery import recover
from jqueue.queue.answer import ask
from jqueue.queue.operating import cancel
from jqueue.queue.submission import Terms, submit_one
from tests.unit.execution.house import claim


def test_claim_repeated_to_the_next_owner_gets_the_same_opcode(house):
    job, other = house.submit(), house.submit()
    lock = house.lock()
    first, _ = claim(house, lock)
    house.loop.turn()
    house.open()
    assert [one["fate"] for one in recover(house.runner)] == ["wait"]
    again, request = claim(house, lock)
    house.loop.turn()
    assert [(one.document["id"], one.token) for one in again] == [(job, first[0].token)]
    assert (again[0].attempt, house.op(other)["status"]) == (1, "queued")
    house.claims.gone(request)
    house.free(lock)
    house.until("queued", job)
    assert house.op(job)["interruptions"] == 1


def test_claim_repeated_before_its_start_is_durable_gets_one_opcode(house):
    job, other = house.submit(), house.submit()
    lock = house.lock()
    first, request = claim(house, lock)
    settled = []
    request.settled = lambda: settled.append(1)
    house.runner.turn()
    again, same = claim(house, lock)
    assert (same, settled) == (request, [1])
    house.loop.turn()
    assert [one.document["id"] for one in first + again] == [job, job]
    assert house.op(other)["status"] == "queued"


def test_claim_repeated_while_it_waits_is_granted_once(house):
    lock = house.lock()
    first, _ = claim(house, lock)
    again, _ = claim(house, lock)
    assert [one.document for one in first] == [None]
    job = house.submit()
    assert [one.document["id"] for one in again] == [job]


def test_time_of_a_claim_goes_on_under_the_next_owner(house):
    job = house.submit(timeout_s=0.5)
    lock = house.lock()
    claim(house, lock)
    house.loop.turn()
    house.open()
    recover(house.runner)
    [over] = house.loop.later
    over()
    house.free(lock)
    house.until("error", job)
    assert "exceeded its time of 0.5 s" in house.op(job)["result"][1][0]


# A claim whose job was canceled at this moment waited for ever, whatever its limit.
def test_claim_whose_start_was_refused_waits_on_until_its_time_is_over(house):
    answers, _ = claim(house, house.lock(), timeout_s=9.0)
    house.loop.turn()
    job = ask(house.store, submit_one([{"OP_ID": "OP_PORT_TEST"}], Terms(1)))
    # Another thread cancels; the loop does not know yet.
    house.store.begin(cancel(job, now=1))
    house.loop.turn()
    assert (answers, house.op(job)["status"]) == ([], "canceled")
    for timer in house.loop.later[1:]:
        timer()
    assert [one.document for one in answers] == [None]


# Its opcode ran on in the records until the owner was started anew.
def test_claimant_that_lets_go_of_its_livelock_and_keeps_its_connection_is_missed(house):
    jobs = house.submit(), house.submit()
    locks = house.lock(), house.lock()
    for lock in locks:
        claim(house, lock)
        house.loop.turn()
    house.free(locks[0])
    _, look = house.loop.later
    look()
    house.loop.turn()
    assert [house.op(job)["status"] for job in jobs] == ["running", "running"]
    house.loop.later.pop()()
    house.loop.turn()
    assert [house.op(job)["status"] for job in jobs] == ["queued", "running"]
    assert house.op(jobs[0])["interruptions"] == 1
