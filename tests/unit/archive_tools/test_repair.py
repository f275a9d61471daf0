"""Repair, damage by damage: what the evidence decides, what is said, what the command answers."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from archive_tools.repair import make_plan
from archive_tools.repair_apply import apply_plan
from archive_tools.repair_segment import mend
from archive_tools.verify import verify
from jqueue.errors import QueueCorrupt, QueueLocked
from jqueue.job.change import Archived, JobSet, KeySet
from jqueue.store.directory import DirectoryStore
from jqueue.store.lock import QueueLock
from jqueue.store.protocol import Transaction
from jqueue.store.realdisk import RealDisk
from jqueue.store.record import encode_line
from tests.crash.mutations import contents_of, make_queue
from tests.crash.workload import STATES, finish, logged, start, state_of, submit

pytestmark = pytest.mark.damages
DATA = Path(__file__).parents[2] / "data"
DAY = STATES[-1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "q"
    make_queue(path, "closed")
    return path


@pytest.fixture
def queue(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "q"))


@pytest.fixture
def ganeti(tmp_path):
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "queue"


def repaired(path):
    plan = make_plan(path)
    assert plan.steps
    apply_plan(path, plan)
    assert {finding.code for finding in verify(path)} <= set(plan.left.values())
    assert make_plan(path).steps == []
    return plan


def state(path):
    store = DirectoryStore(RealDisk(path), background=False)
    found = state_of(store)
    store.close()
    return found


def newest(path):
    return max(path.glob("journal/0*"))


def without_history(path):
    """Leave a journal that says nothing of any job: there are only files."""
    DirectoryStore(RealDisk(path), background=False).close()
    for segment in path.glob("journal/0*"):
        if segment != newest(path):
            segment.unlink()


def test_a_healthy_queue_needs_no_repair(queue):
    plan = make_plan(queue)
    assert (plan.steps, plan.lost, plan.left) == ([], [], {})


def test_a_damaged_file_is_restored_exactly_from_the_kept_journal(queue):
    whole = (queue / "job-20").read_bytes(), (queue / "archive/0/job-1").read_bytes()
    (queue / "job-20").write_bytes(whole[0][:50])
    (queue / "archive/0/job-1").write_bytes(b"\0" * 100)
    plan = repaired(queue)
    assert plan.lost == []
    assert ((queue / "job-20").read_bytes(), (queue / "archive/0/job-1").read_bytes()) == whole
    assert (queue / "quarantine/repair-1/job-20").read_bytes() == whole[0][:50]
    assert state(queue) == DAY


def test_a_job_that_no_evidence_knows_is_set_aside_and_its_dependents_are_told(queue):
    without_history(queue)
    (queue / "job-4").write_bytes(b"{")
    plan = repaired(queue)
    assert any(line.startswith("job 4: no evidence for its last state") for line in plan.lost)
    assert plan.left == {
        "dependency: job-8: job 8 depends on job 4, which is nowhere": "dependency"
    }
    found = state(queue)
    assert 4 not in found
    assert found["fate/4"] == "lost"
    assert {key: value for key, value in found.items() if key in range(5, 30)} == {
        key: value for key, value in DAY.items() if key in range(5, 30)
    }


def test_the_id_of_a_lost_job_is_never_given_out_again(queue):
    without_history(queue)
    (queue / "job-29").write_bytes(b"")
    (queue / "serial").unlink()
    (queue / "journal/index").unlink()
    newest(queue).write_bytes(b"garbage")
    plan = repaired(queue)
    assert plan.journal["serial"] == 29
    assert state(queue)["serial"] == 29


def test_a_missing_segment_is_a_hole_that_is_said_and_files_fill_it(queue):
    """The last segment of a killed queue: files were behind it, its records are needed."""
    without_history(queue)
    store = DirectoryStore(RealDisk(queue), background=False)
    store.commit(Transaction("a", tuple(finish(5))))
    store.journal.rotate(store.ledger.durable_lsn, {"serial": 29})
    store.commit(Transaction("b", tuple(submit(30))))
    store.journal.close()
    lost = max(set(queue.glob("journal/0*")) - {newest(queue)})
    lost.unlink()
    with pytest.raises(QueueCorrupt, match="jqueue-archive repair"):
        DirectoryStore(RealDisk(queue), background=False)
    plan = repaired(queue)
    assert any("no whole record" in line for line in plan.lost)
    found = state(queue)
    assert found["serial"] == 30
    assert found[30][0] == "live"
    assert "queued" in str(found[5])


def test_a_flipped_bit_of_a_durable_record_is_put_right_by_its_checksum(queue):
    store = DirectoryStore(RealDisk(queue), background=False)
    store.commit(Transaction("a", tuple(submit(30))))
    store.commit(Transaction("b", tuple(submit(31))))
    store.journal.close()
    data = bytearray(newest(queue).read_bytes())
    data[data.index(b'"tx":"a"') + 6] ^= 1
    newest(queue).write_bytes(data)
    (queue / "job-30").unlink()
    with pytest.raises(QueueCorrupt):
        DirectoryStore(RealDisk(queue), background=False)
    plan = repaired(queue)
    assert plan.lost == []
    assert "one flipped bit" in plan.steps[-1].evidence
    assert state(queue)[30][0] == "live"


def test_changes_after_a_lost_record_are_made_to_the_file_that_reflects_it(queue):
    store = DirectoryStore(RealDisk(queue), background=False)
    store.commit(Transaction("first", tuple(start(5))))
    store.checkpointer._write_files()
    store.commit(Transaction("second", tuple(logged(5, "afterwards"))))
    store.ledger.mark()
    store.journal.close()
    lost = newest(queue).read_bytes().replace(b'"first"', b'"\0\0\0\0\0"')
    newest(queue).write_bytes(lost)
    repaired(queue)
    kept = str(state(queue)[5])
    assert "running" in kept
    assert "afterwards" in kept


@pytest.mark.parametrize("at", [0, 3, 8, 12, 200, 499])
def test_one_flipped_bit_is_found_and_two_changed_bytes_are_not_guessed(at):
    line = encode_line({"lsn": 7, "text": "x" * 500}, 99)[:-1]
    changed = bytearray(line)
    changed[at] ^= 16
    assert mend(bytes(changed), 99) == line
    changed[at + 1] ^= 3
    assert mend(bytes(changed), 99) != line


def test_a_segment_with_a_damaged_header_still_gives_its_records(queue):
    store = DirectoryStore(RealDisk(queue), background=False)
    store.commit(Transaction("a", tuple(submit(30))))
    store.commit(Transaction("b", tuple(finish(30))))
    store.journal.close()
    (queue / "job-30").unlink()
    data = newest(queue).read_bytes()
    newest(queue).write_bytes(b"#" * 40 + data[40:])
    repaired(queue)
    assert "success" in str(state(queue)[30])


def test_swapped_misplaced_and_misnamed_files_come_to_their_places(queue):
    without_history(queue)
    first, second = (queue / "job-10").read_bytes(), (queue / "job-11").read_bytes()
    (queue / "job-10").write_bytes(second)
    (queue / "job-11").write_bytes(first)
    (queue / "archive/7").mkdir()
    (queue / "archive/0/job-3").rename(queue / "archive/7/job-3")
    (queue / "job-12").rename(queue / ".tmp-job-12-0123456789abcdef")
    plan = repaired(queue)
    assert plan.lost == []
    assert ((queue / "job-10").read_bytes(), (queue / "job-11").read_bytes()) == (first, second)
    assert state(queue) == DAY


def test_of_twins_the_archived_one_counts_when_it_is_finished(queue):
    shutil.copy(queue / "archive/0/job-1", queue / "job-1")
    shutil.copy(queue / "job-9", queue / "archive/0/job-9")
    repaired(queue)
    assert state(queue) == DAY


def test_flags_and_serial_are_as_the_journal_says(queue):
    (queue / "serial").write_bytes(b"many\n")
    (queue / "drain").write_bytes(b"\xff")
    (queue / "pause").mkdir()
    repaired(queue)
    assert state(queue) == DAY
    assert (queue / "quarantine/repair-1/drain").read_bytes() == b"\xff"


def test_a_drain_stays_where_only_the_file_knows_of_it(queue):
    shutil.rmtree(queue / "journal")
    (queue / "drain").write_bytes(b'{"reason": "move", "by": "root", "since": 1.0}\n')
    plan = repaired(queue)
    assert plan.journal["drain"]["reason"] == "move"
    assert state(queue)["drain"]["reason"] == "move"


def test_users_keys_outlive_the_loss_of_the_index(queue):
    store = DirectoryStore(RealDisk(queue), background=False)
    done = [*submit(30, key="job"), KeySet("job", [30], "d"), KeySet("batch", [28, 29], "e")]
    store.commit(Transaction("k", tuple(done)))
    store.commit(Transaction("l", (*finish(30), Archived(30, 5.0))))
    store.journal.close()
    for name in ("journal/index", "serial"):
        (queue / name).write_bytes(b"x")
    data = newest(queue).read_bytes()
    newest(queue).write_bytes(data[:20] + b"##" + data[22:])
    repaired(queue)
    found = state(queue)
    assert found["key/batch"] == {"jobs": [28, 29], "digest": "e"}
    assert found["key/job"] == {"jobs": [30], "digest": "d", "until": 5.0 + 86_400}


def test_what_anybody_may_write_to_is_made_private(queue):
    for name in ("job-9", "journal", "."):
        (queue / name).chmod(0o777)
    repaired(queue)
    assert [(queue / name).stat().st_mode & 0o7 for name in ("job-9", "journal", ".")] == [5, 5, 5]


def test_of_a_damaged_pack_every_readable_job_is_kept(queue):
    store = DirectoryStore(RealDisk(queue), background=False)
    jobs = range(30, 80)
    changes = [*submit(*jobs), *(change for job in jobs for change in finish(job))]
    store.commit(Transaction("p", (*changes, *(Archived(job, 1.0) for job in jobs))))
    store.checkpoint()
    store.pack(0)
    store.close()
    expected = state(queue)
    pack = queue / "archive/0/pack"
    data = pack.read_bytes()
    for damaged in (data[:-40], data[:3000] + b"??" + data[3002:]):
        copy = queue.parent / "copy"
        shutil.copytree(queue, copy)
        (copy / "archive/0/pack").write_bytes(damaged)
        repaired(copy)
        assert state(copy) == expected  # the rest comes from the journal
        without_history(copy)
        (copy / "archive/0/pack").write_bytes(damaged)
        shutil.rmtree(copy)


def test_a_journal_that_is_gone_is_begun_anew_above_every_stamp(queue):
    stamps = [json.loads(file.read_bytes())["lsn"] for file in queue.glob("job-*")]
    shutil.rmtree(queue / "journal")
    plan = repaired(queue)
    assert plan.journal["first_lsn"] == max(stamps) + 1
    found = state(queue)
    assert {key: found[key] for key in range(1, 30)} == {key: DAY[key] for key in range(1, 30)}


def test_a_job_that_the_stamp_alone_says_is_newer_is_not_believed(queue):
    value = json.loads((queue / "job-15").read_bytes())
    (queue / "job-15").write_bytes(json.dumps({**value, "lsn": 9_000}).encode())
    plan = repaired(queue)
    assert plan.journal["first_lsn"] < 100
    assert state(queue) == DAY


def test_damaged_ganeti_directories_stay_ganetis(ganeti):
    kept = json.loads((ganeti / "job-20012").read_bytes())
    (ganeti / "job-20010").write_bytes(b"")
    (ganeti / "serial").write_bytes(b"-3\n")
    (ganeti / "job-20012abc.new").write_bytes(b"{")
    plan = repaired(ganeti)
    assert any("job 20010" in line for line in plan.lost)
    assert not (ganeti / "journal").exists()
    assert int((ganeti / "serial").read_text()) >= 20012
    assert json.loads((ganeti / "job-20012").read_bytes()) == kept


def test_what_a_repair_set_aside_goes_with_an_export_and_an_import(queue, tmp_path):
    (queue / "job-20").write_bytes(b"{half")
    repaired(queue)
    assert (
        run("export", queue, tmp_path / "file").exit_code == 1
    )  # it names the files in quarantine
    assert run("import", tmp_path / "file", tmp_path / "new").exit_code == 0
    assert (tmp_path / "new/quarantine/repair-1/job-20").read_bytes() == b"{half"
    assert state(tmp_path / "new") == DAY


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def test_the_command_plans_applies_and_undoes(queue, tmp_path):
    before = contents_of(queue)
    plan = tmp_path / "plan.json"
    assert run("repair", queue).exit_code == 0
    (queue / "job-20").write_bytes(b"")
    damaged = contents_of(queue)
    found = run("repair", queue, "--plan", plan)
    assert found.exit_code == 1
    assert "job-20: damaged: the file is empty" in found.stdout
    assert contents_of(queue) == damaged
    applied = run("repair", queue, "--apply", plan)
    assert (applied.exit_code, "verify finds nothing more" in applied.stderr) == (0, True)
    assert (queue / "job-20").read_bytes() == before["job-20"]
    again = run("repair", queue, "--apply", plan)
    assert (again.exit_code, again.stderr) == (0, "nothing to repair; nothing was changed\n")
    record = queue / "quarantine/repair-1/undo.json"
    assert run("repair", queue, "--undo", record).exit_code == 0
    assert contents_of(queue) == damaged
    assert run("repair", queue, "--undo", record).exit_code == 2


def test_a_plan_is_refused_once_what_it_rests_on_has_changed(queue, tmp_path):
    plan = tmp_path / "plan.json"
    (queue / "job-20").write_bytes(b"")
    run("repair", queue, "--plan", plan)
    (queue / "job-20").write_bytes(b"{")
    before = contents_of(queue)
    refused = run("repair", queue, "--apply", plan)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "has changed since the plan was made" in refused.stderr
    assert contents_of(queue) == before


def test_undoing_is_refused_once_the_queue_has_gone_on(queue, tmp_path):
    (queue / "job-20").write_bytes(b"")
    record = apply_plan(queue, make_plan(queue))
    store = DirectoryStore(RealDisk(queue), background=False)
    store.commit(Transaction("x", (JobSet(20, {"key": "k"}),)))
    store.close()
    before = contents_of(queue)
    refused = run("repair", queue, "--undo", record)
    assert refused.exit_code == 2
    assert "changed since the repair" in refused.stderr
    assert contents_of(queue) == before


def test_a_live_owner_no_queue_and_no_plan_are_refused_in_a_line(queue, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "plan.json").write_text("{}")
    (queue / "job-20").write_bytes(b"")
    lock = QueueLock(queue, 0)
    with pytest.raises(QueueLocked):
        make_plan(queue)
    held = run("repair", queue)
    lock.release()
    for result in (
        held,
        run("repair", tmp_path / "other"),
        run("repair", tmp_path / "nowhere"),
        run("repair", queue, "--apply", tmp_path / "plan.json"),
        run("repair", queue, "--undo", tmp_path / "plan.json"),
        run("repair", queue, "--output", queue / "inside"),
    ):
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr


def test_a_copy_is_repaired_and_the_original_not_even_looked_at(queue, tmp_path):
    (queue / "job-20").write_bytes(b"")
    for file in queue.rglob("*"):
        os.utime(file, (1, 1))
    before = {file: file.stat() for file in queue.rglob("*")}
    result = run("repair", queue, "--output", tmp_path / "copy")
    assert result.exit_code == 0
    after = {file: file.stat() for file in queue.rglob("*")}
    assert {file: tuple(status) for file, status in after.items()} == {
        file: tuple(status) for file, status in before.items()
    }
    assert state(tmp_path / "copy") == DAY
    assert run("repair", queue, "--output", tmp_path / "copy").exit_code == 2
