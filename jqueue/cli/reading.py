"""`info`, `explain` and `status`: the commands that show and change nothing."""

from collections.abc import Iterator
from typing import Any

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.console.details import put_job
from jqueue.console.show import put_json
from jqueue.console.terminal import put
from jqueue.console.times import now, size, span
from jqueue.console.values import JOB_ID
from jqueue.job.row import row_of


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
    put_job(job, whole_log=f"jqueue log {job.id}")


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
    for name, value in status_lines(settings.queue_path, found):
        put(f"{name + ':':<12} {value}")


def status_lines(path: str, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person wants to know first, from `status`'s answer; zeros are left out."""
    yield "queue", path
    yield "health", health(found)
    pid = found.get("pid")
    if pid is None:
        yield "owner", "none: jobs wait for jqueue daemon, or jqueue run"
    else:
        stopping = ", stopping" if found.get("stopping") else ""
        yield "owner", f"process {pid}, {found.get('workers', 0)} workers{stopping}"
    counts = {name: number for name, number in found["counts"].items() if number}
    parts = ", ".join(f"{number} {name}" for name, number in counts.items())
    yield "jobs", f"{found['jobs']}{f': {parts}' if parts else ''}; the newest is {found['serial']}"
    yield "drain", _flag(found.get("drain"), "no: new jobs are accepted")
    yield "pause", _flag(found.get("pause"), "no: jobs are started")
    if "journal_bytes" in found:
        yield "journal", f"{size(found['journal_bytes'])} in {found['segments']} segments"
        behind = found.get("files_behind", 0)
        yield "durable", f"{found['durability']}, LSN {found['lsn']}, {behind} files behind"
        yield "reserve", found["reserve"]
    if found.get("kinds"):
        yield "kinds", ", ".join(found["kinds"])


def health(found: dict[str, Any]) -> str:
    """`ok`, or what is wrong."""
    wrong = [found[name] for name in ("failure", "checkpoint_error") if found.get(name)]
    if found.get("reserve") == "spent":
        wrong.append("the disk is full: the journal lives on its reserve, no job is accepted")
    return "; ".join(wrong) or "ok"


def _flag(flag: dict[str, Any] | None, otherwise: str) -> str:
    if flag is None:
        return otherwise
    since = flag.get("since")
    age = "" if since is None else f", for {span(now().timestamp() - since)}"
    by = f", by {flag['by']}" if flag.get("by") else ""
    return f"yes{age}{by}{': ' + flag['reason'] if flag.get('reason') else ''}"
