"""Packed archives under kills and power cuts: each job is there, exactly once, byte for byte."""

import contextlib
import random
import threading

import pytest

from jqueue.job.change import Archived, Pruned
from jqueue.job.pruning import prunable
from jqueue.job.state import Layer
from jqueue.store import jobfiles, packing
from jqueue.store.packed import DamagedPack, Packs, pack_path
from jqueue.store.protocol import Transaction
from tests.crash.workload import finish, open_store, submit
from tests.fakes import Crash, FakeDisk, every_crash

BLOCK_JOBS = 4
JOBS = range(1, 2 * BLOCK_JOBS + 4)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Few jobs fill some blocks, and every state that few names can be left in is soon seen."""
    monkeypatch.setattr(packing, "BLOCK_JOBS", BLOCK_JOBS)


def archived_disk():
    """A closed queue of archived jobs, and a live one."""
    disk = FakeDisk()
    store = open_store(disk)
    store.commit(Transaction("1", tuple(submit(*JOBS, 50))))
    done = [change for job in JOBS for change in finish(job)]
    store.commit(Transaction("2", (*done, *(Archived(job, 1.0) for job in JOBS))))
    store.close()
    return disk.kill_state()


def files_of(disk):
    return {path: data for path, data in disk.tree().items() if path.startswith("archive/0/job-")}


def documents_of(disk):
    packs = Packs(disk)
    return {job: jobfiles.load(disk, job, packs).document for job in jobfiles.archived_ids(disk)}


def test_a_packed_job_is_read_as_before_and_unpacked_byte_for_byte():
    disk = archived_disk()
    files, documents = files_of(disk), documents_of(disk)
    store = open_store(disk)
    assert store.pack(0) == (len(JOBS), [])
    assert files_of(disk) == {}
    with store.snapshot() as moment:
        assert moment.job_ids(archived=True) == [*JOBS, 50]
        assert moment.job_ids() == [50]
    assert {job: store.find(job).document for job in JOBS} == documents
    assert store.find(49) is None
    assert store.pack(0) == (len(JOBS), [])
    assert store.unpack(0) == (len(JOBS), [])
    assert files_of(disk) == files
    assert not disk.exists(pack_path(0))


@pytest.mark.parametrize("begin", ["pack", "unpack"])
def test_a_crash_at_any_step_leaves_files_or_pack_never_neither(begin):
    base = archived_disk()
    if begin == "unpack":
        store = open_store(base)
        store.pack(0)
        store.close()
        base = base.kill_state()
        base.sync_all()
    documents = documents_of(base)
    for number, disk in enumerate(every_crash(base.clone)):
        with contextlib.suppress(Crash):
            getattr(open_store(disk), begin)(0)
        disk.on_call = None
        left = [disk.kill_state(), *disk.crash_states(random.Random(number), limit=8)]
        for found in left:
            assert documents_of(found) == documents
            store = open_store(found)
            assert {job: store.find(job).document for job in JOBS} == documents
            getattr(store, begin)(0)
            assert documents_of(found) == documents
            assert not [path for path in found.tree() if ".tmp-pack" in path]


def test_a_reader_beside_pack_and_unpack_finds_each_job_once_at_every_step():
    base = archived_disk()
    documents = documents_of(base)
    for verb in ("pack", "unpack"):
        store = open_store(base)
        packs = Packs(base)

        def look(_name, _path, packs=packs):
            assert jobfiles.archived_ids(base, packs) == list(JOBS)
            for job in (1, BLOCK_JOBS, JOBS[-1]):
                assert jobfiles.load(base, job, packs).document == documents[job]

        base.on_call = look
        getattr(store, verb)(0)
        base.on_call = None


@pytest.mark.parametrize("gone", [(2, BLOCK_JOBS + 1), JOBS])
def test_a_pruned_packed_job_is_gone_also_after_a_crash(gone):
    base = archived_disk()
    store = open_store(base)
    store.pack(0)
    store.close()
    kept = sorted(set(JOBS) - set(gone))
    base.sync_all()
    for number, disk in enumerate(every_crash(base.clone)):
        acknowledged = False
        with contextlib.suppress(Crash):
            store = open_store(disk)
            store.commit(Transaction("p", tuple(map(Pruned, gone))))
            acknowledged = True
            store.close()
        disk.on_call = None
        for left in [disk.kill_state(), *disk.crash_states(random.Random(number), limit=6)]:
            store = open_store(left)
            store.checkpoint()
            found = jobfiles.archived_ids(left)
            assert found == kept or (not acknowledged and found == list(JOBS))
            assert (store.find(2) is None) == (found == kept) or store.find(2).document is None


def test_a_pack_of_which_all_jobs_are_pruned_is_removed():
    disk = archived_disk()
    store = open_store(disk)
    store.pack(0)
    store.commit(Transaction("p", tuple(Pruned(job) for job in JOBS)))
    store.checkpoint()
    assert not disk.exists(pack_path(0))
    assert (store.find("serial"), store.snapshot().job_ids(archived=True)) == (50, [50])


def test_every_damaged_byte_of_a_pack_is_found_and_harms_no_other_block():
    disk = archived_disk()
    documents = documents_of(disk)
    store = open_store(disk)
    store.pack(0)
    size = disk.size(pack_path(0))
    whole = disk.read(pack_path(0), size)
    harmed = 0
    for offset in range(0, size, 7):
        data = bytearray(whole)
        data[offset] ^= 4
        disk.overwrite(pack_path(0), bytes(data))
        packs = Packs(disk)
        for job in (1, BLOCK_JOBS + 1, JOBS[-1]):
            entry = jobfiles.load(disk, job, packs)
            if entry.document is None:
                assert entry.place == "quarantine"
                harmed += 1
            else:
                assert entry.document == documents[job]
    assert harmed > size // 14


def test_a_damaged_pack_keeps_its_ids_from_being_given_out_again():
    disk = archived_disk()
    store = open_store(disk)
    store.pack(0)
    store.close()
    disk.overwrite(pack_path(0), b"garbage")
    with pytest.raises(DamagedPack):
        Packs(disk).ids(0)
    for lost in ("serial", "journal/index"):
        disk.unlink(lost)
    store = open_store(disk)
    assert store.find("serial") >= 50
    assert store.find(50).document is not None


def test_a_damaged_file_is_left_beside_the_pack_and_is_never_overwritten():
    disk = archived_disk()
    disk.overwrite("archive/0/job-3", b"{")
    store = open_store(disk)
    count, left = store.pack(0)
    assert (count, len(left)) == (len(JOBS) - 1, 1)
    assert files_of(disk) == {"archive/0/job-3": b"{"}
    assert store.find(3).place == "quarantine"
    count, left = store.unpack(0)
    assert len(left) == 1
    assert disk.exists(pack_path(0))
    assert files_of(disk)["archive/0/job-3"] == b"{"


@pytest.mark.parametrize("at", [3, 300, -20])
def test_a_job_is_not_pruned_from_a_damaged_pack_and_the_answer_says_why(at):
    disk = archived_disk()
    store = open_store(disk)
    store.pack(0)
    data = bytearray(disk.read(pack_path(0), 1 << 20))
    data[at] ^= 4
    disk.overwrite(pack_path(0), bytes(data))
    store.close()
    store = open_store(disk)
    last = JOBS[-1]
    layer = Layer(store.ledger, 1)
    gone, [(job, why)] = prunable(layer, [last])
    assert (gone, job) == ([], last)
    assert "damaged" in why


class ToldLock:
    """The packer's lock, which tells when anybody but the first waits for it."""

    def __init__(self, waits):
        self._lock = threading.RLock()
        self._waits = waits

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            self._waits.set()
            self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


def test_a_job_pruned_while_its_pack_is_unpacked_stays_gone():
    disk = archived_disk()
    store = open_store(disk)
    store.pack(0)
    store.commit(Transaction("gone", (Pruned(2),)))
    waits = threading.Event()
    store.packer._work = ToldLock(waits)
    pruner = threading.Thread(target=store.files.write, args=(2,))

    def prune_between(name, _path):
        if name == "sync_all":
            disk.on_call = None
            pruner.start()
            assert waits.wait(20)

    disk.on_call = prune_between
    store.unpack(0)
    pruner.join()
    assert "archive/0/job-2" not in disk.tree()
    assert "archive/0/job-1" in disk.tree()
    store.close()
