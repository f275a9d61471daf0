"""Logical units: declared, checked, loaded; and the Context that they get."""

import sys

import pytest

from jqueue import Context, InvalidJob, OpCode, ResultWithJobs, logical_unit
from jqueue.execution.units import UNITS, Registry, Unit, load, sources


class FakeLine:
    def __init__(self):
        self.entries, self.values, self.calls = [], [], []

    def feedback(self, entries):
        self.entries += entries

    def progress(self, value):
        self.values.append(value)

    def submit(self, call, jobs):
        self.calls.append((call, jobs))
        return [[True, 7] for _ in jobs]


@pytest.fixture
def line():
    return FakeLine()


@pytest.fixture
def context(line):
    return Context(1, 0, 1, 0, line)


class UnitsTestOp(OpCode):
    size: int


def test_a_unit_is_found_by_its_op_id_and_checks_its_parameters():
    @logical_unit(UnitsTestOp, retries=2)
    def run(op, context):
        return op.size

    unit = UNITS["OP_UNITS_TEST_OP"]
    assert (unit.function, unit.retries, unit.interruption) == (run, 2, "requeue")
    assert unit.parse({"OP_ID": "OP_UNITS_TEST_OP", "size": 3}).size == 3
    with pytest.raises(InvalidJob) as caught:
        UNITS.check({"OP_ID": "OP_UNITS_TEST_OP", "size": "three"})
    assert caught.value.field == "size"
    UNITS.check({"OP_ID": "OP_OF_SOMEBODY_ELSE"})


def test_one_kind_has_one_unit():
    registry = Registry()
    registry.add(Unit(UnitsTestOp, lambda op, context: 1))
    with pytest.raises(ValueError, match="already"):
        registry.add(Unit(UnitsTestOp, lambda op, context: 2))


@pytest.mark.parametrize(
    "wrong",
    [{"interruption": "perhaps"}, {"retries": -1}, {"timeout_s": 0}, {"max_running": 0}],
)
def test_declarations_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"."):
        logical_unit(UnitsTestOp, **wrong)(print)


def test_a_unit_is_for_an_opcode_class():
    with pytest.raises(TypeError):
        logical_unit("OP_X")


def test_result_with_jobs_says_what_it_cannot_be():
    with pytest.raises(ValueError, match="on_refusal"):
        ResultWithJobs([], on_refusal="maybe")
    made = ResultWithJobs([[1]], more=2)
    assert (made.jobs, made.others) == ([[1]], {"more": 2})


def test_feedback_takes_a_text_or_a_type_and_data(context, line):
    context.feedback("text")
    context.feedback("type", {"a": (1, 2)})
    assert [entry[1:] for entry in line.entries] == [["message", "text"], ["type", {"a": [1, 2]}]]
    for wrong in [(), ("a", "b", "c"), (1, 2)]:
        with pytest.raises(TypeError):
            context.feedback(*wrong)
    with pytest.raises(InvalidJob):
        context.feedback("type", object())
    context.feedback("half \ud800")
    assert line.entries[-1][2] == "half \\ud800"


def test_submissions_are_known_by_ordinal_or_name(context, line):
    assert context.submit_many_jobs([[UnitsTestOp(1)]])[0].value == 7
    context.submit_many_jobs([], name="second")
    context.submit_many_jobs([[{"OP_ID": 7}], [UnitsTestOp(2)]])
    assert [call for call, _ in line.calls] == ["1", "second", "2"]
    assert line.calls[0][1] == [[{"OP_ID": "OP_UNITS_TEST_OP", "size": 1}]]
    assert "refused" in line.calls[2][1][0]
    with pytest.raises(InvalidJob):
        context.submit_many_jobs([], name="3")


def test_waiting_for_a_job_inside_a_unit_is_refused_with_advice(context):
    with pytest.raises(RuntimeError, match="depends"):
        context.wait(1)


def test_files_and_modules_are_loaded_once_and_can_be_named_again(tmp_path):
    path = tmp_path / "some_units.py"
    path.write_text(
        "from jqueue import OpCode, logical_unit\n"
        "class LoadedFromFile(OpCode): pass\n"
        "@logical_unit(LoadedFromFile)\n"
        "def run(op, context): return 1\n"
    )
    load(str(path))
    load(str(path))
    assert "OP_LOADED_FROM_FILE" in UNITS
    assert str(path) in sources()
    del UNITS["OP_LOADED_FROM_FILE"]


def test_what_cannot_be_loaded_leaves_nothing_behind(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("raise ZeroDivisionError")
    known = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        load(str(path))
    assert set(sys.modules) == known
    with pytest.raises(ImportError):
        load("no_such_module_anywhere")
