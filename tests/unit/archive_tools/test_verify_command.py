"""`verify` as a command, beside an owner, and with little memory."""

import json
import os
import shutil
import threading

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_tools.cli import cli
from archive_tools.findings import CODES
from archive_tools.idset import IdSet
from archive_tools.verify import verify
from jqueue import JobQueue, ResultWithJobs
from jqueue.errors import QueueDrained


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def queue(tmp_path):
    path = tmp_path / "queue"
    with JobQueue.open(path) as opened:
        opened.submit([{"OP_ID": "OP_A"}])
        opened.drain("upgrade")
    return path


@pytest.mark.damages
@pytest.mark.parametrize("name", ["drain", "pause"])
@pytest.mark.parametrize("content", [None, b"", b"{", b'{"reason": "another"}', b"\xff"])
def test_a_flag_file_that_says_something_else_than_the_journal_is_found(queue, name, content):
    path = queue / name
    assert verify(queue) == []
    if content is None:
        (path.unlink if name == "drain" else path.mkdir)()
    else:
        path.write_bytes(content)
    assert [(f.code, f.path) for f in verify(queue)] == [("flag", name)]


@pytest.mark.damages
def test_errors_only_leaves_out_notes_and_an_exit_code_for_them(queue):
    (queue / "foreign").write_text("x")
    notes = json.loads(run("verify", queue, "--json", code=1).stdout)
    assert [CODES[note["code"]][0] for note in notes] == ["note"]
    assert run("verify", queue, "--errors-only").stdout == ""
    (queue / "job-1").write_text("{")
    found = json.loads(run("verify", queue, "--errors-only", "--json", code=1).stdout)
    assert {finding["level"] for finding in found} == {"error"}


@pytest.mark.damages
def test_permissions_of_job_files_and_of_the_directory_are_found(queue):
    os.chmod(queue / "job-1", 0o666)
    os.chmod(queue / "journal", 0o777)
    assert {(f.code, f.path) for f in verify(queue)} == {
        ("permissions", "job-1"),
        ("permissions", "journal"),
    }


def test_a_queue_that_is_just_being_made_is_looked_at_without_an_error(tmp_path):
    path = tmp_path / "queue"
    path.mkdir()
    (path / ".tmp-version-0123456789abcdef").write_text("1")
    assert verify(path, owned=True) == []
    assert [f.code for f in verify(path, owned=False)] == ["temp"]


@settings(max_examples=20)
@given(st.sets(st.integers(0, 20_000)), st.sets(st.integers(0, 20_000)), st.integers(0, 10**18))
def test_a_set_of_ids_is_a_set(some, others, one):
    mine, theirs = IdSet(), IdSet()
    for job in {*some, one}:
        mine.add(job)
    for job in others:
        theirs.add(job)
    assert list(mine.shared_with(theirs)) == sorted({*some, one} & others)
    assert one in mine
    assert all((job in theirs) == (job in others) for job in some)


def submit(queue, over, begun):
    count = 0
    while not over.is_set():
        count += 1
        jobs = [[{"OP_ID": "OP_A"}], [{"OP_ID": "OP_A", "depends": [[-1, []]]}]]
        try:
            queue.submit_many(jobs, key=f"k{count}" if count % 3 else None)
            queue.submit([{"OP_ID": "OP_B"}], unique=f"u{count}")
        except QueueDrained:
            continue
        if count > 30:
            begun.set()


def work(queue, over, _begun):
    count = 0
    while not over.is_set():
        claim = queue.claim()
        if claim is None:
            over.wait(0.001)
            continue
        count += 1
        with claim:
            if count % 5 == 0:
                claim.fail("no")
            else:
                claim.finish(ResultWithJobs([[{"OP_ID": "OP_C"}]]) if count % 7 == 0 else None)


def operate(queue, over, _begun):
    while not over.wait(0.02):
        queue.auto_archive(0.01)
        queue.drain("load")
        queue.undrain()


# Each queue is new: one under such a load grows, and each look at it takes longer.
MANY_QUEUES = pytest.param(30, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])


@pytest.mark.parametrize("queues", [1, MANY_QUEUES])
def test_verify_beside_a_live_owner_under_load_finds_nothing_that_is_not_there(tmp_path, queues):
    for number in range(queues):
        path = tmp_path / f"queue-{number}"
        verify_under_load(path)
        assert [f for f in verify(path) if f.level == "error"] == []
        shutil.rmtree(path)


def verify_under_load(path):
    over, begun = threading.Event(), threading.Event()
    with JobQueue.open(path, files="behind") as queue:
        threads = [
            threading.Thread(target=one, args=(queue, over, begun))
            for one in (submit, work, work, operate)
        ]
        for thread in threads:
            thread.start()
        try:
            assert begun.wait(60)
            seen, done = [], 0
            # However slow the machine is: it has been verified beside so many submissions.
            while done < 10 or queue.status()["serial"] <= 100:
                seen += [f for f in verify(path) if f.level == "error"]
                done += 1
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert seen == []
        assert queue.status()["serial"] > 100
