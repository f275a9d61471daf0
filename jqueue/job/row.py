"""A job in a list, as every command shows it with `--json`."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jqueue.job.snapshot import Job
from jqueue.job.status import calc_priority, calc_status
from jqueue.job.summary import op_summary

_DAY_S = 86_400


def iso_time(time: list[int] | None) -> str | None:
    """The time `[seconds, microseconds]` in ISO 8601, in UTC, as datetime's `isoformat`."""
    if time is None:
        return None
    seconds, micros = time
    day, second = divmod(seconds, _DAY_S)
    minute, second = divmod(second, 60)
    fraction = f".{micros:06}" if micros else ""
    return f"{_day(day)}T{minute // 60:02}:{minute % 60:02}:{second:02}{fraction}+00:00"


@lru_cache(maxsize=64)
def _day(day: int) -> str:
    """The date: jobs of a list are mostly of the same days, and a date takes its time."""
    return datetime.fromtimestamp(day * _DAY_S, UTC).date().isoformat()


def row_of(job: Job) -> dict[str, Any]:
    """Return the job as `list --json` shows it."""
    document = job.document
    ops = document["ops"]
    return {
        "id": document["id"],
        "status": str(calc_status(ops)),
        "priority": calc_priority(ops),
        "summary": [op_summary(op["input"]) for op in ops],
        "archived": job.archived,
        "received": iso_time(document["received_timestamp"]),
        "started": iso_time(document["start_timestamp"]),
        "ended": iso_time(document["end_timestamp"]),
        "retry_of": document.get("retry_of"),
        "submitter": document.get("submitter"),
        "key": document.get("key"),
        "unique": document.get("unique"),
    }
