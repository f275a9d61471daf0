"""Kills and power cuts at every step of a day's work (P1, P2, P3)."""

import contextlib
import random

import pytest

from jqueue.job.change import Archived, OpSet, Pruned
from jqueue.store.protocol import Transaction
from tests.crash.workload import (
    STATES,
    TRANSACTIONS,
    Progress,
    live_the_day,
    open_store,
    state_of,
    submit,
)
from tests.fakes import Crash, FakeDisk, every_crash


def crashing_at(step, make=FakeDisk):
    disk = make()

    def crash_there(_name, _path):
        if len(disk.calls) > step:
            raise Crash

    disk.on_call = crash_there
    return disk


def crashes(part=0, parts=1):
    """Yield the disk and the progress of a day that ended before a step: every `parts`-th step."""
    whole = FakeDisk()
    live_the_day(whole, Progress())
    for step in range(part, len(whole.calls) + 1, parts):
        disk, progress = crashing_at(step), Progress()
        with contextlib.suppress(Crash):
            live_the_day(disk, progress)
        disk.on_call = None
        yield step, disk, progress


def remains(number, disk, states):
    """Yield what a kill leaves and some of what a power cut leaves, a torn write too."""
    yield disk.kill_state()
    yield disk.kill_state(short=number % 40)
    yield from disk.crash_states(random.Random(number), limit=states)


def check(left, progress):
    """What is found is what was acknowledged, and perhaps what was begun; and it stays so."""
    store = open_store(left)
    found = state_of(store)
    assert found in progress.possible()
    again = open_store(left.clone())
    assert state_of(again) == found
    for transaction in TRANSACTIONS[progress.acknowledged : progress.begun]:
        store.commit(transaction)
    assert state_of(store) == STATES[progress.begun]
    return store


def check_all(parts, part, states):
    for number, disk, progress in crashes(part, parts):
        for left in remains(number, disk, states):
            store = check(left, progress)
            serial = STATES[progress.begun].get("serial", 0)
            assert (store.find("serial") or 0) == serial
            store.close()
            before = STATES[progress.begun]
            for lost in ([], ["journal/index"], ["journal/index", "serial", "drain"]):
                for path in lost:
                    if left.exists(path):
                        left.unlink(path)
                store = open_store(left)
                assert state_of(store) == before
                store.close()
            assert [path for path in left.tree() if ".tmp-" in path] == []


@pytest.mark.parametrize("part", range(4))
def test_p1_p2_acknowledged_is_there_and_whole_after_a_kill_or_a_power_cut(part):
    check_all(parts=24, part=6 * part, states=6)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(8))
def test_p1_p2_acknowledged_is_there_and_whole_at_every_step(part):
    check_all(parts=8, part=part, states=40)


def check_crash_during_recovery(parts, part, states):
    """A second crash, at every step of the opening after the first."""
    for number, disk, progress in crashes(part, parts):
        for left in list(remains(number, disk, states)):
            for second in every_crash(left.clone):
                with contextlib.suppress(Crash):
                    open_store(second).checkpoint()
                second.on_call = None
                rng = random.Random(number)
                for twice in [second.kill_state(), *second.crash_states(rng, limit=2)]:
                    assert state_of(open_store(twice)) in progress.possible()


def test_p1_a_crash_of_the_recovery_loses_nothing():
    check_crash_during_recovery(parts=83, part=7, states=1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(8))
def test_p1_a_crash_of_the_recovery_loses_nothing_at_every_step(part):
    check_crash_during_recovery(parts=8, part=part, states=6)


def test_p3_the_serial_never_falls():
    for number, disk, progress in crashes(part=1, parts=23):
        given = STATES[progress.acknowledged].get("serial", 0)
        for left in remains(number, disk, 4):
            if left.exists("serial"):
                left.unlink("serial")
            store = open_store(left)
            assert (store.find("serial") or 0) >= given
            fresh = (store.find("serial") or 0) + 1
            assert store.find(fresh) is None
            store.commit(Transaction("fresh", tuple(submit(fresh))))
            assert store.find("serial") == fresh


def test_a_whole_day_ends_as_the_oracle_says():
    disk, progress = FakeDisk(), Progress()
    live_the_day(disk, progress)
    assert progress.acknowledged == len(TRANSACTIONS)
    assert state_of(open_store(disk)) == STATES[-1]
    assert max(name for name in disk.names("journal") if name.isdigit()) > "00000005"


def test_a_temporary_file_that_a_crash_left_in_the_archive_is_removed():
    disk = FakeDisk()
    store = open_store(disk)

    def crash(name, path):
        if name in {"rename", "exchange"} and path == "archive/0/job-1":
            raise Crash

    disk.on_call = crash
    done = OpSet(1, 0, {"status": "success"})
    with contextlib.suppress(Crash):
        store.commit(Transaction("1", (*submit(1), done, Archived(1, 0.0))))
    left = disk.kill_state()
    assert any(".tmp-" in path for path in left.tree())
    open_store(left).close()
    assert not any(".tmp-" in path for path in left.tree())
    assert left.exists("archive/0/job-1")


@pytest.mark.parametrize("archived", [False, True])
def test_counts_are_the_same_after_a_prune_is_replayed(archived):
    disk = FakeDisk()
    store = open_store(disk)
    done = OpSet(1, 0, {"status": "success"})
    store.commit(Transaction("1", (*submit(1, 2), done)))
    if archived:
        store.commit(Transaction("2", (Archived(1, 0.0),)))
    store.checkpoint()
    store.journal.rotate(store.ledger.last_lsn, store.ledger.values)
    store.commit(Transaction("3", (Pruned(1),)))
    counts = {status: store.find(f"count/{status}") for status in ("queued", "success")}
    assert counts == {"queued": 1, "success": None}
    for left in (disk.kill_state(), *disk.crash_states(random.Random(1), limit=10)):
        found = open_store(left)
        assert {status: found.find(f"count/{status}") for status in counts} == counts
        assert found.snapshot().job_ids(archived=True) == [2]


def test_a_synced_file_that_only_a_retired_segment_implies_is_not_replaced():
    # Replaced, it would be unsynced again, and the segment that could restore it is ignored.
    disk = FakeDisk()
    store = open_store(disk)
    store.commit(Transaction("1", tuple(submit(1))))
    store.checkpoint()
    store.commit(Transaction("2", tuple(submit(2))))
    recovering = open_store(disk.kill_state())
    assert recovering.files.dirty == [2]
    recovering.files.write_all()
    for left in recovering.disk.crash_states(random.Random(1), limit=20):
        assert open_store(left).find(1).document is not None


def test_in_process_mode_a_lost_end_of_the_journal_does_not_stop_later_openings():
    disk = FakeDisk()
    store = open_store(disk, durability="process")
    store.commit(Transaction("1", tuple(submit(1))))
    early = disk.read("journal/00000001", 1 << 20)
    for job in (2, 3):
        store.commit(Transaction(str(job), tuple(submit(job))))
    store.checkpointer._write_files()
    left = disk.kill_state()
    left.overwrite("journal/00000001", early)
    for job in (9, 10):
        # Killed before anything is retired, each time.
        store = open_store(left, durability="process")
        store.commit(Transaction(f"again-{job}", tuple(submit(job))))
        left = left.kill_state()
    with open_store(left, durability="process").snapshot() as moment:
        assert moment.job_ids() == [1, 2, 3, 9, 10]
