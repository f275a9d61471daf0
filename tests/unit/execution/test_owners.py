"""Workers that are lost, silent or dead, and what the next owner finds of them."""

import os
import signal

import pytest

from jqueue.errors import DiskFull
from jqueue.execution.dispatch import worker_record
from jqueue.execution.executions import Lock, Worker
from jqueue.execution.recovery import recover
from jqueue.queue.answer import ask
from jqueue.queue.operating import cancel
from jqueue.queue.running import start
from jqueue.store import livelock
from tests.unit.execution.house import finish


def test_next_owner_ends_a_worker_that_was_not_told_of_its_next_start(house):
    job, token = house.running()
    other = house.submit()
    held = house.lock()
    house.say(*finish(token, following=held))
    # The owner dies before it could send: the worker names what it has finished.
    house.open()
    recover(house.runner)
    [told] = house.hello(house.held[0], job, 0, token)
    assert told[0] == "end"
    house.free(held)
    house.free(house.held[0])
    house.until("queued", other)
    op = house.op(other)
    assert (op.get("attempts", 0), op.get("interruptions", 0)) == (0, 0)
    assert house.op(job)["status"] == "success"


def test_next_owner_believes_a_worker_that_is_still_at_the_finish_of_the_one_before(house):
    # Both records say that the worker runs it, as an owner of an earlier release could leave them:
    # it began the next opcode in a record of its own, and the finish before that was not kept.
    job, token = house.running()
    other = house.submit()
    held = house.lock()
    worker = worker_record(house.me, Lock(held.name, held.inode), 0.0, thread=False)
    ask(house.store, start(other, 0, now=1, livelock=held.name, worker=worker))
    house.open()
    recover(house.runner)
    assert house.hello(house.held[0], job, 0, token) == []
    op = house.op(other)
    assert (op["status"], op.get("attempts", 0), op.get("interruptions", 0)) == ("queued", 0, 0)
    told = house.say(*finish(token, again=True, following=house.lock()))
    assert told[0] == ["ok", token]
    assert house.op(job)["status"] == "success"


def test_worker_that_is_being_canceled_has_its_grace_from_the_next_owner_too(house):
    job, token = house.running()
    ask(house.store, cancel(job, now=1, kill=True))
    house.process.send_signal(signal.SIGSTOP)  # as if it needed a while: it takes no SIGTERM
    os.waitpid(house.process.pid, os.WUNTRACED)  # not before it has stopped
    house.open()
    assert [one["fate"] for one in recover(house.runner)] == ["kill"]
    assert house.hello(house.held[0], job, 0, token) == [["cancel", token]]
    entries = [[[1, 2], "message", "last words"]]
    assert ["logged", 1] in house.say("log", token, 1, entries, False)
    assert house.process.poll() is None
    house.loop.later.pop()()
    house.free(house.held[0])
    house.until("canceled", job)
    assert house.op(job)["log"][0][3] == "last words"
    assert house.process.poll() is not None


def test_idle_worker_with_a_record_on_it_denies_what_was_never_begun(house):
    job, _ = house.running()
    house.port.closed()
    house.hello(house.held[0])
    assert house.op(job)["status"] == "running"
    house.free(house.held[0])
    house.until("queued", job)
    op = house.op(job)
    assert (op.get("attempts", 0), op.get("interruptions", 0), len(op["log"])) == (0, 0, 0)
    assert house.process.poll() is not None


def test_dead_worker_is_judged_only_when_its_livelock_is_free(house):
    job, _ = house.running()
    house.process.kill()
    for _ in range(10):
        house.loop.wait()
    assert house.op(job)["status"] == "running"
    house.free(house.held[0])
    house.until("queued", job)
    assert house.op(job)["interruptions"] == 1


def test_what_a_worker_sent_before_it_died_is_read_before_it_is_judged(house):
    job, token = house.running()
    unread = [list(finish(token, result="in time"))]
    house.channel.read_out = lambda: unread and house.port.receive(unread.pop())
    house.process.kill()
    house.free(house.held[0])
    house.until("success", job)
    assert house.op(job)["result"] == "in time"
    assert house.op(job).get("interruptions", 0) == 0


# It counted as one of those that are wanted, and nothing ever started.
def test_worker_that_hangs_while_it_loads_its_units_is_killed_and_replaced_later(house, caplog):
    crew = house.runner.crew
    [worker] = crew.workers
    [limit] = house.loop.later
    limit()
    assert "still loading its units after 60 s" in worker.condemned
    assert "still loading its units" in crew.launch_failure
    assert "still loading its units" in caplog.text
    # Killed at once; and nobody is launched in its stead before some time.
    assert house.process.wait(20) == -signal.SIGKILL
    while crew.workers:
        house.loop.wait()
    [again] = [timer for timer in house.loop.later if timer.call is not None]
    again()
    assert [worker.condemned for worker in crew.workers] == [None]


def test_worker_that_says_hello_in_time_has_no_limit_any_more(house):
    [limit] = house.loop.later
    house.hello(house.lock())
    limit()
    assert [worker.condemned for worker in house.runner.crew.workers] == [None]


# All loaded at once, on few processors, and all were killed at the same limit, for ever.
def test_limit_for_loading_units_doubles_until_a_worker_has_loaded_them(house):
    crew, later = house.runner.crew, house.loop.later
    house.hello(house.lock())
    later.clear()
    crew.options.workers, crew._launch = 4, lambda: Worker(None)
    crew.launch_missing()
    waves = []
    for _ in range(8):
        limits = later.copy()
        later.clear()
        waves.append([limit.delay_s for limit in limits])
        for limit in limits:
            limit()
        # A worker that has loaded them long ago says nothing of those that load them now.
        job = house.submit()
        house.say(*finish(house.channel.take()[0][3], following=house.lock()))
        assert house.op(job)["status"] == "success"
        later.pop(0)()
    assert waves == [[limit] * 3 for limit in (60, 120, 240, 480, 960, 1920, 3600, 3600)]


def test_limit_for_loading_units_is_as_set_again_once_a_worker_has_loaded_them(house):
    crew, later = house.runner.crew, house.loop.later
    later.pop()()
    house.replace_process()
    later.pop()()
    assert later.pop().delay_s == 120
    house.hello(house.lock())
    crew.options.workers, crew._launch = 2, lambda: Worker(None)
    crew.launch_missing()
    assert later.pop().delay_s == 60


# Its successor was launched before the delay was set, every other time.
def test_worker_that_dies_while_it_loads_is_replaced_later_and_later(house):
    house.hello(house.lock())
    house.loop.later.clear()
    crew = house.runner.crew
    crew.options.workers, crew._launch = 2, lambda: Worker(None)
    crew.launch_missing()
    delays = []
    # 2.0 ** 1024 is no float: the count of failures was an exponent.
    for _ in range(1100):
        [worker] = [one for one in crew.workers if not one.greeted]
        crew.condemn(worker, "it has died")
        # Nothing is left of it.
        assert worker.gone
        assert worker.burial is None
        assert len(crew.workers) == 1
        respawn = house.loop.later.pop()
        house.loop.later.clear()
        delays.append(respawn.delay_s)
        respawn()
    assert delays[:8] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert delays[-1] == 10


def test_silent_worker_is_condemned_and_killed(house):
    job, _ = house.running()
    house.port.closed()
    house.free(house.held[0])
    house.loop.later.pop()()
    house.until("queued", job)
    assert house.process.poll() is not None


def test_worker_that_comes_back_with_its_token_goes_on(house):
    job, token = house.running()
    house.port.closed()
    assert house.hello(house.held[0], job, 0, token) == []
    assert house.say(*finish(token, result="late")) == [["ok", token]]
    assert house.op(job)["result"] == "late"


def test_new_owner_adopts_a_living_worker_and_what_it_executes(house):
    job, token = house.running()
    house.open()
    [described] = recover(house.runner)
    assert described["fate"] == "adopt"
    assert house.hello(house.held[0], job, 0, token) == []
    assert house.say(*finish(token, result="adopted", again=True)) == [["ok", token]]
    assert house.op(job)["result"] == "adopted"


# An adopted worker that was lost never counted: no limit held for what ends its worker each time.
@pytest.mark.parametrize("silent", [True, False])
def test_worker_that_is_lost_after_its_adoption_is_an_interruption_that_counts(house, silent):
    job, token = house.running()
    house.open()
    recover(house.runner)
    if silent:
        house.loop.later.pop()()
    else:
        house.hello(house.held[0], job, 0, token)
        house.process.kill()
    house.free(house.held[0])
    house.until("queued", job)
    assert (house.op(job)["attempts"], house.op(job)["interruptions"]) == (1, 1)
    assert house.process.poll() is not None


# A worker that came back after its time was over went on for ever, if it heeded no SIGTERM.
def test_worker_that_says_hello_after_its_time_was_over_is_still_ended(stubborn_house):
    house = stubborn_house
    house.hello(house.lock())
    job = house.submit(timeout_s=0.5)
    [start] = house.channel.take()
    house.open()
    recover(house.runner)
    _, over = house.loop.later
    over()
    house.hello(house.held[0], job, 0, start[3])
    assert "its opcode exceeded its time" in [one.condemned for one in house.runner.crew.workers]
    house.free(house.held[0])
    house.loop.later.pop()()
    house.until("error", job)
    assert "exceeded its time of 0.5 s" in house.op(job)["result"][1][0]


# It was missed only when it had been silent for a minute, its locks held so long.
def test_worker_that_dies_before_its_hello_to_the_next_owner_is_missed_at_once(house):
    job, _ = house.running()
    house.open()
    recover(house.runner)
    house.free(house.held[0])
    house.process.kill()
    house.until("queued", job)
    assert house.op(job)["interruptions"] == 1


def test_finish_that_was_kept_by_the_owner_before_is_answered_by_the_next(house):
    job, token = house.running()
    house.say(*finish(token, result=1))
    house.open()
    assert recover(house.runner) == []
    assert house.hello(house.held[0], job, 0, token) == []
    assert house.say(*finish(token, result=1, again=True)) == [["ok", token]]


def test_worker_that_executes_what_the_queue_has_given_to_another_ends(house):
    job, token = house.running()
    house.say(*finish(token))
    house.open()
    [answer] = house.hello(house.held[0], job, 0, token + 7)
    assert answer[0] == "end"


def test_recovery_judges_what_has_no_process_and_leaves_what_is_set_aside(house):
    job, _ = house.running()
    house.free(house.held[0])
    house.process.kill()
    house.process.wait()
    house.open()
    [described] = recover(house.runner)
    assert (described["job"], described["fate"]) == (job, "judge")
    house.loop.turn()
    assert house.op(job)["status"] == "queued"
    assert house.op(job)["log"][-1][2] == "interrupted"


def test_copied_directory_knows_that_the_livelock_is_not_its_own(house):
    job, _ = house.running()
    name = house.held[0].name
    path = f"/proc/self/fd/{house.fd}/livelocks/{name}"
    os.rename(path, path + ".original")
    open(path, "w").close()
    house.open()
    [described] = recover(house.runner)
    assert (described["fate"], described["pid"]) == ("judge", None)
    house.loop.turn()
    assert house.process.poll() is None
    assert house.op(job)["status"] == "queued"


# A snapshot of a file system has the same inodes: its owner killed the original's worker.
def test_snapshot_of_the_directory_on_another_device_leaves_the_original_alone(house, monkeypatch):
    job, _ = house.running()
    assert house.op(job)["worker"]["device"] == os.fstat(house.fd).st_dev
    place_of = livelock.place_of

    def moved(fd, name):
        return place_of(fd, name)._replace(device=1)

    monkeypatch.setattr(livelock, "place_of", moved)
    os.close(house.held.pop().fd)
    house.open()
    [described] = recover(house.runner)
    assert (described["fate"], described["pid"]) == ("judge", None)
    house.loop.turn()
    assert house.process.poll() is None
    assert house.op(job)["status"] == "queued"


# Nobody was woken to say it: the job stayed queued until something else happened.
def test_job_whose_dependencies_failed_before_is_judged_at_once(house):
    job, token = house.running()
    house.say(*finish(token, following=house.lock()))
    late = house.submit(depends=[[job, ["error"]]])
    assert house.op(late)["status"] == "error"


# The next chance to say it came with the next owner.
def test_verdict_that_could_not_be_recorded_is_recorded_later(house):
    job, token = house.running()
    house.say(*finish(token, following=house.lock()))
    house.loop.failing = DiskFull("full")
    late = house.submit(depends=[[job, ["error"]]])
    assert house.op(late)["status"] == "queued"
    house.loop.failing = None
    house.loop.later.pop()()
    house.loop.turn()
    assert house.op(late)["status"] == "error"


def test_worker_of_an_owner_before_ends_what_it_has_and_gets_nothing_new(house):
    job, token = house.running()
    house.open()
    recover(house.runner)
    house.hello(house.held[0], job, 0, token)
    other = house.submit()
    assert house.say(*finish(token)) == [["ok", token]]
    held = house.lock()
    [answer] = house.say("idle", held.name, held.inode)
    assert answer[0] == "end"
    assert house.op(other)["status"] == "queued"
