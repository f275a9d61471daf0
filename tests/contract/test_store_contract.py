"""What every engine promises, whatever it stands on."""

import threading

import pytest

from jqueue.errors import QueueDrained, Refused
from jqueue.job.change import DrainSet, SerialSet
from jqueue.job.state import live_status
from jqueue.store.directory import DirectoryStore
from jqueue.store.memory import MemoryStore
from jqueue.store.protocol import NotDrained, SerialIs, Transaction, new_transaction_id
from tests.crash.workload import STATES, TRANSACTIONS, document, state_of, submit
from tests.fakes import FakeDisk


class InMemory:
    def open(self, _path):
        return MemoryStore()

    reopen = None


class OnFakeDisk:
    def open(self, _path):
        self.disk = FakeDisk()
        return self.reopen(None)

    def reopen(self, _path):
        return DirectoryStore(self.disk, background=False, segment_bytes=4000)


class OnRealDisk:
    def open(self, path):
        return DirectoryStore.open(path / "queue")

    def reopen(self, path):
        return self.open(path)


@pytest.fixture(params=[InMemory, OnFakeDisk, OnRealDisk])
def engine(request):
    return request.param()


@pytest.fixture
def store(engine, tmp_path):
    store = engine.open(tmp_path)
    yield store
    store.close()


def commit(store, *changes, pre=(), name=None):
    return store.commit(Transaction(name or new_transaction_id(), changes, pre=pre))


def next_job(layer):
    job = (layer.find("serial") or 0) + 1
    return Transaction(new_transaction_id(), tuple(submit(job)))


def test_a_commit_is_whole(store):
    commit(store, *submit(1, 2, 3), DrainSet({"reason": "r"}))
    assert store.snapshot().job_ids() == [1, 2, 3]
    assert store.find("drain") == {"reason": "r"}
    assert store.find("serial") == 3
    assert store.find(2).document["ops"] == document(2)["ops"]


def test_the_day_leads_to_the_same_states(store):
    for at, transaction in enumerate(TRANSACTIONS):
        store.commit(transaction)
        assert state_of(store) == STATES[at + 1]


def test_the_same_transaction_again_returns_the_first_lsn_and_changes_nothing(store):
    first = commit(store, *submit(1), name="tx")
    commit(store, *submit(2))
    before = state_of(store)
    assert commit(store, *submit(1), name="tx").lsn == first.lsn
    assert state_of(store) == before


def test_a_refusal_changes_nothing(store):
    commit(store, *submit(1), DrainSet({"reason": "r"}))
    before = state_of(store)
    with pytest.raises(QueueDrained):
        commit(store, *submit(2), pre=(NotDrained(),), name="tx")
    with pytest.raises(Refused):
        commit(store, *submit(2), pre=(SerialIs(7),), name="tx")
    assert state_of(store) == before
    commit(store, *submit(2), pre=(SerialIs(1),), name="tx")
    assert store.find("serial") == 2


def test_batches_are_whole_and_none_is_missed_or_repeated(store):
    seen = []
    undo = store.subscribe(seen.append)
    since = commit(store, SerialSet(0)).lsn
    lsns = [commit(store, *submit(3 * n + 1, 3 * n + 2, 3 * n + 3)).lsn for n in range(20)]
    batches = list(store.changes(since, timeout_s=0))
    assert [batch.lsn for batch in batches] == lsns
    for n, batch in enumerate(batches):
        assert {key for key in batch.values if isinstance(key, int)} == {
            3 * n + 1, 3 * n + 2, 3 * n + 3,
        }  # fmt: skip
        assert batch.values["serial"] == 3 * n + 3
    assert [batch.lsn for batch in seen[1:]] == lsns
    assert list(store.changes(lsns[9], timeout_s=0)) == batches[10:]
    undo()
    commit(store, *submit(100))
    assert len(seen) == 21


def test_who_commits_is_told_of_nothing_that_watchers_have_not_heard(store):
    """Even where another thread made it durable, to tell of it later."""
    seen = []
    store.subscribe(lambda batch: seen.append(batch.lsn))
    first = store.begin(lambda _: Transaction("1", (SerialSet(1),)))
    store.flush(tell=False)
    assert first.wait().lsn == 1
    assert seen == []
    begin = store.ledger.begin

    def begin_and_lead(decide):
        record = begin(decide)
        store.flush(tell=False)
        return record

    store.ledger.begin = begin_and_lead
    store.transact(lambda _: Transaction("2", (SerialSet(2),)))
    assert seen == [1, 2]
    store.tell()
    assert seen == [1, 2]


def test_a_watcher_meets_each_batch_of_busy_committers_once(store):
    since = commit(store, SerialSet(0)).lsn
    threads = [
        threading.Thread(target=lambda: [store.transact(next_job) for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    jobs = []
    for batch in store.changes(since, timeout_s=20):
        jobs += [key for key in batch.values if isinstance(key, int)]
        if len(jobs) == 80:
            break
    for thread in threads:
        thread.join()
    assert jobs == list(range(1, 81))


def test_a_snapshot_is_one_moment_while_commits_go_on(store):
    for transaction in TRANSACTIONS[:9]:
        store.commit(transaction)
    with store.snapshot() as moment:
        before = {job: moment.find(job) for job in moment.job_ids(archived=True)}
        ids, open_ids = moment.job_ids(), moment.open_ids()
    with store.snapshot() as moment:
        for transaction in TRANSACTIONS[9:]:
            store.commit(transaction)
            if isinstance(store, DirectoryStore):
                store.checkpoint()
            assert moment.job_ids() == ids
            assert moment.open_ids() == open_ids
            assert list(moment.unfinished()) == open_ids
            begun = [job for job in open_ids if live_status(before[job]) != "queued"]
            assert moment.begun_ids() == begun
            assert {job: moment.find(job).document for job in ids} == {
                job: entry.document for job, entry in before.items()
            }
            assert moment.find("serial") == STATES[9]["serial"]


def test_the_submissions_of_eight_threads_get_unique_rising_ids(store):
    given = [[] for _ in range(8)]

    def work(mine):
        for _ in range(25):
            committed = store.transact(next_job)
            mine.append((committed.lsn, committed.transaction.changes[0].document["id"]))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine in given:
        assert mine == sorted(mine)
    together = sorted(pair for mine in given for pair in mine)
    assert [job for _, job in together] == list(range(1, 201))
    assert store.snapshot().job_ids() == list(range(1, 201))


@pytest.mark.parametrize("kind", [OnFakeDisk, OnRealDisk])
def test_reopening_keeps_everything(kind, tmp_path):
    engine = kind()
    store = engine.open(tmp_path)
    for at, transaction in enumerate(TRANSACTIONS):
        store.commit(transaction)
        if at % 3 == 0:
            store.close()
            store = engine.reopen(tmp_path)
            assert state_of(store) == STATES[at + 1]
    store.close()


@pytest.mark.parametrize("closes", [1, 2])
def test_a_transaction_committed_again_after_a_clean_close_is_known(engine, tmp_path, closes):
    if engine.reopen is None:
        return
    store = engine.open(tmp_path)
    first = commit(store, *submit(1), name="mine").lsn
    for _ in range(closes):
        store.close()
        store = engine.reopen(tmp_path)
    again = commit(store, *submit(1), name="mine")
    serial = store.find("serial")
    store.close()
    assert (again.lsn, serial) == (first, 1)


def test_a_flush_beside_a_waiter_of_the_same_record_never_leads_beside_it(store):
    done = []

    def work():
        for _ in range(60):
            ticket = store.begin(next_job)
            flusher = threading.Thread(target=store.flush)
            flusher.start()
            done.append(ticket.wait().lsn)
            flusher.join()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert len(set(done)) == 240
    assert store.snapshot().job_ids() == list(range(1, 241))
