"""Values on the command line: job IDs, durations, moments, opcodes, variables."""

import math
import os
import re
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, Final

import click

from jqueue.errors import InvalidJob
from jqueue.job import jsonio
from jqueue.job.ids import parse_job_id

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)", re.ASCII)


class JobIdType(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """A job's ID: plain decimal digits, or the name of the job's file."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            return parse_job_id(value.removeprefix("job-") if isinstance(value, str) else value)
        except InvalidJob as error:
            self.fail(str(error), param, ctx)


OFFERED: Final = 50
"""The newest jobs are those that are meant, mostly; a million can't be offered."""


def first_fitting(ids: Iterable[int], incomplete: str) -> list[int]:
    """Return what a shell is offered of these IDs, the most wanted first, in ascending order."""
    return sorted(islice((job for job in ids if str(job).startswith(incomplete)), OFFERED))


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """Seconds, or a number with one of the units s, m, h, d, w."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"{value!r:.80} is not a duration, as 90, 1.5h or 7d", param, ctx)
        return float(match[1]) * UNITS_S[match[2]]


class Age(Duration):
    """A duration, or `all`, which is none at all."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        return 0.0 if value == "all" else super().convert(value, param, ctx)


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """A Unix time, an ISO 8601 time (local without a zone), or `+` and a duration from now."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return a Unix time."""
        if isinstance(value, int | float):
            return float(value)
        if value.startswith("+"):
            now_s = datetime.now().astimezone().timestamp()
            return now_s + Duration().convert(value[1:], param, ctx)
        try:
            moment = float(value)
        except ValueError:
            moment = self._parse(value, param, ctx)
        if not math.isfinite(moment) or moment < 0:
            self.fail(f"{value!r:.80} is not a time", param, ctx)
        return moment

    def _parse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return datetime.fromisoformat(value).astimezone().timestamp()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r:.80} is not a time, as 2030-01-31T22:00, a Unix time, or +2h", param, ctx
            )


class Past(Moment):
    """A moment, or a duration ago."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return a Unix time."""
        if isinstance(value, str) and _DURATION.fullmatch(value) and value[-1] in "smhdw":
            now_s = datetime.now().astimezone().timestamp()
            return now_s - Duration().convert(value, param, ctx)
        return super().convert(value, param, ctx)


class OpJson(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """One opcode as a JSON object."""

    name = "json"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Return the object."""
        if isinstance(value, dict):
            return value
        from jqueue.job.parameters import check_op_id  # noqa: PLC0415 - whoever submits has it

        try:
            found = jsonio.loads_strict(os.fsencode(value))
            if not isinstance(found, dict):
                self.fail('an opcode is an object, as {"OP_ID": "OP_TEST_DELAY"}', param, ctx)
            check_op_id(found.get("OP_ID"))
        except InvalidJob as error:
            self.fail(str(error), param, ctx)
        return found


class Variable(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """`NAME=VALUE`, or `NAME` for the value it has here."""

    name = "variable"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return name and value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not name:
            self.fail(f"{value!r:.80} has no name", param, ctx)
        if not equals:
            if name not in os.environ:
                self.fail(f"{name} is not set here; give {name}=VALUE", param, ctx)
            text = os.environ[name]
        return name, text


JOB_ID = JobIdType()
DURATION = Duration()
AGE = Age()
MOMENT = Moment()
PAST = Past()
OP = OpJson()
VARIABLE = Variable()
