import pickle
from datetime import UTC, datetime

import pytest

from jqueue.job.document import with_job, with_op
from jqueue.job.log import Log
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus
from tests.unit.job.making import delay, fresh

RECEIVED = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


def test_a_job_shows_its_document():
    document = fresh(delay(priority=-10), delay(), key="k", submitter={"job": 3, "op": 0})
    document = with_job(document, lsn=44, retry_of=2, unique="u", start_timestamp=[1, 5])
    job = Job(document, archived=True)
    assert (job.id, job.status, job.priority, job.archived) == (7, JobStatus.QUEUED, -10, True)
    assert job.summary == ["TEST_DELAY(0.5)", "TEST_DELAY(0.5)"]
    assert (job.received, job.ended) == (RECEIVED, None)
    assert job.started == datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)
    assert (job.key, job.unique, job.lsn, job.retry_of) == ("k", "u", 44, 2)
    assert job.submitter == {"job": 3, "op": 0}
    assert not job.finalized
    assert job.to_dict() == document


def test_an_opcode_shows_its_document():
    document = with_op(
        fresh(),
        0,
        status="running",
        attempts=2,
        interruptions=1,
        token=9,
        progress=0.5,
        start_timestamp=[1, 0],
        exec_timestamp=[2, 0],
        log=Log([[1, [1, 0], "m", "x"]]),
    )
    (op,) = Job(document).ops
    assert (op.op_id, op.status, op.index, op.priority) == ("OP_TEST_DELAY", "running", 0, 0)
    assert (op.attempts, op.interruptions, op.token, op.progress) == (2, 1, 9, 0.5)
    assert (op.started.second, op.executed.second, op.ended) == (1, 2, None)
    assert (op.result, op.log, op.summary) == (None, [[1, [1, 0], "m", "x"]], "TEST_DELAY(0.5)")
    assert op.input["duration"] == 0.5
    assert op.parked is None
    assert type(op.to_dict()["log"]) is list


def test_a_job_that_was_never_changed_here_has_no_facts_of_ours():
    job = Job(fresh())
    assert (job.key, job.unique, job.retry_of, job.submitter, job.lsn) == (
        None,
        None,
        None,
        None,
        0,
    )
    assert (job.ops[0].attempts, job.ops[0].interruptions, job.ops[0].token) == (0, 0, None)


@pytest.mark.parametrize("given", [None, "x", {}, {"OP_ID": 4}])
def test_an_opcode_without_a_readable_kind_is_shown(given):
    document = fresh()
    document["ops"][0]["input"] = given
    job = Job(document)
    assert (job.ops[0].op_id, job.summary) == ("INVALID_OP", ["INVALID_OP"])


def test_a_snapshot_can_not_be_changed():
    job = Job(fresh())
    for view in (job, job.ops[0]):
        with pytest.raises(AttributeError):
            view.status = "success"
        with pytest.raises(AttributeError):
            view.anything = 1
        with pytest.raises(AttributeError):
            del view.status


def test_a_snapshot_is_equal_by_content_and_can_be_pickled():
    job = Job(with_op(fresh(), 0, log=Log([[1, [1, 0], "m", "x"]])), archived=True)
    twin = pickle.loads(pickle.dumps(job))
    assert twin == job
    assert twin.ops == job.ops
    assert job != Job(fresh(), archived=True)
    assert job != 5
    assert repr(job) == "<Job 7 queued TEST_DELAY(0.5)>"
    assert repr(job.ops[0]) == "<Op 0 TEST_DELAY(0.5) queued>"
