"""Times and durations as a person reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400


_standing: ContextVar[datetime | None] = ContextVar("standing", default=None)


@contextmanager
def standing_at(moment: datetime | None) -> Iterator[None]:
    """Let ages and durations be told as at that moment, if it is known."""
    token = _standing.set(moment)
    try:
        yield
    finally:
        _standing.reset(token)


def now() -> datetime:
    """This moment, or the one that is shown, aware."""
    return _standing.get() or datetime.now(UTC)


def local(moment: datetime | None) -> str:
    """The moment for a person here, or a dash."""
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """A duration in its two largest units: 0.2s, 12s, 3m05s, 2h03m, 4d02h."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10:  # noqa: PLR2004 - below it tenths are seen
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < MINUTE_S:
        return f"{whole}s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}m{whole % MINUTE_S:02}s"
    if whole < DAY_S:
        return f"{whole // HOUR_S}h{whole % HOUR_S // MINUTE_S:02}m"
    return f"{whole // DAY_S}d{whole % DAY_S // HOUR_S:02}h"


def ago(moment: datetime | None, at: datetime) -> str:
    """The moment as seen at another: 3m05s ago, in 2h00m, or a dash."""
    if moment is None:
        return "-"
    seconds = (at - moment).total_seconds()
    return f"in {span(-seconds)}" if seconds < 0 else f"{span(seconds)} ago"


def took(begin: datetime | None, end: datetime | None) -> str | None:
    """How long it was from one to the other; None unless both are known."""
    if begin is None or end is None:
        return None
    return span(max((end - begin).total_seconds(), 0.0))


def size(count_bytes: float) -> str:
    """A number of bytes: 512 B, 8.0 MiB."""
    value = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":  # noqa: PLR2004 - what the units are made of
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
