"""Showing: data on stdout, talk on stderr, and nothing that could steer a terminal."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any

import click

from jqueue.job import jsonio
from jqueue.job.snapshot import Job

HEADINGS = ("ID", "STATUS", "PRIORITY", "RECEIVED", "SUMMARY")

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")
}


def printable(text: str) -> str:
    """The text with control characters written out; a lone surrogate, too, can't be printed."""
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode()


def say(text: str) -> None:
    """Say something to the person, beside the data."""
    click.echo(printable(text), err=True)


def put(text: str) -> None:
    """Print a line of data."""
    click.echo(printable(text))


def put_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(jsonio.dumps(value).decode())


def put_json_array(values: Iterable[Any]) -> None:
    """Print an array, an element a line, as the elements come."""
    separator = "["
    for value in values:
        click.echo(f"{separator}{jsonio.dumps(value).decode()}", nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[" else "]")


def when(moment: datetime | None) -> str | None:
    """The moment in ISO 8601, in UTC."""
    return None if moment is None else moment.isoformat()


def local(moment: datetime | None) -> str:
    """The moment for a person here, or a dash."""
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def row_of(job: Job) -> dict[str, Any]:
    """The job as `list --json` shows it."""
    return {
        "id": job.id,
        "status": str(job.status),
        "priority": job.priority,
        "summary": job.summary,
        "archived": job.archived,
        "received": when(job.received),
        "started": when(job.started),
        "ended": when(job.ended),
        "retry_of": job.retry_of,
        "submitter": job.submitter,
        "key": job.key,
        "unique": job.unique,
    }


def put_jobs(jobs: Iterable[Job]) -> None:
    """Print a table, with colors on a terminal."""
    cells_of_each = map(_cells, jobs)
    # A queue that can't be read is an error alone, without headings above it.
    first = list(islice(cells_of_each, 1))
    rows = chain(first, cells_of_each)
    if sys.stdout.isatty():
        _put_rich(rows)
        return
    for cells in chain([HEADINGS], rows):
        put("{:>7} {:<10} {:>8} {:<19} {}".format(*cells))


def _cells(job: Job) -> tuple[str, ...]:
    status = f"{job.status}*" if job.archived else str(job.status)
    summary = ", ".join(job.summary)
    return str(job.id), status, str(job.priority), local(job.received), summary


def _put_rich(rows: Iterable[Sequence[str]]) -> None:
    # Imported here: most commands show no table, and the import costs more than they do.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("ID", "PRIORITY") else "left")
    for cells in rows:
        color = _COLORS.get(cells[1].rstrip("*"), "")
        texts = [Text(printable(cell)) for cell in cells]
        texts[1].stylize(color)
        table.add_row(*texts)
    Console().print(table)


_COLORS = {
    "success": "green",
    "error": "red",
    "canceled": "magenta",
    "canceling": "magenta",
    "running": "cyan",
    "waiting": "yellow",
}
