"""Choosing jobs: by ID, status, time, and Ganeti's query language."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from jqueue.cli.command import Function
from jqueue.cli.hints import one_line
from jqueue.cli.values import PAST
from jqueue.errors import InvalidQuery
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus

if TYPE_CHECKING:
    from jqueue.cli.target import Client
    from jqueue.job.query import Filter


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


class Choice(NamedTuple):
    """What was said about the jobs that are meant, beside their IDs."""

    statuses: tuple[str, ...] = ()
    since: float | None = None
    filter: "Filter | None" = None

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return self != Choice()

    def matches(self, job: Job) -> bool:
        """Whether the job is meant."""
        if self.statuses and job.status not in self.statuses:
            return False
        if self.since is not None and not _moved_since(job, self.since):
            return False
        return self.filter is None or self.filter.matches(job.to_dict(), job.archived)


def _moved_since(job: Job, since: float) -> bool:
    moment = datetime.fromtimestamp(since, UTC)
    return any(at is not None and at >= moment for at in (job.received, job.started, job.ended))


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


def choose(
    queue: "Client",
    ids: Iterable[int],
    choice: Choice,
    *,
    archived: bool = False,
    seen: Callable[[int], object] = lambda _job: None,
) -> Iterator[Job]:
    """Yield the jobs that are meant, ascending; `seen` is told of each that was looked at.

    Named ones may be archived; else live ones, and with `archived`, or where the filter asks for
    them, archived ones too.
    """
    asked = tuple(ids)
    if choice.filter is not None and choice.filter.ids is not None and not asked:
        asked = choice.filter.ids
    if asked:
        found = queue.jobs(ids=asked, archived=True)
    else:
        more = choice.filter is not None and choice.filter.names_archived
        found = queue.jobs(statuses=choice.statuses or None, archived=archived or more)
    for job in found:
        seen(job.id)
        if choice.matches(job):
            yield job
