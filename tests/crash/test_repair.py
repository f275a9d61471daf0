"""Repair of damaged directories: all that evidence supports is there, and there is a way back."""

import contextlib
import json
import random
import shutil
import time

import pytest

from archive_tools.repair import make_plan
from archive_tools.repair_apply import apply_plan, begin, complete, undo, undo_file, unfinished
from archive_tools.verify import verify
from jqueue.errors import FormatTooNew, QueueCorrupt
from jqueue.store.directory import DirectoryStore
from jqueue.store.realdisk import RealDisk
from tests.crash.mutations import contents_of, files_of, make_queue, mutate
from tests.crash.workload import STATES, open_store, state_of
from tests.fakes import Crash, FakeDisk, every_crash

pytestmark = pytest.mark.damages

DAY = STATES[-1]


@pytest.fixture(scope="module", params=["closed", "killed"])
def healthy(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("queue") / "q"
    make_queue(path, request.param)
    return path


def reopened(path, aside):
    shutil.copytree(path, aside)
    store = DirectoryStore(RealDisk(aside), background=False)
    state = state_of(store)
    store.close()
    shutil.rmtree(aside)
    return state


def check_repair(path, aside, how, doubtful=frozenset()):
    """Plan, apply, look, plan again, and go back; return whether anything was to be done.

    `doubtful` jobs may be other than they were: nothing is left that could tell.
    """
    before = contents_of(path)
    found = verify(path)
    try:
        plan = make_plan(path)
    except FormatTooNew:
        assert [finding.code for finding in found] == ["format"], how
        return False
    assert make_plan(path).id == plan.id, how
    assert contents_of(path) == before, how
    if not plan.steps:
        assert {finding.code for finding in found} <= set(plan.left.values()), how
        return False
    assert {code for step in plan.steps for code in step.answers} | set(plan.left.values()) >= {
        finding.code for finding in found
    }, how
    record = apply_plan(path, plan)
    assert {finding.code for finding in verify(path)} <= set(plan.left.values()), how
    assert make_plan(path).steps == [], how
    state = reopened(path, aside)
    lost = {job for job, *_ in plan.journal.get("quarantined", [])}
    assert state["serial"] >= DAY["serial"], how
    wrong = {key for key in {*DAY, *state} if state.get(key) != DAY.get(key)}
    if not plan.lost and not doubtful:
        # The serial may have risen: a file's name, or a digit, is evidence for an ID.
        assert wrong <= {"serial"}, (how, wrong)
    wrong = {key for key in wrong if isinstance(key, int) and key in DAY}
    assert wrong <= lost | unsure(plan) | doubtful, how
    undo_file(path, record)
    assert contents_of(path) == before, how
    return True


def unsure(plan):
    """The jobs that the plan says are not certain."""
    return {
        int(word.strip(":,"))
        for line in plan.lost
        if line.startswith("job")
        for word in line.partition(": ")[0].split()[1:]
    }


def changed_jobs(healthy, path):
    """The jobs whose files were hit: with the journal hit too, a wrong digit in one is not seen."""
    before, after = contents_of(healthy), contents_of(path)
    names = [name for name in before if before[name] != after.get(name)]
    return {int(name.rpartition("-")[2]) for name in names if "job-" in name}


def check_mutations(healthy, tmp_path, seed, stop):
    rng = random.Random(seed)
    done = 0
    while not stop():
        path = tmp_path / "q"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(healthy, path)
        hits = rng.choice([1, 1, 2])
        how = f"seed {seed}: " + "; ".join(mutate(path, rng) for _ in range(hits))
        doubtful = frozenset(changed_jobs(healthy, path) if hits > 1 else ())
        done += check_repair(path, tmp_path / "aside", how, doubtful)
    return done


def test_any_mutation_is_repaired_to_all_that_evidence_supports(healthy, tmp_path):
    left = iter(range(8))
    assert check_mutations(healthy, tmp_path, 11, lambda: next(left, None) is None) > 4


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_any_mutation_is_repaired_for_ten_minutes(healthy, tmp_path):
    end = time.monotonic() + 300
    seed = random.randrange(1 << 30)
    assert check_mutations(healthy, tmp_path, seed, lambda: time.monotonic() > end) > 100


# Crashes of the repair itself


def in_memory(path):
    disk = FakeDisk()
    for folder in sorted(path.rglob("*")):
        if folder.is_dir():
            disk.mkdir(str(folder.relative_to(path)))
    for file in files_of(path):
        disk.create(str(file.relative_to(path)), file.read_bytes())
    disk.sync_all()
    return disk.clone()


def visible(disk):
    """All files but the papers of repairs."""
    return {
        name: data
        for name, data in disk.tree().items()
        if not name.startswith("quarantine") and data is not None
    }


def damaged(healthy, tmp_path):
    """A gap in the journal, a lost job, a misplaced one, one with a wrong name."""
    path = tmp_path / "q"
    shutil.copytree(healthy, path)
    newest = max(path.glob("journal/0*"))
    newest.write_bytes(newest.read_bytes().replace(b'"lsn":', b'"lsM":', 2))
    (path / "job-20").write_bytes(b"{")
    (path / "archive/1").mkdir()
    (path / "archive/0/job-3").rename(path / "archive/1/job-3")
    (path / "job-7").rename(path / "job-6")
    return path


def follow(disk, plan):
    """Finish the repair as `--apply` would, whatever was done of it."""
    record = unfinished(disk)
    complete(disk, begin(disk, plan) if record is None else record)


def crashed(base, work, states):
    """Yield what kills and power cuts leave of `work`, at its every step."""
    for number, disk in enumerate(every_crash(base.clone)):
        with contextlib.suppress(Crash):
            work(disk)
        disk.on_call = None
        yield disk.kill_state()
        yield from disk.crash_states(random.Random(number), limit=states)


def check_crashes(healthy, tmp_path, states):
    path = damaged(healthy, tmp_path)
    plan = make_plan(path)
    base = in_memory(path)
    before = visible(base)
    done = base.clone()
    follow(done, plan)
    expected = state_of(open_store(done.clone()))
    seen = set()
    for left in crashed(base, lambda disk: follow(disk, plan), states):
        record = unfinished(left)
        seen.add(record is None)
        if record is None:
            assert visible(left) == before or state_of(open_store(left.clone())) == expected
        else:
            with pytest.raises(QueueCorrupt, match=r"jqueue-archive repair .*--apply"):
                open_store(left.clone())
            back = left.clone()
            undo(back, record)
            assert visible(back) == before
        if record is not None or visible(left) == before:
            follow(left, plan)
        assert state_of(open_store(left)) == expected
    assert seen == {True, False}


def check_crashes_of_undo(healthy, tmp_path, states):
    path = damaged(healthy, tmp_path)
    plan = make_plan(path)
    base = in_memory(path)
    before = visible(base)
    follow(base, plan)
    base.sync_all()
    record = record_of(base)
    for left in crashed(base, lambda disk: undo(disk, record), states):
        if unfinished(left) is not None:
            again = left.clone()
            complete(again, record)
            assert state_of(open_store(again)) == state_of(open_store(base.clone()))
        if visible(left) != before:
            undo(left, record)
        assert visible(left) == before


def record_of(disk):
    return json.loads(disk.read("quarantine/repair-1/undo.json", 1 << 30))


def test_a_crash_of_the_repair_is_completed_or_undone(healthy, tmp_path):
    check_crashes(healthy, tmp_path, states=6)


def test_a_crash_of_the_undoing_is_completed_either_way(healthy, tmp_path):
    check_crashes_of_undo(healthy, tmp_path, states=6)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_crash_of_repair_or_undoing_at_every_step(healthy, tmp_path):
    (tmp_path / "one").mkdir()
    check_crashes(healthy, tmp_path / "one", states=40)
    check_crashes_of_undo(healthy, tmp_path, states=40)
