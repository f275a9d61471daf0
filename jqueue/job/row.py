"""A job in a list, as every command shows it with `--json`."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jqueue.job.snapshot import Job
from jqueue.job.status import calc_priority, calc_status
from jqueue.job.summary import op_summary

_US_PER_S = 10**6
_SECONDS = [f"{second:02}" for second in range(60)]


def iso_time(time: list[int] | None) -> str | None:
    """The time `[seconds, microseconds]` in ISO 8601, in UTC, as datetime's `isoformat`."""
    if time is None:
        return None
    seconds, micros = time
    begin = f"{_minute(seconds // 60)}{_SECONDS[seconds % 60]}"
    if micros:
        # Formatting leading zeros takes three times as long, and a list does little else.
        return f"{begin}.{str(_US_PER_S + micros)[1:]}+00:00"
    return f"{begin}+00:00"


@lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    """The time up to its minute: jobs of a list are near each other, and a date takes its time."""
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:")


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
