import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidJob
from jqueue.job.parameters import MAX_OPCODES, normalize_job, normalize_op
from tests.unit.job.making import delay

NAN = float("nan")

GOOD = [
    *(("priority", value) for value in (-10, 0, 10, None)),
    *(("depends", value) for value in (None, [], [[5, []]], [[-1, ["success", "error"]]])),
    *(("reason", value) for value in (None, [], [["gnt:user", "", 1]])),
    *(("not_before", value) for value in (None, 0, 1.5, 2_000_000_000)),
    *(("retries", value) for value in (None, 0, 1000)),
    *(("timeout_s", value) for value in (None, 0.1, 5)),
    *(("comment", value) for value in (None, "", "text")),
    *(("dry_run", value) for value in (None, True, False)),
    *(("debug_level", value) for value in (None, 0, 2)),
]

BAD = [
    *(("OP_ID", value) for value in (None, 5, "", "x", "OP_", "OP_x", "OP_A B", "OP_A\n", "OP_É")),
    ("OP_ID", "OP_" + "A" * 98),
    *(("priority", value) for value in (-99, 5, 1, True, False, "0", 0.0, 10.0, [0])),
    *(
        ("depends", value)
        for value in (5, {}, "x", [5], [[5]], [[5, [], 1]], [[0, []]], [[5, "x"]])
    ),
    *(("depends", [[value, []]]) for value in (True, 1.0, None, "x", "-1", "07", 10**19, [1])),
    *(("depends", [[5, [value]]]) for value in ("running", "x", None, 1, ["success"])),
    ("depends", [[5, []]] * 10_001),
    *(("reason", value) for value in ("x", {}, [5], [["a", "b"]], [["a", "b", "c"]])),
    *(("reason", [entry]) for entry in (["a", "b", 1.5], ["a", 1, 1], ["a", "b", -1], "abc")),
    ("reason", [["a", "b", 1]] * 257),
    *(("not_before", value) for value in (-1, "now", True, 1e15, [])),
    *(("retries", value) for value in (-1, 1001, 1.0, True, "1")),
    *(("timeout_s", value) for value in (0, -1, "1", True)),
    *(("comment", value) for value in (5, [], b"x")),
    *(("dry_run", value) for value in (0, "yes")),
    *(("debug_level", value) for value in ("1", 1.0, True)),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_good_parameter_stays_as_it_is(name, value):
    assert normalize_op(delay(**{name: value})) == delay(**{name: value})


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: repr(value)[:40])
def test_a_bad_parameter_is_refused_by_name(name, value):
    with pytest.raises(InvalidJob) as caught:
        normalize_op(delay(**{name: value}))
    assert caught.value.field == name
    assert caught.value.index is None
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["not_before", "timeout_s", "duration"])
@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_a_number_that_json_cannot_hold_is_refused(name, value):
    with pytest.raises(InvalidJob) as caught:
        normalize_op(delay(**{name: value}))
    assert caught.value.field == name


def test_dependencies_by_decimal_text_become_numbers():
    assert normalize_op(delay(depends=[("12", ("error",))]))["depends"] == [[12, ["error"]]]


def test_the_input_is_a_copy_of_its_own():
    tags = ["a"]
    stored = normalize_op(delay(tags=tags))
    tags.append("b")
    assert stored["tags"] == ["a"]


def test_unknown_parameters_are_kept():
    assert normalize_op(delay(whatever={"x": [1, None]}))["whatever"] == {"x": [1, None]}


@pytest.mark.parametrize("op", [5, None, "OP_X", [["OP_ID", "OP_X"]], b"{}"])
def test_what_is_no_opcode_is_refused(op):
    with pytest.raises(InvalidJob) as caught:
        normalize_job([op])
    assert caught.value.index == 0


def test_a_refused_job_names_the_opcode():
    with pytest.raises(InvalidJob) as caught:
        normalize_job([delay(), delay(), delay(priority=5)])
    assert (caught.value.index, caught.value.field) == (2, "priority")


@pytest.mark.parametrize("ops", [[], (), delay(), "OP_X", None, 5, b""])
def test_a_job_is_a_list_of_at_least_one_opcode(ops):
    with pytest.raises(InvalidJob):
        normalize_job(ops)


def test_a_job_has_a_bounded_number_of_opcodes():
    with pytest.raises(InvalidJob) as caught:
        normalize_job(delay() for _ in range(10**9))
    assert caught.value.index == MAX_OPCODES


@given(
    st.dictionaries(
        st.sampled_from(["OP_ID", *{name for name, _ in BAD}]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
            ),
        ),
    )
)
def test_no_input_does_more_than_be_refused(given_op):
    try:
        accepted = normalize_op(given_op)
    except InvalidJob:
        return
    assert normalize_op(accepted) == accepted
