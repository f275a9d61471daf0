"""Statistics as a person reads them: tables with bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from archive_tools.distribution import Distribution, Timeline
from archive_tools.stats import OTHERS, Stats, iso
from jqueue.console.show import COLORS
from jqueue.console.table import put_table, shortened
from jqueue.console.terminal import faint, has_unicode, paint, printable, put_painted, width
from jqueue.console.times import size, span

MOST_ROWS: Final = 10
"""Kinds, submitters, errors: the rest is counted, and shown by --json."""
MOST_BINS: Final = 24
BAR_COLUMNS: Final = 30
_MS_S: Final = 0.001


def put_stats(stats: Stats) -> None:
    """Print all of it."""
    _put_summary(stats)
    _put_bars(
        "status",
        [(str(name), count) for name, count in stats.statuses.most_common()],
        color=True,
    )
    _put_times(stats)
    _put_kinds(stats)
    _put_bars("submitted by", stats.submitters.ranked(), more=stats.submitters.others)
    _put_bars("errors", stats.errors.ranked(), more=stats.errors.others)
    _put_timeline("submitted", stats.received)
    _put_timeline("ended", stats.ended)


def _put_summary(stats: Stats) -> None:
    parts = [f"{stats.jobs} jobs, {stats.live} live and {stats.archived} archived"]
    if stats.first_received is not None:
        end = f" to {_utc(stats.last_ended)}" if stats.last_ended is not None else ""
        parts.append(f"from {_utc(stats.first_received)}{end} UTC")
    if stats.jobs_per_s is not None:
        parts.append(f"{_rate(stats.jobs_per_s)} ended")
    put_painted(printable("; ".join(parts)))
    for count, text in (
        (stats.unreadable, "can't be read; see: jqueue-archive verify"),
        (stats.retries, "repeat another job (jqueue retry)"),
        (stats.repeated_ops, "opcodes were executed more than once"),
        (stats.interruptions, "times the process of an opcode vanished"),
    ):
        if count:
            put_painted(printable(f"{count} {text}"))


def _utc(time: Sequence[int] | None) -> str:
    return (iso(list(time)) or "").removesuffix("+00:00").replace("T", " ") if time else "-"


def _rate(per_s: float) -> str:
    for seconds, unit in ((1, "second"), (60, "minute"), (3600, "hour")):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.1f} a {unit}"
    return f"{per_s * 86_400:.1f} a day"


def _put_times(stats: Stats) -> None:
    rows = [
        _quantiles(name, found, _duration)
        for name, found in (
            ("waiting", stats.waiting),
            ("running", stats.running),
            ("whole life", stats.total),
        )
        if found.count
    ]
    if stats.size_bytes.count:
        rows.append(_quantiles("document", stats.size_bytes, size))
    _put_section(("", "COUNT", "MEAN", "P50", "P90", "P99", "MAX"), rows)


def _quantiles(name: str, found: Distribution, shown: Callable[[float], str]) -> list[str]:
    values = [found.total / found.count, *map(found.quantile, (0.5, 0.9, 0.99)), found.largest]
    return [name, str(found.count), *map(shown, values)]


def _duration(seconds: float) -> str:
    """Return a time to two or three digits."""
    if seconds >= 1:
        return span(seconds)
    return f"{seconds * 1000:.3g}ms" if seconds >= _MS_S else f"{seconds * 1_000_000:.0f}us"


def _put_kinds(stats: Stats) -> None:
    ranked = stats.ranked_kinds()
    rows = []
    for name, kind in ranked[:MOST_ROWS]:
        times = [kind.running.quantile(part) for part in (0.5, 0.99)]
        shown = [*map(_duration, times)] if kind.running.count else ["-", "-"]
        rows.append([name, str(kind.ops), str(kind.errors), *shown])
    _put_section(("KIND", "OPCODES", "ERRORS", "P50", "P99"), rows)
    _put_more(len(ranked) - MOST_ROWS)


def _put_section(headings: Sequence[str], rows: list[list[str]]) -> None:
    if rows:
        put_painted("")
        put_table(headings, rows, right=frozenset(headings[1:]))


def _put_more(count: int) -> None:
    if count > 0:
        put_painted(faint(f"and {count} more, see --json"))


def _put_bars(
    title: str, counts: list[tuple[str, int]], *, more: int = 0, color: bool = False
) -> None:
    if not counts:
        return
    put_painted("")
    put_painted(faint(title.upper()))
    shown = counts[:MOST_ROWS] + ([(OTHERS, more)] if more else [])
    for line in _bars(shown, color=color):
        put_painted(line)
    _put_more(len(counts) - MOST_ROWS)


def _bars(counts: Iterable[tuple[str, int]], *, color: bool = False) -> list[str]:
    """Return a line for each: its count, a bar, its name."""
    rows = list(counts)
    largest = max((count for _, count in rows), default=1) or 1
    places = len(str(largest))
    columns = width()
    room = None if columns is None else max(columns - places - BAR_COLUMNS - 4, 12)
    lines = []
    for name, count in rows:
        text = printable(name) if room is None else shortened(printable(name), room)
        painted = paint(text, COLORS.get(name)) if color else text
        lines.append(f"{count:>{places}}  {_bar(count / largest)}  {painted}")
    return lines


def _bar(part: float) -> str:
    """Return a bar of eighths of a character; what is not nothing is seen."""
    if not has_unicode():
        filled = max(round(part * BAR_COLUMNS), 1) if part else 0
        return ("#" * filled).ljust(BAR_COLUMNS)
    eighths = max(round(part * BAR_COLUMNS * 8), 1) if part else 0
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(BAR_COLUMNS)


def _put_timeline(title: str, events: Timeline) -> None:
    width_s, bins = events.drawn(MOST_BINS)
    if not bins:
        return
    put_painted("")
    put_painted(faint(f"{title.upper()}, each line {_span_of(width_s)}"))
    pattern = "%Y-%m-%d" if width_s % 86_400 == 0 else "%Y-%m-%d %H:%M:%S"
    named = [
        (datetime.fromtimestamp(found.start_s, UTC).strftime(pattern), found.events)
        for found in bins
    ]
    for line in _bars(named):
        put_painted(line)


def _span_of(width_s: int) -> str:
    for seconds, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if width_s >= seconds:
            count = width_s // seconds
            return f"{count} {unit}s" if count > 1 else f"one {unit}"
    return f"{width_s} s"
