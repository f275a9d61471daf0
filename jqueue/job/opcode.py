"""Opcodes: what a job does, as typed values.

    class MigrateImage(OpCode):          # OP_ID "OP_MIGRATE_IMAGE"
        summary_field = "image"
        image: str
        target: str = "default"

    MigrateImage("vm7", target="node2", priority=-10)

A subclass is a dataclass without further ado; a decorator of its own (`@dataclass(kw_only=True)`)
has the first word.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self, dataclass_transform, get_type_hints

from jqueue.errors import InvalidJob
from jqueue.job.summary import set_summary_field
from jqueue.job.typecheck import convert, fitting_types

COMMON_PARAMETERS = frozenset(
    {
        *("priority", "depends", "comment", "reason", "not_before", "retries", "timeout_s"),
        *("dry_run", "debug_level"),
    }
)
"""Parameters of every opcode, beside those of its kind; None or absent: inherit, or the default."""

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass_transform(field_specifiers=(field,))
class _Declared:
    """Makes each subclass a dataclass when it is first used, unless it was decorated."""

    OP_ID: ClassVar[str] = ""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        _declare(cls)
        return super().__new__(cls)


def _declare(cls: type) -> None:
    # Not when the class is made: a decorator that follows would no longer see the defaults.
    if "__dataclass_fields__" not in cls.__dict__:
        dataclass(cls)


@dataclass(kw_only=True)
class OpCode(_Declared):
    """The base of all opcodes; subclass it and annotate the parameters of the kind.

    `not_before` is a Unix time in seconds or an aware datetime, `timeout_s` limits one attempt,
    `depends` is `[[job, [final status, …]], …]`.
    """

    OP_ID: ClassVar[str] = ""
    summary_field: ClassVar[str | None] = None
    allow_unknown: ClassVar[bool] = False
    """Whether `from_input` passes over parameters that the class doesn't have."""

    priority: int | None = field(default=None, kw_only=True)
    depends: Sequence[Sequence[Any]] | None = field(default=None, kw_only=True)
    comment: str | None = field(default=None, kw_only=True)
    reason: Sequence[Sequence[Any]] | None = field(default=None, kw_only=True)
    not_before: float | datetime | None = field(default=None, kw_only=True)
    retries: int | None = field(default=None, kw_only=True)
    timeout_s: float | None = field(default=None, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("OP_ID"):
            cls.OP_ID = op_id_of(cls.__name__)
        if cls.summary_field is not None:
            set_summary_field(cls.OP_ID, cls.summary_field)

    def to_input(self) -> dict[str, Any]:
        """The opcode's input as it stands in the job document; common parameters only where set.

        Raises InvalidJob for a `not_before` without a time zone.
        """
        values: dict[str, Any] = {"OP_ID": self.OP_ID}
        for name in _names(type(self)):  # type: ignore[arg-type]  # takes the class for its instances, which have no hash
            value = getattr(self, name)
            if value is not None or name not in COMMON_PARAMETERS:
                values[name] = value
        if isinstance(self.not_before, datetime):
            if self.not_before.tzinfo is None:
                raise InvalidJob("not_before needs a time zone", field="not_before")
            values["not_before"] = self.not_before.timestamp()
        return values

    @classmethod
    def from_input(cls, op_input: Mapping[str, Any]) -> Self:
        """The opcode that this input means.

        Raises InvalidJob, with the parameter's name, for one that is missing, unknown, or doesn't
        fit its annotation.
        """
        return cls(**cls._fitting(op_input))

    @classmethod
    def check_input(cls, op_input: Mapping[str, Any]) -> None:
        """Raise as `from_input`; an opcode is made only where `__post_init__` checks it."""
        fitting = cls._fitting(op_input)
        if hasattr(cls, "__post_init__"):
            cls(**fitting)

    @classmethod
    def _fitting(cls, op_input: Mapping[str, Any]) -> dict[str, Any]:
        parameters, required = _parameters(cls)  # type: ignore[arg-type]  # as in to_input
        given = {}
        for name, value in op_input.items():
            parameter = parameters.get(name)
            if parameter is None:
                if not (cls.allow_unknown or name == "OP_ID" or name in COMMON_PARAMETERS):
                    raise InvalidJob(f"{cls.OP_ID} has no parameter {name!r:.80}", field=name)
            elif type(value) in parameter.as_they_are or name in COMMON_PARAMETERS:
                given[name] = value
            else:
                given[name] = convert(value, parameter.hint, cls.OP_ID, name)
        for name in required:
            if name not in given:
                raise InvalidJob(f"{cls.OP_ID} needs the parameter {name!r}", field=name)
        return given


def op_id_of(class_name: str) -> str:
    """The OP_ID of a class: `OP_MIGRATE_IMAGE` for MigrateImage, and for OpMigrateImage."""
    words = _WORD_START.sub("_", class_name).upper().strip("_")
    return words if words.startswith("OP_") else f"OP_{words}"


@lru_cache(maxsize=1024)
def _names(cls: type[OpCode]) -> tuple[str, ...]:
    return tuple(a_field.name for a_field in fields(cls))


class _Parameter(NamedTuple):
    hint: Any
    as_they_are: frozenset[type]
    """Values of these types need no conversion."""


@lru_cache(maxsize=1024)
def _parameters(cls: type[OpCode]) -> tuple[dict[str, _Parameter], tuple[str, ...]]:
    """The parameters that the class takes, and the names of those that must be given."""
    _declare(cls)
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise TypeError(f"{cls.__name__}: an annotation can't be resolved: {error}") from error
    taken = [a_field for a_field in fields(cls) if a_field.init]
    parameters = {
        a_field.name: _Parameter(hints[a_field.name], fitting_types(hints[a_field.name]))
        for a_field in taken
    }
    return parameters, tuple(a_field.name for a_field in taken if _is_required(a_field))


def _is_required(a_field: Field[Any]) -> bool:
    return a_field.default is MISSING and a_field.default_factory is MISSING
