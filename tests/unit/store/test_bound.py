"""A job's document is bounded, so that a record can hold what ends the job: all sizes a 1,024th."""

import re

import pytest

from jqueue import Context, OpCode, logical_unit
from jqueue.daemon.jobqueue import JobQueue
from jqueue.errors import TooLarge
from jqueue.execution import line
from jqueue.queue import running
from jqueue.store import bound, record
from tests.unit.queue.making import delay

SEGMENT_BYTES = 8 << 10


class UnitTestGrowing(OpCode):
    result_bytes: int = 0
    log_bytes: int = 0
    progress_bytes: int = 0


@logical_unit(UnitTestGrowing)
def grow(op: UnitTestGrowing, context: Context):
    for at in range(op.log_bytes // 1000):
        context.feedback(f"{at} " + "x" * 990)
    if op.log_bytes:
        # What it said is kept or refused before it ends.
        context.submit_many_jobs([])
    if op.progress_bytes:
        context.progress(1, 2, "x" * op.progress_bytes)
    return "x" * op.result_bytes


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(record, "MAX_RECORD_BYTES", 64 << 10)
    monkeypatch.setattr(bound, "MAX_DOCUMENT_BYTES", 48 << 10)
    monkeypatch.setattr(bound, "UNCHECKED_BYTES", 4 << 10)
    monkeypatch.setattr(bound, "SMALL_BYTES", 1 << 10)
    monkeypatch.setattr(running, "MAX_LOG_BYTES", 16 << 10)
    monkeypatch.setattr(line, "MAX_BATCH_ENTRIES", 2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue"


@pytest.fixture
def queue(path):
    with JobQueue.open(path, durability="process") as opened:
        opened._directory.journal.segment_bytes = opened._directory.journal._limit = SEGMENT_BYTES
        yield opened


def run(queue):
    queue.run(workers=1, isolation="thread", until_idle=True)


def growing(**parameters):
    return {"OP_ID": "OP_UNIT_TEST_GROWING", **parameters}


def test_a_job_that_leaves_no_room_for_its_end_is_refused_naming_its_size(queue):
    queue.submit([delay(comment="x" * (45 << 10))])
    with pytest.raises(TooLarge, match=r"49\d\d\d bytes, .*\(49152\)") as caught:
        queue.submit([delay(comment="x" * (48 << 10))])
    assert caught.value.limit_bytes == 48 << 10
    assert caught.value.size_bytes > caught.value.limit_bytes
    with pytest.raises(TooLarge):
        queue.submit_many([[delay()], [delay(comment="x" * (48 << 10))]])
    # Many jobs may be more together.
    accepted = queue.submit_many([[delay(comment="x" * (28 << 10))]] * 2)
    assert [one.ok for one in accepted] == [True, True]
    assert queue.count() == 3


# The finish was refused and asked for again, each second, for ever.
@pytest.mark.parametrize("size_kib", [2, 6, 20, 40])
def test_results_that_no_record_holds_together_fail_their_opcode_and_the_job_ends(
    queue, path, size_kib
):
    job = queue.submit([growing(result_bytes=size_kib << 10)] * (60 // size_kib + 2))
    other = queue.submit([growing()])
    run(queue)
    ended = queue.job(job)
    assert (str(ended.status), str(queue.job(other).status)) == ("error", "success")
    failed = next(op for op in ended.ops if op.status == "error")
    kept = [len(op.result) for op in ended.ops if op.status == "success"]
    assert kept
    # What is no result is some 600 bytes an opcode.
    assert sum(kept) + (size_kib << 10) + len(ended.ops) * 600 > 48 << 10
    assert re.search(r"its result can't be kept: .* \d{5} bytes", failed.result[1][0])
    assert queue.archive(job)
    queue.close()
    with JobQueue.open(path) as opened:
        assert [op.result for op in opened.job(job).ops] == [op.result for op in ended.ops]


def test_a_log_that_no_record_holds_says_so_and_the_job_goes_on(queue):
    long = growing(comment="x" * (44 << 10), log_bytes=14_000)
    job = queue.submit([long, growing(), growing(log_bytes=2000)])
    run(queue)
    ended = queue.job(job)
    assert str(ended.status) == "success"
    last = ended.ops[0].log[-1]
    assert last[2] == "full"
    assert "more than a job may have" in last[3]
    assert 1 < len(ended.ops[0].log) < 14
    assert ended.ops[2].log == []


def test_progress_that_no_record_holds_is_left_out(queue):
    job = queue.submit([growing(comment="x" * (46 << 10), progress_bytes=5000)])
    run(queue)
    ended = queue.job(job)
    assert (str(ended.status), ended.ops[0].progress) == ("success", None)


# A job of an earlier release held up all others: its start was tried again each second.
@pytest.mark.parametrize("size_kib", [52, 70])
def test_a_job_that_is_too_large_already_fails_or_waits_and_holds_up_nobody(
    queue, monkeypatch, size_kib
):
    with monkeypatch.context() as patch:
        patch.setattr(record, "MAX_RECORD_BYTES", 1 << 20)
        patch.setattr(bound, "MAX_DOCUMENT_BYTES", 1 << 20)
        large = queue.submit([growing(comment="x" * (size_kib << 10)), growing(result_bytes=5000)])
        # Its next record begins another segment, and needs the whole document.
        queue.submit([growing()])
    other = queue.submit([growing()])
    run(queue)
    assert str(queue.job(other).status) == "success"
    assert str(queue.job(large).status) == ("error" if size_kib == 52 else "queued")
