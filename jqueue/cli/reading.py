"""`info`, `explain` and `status`: the commands that show and change nothing."""

from collections.abc import Iterator
from typing import Any, Final

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.console.show import bar, ellipsis, painted_status, put_json
from jqueue.console.terminal import faint, paint, printable, put, put_painted, width
from jqueue.console.times import ago, local, now, size, span, took
from jqueue.console.values import JOB_ID
from jqueue.job import jsonio
from jqueue.job.row import row_of
from jqueue.job.snapshot import Job, Op
from jqueue.job.status import JobStatus

LOG_LINES: Final = 10
"""So many log entries `info` shows of each opcode, the last ones."""


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
    archived = " (archived)" if job.archived else ""
    put_painted(f"job {job.id}  {painted_status(job.status)}{archived}  priority {job.priority}")
    for name, value in _facts(job):
        put(f"  {name:<11} {value}")
    for op in job.ops:
        head = paint(f"opcode {op.index}: {op.summary}", "blue")
        put_painted(f"{head}  {painted_status(op.status)}")
        for name, value in _op_facts(op):
            put(f"  {name:<11} {value}")
        _put_log(job, op)


def _facts(job: Job) -> Iterator[tuple[str, Any]]:
    at = now()
    waited, lasted = took(job.received, job.started), took(job.started, job.ended)
    for name, moment, more in (
        ("received", job.received, ""),
        ("started", job.started, f", after {waited}"),
        ("ended", job.ended, f", took {lasted}" if lasted else ""),
    ):
        if moment is not None:
            yield name, f"{local(moment)} ({ago(moment, at)}{more})"
    submitter = job.submitter
    if submitter is not None:
        yield "submitter", f"job {submitter['job']}, opcode {submitter['op']}"
    for name, value in (("retry of", job.retry_of), ("key", job.key), ("unique", job.unique)):
        if value is not None:
            yield name, value


def _op_facts(op: Op) -> Iterator[tuple[str, Any]]:
    given = op.input if isinstance(op.input, dict) else {"input": op.input}
    for name, value in given.items():
        if name != "OP_ID":
            yield name, _as_text(value)
    if op.executed is not None:
        lasted = took(op.executed, op.ended or now())
        yield "executed", f"{local(op.executed)}, {'took' if op.ended else 'for'} {lasted}"
    for name, fact in (
        ("attempts", op.attempts if op.attempts > 1 else None),
        ("interrupted", op.interruptions or None),
        ("progress", None if op.ended else bar(op.progress)),
        ("set aside", op.parked),
        ("result", None if op.result is None else _result(op)),
    ):
        if fact is not None:
            yield name, fact


def _result(op: Op) -> str:
    found = op.result
    if op.status == JobStatus.ERROR and isinstance(found, list) and len(found) == 2:  # noqa: PLR2004 - Ganeti's pair
        kind, texts = found
        if isinstance(texts, list) and texts:
            return f"{kind}: {_as_text(texts[0])}"
    return _as_text(found)


def _as_text(value: Any) -> str:
    """The value on one line; on a terminal what is long is cut, --json has it all."""
    text = value if isinstance(value, str) else jsonio.dumps(value).decode()
    columns = width()
    limit = None if columns is None else columns * 3
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}{ellipsis()} ({len(text)} characters, all with --json)"


def _put_log(job: Job, op: Op) -> None:
    entries = op.log
    if len(entries) > LOG_LINES:
        put_painted(
            faint(f"  {len(entries)} log lines, the last {LOG_LINES}; all: jqueue log {job.id}")
        )
    for _, _, _, message in entries[-LOG_LINES:]:
        text = message if isinstance(message, str) else jsonio.dumps(message).decode()
        for line in text.splitlines() or [""]:
            put_painted(f"  {faint('|')} {printable(line)}")


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
