"""pack, unpack and prune as commands: with an owner and without, and what they refuse."""

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from archive_tools.commands.pruning import Candidate, choose
from jqueue import JobQueue, connect
from jqueue.job.change import Archived
from jqueue.store.packed import pack_path
from jqueue.store.protocol import Transaction
from tests.crash.workload import finish, submit


def run(*args):
    result = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="jqueue-archive")
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(params=["with owner", "without"])
def queue_path(request, tmp_path):
    """Archived jobs 1 to 40, of which an unfinished one needs job 3."""
    path = tmp_path / "queue"
    with JobQueue.open(path, durability="process") as queue:
        commit = queue.store.commit
        jobs = range(1, 41)
        commit(Transaction("1", tuple(submit(*jobs))))
        commit(Transaction("2", tuple(change for job in jobs for change in finish(job))))
        commit(Transaction("3", tuple(submit(41, op={"depends": [[3, ["success"]]]}))))
        commit(Transaction("4", tuple(Archived(job, 1.0) for job in jobs)))
    if request.param == "without":
        yield path
        return
    with JobQueue.open(path, durability="process", listen=True):
        yield path


def test_pack_and_unpack_leave_every_command_s_output_as_it_was(queue_path):
    listed = run("list", "--archived", "--json", queue_path)
    shown = run("info", queue_path, 12)
    assert listed[0] == shown[0] == 0
    code, out, err = run("pack", queue_path)
    assert (code, out) == (0, "")
    assert "no archive directory is full" in err
    assert run("pack", "--all", queue_path) == (0, "archive/0: 40 jobs packed\n", "")
    assert [p.name for p in (queue_path / "archive" / "0").iterdir()] == ["pack"]
    assert run("list", "--archived", "--json", queue_path) == listed
    assert run("info", queue_path, 12) == shown
    assert run("unpack", queue_path) == (0, "archive/0: 40 jobs unpacked\n", "")
    assert len(list((queue_path / "archive" / "0").iterdir())) == 40
    assert run("list", "--archived", "--json", queue_path) == listed


def test_what_is_not_packed_needs_no_unpacking(queue_path):
    """Of a directory that was never there it said that the queue was not there."""
    assert run("unpack", queue_path) == (0, "", "no archive directory is packed\n")
    assert run("unpack", queue_path, 0, 7) == (
        0,
        "archive/0: 0 jobs unpacked\narchive/7: 0 jobs unpacked\n",
        "",
    )
    assert len(list((queue_path / "archive" / "0").iterdir())) == 40


@pytest.mark.parametrize("packed", [False, True])
def test_prune_previews_then_removes_all_but_the_targets_of_unfinished_jobs(queue_path, packed):
    if packed:
        run("pack", "--all", queue_path)
    code, out, err = run("prune", "--keep", 30, queue_path)
    assert code == 0
    assert out.startswith("9 of 40 jobs would be removed")
    assert "job 3 would stay" in err
    assert run("info", queue_path, 1)[0] == 0
    code, out, err = run("prune", "--keep", 30, "--yes", queue_path)
    assert (code, out) == (1, "9 jobs removed, 31 stay\n")
    assert err == "job 3 stays: 1 unfinished jobs depend on it\n"
    with connect(queue_path) as queue:
        assert [job.id for job in queue.jobs(archived=True)] == [3, *range(11, 42)]


def test_prune_says_what_it_needs(tmp_path):
    assert run("prune", tmp_path)[0] == 2
    assert run("prune", "--older-than", "5y", tmp_path)[0] == 2
    assert run("prune", "--keep", 1, "--yes", "--dry-run", tmp_path)[0] == 2
    code, out, err = run("prune", "--keep", 1, tmp_path / "none")
    assert (code, out, len(err.splitlines())) == (1, "", 1)


def test_the_newest_stay_by_number_size_and_age():
    found = [Candidate(job, 100.0 * job, 10) for job in range(1, 11)]

    def ids(*limits):
        return [candidate.id for candidate in choose(found, 1000, *limits)]

    assert ids(600, None, None) == [1, 2, 3, 4]
    assert ids(None, 7, None) == [1, 2, 3]
    assert ids(None, None, 85) == [1, 2]
    assert ids(900, 9, 100) == [1]
    assert choose([Candidate(1, 0.0, 1)], 1000, 0, None, None) == []


@pytest.mark.damages
def test_a_packed_archive_says_what_is_damaged(queue_path):
    (queue_path / "archive/0/job-5").write_bytes(b"{")
    code, out, err = run("pack", "--all", queue_path)
    assert (code, out) == (1, "archive/0: 39 jobs packed\n")
    assert err.startswith("left as it is: archive/0/job-5: ")
    assert (queue_path / pack_path(0)).exists()
