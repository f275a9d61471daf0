"""Every call of the disk fails once (P9, P10): a clear error, nothing lost, nothing half done."""

import errno
import os
import random

import pytest

from jqueue.errors import JQueueError, OutcomeUnknown
from jqueue.job.change import JobSet
from jqueue.store.protocol import Transaction
from tests.crash.workload import (
    STATES,
    Progress,
    live_with_errors,
    open_store,
    state_of,
    submit,
)
from tests.fakes import FakeDisk, Faulty

NAMES_ONCE = {("sync_dir", ""), ("sync_dir", "archive")}
"""A directory's own name is written once: if its only sync fails, a power cut may still take it."""
ERRORS = [errno.EIO, errno.ENOSPC]


def failing(step, number, short=None):
    def fail(n, _name, path):
        return OSError(number, os.strerror(number), path) if n == step else None

    return Faulty(FakeDisk(), fail, short)


def check_failures(number, part, parts, short=None):
    whole = Faulty(FakeDisk())
    assert live_with_errors(whole, Progress()) == []
    for step in range(part, len(whole.calls), parts):
        disk = failing(step, number, short)
        progress = Progress()
        live_with_errors(disk, progress)
        assert disk.fired == 1, whole.calls[step]
        assert state_of(progress.store) == STATES[-1], whole.calls[step]
        if whole.calls[step] in NAMES_ONCE:
            continue
        for left in disk.disk.crash_states(random.Random(step), limit=3):
            assert state_of(open_store(left)) == STATES[-1], whole.calls[step]


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_p9_a_failed_call_is_a_clear_error_and_nothing_is_lost(number):
    check_failures(number, part=number % 5, parts=9)


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_p9_a_short_write_is_a_clear_error_and_nothing_is_lost(number):
    check_failures(number, part=number % 5, parts=17, short=lambda n, *_: 7 * n % 300)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("short", [None, lambda n, *_: 7 * n % 300])
@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_p9_every_failed_call_is_a_clear_error_and_nothing_is_lost(number, short):
    check_failures(number, part=0, parts=1, short=short)


def failing_when(armed, name, path, number=errno.EIO):
    def fail(_n, called, where):
        if armed and called == name and where.startswith(path):
            armed.pop()
            return OSError(number, os.strerror(number), where)
        return None

    return Faulty(FakeDisk(), fail)


def commit(store, job):
    return store.commit(Transaction(f"tx-{job}", tuple(submit(job))))


def test_p10_a_failed_sync_stops_the_queue_until_it_is_reopened():
    armed = []
    disk = failing_when(armed, "sync", "journal/")
    store = open_store(disk)
    commit(store, 1)
    armed.append(1)
    with pytest.raises(OutcomeUnknown) as first:
        commit(store, 2)
    with pytest.raises(OutcomeUnknown) as second:
        commit(store, 3)
    assert second.value is first.value
    assert store.find(1) is not None
    assert store.find(2) is None
    with pytest.raises(JQueueError):
        store.checkpoint()
    store.close()
    store = open_store(disk)
    assert store.find(1) is not None
    assert commit(store, 2) == commit(store, 2)
    for left in disk.disk.crash_states(random.Random(0)):
        assert open_store(left).snapshot().job_ids() == [1, 2]


@pytest.mark.parametrize("where", ["sync_file", "sync_dir"])
def test_p10_a_failed_sync_of_job_files_stops_the_queue(where):
    armed = []
    disk = failing_when(armed, where, "")
    store = open_store(disk)
    commit(store, 1)
    armed.append(1)
    with pytest.raises(OutcomeUnknown):
        store.checkpoint()
    with pytest.raises(OutcomeUnknown):
        commit(store, 2)
    store.close()
    for left in disk.disk.crash_states(random.Random(0)):
        assert open_store(left).snapshot().job_ids() == [1]


def test_p9_a_failed_append_changes_nothing_and_the_next_one_succeeds():
    armed = []
    disk = failing_when(armed, "write", "journal/")
    store = open_store(disk)
    commit(store, 1)
    before = state_of(store)
    armed.append(1)
    tickets = [
        store.begin(lambda _, j=job: Transaction(f"tx-{j}", (*submit(j),))) for job in (2, 3)
    ]
    store.flush()
    assert [ticket.wait().lsn for ticket in tickets] == [2, 3]
    armed.append(1)
    assert state_of(store) != before
    with pytest.raises(JQueueError, match="nothing was changed"):
        commit(store, 4)
    assert store.find(4) is None
    assert commit(store, 4).lsn == 4


@pytest.mark.parametrize("path", ["serial", "drain", "pause"])
def test_p9_what_cannot_be_read_for_want_of_memory_is_not_guessed(path):
    armed = [1]
    disk = failing_when(armed, "read", path, errno.ENOMEM)
    with pytest.raises(JQueueError):
        open_store(disk)
    assert state_of(open_store(disk)) == STATES[0]


def test_p10_inodes_of_an_owner_before_are_not_written_into_again():
    # Their sync may have failed: what is written there may be joined by what was lost.
    disk = FakeDisk()
    store = open_store(disk)
    for job in (1, 2, 3):
        store.commit(Transaction(f"tx-{job}", tuple(submit(job))))
    store.files.write_all()
    again = Faulty(disk.kill_state())
    store = open_store(again)
    store.checkpoint()
    written = [name for name, path in again.calls if path.rpartition("/")[2].startswith("job-")]
    assert written.count("replace") == 3
    assert "swap" not in written
    # Those written since are.
    for job in (1, 2, 3):
        store.commit(Transaction(f"set-{job}", (JobSet(job, {"process_id": 7}),)))
    store.checkpoint()
    assert [name for name, _ in again.calls].count("refill") == 2
