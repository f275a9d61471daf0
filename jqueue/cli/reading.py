"""`list`, `info`, `explain` and `status`: the commands that show and change nothing."""

from collections.abc import Iterator
from typing import Any

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.show import (
    local,
    put,
    put_jobs,
    put_json,
    put_json_array,
    row_of,
    say,
)
from jqueue.cli.values import JOB_ID
from jqueue.job import jsonio
from jqueue.job.snapshot import Job, Op
from jqueue.job.status import JobStatus


@command("list")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in JobStatus]),
    multiple=True,
    help="Only jobs in this status (may be repeated).",
)
@click.option("--archived", is_flag=True, help="Archived jobs too; marked by a star.")
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID…]")
@pass_settings
@click.pass_context
def list_jobs(
    context: click.Context,
    settings: Settings,
    *,
    statuses: tuple[str, ...],
    archived: bool,
    ids: tuple[int, ...],
) -> None:
    """List jobs, those named (live or archived) or all live ones; 1 if a named one isn't there.

    \b
    Example:
      jqueue list --status error --status canceled
      jqueue list --json | jq '.[] | select(.priority < 0) | .id'
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    missing = set(ids)

    def seen(jobs: Iterator[Job]) -> Iterator[Job]:
        for job in jobs:
            missing.discard(job.id)
            if not statuses or job.status in statuses:
                yield job

    with settings.open() as queue:
        # For named jobs the statuses are looked at here: else a job left out for its status would
        # be taken for one that isn't there.
        found = seen(
            queue.jobs(ids=ids, archived=True)
            if ids
            else queue.jobs(statuses=statuses or None, archived=archived)
        )
        if settings.as_json:
            put_json_array(map(row_of, found))
        else:
            put_jobs(found)
    for job in sorted(missing):
        say(f"No job {job}.")
    context.exit(1 if missing else 0)


@command("info")
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
def info(settings: Settings, *, id: int) -> None:
    """Show everything about one job; with --json its document, as in its file.

    \b
    Example:
      jqueue info 17
    """  # noqa: D301  # as above
    with settings.open() as queue:
        job = queue.job(id)
    if settings.as_json:
        put_json({**job.to_dict(), **row_of(job)})
        return
    for name, value in _facts(job):
        put(f"{name + ':':<11} {value}")
    for op in job.ops:
        put(f"opcode {op.index}: {op.summary}")
        for name, value in _op_facts(op):
            put(f"  {name + ':':<11} {value}")


def _facts(job: Job) -> Iterator[tuple[str, Any]]:
    yield "job", f"{job.id}{' (archived)' if job.archived else ''}"
    yield "status", job.status
    yield "priority", job.priority
    yield from _times(job.received, "received")
    yield from _times(job.started, "started")
    yield from _times(job.ended, "ended")
    submitter = job.submitter
    if submitter is not None:
        yield "submitter", f"job {submitter['job']}, opcode {submitter['op']}"
    for name, value in (("retry of", job.retry_of), ("key", job.key), ("unique", job.unique)):
        if value is not None:
            yield name, value


def _op_facts(op: Op) -> Iterator[tuple[str, Any]]:
    yield "status", op.status
    yield "priority", op.priority
    yield "input", jsonio.dumps(op.input).decode()
    if op.result is not None:
        yield "result", jsonio.dumps(op.result).decode()
    yield from _times(op.executed, "executed")
    yield from _times(op.ended, "ended")
    for name, value in (
        ("attempts", op.attempts or None),
        ("interrupted", op.interruptions or None),
        ("progress", op.progress),
        ("set aside", op.parked),
        ("log lines", len(op.log) or None),
    ):
        if value is not None:
            yield name, value


def _times(moment: Any, name: str) -> Iterator[tuple[str, str]]:
    if moment is not None:
        yield name, local(moment)


@command("explain")
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
def explain(settings: Settings, *, id: int) -> None:
    """Say why a job is not running.

    \b
    Example:
      jqueue explain 17
    """  # noqa: D301  # as above
    with settings.open() as queue:
        reasons = queue.explain(id)
    if settings.as_json:
        put_json(reasons)
        return
    for reason in reasons:
        until = reason.get("until")
        put(f"{reason['text']} (until: {until})" if until else reason["text"])


@command("status")
@pass_settings
def status(settings: Settings) -> None:
    """Show the queue as a whole: how many jobs in which status, drain, pause.

    \b
    Example:
      jqueue status --json
    """  # noqa: D301  # as above
    with settings.open() as queue:
        found = queue.status()
    if settings.as_json:
        put_json({"queue": settings.queue_path, **found})
        return
    put(f"{'queue:':<18} {settings.queue_path}")
    for name, value in found.items():
        put(f"{name + ':':<18} {_shown(value)}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        parts = [f"{name}={_shown(part)}" for name, part in value.items() if part]
        return ", ".join(parts) or "-"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "-"
    return str(value)
