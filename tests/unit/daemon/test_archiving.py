"""Jobs are archived when their time has come: none earlier, all soon after, in steps."""

from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue import JobQueue
from jqueue.daemon import archiving
from jqueue.daemon.archiving import LOOK_AGAIN_S, STEP, Agenda, Archiver
from jqueue.daemon.config import Config
from jqueue.errors import DiskFull
from tests.unit.queue.making import FrozenClock, delay, new_queue, run

DAY_S = 86_400


class Daemon:
    """An archiver, and the timer that the loop would be."""

    def __init__(self, queue, age_s=DAY_S):
        self.queue = queue
        self.archiver = Archiver(queue, age_s)
        self.at = queue.clock.now_ns()
        self.steps = 0

    def forward(self, seconds):
        """Let time pass, and let the timer go off whenever it is due."""
        clock = self.queue.clock
        end = clock.now_ns() + int(seconds * 1e9)
        while self.at <= end:
            clock.now = max(clock.now, self.at)
            self.steps += 1
            self.at = clock.now + int(self.archiver.step() * 1e9)
        clock.now = end

    def live(self):
        return [job.id for job in self.queue.jobs()]


def test_a_job_is_archived_a_day_after_its_end_and_not_before():
    queue = new_queue()
    daemon = Daemon(queue)
    first, unfinished = queue.submit([delay()]), queue.submit([delay()])
    daemon.forward(3600)
    run(queue, first)
    daemon.forward(DAY_S - 1)
    assert daemon.live() == [first, unfinished]
    daemon.forward(62)
    assert daemon.live() == [unfinished]
    run(queue, unfinished)
    daemon.forward(DAY_S + 62)
    assert daemon.live() == []
    assert queue.count() == 0


def test_what_ended_while_no_daemon_ran_is_archived_by_the_next_in_its_time():
    queue = new_queue()
    for job in queue.submit_many([[delay()]] * 3):
        run(queue, job.value)
        queue.clock.forward(0.4 * DAY_S)
    daemon = Daemon(queue)
    daemon.forward(0)
    assert daemon.live() == [2, 3]
    daemon.forward(0.5 * DAY_S)
    assert daemon.live() == [3]


def test_a_day_of_nothing_costs_a_look_an_hour():
    queue = new_queue()
    daemon = Daemon(queue)
    daemon.forward(DAY_S)
    assert daemon.steps <= DAY_S / LOOK_AGAIN_S + 1


def test_a_step_is_bounded_and_a_backlog_is_worked_off(monkeypatch):
    queue = new_queue()
    many = 5 * STEP
    for job in queue.submit_many([[delay()]] * many):
        run(queue, job.value)
    queue.clock.forward(2 * DAY_S)
    archiver = Archiver(queue, DAY_S)
    looked, real = [], queue.store.find
    monkeypatch.setattr(queue.store, "find", lambda key: looked.append(key) or real(key))
    before = many
    while before:
        looked.clear()
        archiver.step()
        left = len(list(queue.jobs()))
        assert before - STEP <= left < before
        assert sum(1 for key in looked if type(key) is int) <= STEP
        before = left


def test_the_jobs_are_listed_once_whatever_comes_after(monkeypatch):
    queue = new_queue()
    daemon = Daemon(queue)
    daemon.forward(1)
    monkeypatch.setattr(queue.store, "snapshot", None)
    for _ in range(3):
        job = queue.submit([delay()])
        daemon.forward(DAY_S)
        run(queue, job)
        daemon.forward(DAY_S + 62)
        assert not queue.store.find(job).live


def test_jobs_of_a_wrong_clock_hold_up_no_others():
    queue = new_queue()
    queue.clock.step(10 * 365 * DAY_S)
    run(queue, queue.submit([delay()]))
    queue.clock.step(-10 * 365 * DAY_S)
    run(queue, queue.submit([delay()]))
    daemon = Daemon(queue)
    daemon.forward(DAY_S + 62)
    assert daemon.live() == [1]


def test_a_full_disk_is_met_with_patience_and_nothing_is_forgotten(monkeypatch):
    queue = new_queue()
    run(queue, queue.submit([delay()]))
    queue.clock.forward(2 * DAY_S)
    daemon = Daemon(queue)

    def full(_decide):
        raise DiskFull("no space", path="x")

    with monkeypatch.context() as patched:
        patched.setattr(queue, "ask", full)
        daemon.forward(0)
        assert daemon.steps == 1
    assert daemon.live() == [1]
    daemon.forward(122)
    assert daemon.live() == []


@given(st.lists(st.tuples(st.sampled_from(["submit", "end", "wait"]), st.integers(0, 99)),
                max_size=40))  # fmt: skip
def test_every_job_goes_between_its_time_and_a_minute_later(doings):
    queue, age_s = new_queue(), 5000
    daemon, ended = Daemon(queue, age_s), {}
    for what, number in doings:
        if what == "submit":
            queue.submit([delay()])
        elif what == "wait":
            daemon.forward(number * 60)
        elif unfinished := [job.id for job in queue.jobs() if not job.finalized]:
            job = unfinished[number % len(unfinished)]
            run(queue, job)
            ended[job] = queue.clock.now_ns()
        for job, at in ended.items():
            past_s = (queue.clock.now_ns() - at) / 1e9 - age_s
            if past_s < 0:
                assert queue.store.find(job).live
            elif past_s > 5:
                assert not queue.store.find(job).live


def test_the_agenda_gives_what_is_due_in_slots_and_no_more_than_asked():
    agenda = Agenda(10)
    for job, at_s in ((1, 5), (2, 10), (3, 10.1), (4, 31)):
        agenda.add(job, at_s)
    assert agenda.next_s() == 10
    assert agenda.take(9.9, 9) == []
    assert sorted(agenda.take(10, 1) + agenda.take(10, 9)) == [1, 2]
    assert agenda.take(30, 9) == [3]
    assert agenda.next_s() == 40


@contextmanager
def daemon_that_archives(queue, age_s):
    import threading  # noqa: PLC0415 - for this alone

    from jqueue.execution.executions import Options  # noqa: PLC0415

    owner = queue.prepare(Options(workers=1), "thread")
    owner.archive_after_s = age_s
    thread = threading.Thread(target=queue.run_prepared, args=(owner,))
    thread.start()
    yield
    owner.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_a_daemon_archives_by_itself_when_the_time_has_come(tmp_path, monkeypatch):
    monkeypatch.setattr(archiving, "FIRST_LOOK_S", 0)
    clock = FrozenClock()
    with JobQueue.open(tmp_path / "queue", durability="process") as queue:
        queue.clock = clock
        run(queue, queue.submit([{"OP_ID": "OP_X"}]))
        clock.forward(2 * DAY_S)
        lsn = queue.job(1).lsn
        with daemon_that_archives(queue, DAY_S):
            changed = next(batch for batch in queue.store.changes(lsn, 30) if 1 in batch.values)
        assert not changed.values[1].live
    assert (tmp_path / "queue" / "archive" / "0" / "job-1").exists()


@pytest.mark.parametrize("said", [0, False])
def test_it_can_be_told_never_to(said, tmp_path):
    (tmp_path / "config.toml").write_text(f"archive_after_s = {str(said).lower()}")
    from jqueue.daemon.config import read  # noqa: PLC0415

    assert not read(tmp_path).archive_after_s
    assert Config().archive_after_s == DAY_S
