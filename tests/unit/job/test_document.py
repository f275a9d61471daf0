import copy

import pytest

from jqueue.errors import InvalidJob
from jqueue.job.document import check_document, new_document, with_job, with_op
from jqueue.job.jsonio import dumps, loads
from jqueue.job.log import Log
from tests.unit.job.making import NOW, delay, fresh

STAMP = [1_700_000_000, 123_456]


def test_a_new_document_is_ganetis():
    document = new_document(
        12, [delay(priority=-10, reason=[["gnt:user", "why", 1]]), delay()], now=NOW
    )
    trail = [
        ["gnt:user", "why", 1],
        ["jqueue:opcode:test_delay", "job=12;index=0", NOW],
    ]
    assert document["ops"][0] == {
        "input": delay(priority=-10, reason=trail),
        "status": "queued",
        "result": None,
        "log": [],
        "priority": -10,
        "start_timestamp": None,
        "exec_timestamp": None,
        "end_timestamp": None,
    }
    assert document["ops"][1]["priority"] == 0
    assert document["ops"][1]["input"]["reason"] == [
        ["jqueue:opcode:test_delay", "job=12;index=1", NOW]
    ]
    del document["ops"]
    assert document == {
        "id": 12,
        "received_timestamp": STAMP,
        "start_timestamp": None,
        "end_timestamp": None,
    }


def test_our_own_keys_stand_beside_ganetis_only_when_set():
    document = fresh(submitter={"job": 3, "op": 1}, key="k", unique="nightly", retry_of=2, uid=7)
    assert document["submitter"] == {"job": 3, "op": 1}
    assert (document["key"], document["unique"], document["retry_of"]) == ("k", "nightly", 2)
    source, reason, _ = document["ops"][0]["input"]["reason"][0]
    assert (source, reason) == ("jqueue:opcode:test_delay", "job=7;index=0;uid=7")


def test_opcodes_do_not_share_a_reason_trail():
    shared = []
    document = fresh(delay(reason=shared), delay(reason=shared))
    assert shared == []
    assert [len(op["input"]["reason"]) for op in document["ops"]] == [1, 1]


def test_a_document_is_never_changed_but_copied():
    document = fresh(delay(), delay())
    before = copy.deepcopy(document)
    changed = with_job(with_op(document, 1, status="running", attempts=1), key="k")
    assert document == before
    assert changed["ops"][1]["status"] == "running"
    assert changed["ops"][0] is document["ops"][0]
    assert changed["key"] == "k"


def test_none_removes_our_keys_and_is_null_in_ganetis():
    document = with_op(with_job(fresh(), key="k"), 0, token=5, start_timestamp=STAMP)
    document = with_op(with_job(document, key=None, livelock=None), 0, token=None)
    document = with_op(document, 0, start_timestamp=None, result=None)
    assert document == {**fresh(), "livelock": None}


def test_reading_what_was_written_is_the_identity():
    document = with_op(
        fresh(delay(), delay()), 0, log=Log([[1, STAMP, "message", "x"]]), attempts=2
    )
    assert check_document(loads(dumps(document)), 7) == document


def test_ganetis_absent_keys_are_filled_in_and_unknown_ones_kept():
    read = check_document(
        {"id": 7, "x": 1, "ops": [{"input": {"strange": 1}, "status": "queued", "y": [2]}]}, 7
    )
    assert (read["x"], read["received_timestamp"], read["end_timestamp"]) == (1, None, None)
    op = read["ops"][0]
    assert (op["y"], op["input"]) == ([2], {"strange": 1})
    assert (op["priority"], op["log"], op["result"], op["exec_timestamp"]) == (0, [], None, None)


@pytest.mark.parametrize("given", [None, "text", 5, [], {}, {"OP_ID": 5}, {"OP_ID": "x", "a": {}}])
def test_an_input_of_any_kind_survives(given):
    document = with_op(fresh(), 0, input=given)
    document["ops"][0]["input"] = given
    assert loads(dumps(check_document(document, 7)))["ops"][0]["input"] == given


def test_a_job_without_opcodes_can_be_read():
    assert check_document({"id": 7, "ops": []}, 7)["ops"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("id", value) for value in (8, "7", 7.0, None, True)),
        *(("ops", value) for value in (None, {}, "x")),
        *(("received_timestamp", value) for value in (5, [1], [1, 2, 3], [-1, 0], [1, 10**6])),
        *(("end_timestamp", value) for value in ([1.5, 0], ["1", 0], [10**15, 0], [True, 0])),
        *(("livelock", 5), ("process_id", "x"), ("lsn", -1), ("lsn", None), ("key", 5)),
        *(("submitter", 5), ("submitter", {"job": 1}), ("submissions", []), ("retry_of", "1")),
    ],
)
def test_a_damaged_job_is_refused_by_field(field, value):
    with pytest.raises(InvalidJob) as caught:
        check_document({**fresh(), field: value}, 7)
    assert (caught.value.field, caught.value.index) == (field, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("status", value) for value in ("done", None, 5, ["queued"])),
        *(("priority", value) for value in ("0", None, 1.0, True)),
        *(("log", value) for value in (None, {}, [1], [[1, STAMP, "t"]], [["1", STAMP, "t", "m"]])),
        *(("log", [entry]) for entry in ([1, None, "t", "m"], [1, STAMP, 5, "m"], "abcd")),
        *(("start_timestamp", 5), ("exec_timestamp", [1]), ("end_timestamp", "x")),
        *(("attempts", -1), ("token", "x"), ("interruption", 5), ("parked", 1)),
        *(("dependencies", []), ("dependencies", {"1": 2}), ("retry_at", "x"), ("retry_at", -1)),
        *(("input", {"OP_ID": "OP_X", "depends": value}) for value in (5, [5], [[1]])),
    ],
)
def test_a_damaged_opcode_is_refused_by_field_and_index(field, value):
    document = fresh(delay(), delay())
    document["ops"][1][field] = value
    with pytest.raises(InvalidJob) as caught:
        check_document(document, 7)
    assert caught.value.index == 1
    assert caught.value.field == ("depends" if field == "input" else field)


@pytest.mark.parametrize("field", ["input", "status"])
def test_an_opcode_needs_input_and_status(field):
    document = fresh()
    del document["ops"][0][field]
    with pytest.raises(InvalidJob, match="missing"):
        check_document(document, 7)


@pytest.mark.parametrize("value", [None, [], "x", 5, {"id": 7, "ops": [5]}])
def test_what_is_no_document_is_refused(value):
    with pytest.raises(InvalidJob):
        check_document(value, 7)
