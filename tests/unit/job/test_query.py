"""Fields and filters: what a job's document gives, and which jobs a filter means."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidQuery, MalformedQuery
from jqueue.job.document import check_document, new_document, with_job, with_op
from jqueue.job.query import (
    ALL,
    GANETI,
    OWN,
    compile_filter,
    field_named,
    parse_fields,
    unknown_field,
)
from tests.unit.job.test_ganeti_sample import FILES

EXPECTED = json.loads((Path(__file__).parents[2] / "data" / "ganeti-queue.json").read_bytes())

COPY = {"OP_ID": "OP_COPY", "path": "/srv/Öl", "priority": -10}
DELAY = {"OP_ID": "OP_TEST_DELAY", "duration": 0.2}
QUEUED = new_document(7, [COPY, DELAY], now=1_700_000_000_250_000_000, key="nightly")
FAILED = with_job(
    with_op(
        with_op(
            QUEUED,
            0,
            status="error",
            result=["OpExecError", ["No space left"]],
            start_timestamp=[1_700_000_001, 0],
            end_timestamp=[1_700_000_002, 5],
            attempts=2,
        ),
        1,
        status="error",
        result=["OpExecError", ["Preceding opcode failed"]],
    ),
    start_timestamp=[1_700_000_001, 0],
    end_timestamp=[1_700_000_002, 5],
)


def means(form, job=FAILED, archived=False):
    return compile_filter(form).matches(job, archived)


@pytest.mark.parametrize("expected", EXPECTED["jobs"], ids=lambda job: str(job["id"]))
def test_fields_give_what_ganeti_reports(expected):
    directory, data = FILES[expected["id"]]
    document = check_document(json.loads(data), expected["id"])
    archived = "archive" in directory
    names = GANETI.keys() & expected.keys()
    assert len(names) >= 9
    found = {name: GANETI[name].get(document, archived) for name in names}
    assert found == {name: expected[name] for name in names}


def test_the_sixteen_fields_have_ganetis_titles_and_kinds():
    titles = "ID Status Priority Archived OpCodes OpCode_result OpCode_status OpCode_log"
    titles += " OpCode_start OpCode_exec OpCode_end OpCode_prio Summary Received Start End"
    assert [field.title for field in GANETI.values()] == titles.split()
    kinds = {field.name: field.kind for field in GANETI.values() if field.kind != "other"}
    assert kinds == {"id": "number", "status": "text", "priority": "number", "archived": "bool"}
    assert not GANETI.keys() & OWN.keys()


def test_values_of_fields():
    def value(name, job=FAILED):
        return ALL[name].get(job, False)

    assert value("opresult") == [
        ["OpExecError", ["No space left"]],
        ["OpExecError", ["Preceding opcode failed"]],
    ]
    assert value("opend") == [[1_700_000_002, 5], None]
    assert value("oppriority") == [-10, 0]
    assert (value("priority"), value("priority", QUEUED)) == (0, -10)
    assert (value("start_ts", QUEUED), value("start_ts")) == (None, [1_700_000_001, 0])
    assert value("oplog") == [[], []]
    assert value("kinds") == ["OP_COPY", "OP_TEST_DELAY"]
    assert value("errors") == ["No space left", "Preceding opcode failed"]
    assert (value("attempts"), value("key"), value("submitter")) == ([2, 0], "nightly", None)
    for field in ALL.values():
        json.dumps(field.get(FAILED, False))
        assert field.doc
        assert "\n" not in field.doc


def test_field_lists():
    assert [field.name for field in parse_fields("id, status")] == ["id", "status"]
    assert [field.name for field in parse_fields("+key", ("id",))] == ["id", "key"]
    with pytest.raises(InvalidQuery, match=r"'stat'; did you mean 'status'\?"):
        parse_fields("id,stat")
    with pytest.raises(InvalidQuery, match="'key'"):
        field_named("key", GANETI)
    assert unknown_field("zz")[:4] == ("zz", "zz", "unknown", "Unknown field 'zz'")


@pytest.mark.parametrize(
    "form",
    [
        None,
        ["&"],
        ["=", "id", 7],
        ["==", "id", 7.0],
        ["!=", "id", 8],
        ["<", "id", 8],
        [">=", "id", 7],
        ["==", "status", "error"],
        [">", "status", "e"],
        ["|", ["==", "status", "error"], ["==", "status", "queued"]],
        ["|", ["==", "id", 1], ["=~", "status", "^err"]],
        ["!", ["?", "archived"]],
        ["==", "archived", False],
        ["?", "status"],
        ["?", "end_ts"],
        ["!", ["?", "parked"]],
        ["=~", "summary", "COPY"],
        ["=~", "opresult", "space"],
        ["=~", "ops", "Öl$"],
        ["==", "summary", "COPY"],
        ["=[]", "summary", "TEST_DELAY(0.2)"],
        ["!", ["=[]", "summary", "TEST_DELAY"]],
        ["=[]", "oppriority", -10],
        ["<", "oppriority", 0],
        ["==", "opstatus", "error"],
        [">", "received_ts", 1_700_000_000],
        ["<", "received_ts", 1_700_000_000.3],
        ["==", "received_ts", [1_700_000_000, 250_000]],
        [">", "opend", "2023-11-14 22:13:21+00:00"],
        ["<", "opend", "2023-11-14T22:13:23"],
        ["!=", "submitter", 3],
        ["=~", "key", "(?i)NIGHT"],
    ],
)
def test_filter_that_holds(form):
    assert means(form)
    if form is not None:
        assert not means(["!", form])


@pytest.mark.parametrize(
    "form",
    [
        ["|"],
        ["=", "id", 8],
        ["<", "submitter", 10**9],
        ["==", "submitter", 0],
        ["?", "submitter"],
        ["?", "archived"],
        ["==", "attempts", True],
        ["=[]", "summary", "COP"],
        ["=~", "summary", "^OP"],
        [">", "end_ts", 1_700_000_003],
        ["<", "opexec", 10**11],
    ],
)
def test_filter_that_does_not_hold(form):
    assert not means(form)


@pytest.mark.parametrize(
    ("form", "ids"),
    [
        (["=", "id", 7], (7,)),
        (["|", ["==", "id", 9], ["|", ["=", "id", 7], ["=", "id", 9]]], (9, 7)),
        (["|"], ()),
        (["|", ["=", "id", 7], ["=", "status", "x"]], None),
        (["&", ["=", "id", 7]], None),
        (["=", "id", -7], None),
        (["=", "id", 7.0], None),
        (["!=", "id", 7], None),
        (None, None),
    ],
)
def test_ids_asked_for_exactly(form, ids):
    assert compile_filter(form).ids == ids


def test_a_filter_names_archived_wherever_it_stands():
    assert compile_filter(["|", ["=", "id", 1], ["!", ["?", "archived"]]]).names_archived
    assert compile_filter(["|", ["==", "status", "x"], ["=", "status", "y"]]).fields == {"status"}
    assert not compile_filter(["==", "status", "archived"]).names_archived


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (["=", "zzz", 1], "Can't find field named 'zzz'"),
        (["=", "id", "7"], "id is a number"),
        (["|", ["=", "id", "7"], ["=", "id", 7]], "id is a number"),
        (["=", "id", True], "id is a number"),
        (["==", "status", 3], "status is a text"),
        (["==", "archived", 1], "true or false"),
        (["==", "summary", None], "can't be compared"),
        (["==", "summary", ["x"]], "can't be compared"),
        (["=[]", "status", "e"], "no list"),
        (["=~", "id", "7"], "no text"),
        (["=~", "status", "("], "can't be used"),
        (["=~", "status", "(?=x)"], "can't be used"),
        (["=~", "status", "((x{100}){100}){100}"], "can't be used"),
        (["=~", "status", "x" * 1001], "at most"),
        (["|", *[["=~", "status", "x"]] * 17], "at most 16 patterns"),
        (["&", *[["?", "status"]] * 1001], "at most 1000 comparisons"),
        ([">", "end_ts", "2h ago"], "is not a time"),
    ],
)
def test_a_filter_that_cannot_be_answered_says_why(form, message):
    with pytest.raises(InvalidQuery, match=message) as caught:
        compile_filter(form)
    assert not isinstance(caught.value, MalformedQuery)


@pytest.mark.parametrize(
    "form",
    [
        [],
        "id",
        {},
        7,
        [["="]],
        ["~", "id", 7],
        ["=", "id"],
        ["=", 7, "id"],
        ["!"],
        ["!", ["?", "id"], ["?", "id"]],
        ["?"],
        ["?", ["id"]],
        ["&", "id"],
        ["=~", "status", 3],
    ],
)
def test_what_is_no_filter_is_told_apart(form):
    with pytest.raises(MalformedQuery):
        compile_filter(form)


def test_a_deep_filter_is_refused():
    form = ["?", "id"]
    for _ in range(10_000):
        form = ["!", form]
    with pytest.raises(MalformedQuery, match="nested"):
        compile_filter(form)


def test_many_ids_cost_one_comparison_a_job():
    form = ["|", *[["=", "id", number] for number in range(100_000)]]
    selected = compile_filter(form)
    assert selected.matches(FAILED, False)
    assert len(selected.ids) == 100_000


def test_no_pattern_takes_long_whatever_the_text():
    text = "a" * 50_000 + "!"
    job = with_op(QUEUED, 0, result=text)
    begin = time.perf_counter()
    assert not means(["=~", "opresult", "(a|aa|a*)*b$"], job)
    # A backtracking engine needs 2^50000 steps.
    assert time.perf_counter() - begin < 30


def test_ages_count_from_the_time_given():
    form = ["<", "end_ts", "1h ago"]
    ended = datetime.fromtimestamp(1_700_000_002, UTC)
    assert not compile_filter(form, now=ended).matches(FAILED, False)
    assert compile_filter(form, now=ended.replace(year=2024)).matches(FAILED, False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
OPERATORS = ["&", "|", "!", "?", "=", "==", "!=", "<", ">", "<=", ">=", "=~", "=[]", "~"]
FORMS = st.recursive(
    st.tuples(st.sampled_from(OPERATORS), st.sampled_from([*ALL, "zz"]), JSON).map(list)
    | st.tuples(st.just("?"), st.sampled_from([*ALL])).map(list)
    | JSON,
    lambda inner: (
        st.tuples(st.sampled_from(["&", "|", "!"]), inner, inner).map(list)
        | st.tuples(st.just("!"), inner).map(list)
    ),
    max_leaves=6,
)


@given(FORMS)
def test_any_form_is_answered_or_refused(form):
    try:
        selected = compile_filter(form)
    except InvalidQuery:
        return
    for job in (QUEUED, FAILED):
        assert selected.matches(job, False) in (True, False)
