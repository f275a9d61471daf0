"""One job whole, as a person reads it."""

from collections.abc import Iterator
from typing import Any, Final

from jqueue.console.parameters import texts_of
from jqueue.console.secrets import shown_argument, shown_summary
from jqueue.console.show import bar, ellipsis, painted_status
from jqueue.console.terminal import faint, paint, printable, put_folded, put_painted, width
from jqueue.console.times import ago, local, now, took
from jqueue.job import jsonio
from jqueue.job.snapshot import Job, Op
from jqueue.job.status import JobStatus

LOG_LINES: Final = 10
"""So many log entries are shown of each opcode, the last ones."""
INDENT: Final = 14


def put_job(job: Job, *, whole_log: str) -> None:
    """Print everything about a job, but of long logs the end; `whole_log` shows all of them."""
    archived = " (archived)" if job.archived else ""
    put_painted(f"job {job.id}  {painted_status(job.status)}{archived}  priority {job.priority}")
    for name, value in _facts(job):
        _put_fact(name, value)
    for op in job.ops:
        head = paint(f"opcode {op.index}: {shown_summary(op)}", "blue")
        put_painted(f"{head}  {painted_status(op.status)}")
        for name, value in _op_facts(op):
            _put_fact(name, value)
        _put_log(op, whole_log)


def _put_fact(name: str, value: Any) -> None:
    """Print a fact; on a terminal its further lines stand below its first."""
    put_folded(f"  {name:<11} {value}", INDENT)


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
            for at, text in enumerate(texts_of(name, shown_argument(value, name))):
                yield "" if at else name, _cut(text)
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
    return _cut(value if isinstance(value, str) else jsonio.dumps(value).decode())


def _cut(text: str) -> str:
    columns = width()
    limit = None if columns is None else columns * 3
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}{ellipsis()} ({len(text)} characters, all with --json)"


def _put_log(op: Op, whole: str) -> None:
    entries = op.log
    if len(entries) > LOG_LINES:
        put_painted(faint(f"  {len(entries)} log lines, the last {LOG_LINES}; all: {whole}"))
    for _, _, _, message in entries[-LOG_LINES:]:
        text = message if isinstance(message, str) else jsonio.dumps(message).decode()
        for line in text.splitlines() or [""]:
            put_painted(f"  {faint('|')} {printable(line)}")
