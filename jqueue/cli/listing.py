"""`list`: which jobs there are."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.hints import missing_job, one_line
from jqueue.cli.selecting import Choice, choice_options, choose
from jqueue.cli.show import put_json_array
from jqueue.cli.table import put_table
from jqueue.cli.terminal import say, width
from jqueue.cli.times import ago, local, now
from jqueue.cli.values import JOB_ID
from jqueue.errors import InvalidQuery
from jqueue.job import jsonio
from jqueue.job.row import row_of, when
from jqueue.job.snapshot import Job

if TYPE_CHECKING:
    from jqueue.job.query import Field

DEFAULT_FIELDS: Final = ("id", "status", "priority", "received_ts", "summary")
HEADINGS: Final = ("ID", "STATUS", "PRIORITY", "RECEIVED", "SUMMARY")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FieldsType(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """Names of fields, with commas; `+` before them adds to the usual ones."""

    name = "fields"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the fields."""
        from jqueue.job.query import parse_fields  # noqa: PLC0415 - only here are they needed

        try:
            return parse_fields(value, DEFAULT_FIELDS) if isinstance(value, str) else value
        except InvalidQuery as error:
            self.fail(one_line(str(error)), param, ctx)


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


@command("list")
@choice_options
@click.option("--archived", is_flag=True, help="Archived jobs too; marked by a star.")
@click.option(
    "-o",
    "--output",
    "fields",
    type=FieldsType(),
    metavar="FIELDS",
    help="Show these fields, as id,status,end_ts; +errors adds to the usual ones.",
)
@click.option("--sort", type=SortType(), metavar="FIELD", help="By this field; -FIELD: descending.")
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
@pass_settings
@click.pass_context
def list_jobs(  # noqa: PLR0913  # as many as a list has independent facts
    context: click.Context,
    settings: Settings,
    /,
    *,
    ids: tuple[int, ...],
    statuses: tuple[str, ...],
    since: float | None,
    expr: Any,
    archived: bool,
    fields: "list[Field] | None",
    sort: "tuple[Field, bool] | None",
) -> None:
    """List jobs, those named (live or archived) or all live ones; 1 if a named one isn't there.

    \b
    Example:
      jqueue list --status error --since 2h -o +errors
      jqueue list --filter '"COPY" in kinds or priority < 0' --sort -end_ts
      jqueue list --json | jq '.[] | select(.priority < 0) | .id'
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    missing = set(ids)
    choice = Choice(statuses, since, expr)
    with settings.open() as queue:
        found = choose(queue, ids, choice, archived=archived, seen=missing.discard)
        if sort is not None:
            found = iter(sorted_by(found, *sort))
        if settings.as_json:
            put_json_array(map(row_of if fields is None else fields_as_json(fields), found))
        elif fields is None:
            put_jobs(found)
        else:
            put_fields(fields, found)
    for job in sorted(missing):
        say(f"no job {job}{missing_job(job, settings)}")
    context.exit(1 if missing else 0)


def sorted_by(jobs: Iterator[Job], field: "Field", descending: bool) -> list[Job]:
    """The jobs in the order of a field; those without a value come last."""
    get = field.get
    valued = [(job, get(job.to_dict(), job.archived)) for job in jobs]
    with_value = [pair for pair in valued if pair[1] is not None]
    try:
        with_value.sort(key=lambda pair: pair[1], reverse=descending)
    except TypeError:
        # Lists of what can't be compared, a number with a text: their text can.
        with_value.sort(key=lambda pair: jsonio.dumps(pair[1]), reverse=descending)
    return [job for job, _ in with_value] + [job for job, value in valued if value is None]


def put_jobs(jobs: Iterator[Job]) -> None:
    """Print jobs as a table; on a terminal with ages, else with times."""
    at = now() if width() is not None else None

    def cells(job: Job) -> tuple[str, ...]:
        status = f"{job.status}*" if job.archived else str(job.status)
        received = local(job.received) if at is None else ago(job.received, at)
        return str(job.id), status, str(job.priority), received, ", ".join(job.summary)

    put_table(HEADINGS, map(cells, jobs), right=frozenset({"ID", "PRIORITY"}))


def put_fields(fields: "list[Field]", jobs: Iterator[Job]) -> None:
    """Print these fields of the jobs as a table."""
    headings = [field.title for field in fields]
    numbers = frozenset(field.title for field in fields if field.kind == "number")

    def cells(job: Job) -> list[str]:
        document = job.to_dict()
        return [_shown(field, field.get(document, job.archived)) for field in fields]

    put_table(headings, map(cells, jobs), right=numbers)


def _shown(field: "Field", value: Any) -> str:
    if value is None:
        return "-"
    if field.is_time:
        return ", ".join(map(local, _moments(value)))
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else jsonio.dumps(value).decode()


def fields_as_json(fields: "list[Field]") -> Callable[[Job], dict[str, Any]]:
    """Return what makes of a job an object of these fields, times in ISO 8601."""

    def row(job: Job) -> dict[str, Any]:
        document = job.to_dict()
        return {field.name: _plain(field, field.get(document, job.archived)) for field in fields}

    return row


def _plain(field: "Field", value: Any) -> Any:
    if value is None or not field.is_time:
        return value
    moments = [when(moment) for moment in _moments(value)]
    return moments if _is_list_of_times(value) else moments[0]


def _is_list_of_times(value: Any) -> bool:
    return not value or value[0] is None or isinstance(value[0], list)


def _moments(value: Any) -> list[datetime | None]:
    times = value if _is_list_of_times(value) else [value]
    return [
        None if time is None else _EPOCH + timedelta(seconds=time[0], microseconds=time[1])
        for time in times
    ]
