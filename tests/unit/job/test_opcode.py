import dataclasses
import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, NewType

import pytest

from jqueue.errors import InvalidJob
from jqueue.job.opcode import OpCode, op_id_of
from jqueue.job.parameters import normalize_op
from jqueue.job.summary import op_summary
from jqueue.job.typecheck import convert, fitting_types

Host = NewType("Host", str)


class Mode(enum.StrEnum):
    LIVE = "live"


class MigrateImage(OpCode):
    summary_field = "image"

    image: str
    target: str = "node1"
    tags: list[str] = field(default_factory=list)


@dataclass
class Decorated(OpCode):
    image: str
    tags: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class KeywordOnly(OpCode):
    image: str = "default"
    size_bytes: int


@dataclass(slots=True)
class Slotted(OpCode):
    image: str


class Explicit(MigrateImage):
    OP_ID = "OP_SOMETHING_ELSE"
    extra: int = 0


class Below(Explicit):
    pass


class Typed(OpCode):
    number: float = 0.0
    whole: int = 0
    flag: bool = False
    mode: Mode = Mode.LIVE
    level: Literal["low", 1] = "low"
    names: tuple[str, ...] = ()
    pair: tuple[int, str] = (0, "")
    limits: dict[str, int] = field(default_factory=dict)
    host: Host | None = None
    either: float | int = 0
    bare: list = field(default_factory=list)
    anything: Any = None
    kept: ClassVar[int] = 3


def test_a_subclass_is_a_dataclass_without_being_told():
    op = MigrateImage("vm7", target="node2", priority=-10)
    assert (op.image, op.target, op.tags, op.priority) == ("vm7", "node2", [], -10)
    assert op == MigrateImage("vm7", "node2", priority=-10)
    assert dataclasses.replace(op, image="vm8").image == "vm8"
    assert MigrateImage("a").tags is not MigrateImage("a").tags


def test_a_subclass_may_say_that_it_is_a_dataclass():
    assert Decorated("vm7").to_input() == {"OP_ID": "OP_DECORATED", "image": "vm7", "tags": []}
    assert Decorated("a").tags is not Decorated("a").tags
    assert KeywordOnly(size_bytes=3).image == "default"
    with pytest.raises(TypeError):
        KeywordOnly("vm7", size_bytes=3)
    assert Slotted("vm7").to_input() == {"OP_ID": "OP_SLOTTED", "image": "vm7"}
    assert not hasattr(Slotted("vm7"), "__dict__") or "image" not in Slotted("vm7").__dict__


def test_common_parameters_are_keyword_only():
    with pytest.raises(TypeError):
        MigrateImage("vm7", "node2", [], -10)
    with pytest.raises(TypeError):
        MigrateImage()


@pytest.mark.parametrize(
    ("name", "op_id"),
    [
        ("MigrateImage", "OP_MIGRATE_IMAGE"),
        ("OpTestDelay", "OP_TEST_DELAY"),
        ("Exec", "OP_EXEC"),
        ("SyncS3Bucket", "OP_SYNC_S3_BUCKET"),
        ("HTTPGet", "OP_HTTP_GET"),
        ("_Private", "OP_PRIVATE"),
        ("Operate", "OP_OPERATE"),
    ],
)
def test_the_op_id_follows_from_the_class_name(name, op_id):
    assert op_id_of(name) == op_id


def test_an_op_id_set_on_the_class_holds_for_this_class_only():
    assert Explicit("x").OP_ID == "OP_SOMETHING_ELSE"
    assert Below("x").OP_ID == "OP_BELOW"


def test_the_input_holds_the_units_parameters_and_the_common_ones_that_are_set():
    when = datetime(2030, 1, 1, tzinfo=UTC)
    op = MigrateImage(
        "vm7", depends=[(-1, ("success",))], comment="c", not_before=when, retries=2, timeout_s=1.5
    )
    assert normalize_op(op) == {
        "OP_ID": "OP_MIGRATE_IMAGE",
        "image": "vm7",
        "target": "node1",
        "tags": [],
        "depends": [[-1, ["success"]]],
        "comment": "c",
        "not_before": when.timestamp(),
        "retries": 2,
        "timeout_s": 1.5,
    }


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(InvalidJob) as caught:
        normalize_op(MigrateImage("x", not_before=datetime(2030, 1, 1)))  # noqa: DTZ001  # the fault
    assert caught.value.field == "not_before"


def test_an_input_becomes_the_opcode_again():
    op = MigrateImage("vm7", tags=["a"], priority=10, comment="c")
    assert MigrateImage.from_input(normalize_op(op)) == op
    stored = {**normalize_op(op), "dry_run": None, "debug_level": 0, "depends": None}
    assert MigrateImage.from_input(stored) == op


def test_parameters_arrive_as_annotated():
    op = Typed.from_input(
        {
            "number": 3,
            "whole": 4,
            "flag": True,
            "mode": "live",
            "level": 1,
            "either": 5,
            "names": ["a", "b"],
            "pair": [1, "x"],
            "limits": {"cpu": 2},
            "host": "h",
            "bare": [1, "x"],
            "anything": {"x": [None]},
        }
    )
    assert (op.number, type(op.number), op.mode, type(op.mode)) == (3.0, float, "live", Mode)
    assert (op.names, op.pair, op.limits, op.host) == (("a", "b"), (1, "x"), {"cpu": 2}, "h")
    assert type(op.either) is int
    assert Typed.from_input({}) == Typed()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("number", "3", "a number"),
        ("number", True, "a number"),
        ("whole", 3.0, "an integer"),
        ("whole", True, "an integer"),
        ("flag", 1, "true or false"),
        ("mode", "dead", "'live'"),
        ("level", True, "'low', 1"),
        ("names", "ab", "a list"),
        ("names", ["a", 1], r"names\[1\] must be text"),
        ("pair", [1], "a list of 2"),
        ("limits", {"cpu": "2"}, r"limits\.cpu must be an integer"),
        ("limits", [], "an object"),
        ("host", 5, "text or null"),
        ("kept", 4, "no parameter"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_by_name(name, value, said):
    with pytest.raises(InvalidJob, match=said) as caught:
        Typed.from_input({name: value})
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("given", "name"), [({}, "image"), ({"image": "x", "imgae": "y"}, "imgae")]
)
def test_a_parameter_that_is_missing_or_unknown_is_refused_by_name(given, name):
    with pytest.raises(InvalidJob) as caught:
        MigrateImage.from_input(given)
    assert caught.value.field == name


ALIKE = [str, int, float, bool, None, float | None, int | str, str | float, Host, Mode, list[int]]


@pytest.mark.parametrize("hint", ALIKE)
@pytest.mark.parametrize("value", ["x", "live", 1, 1.5, True, None, [1], {}], ids=repr)
def test_what_is_taken_as_it_is_would_not_be_converted(hint, value):
    if type(value) in fitting_types(hint):
        assert convert(value, hint, "OP_X", "name") is value


def test_a_plain_annotation_takes_its_own_values_as_they_are():
    assert fitting_types(str | None) == {str, type(None)}
    assert fitting_types(Any) == fitting_types(list[int]) == frozenset()


def test_a_class_may_pass_over_parameters_it_does_not_know():
    class Tolerant(OpCode):
        allow_unknown = True
        image: str = ""

    assert Tolerant.from_input({"image": "x", "other": 1}).image == "x"


def test_the_class_says_what_the_summary_shows():
    assert op_summary(normalize_op(MigrateImage("vm7"))) == "MIGRATE_IMAGE(vm7)"
    assert op_summary(normalize_op(Decorated("vm7"))) == "DECORATED"


@pytest.mark.parametrize(
    ("given", "summary"),
    [
        ({"OP_ID": "OP_TEST_DELAY", "duration": 0.2}, "TEST_DELAY(0.2)"),
        ({"OP_ID": "OP_TEST_DELAY", "duration": 60}, "TEST_DELAY(60)"),
        ({"OP_ID": "OP_TEST_DELAY"}, "TEST_DELAY"),
        ({"OP_ID": "OP_NO_SUCH_THING", "x": 1}, "NO_SUCH_THING"),
        ({"OP_ID": "strange"}, "strange"),
        ({"OP_ID": "OP_EXEC", "argv": ["echo", "a b"]}, "EXEC(echo 'a b')"),
        ({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "i"}, "INSTANCE_STARTUP(i)"),
        ({"OP_ID": "OP_QUERY", "what": "x" * 500}, f"QUERY({'x' * 199}…)"),
        ({"x": 1}, "INVALID_OP"),
        ({"OP_ID": 5}, "INVALID_OP"),
        ({"OP_ID": None}, "INVALID_OP"),
        ("OP_TEST_DELAY", "INVALID_OP"),
        (None, "INVALID_OP"),
        ([], "INVALID_OP"),
    ],
)
def test_a_summary_is_the_kind_and_what_tells_it_apart(given, summary):
    assert op_summary(given) == summary
