"""Times in filters: what `received_ts > …` may be compared with."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any, Final

from jqueue.errors import InvalidQuery

_AGO: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])(?:\s+ago)?", re.ASCII)
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
MAX_MOMENT_S: Final = 10**12


def moment_us(value: Any, now: datetime | None = None) -> int:
    """Return microseconds since the epoch.

    `value` is Unix time in seconds, Ganeti's `[seconds, microseconds]`, or text: ISO 8601, or an
    age such as `2h` or `30m ago`, which counts back from `now`.  A time without a zone has that of
    `now`; without `now` it is UTC.  Raises InvalidQuery.
    """
    if isinstance(value, list) and [type(part) for part in value] == [int, int]:
        return _checked(value[0], value) + int(value[1])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _checked(value, value)
    if isinstance(value, str):
        return _checked(_parse(value.strip(), now), value)
    raise _refused(value)


def _parse(text: str, now: datetime | None) -> float:
    age = _AGO.fullmatch(text)
    if age is not None and now is not None:
        return now.timestamp() - float(age[1]) * _UNIT_S[age[2]]
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC if now is None else now.tzinfo)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise _refused(text) from None


def _checked(seconds: float, given: Any) -> int:
    if not math.isfinite(seconds) or abs(seconds) > MAX_MOMENT_S:
        raise _refused(given)
    return round(seconds * 1_000_000)


def _refused(value: Any) -> InvalidQuery:
    return InvalidQuery(
        f'{value!r:.80} is not a time: Unix seconds, "2030-01-31 22:00" or "2h ago"'
    )
