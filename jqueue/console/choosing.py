"""Choosing jobs and what is shown of them, as options of a command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jqueue.console.terminal import one_line
from jqueue.console.values import PAST
from jqueue.errors import InvalidQuery
from jqueue.job.status import JobStatus

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Function = Callable[..., Any]


def completed_fields(text: str, separators: str) -> list[CompletionItem]:
    """Return the text with what its last word can become: the name of a field."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - seldom needed

    from jqueue.job.query import ALL  # noqa: PLC0415 - as below

    begin = max(text.rfind(separator) for separator in separators) + 1
    word = text[begin:]
    return [
        CompletionItem(text[:begin] + name, help=field.doc)
        for name, field in ALL.items()
        if name.startswith(word)
    ]


class FilterType(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """A filter in Ganeti's query language."""

    name = "expr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the compiled filter."""
        # Imported here: the parser costs more than a command without a filter.
        from jqueue.job.query import compile_filter, parse_filter  # noqa: PLC0415

        if not isinstance(value, str):
            return value
        try:
            return compile_filter(parse_filter(value, now=datetime.now().astimezone()))
        except InvalidQuery as error:
            self.fail(one_line(str(error)), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the fields of which the last word can be the beginning."""
        del ctx, param
        return completed_fields(incomplete, "( !")


class FieldsType(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """Names of fields, with commas; `+` before them adds to the usual ones."""

    name = "fields"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the fields."""
        from jqueue.job.query import DEFAULT_FIELDS, parse_fields  # noqa: PLC0415 - only here are they needed

        try:
            return parse_fields(value, DEFAULT_FIELDS) if isinstance(value, str) else value
        except InvalidQuery as error:
            self.fail(one_line(str(error)), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the fields of which the last name can be the beginning."""
        del ctx, param
        return completed_fields(incomplete, ",+-")


class SortType(FieldsType):
    """The name of one field, with `-` before it descending."""

    name = "field"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the field and whether the order is descending."""
        if not isinstance(value, str):
            return value
        fields = super().convert(value.removeprefix("-"), param, ctx)
        if len(fields) != 1:
            self.fail("name one field", param, ctx)
        return fields[0], value.startswith("-")


def choice_options(function: Function) -> Function:
    """Add --status, --since and --filter, which the command gets as `statuses`, `since`, `expr`."""
    options = [
        click.option(
            "--status",
            "statuses",
            type=click.Choice([status.value for status in JobStatus]),
            multiple=True,
            help="Only jobs in this status (may be repeated).",
        ),
        click.option(
            "--since",
            type=PAST,
            help="Only jobs received, started or ended since: 2h (ago), 2030-01-31T22:00.",
        ),
        click.option(
            "--filter",
            "expr",
            type=FilterType(),
            metavar="EXPR",
            help='Only jobs of which this holds: status == "error" and summary =~ "COPY".',
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def view_options(function: Function) -> Function:
    """Add -o and --sort, which the command gets as `fields` and `sort`."""
    options = [
        click.option(
            "-o",
            "--output",
            "fields",
            type=FieldsType(),
            metavar="FIELDS",
            help="Show these fields, as id,status,end_ts; +errors adds to the usual ones.",
        ),
        click.option(
            "--sort", type=SortType(), metavar="FIELD", help="By this field; -FIELD: descending."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
