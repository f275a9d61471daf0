"""Why a job is not running, in an owner that knows."""

from jqueue.queue.answer import ask
from jqueue.queue.operating import set_drain, set_pause
from jqueue.queue.submission import Terms, submit_one
from tests.unit.execution.house import told


def test_explain_says_whose_turn_is_before(house):
    first, _ = house.running()
    second, third = house.submit(), house.submit(priority=10)
    house.submit(priority=-10)
    turn = told(house, third)["turn"]
    assert (turn["jobs"], turn["before"]) == ([first], [4, second])
    assert turn["until"] == f"one of job {first} ends"
    assert "jobs 4, 2 are before it" in turn["text"]


# It said that the job starts now.
def test_explain_says_that_no_more_jobs_may_run(house):
    first, _ = house.running()
    house.runner.options.workers, house.runner.options.max_running_jobs = 4, 1
    turn = told(house, house.submit())["turn"]
    text = f"so many jobs run as may at once (1, max_running_jobs): job {first}"
    assert (turn["text"], turn["jobs"]) == (text, [first])
    assert turn["until"] == f"one of job {first} ends"


def test_explain_says_which_process_executes_it_and_that_its_end_is_awaited(house):
    job, _ = house.running()
    assert str(house.me.pid) in told(house, job)["running"]["text"]
    house.process.kill()
    for _ in range(10):
        house.loop.wait()
    dying = told(house, job)["running"]
    assert "locks stay held" in dying["text"]
    assert house.held[0].name in dying["until"]


def test_explain_says_what_waits_for_locks_and_who_has_them(house):
    first = house.submit(name="disk")
    house.hello(house.lock())
    second = house.submit(name="disk")
    locks = told(house, second)["locks"]
    assert (locks["jobs"], locks["until"]) == ([first], f"job {first} ends")
    assert locks["text"] == f"it waits for disk, which job {first} has"


def test_explain_says_that_a_kind_is_unknown_or_its_parameters_do_not_fit(house):
    unknown = ask(house.store, submit_one([{"OP_ID": "OP_NOBODY"}], Terms(1)))
    assert "a unit for OP_NOBODY" in told(house, unknown)["kind"]["until"]
    misfit = house.submit(other=1)
    assert "other" in told(house, misfit)["parameters"]["text"]


def test_explain_says_everything_at_once_and_remarks_on_the_drain(house):
    first, _ = house.running()
    job = house.submit(depends=[[first, []]], not_before=10**11, name="x", other=2)
    ask(house.store, set_pause({"reason": "lunch", "by": "me", "since": 1}))
    ask(house.store, set_drain({"reason": "moving", "by": "me", "since": 1}))
    found = told(house, job)
    assert list(found) == ["paused", "dependency", "not_before", "parameters", "drained"]
    assert all(one["until"] for one in found.values())


def test_explain_says_that_nobody_works_here_or_is_about_to_end(house):
    job = house.submit()
    house.runner.options.workers = 0
    assert list(told(house, job)) == ["workers"]
    house.runner.options.workers = 1
    house.runner.crew.stopping = True
    assert list(told(house, job)) == ["stopping"]
