"""A report for a bug: one HTML file that needs nothing else, without secrets, of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from archive_tools.findings import Finding
from archive_tools.pictures import PicturesMissing
from archive_tools.report_facts import (
    MAX_BEGUN,
    MAX_FAILED,
    MAX_FINDINGS,
    Facts,
)
from archive_tools.report_html import Html, element, inline_svg, page, table
from archive_tools.report_jobs import MAX_LOG_LINES, JobTeller
from archive_tools.timeline_layout import place
from jqueue.job.redaction import Redaction
from jqueue.job.status import JobStatus

MAX_KINDS: Final = 100
WARNING: Final = (
    "What looks like a secret, by its name or its shape, was replaced by [redacted]. Names of jobs,"
    " messages and logs may hold more: look through this file before you give it away."
)


def report(facts: Facts, *, now: datetime, logs: bool = True) -> bytes:
    """Return the page.  `now` is when the facts were gathered; without `logs` no log is shown."""
    redaction = Redaction()
    teller = JobTeller(redaction, logs=logs)
    sections = [
        *_summary(facts, now, redaction),
        *_findings(facts.findings, redaction),
        *_pictures(facts, now),
        *_jobs("Running, waiting and canceling jobs", facts.begun, teller, _begun_in_all(facts)),
        *_jobs("Failed jobs, the last ones first", facts.failed, teller, _failed_in_all(facts)),
        *_records(facts, redaction),
        element("h2", "Where this report was made"),
        table(facts.environment),
    ]
    return page(
        "jqueue report", [element("p", WARNING, class_="bad"), *sections, *_redacted(teller)]
    )


def _summary(facts: Facts, now: datetime, redaction: Redaction) -> Iterator[Html]:
    yield element("h2", "Summary")
    stats = facts.survey.stats
    rows: list[tuple[str, object]] = [
        ("queue", redaction.text(str(facts.path.absolute()))),
        ("report made", f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC; all times are in UTC"),
    ]
    if facts.problem is not None:
        rows.append(("can't be read", element("span", redaction.text(facts.problem), class_="bad")))
    else:
        counts = {status: stats.statuses[status] for status in JobStatus if stats.statuses[status]}
        rows += [
            ("owner", _owner(facts)),
            ("jobs", f"{stats.live:,} live, {stats.archived:,} archived"),
            ("by status", ", ".join(f"{number:,} {name}" for name, number in counts.items())),
            ("last job ID", str(facts.serial)),
            ("LSN", str(facts.lsn)),
            ("drained", _flag(facts.drain, redaction)),
            ("paused", _flag(facts.pause, redaction)),
            ("interruptions", f"{stats.interruptions:,}; {stats.repeated_ops:,} opcodes repeated"),
        ]
        if stats.unreadable:
            rows.append(("unreadable", element("span", f"{stats.unreadable:,} jobs", class_="bad")))
    yield table(rows)


def _owner(facts: Facts) -> str:
    pid = (facts.owner or {}).get("pid")
    if facts.owned:
        return f"process {pid}"
    return "none" if pid is None else f"none; the last one was process {pid}"


def _flag(flag: dict[str, Any] | None, redaction: Redaction) -> str:
    if flag is None:
        return "no"
    facts = ", ".join(f"{name} {value}" for name, value in flag.items() if value is not None)
    return f"yes: {redaction.text(facts)}" if facts else "yes"


def _findings(findings: list[Finding], redaction: Redaction) -> Iterator[Html]:
    yield element("h2", "What verify finds")
    if not findings:
        yield element("p", "Nothing: clean.")
        return
    yield table(
        (
            (finding.code, finding.level, redaction.text(finding.text))
            for finding in findings[:MAX_FINDINGS]
        ),
        ("code", "level", "what"),
    )
    if len(findings) > MAX_FINDINGS:
        yield element("p", f"and {len(findings) - MAX_FINDINGS:,} more", class_="note")


def _pictures(facts: Facts, now: datetime) -> Iterator[Html]:
    if facts.problem is not None:
        return
    # Imported here: what draws is in an extra, and a report is made without it, too.
    from archive_tools.pictures_stats import stats_picture  # noqa: PLC0415
    from archive_tools.pictures_timeline import timeline_picture  # noqa: PLC0415

    yield element("h2", "What ran when")
    layout = place(facts.survey.spans, now=now.timestamp() if facts.owned else None)
    try:
        yield inline_svg(timeline_picture(layout, "svg", salt="timeline"))
        yield inline_svg(stats_picture(facts.survey.stats, "svg", salt="stats"))
    except PicturesMissing as error:
        yield element("p", f"{layout.title}; {error}", class_="note")


def _jobs(title: str, documents: list[Any], teller: JobTeller, in_all: int) -> Iterator[Html]:
    yield element("h2", title)
    if not documents:
        yield element("p", "None.")
        return
    yield teller.tell(documents)
    if in_all > len(documents):
        yield element("p", f"{in_all - len(documents):,} more are not shown", class_="note")


def _begun_in_all(facts: Facts) -> int:
    counts = facts.survey.stats.statuses
    begun = (JobStatus.RUNNING, JobStatus.WAITING, JobStatus.CANCELING)
    return sum(counts[str(status)] for status in begun)


def _failed_in_all(facts: Facts) -> int:
    return facts.survey.stats.statuses[str(JobStatus.ERROR)]


def _records(facts: Facts, redaction: Redaction) -> Iterator[Html]:
    yield element("h2", "The end of the journal")
    lines = [
        f"{record.lsn}  {datetime.fromtimestamp(record.time, UTC):%Y-%m-%d %H:%M:%S.%f}"
        f"  {'; '.join(record.changes[:20]) or '-'}"
        for record in facts.records
    ]
    yield element("pre", redaction.text("\n".join(lines)) or "there is none")


def _redacted(teller: JobTeller) -> Iterator[Html]:
    yield element("h2", "What is not in this report")
    counts = teller.redaction.counts
    limits = [
        f"at most {MAX_FAILED} failed and {MAX_BEGUN} begun jobs",
        f"at most {MAX_LOG_LINES} log entries of an opcode" if teller.logs else "no logs",
        "long texts are cut where it says so",
    ]
    if teller.cut:
        limits.append(f"{teller.cut} jobs have no details, since there was too much already")
    yield element("p", f"Limits: {'; '.join(limits)}.")
    yield element("p", f"Redacted: {counts.total():,} values.")
    if counts:
        yield table(counts.most_common(MAX_KINDS))
