"""Statistics: each number is what a plain count of the documents comes to, however it is cut."""

import json

import pytest

from archive_tools import parallel
from archive_tools.reading import Read, read_jobs, seek_all
from archive_tools.stats import Stats, count_jobs, message_of, stats_of, submitter_of
from jqueue.job.document import new_document, with_job, with_op
from jqueue.store.offline import OfflineQueue


def ended(job, *, waited_s=1, ran_s=2, status="success", kind="OP_A", **values):
    begin = 1_000_000 + 10 * job
    given = [{"OP_ID": kind}]
    document = new_document(job, given, now=begin * 10**9, uid=7)
    document = with_op(
        document,
        0,
        status=status,
        start_timestamp=[begin, 0],
        exec_timestamp=[begin + waited_s, 0],
        end_timestamp=[begin + waited_s + ran_s, 0],
        **values,
    )
    return with_job(document, end_timestamp=[begin + waited_s + ran_s, 0])


def counted(*documents):
    return count_jobs(Read(document["id"], document, archived=False) for document in documents)


def test_waiting_running_and_total_times_are_of_what_has_happened():
    waiting = new_document(9, [{"OP_ID": "OP_A"}], now=10**15)
    stats = counted(ended(1, waited_s=3, ran_s=5), waiting)
    assert (stats.waiting.count, stats.waiting.total) == (1, 3)
    assert (stats.running.count, stats.running.total) == (1, 5)
    assert (stats.total.count, stats.total.total) == (1, 8)
    assert stats.statuses == {"success": 1, "queued": 1}


def test_errors_that_differ_in_numbers_only_are_one():
    failed = [
        ended(n, status="error", result=["OpExecError", [f"disk {n} is full\nsee log"]])
        for n in (1, 2)
    ]
    stats = counted(*failed, ended(3))
    assert stats.errors.ranked() == [("disk # is full", 2)]
    assert stats.kinds["OP_A"].errors == 2
    assert message_of(None) == "None"
    assert message_of(["OpExecError", ["  "]]) == "(nothing)"


def test_what_was_not_executed_after_an_error_is_no_error_of_its_kind():
    """A kind that never failed was shown with the errors of those before it."""
    document = new_document(1, [{"OP_ID": "OP_A"}, {"OP_ID": "OP_B"}], now=10**15)
    for at, text in enumerate(["disk is full", "Preceding opcode failed"]):
        document = with_op(document, at, status="error", result=["OpExecError", [text]])
    stats = counted(document)
    assert stats.errors.ranked() == [("disk is full", 1)]
    assert (stats.kinds["OP_A"].errors, stats.kinds["OP_B"].errors) == (1, 0)


def test_repeated_and_interrupted_opcodes_and_repeating_jobs_are_counted():
    stats = counted(ended(1, attempts=3, interruptions=2), with_job(ended(2), retry_of=1))
    assert (stats.repeated_ops, stats.interruptions, stats.retries) == (1, 2, 1)


@pytest.mark.parametrize(
    ("reason", "who"),
    [
        (
            [["gnt:client:gnt-job", "", 1], ["gnt:opcode:op_a", "job=1;index=0", 2]],
            "gnt:client:gnt-job",
        ),
        ([["gnt:opcode:op_a", "job=1;index=0", 2]], "unknown"),
        ([["jqueue:opcode:a", "job=1;index=0;uid=1000", 2]], "user 1000"),
        ("nonsense", "unknown"),
        ([7, [], [1, 2, 3]], "unknown"),
    ],
)
def test_the_submitter_is_read_from_the_reason_trail(reason, who):
    document = new_document(1, [{"OP_ID": "OP_A"}], now=0)
    document["ops"][0]["input"]["reason"] = reason
    assert submitter_of(document) == who


def test_a_job_that_another_submitted_is_that_ones():
    child = with_job(ended(2), submitter={"job": 1, "op": 0})
    assert submitter_of(child) == "job 1"


def test_parts_that_are_merged_say_what_the_whole_says():
    documents = [
        ended(n, status="error" if n % 7 == 0 else "success", kind=f"OP_{n % 3}", waited_s=n)
        for n in range(1, 60)
    ]
    merged = Stats()
    for start in range(0, 60, 13):
        merged.merge(counted(*documents[start : start + 13]))
    assert json.loads(json.dumps(merged.to_dict())) == counted(*documents).to_dict()


def test_hostile_documents_are_counted_and_never_an_exception():
    document = ended(1)
    document["ops"][0]["input"] = [1, 2]
    none = {**ended(2), "ops": []}
    back = with_op(ended(3), 0, exec_timestamp=[0, 0], end_timestamp=[0, 0])
    stats = counted(document, none, back)
    assert stats.jobs == 3
    assert stats.waiting.least == 0


def test_the_same_statistics_come_from_one_process_and_from_many(tmp_path, monkeypatch):
    for n in range(1, 90):
        directory = tmp_path / "archive" / "0" if n % 2 else tmp_path
        directory.mkdir(exist_ok=True, parents=True)
        (directory / f"job-{n}").write_text(json.dumps(ended(n, waited_s=n)))
    (tmp_path / "job-90").write_text("{")
    with OfflineQueue(tmp_path) as queue:
        jobs = list(seek_all(queue))
        alone = count_jobs(read_jobs(queue.moment, jobs))
        monkeypatch.setattr(parallel, "ALONE_S", 0)
        monkeypatch.setattr(parallel, "CHUNK", 10)
        together = Stats()
        for part in stats_of(queue, jobs):
            together.merge(part)
    assert alone.unreadable == 1
    assert (alone.live, alone.archived) == (44, 45)
    assert together.to_dict() == alone.to_dict()
