"""Timelines as text that fits a terminal: a character a column, in color where there is any."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from archive_tools.timeline import Phase
from archive_tools.timeline_layout import DensityLane, Layout, Line, Tick, ticks
from jqueue.console.terminal import printable

LEAST_COLUMNS: Final = 20
LABEL_PART: Final = 3
"""Names take up to this part of the width."""
TICK_COLUMNS: Final = 16


class Sign(NamedTuple):
    """How a phase is written, in Unicode and in ASCII, and painted."""

    name: str
    unicode: str
    ascii: str
    style: str


SIGNS: Final = {
    Phase.QUEUED: Sign("queued", "·", ".", "dim"),
    Phase.WAITING: Sign("waiting", "░", ":", "yellow"),
    Phase.RUNNING: Sign("running", "▶", ">", "cyan"),
    Phase.SUCCESS: Sign("success", "█", "=", "green"),
    Phase.ERROR: Sign("error", "✗", "x", "bold red"),
    Phase.CANCELED: Sign("canceled", "╱", "/", "magenta"),
    Phase.INTERRUPTED: Sign("interrupted", "!", "!", "bold yellow"),
    Phase.REPEATED: Sign("failed, tried again", "?", "?", "yellow"),
}
_SHOWN_FIRST: Final = (
    Phase.QUEUED, Phase.WAITING, Phase.SUCCESS, Phase.RUNNING, Phase.REPEATED, Phase.CANCELED,
    Phase.INTERRUPTED, Phase.ERROR,
)  # fmt: skip
"""Where several share a column the last of these is shown."""
_LEVELS: Final = {True: " ▁▂▃▄▅▆▇█", False: " .:-=+*#@"}


def chart_columns(width: int) -> int:
    """Return how many columns of a line are left beside the names."""
    return max(width - width // LABEL_PART - 2, LEAST_COLUMNS)


def timeline_text(layout: Layout, width: int, *, unicode: bool) -> Iterator[Text]:
    """Yield the lines of a timeline that was placed for `chart_columns(width)`."""
    yield Text(printable(layout.title), style="bold")
    if layout.mode != "empty":
        columns = chart_columns(width)
        label = max(width - columns - 2, 8)
        if layout.mode == "rows":
            body = [_line(line, layout, label, columns, unicode=unicode) for line in layout.lines]
            phases = {bar.phase for line in layout.lines for bar in line.bars}
        else:
            body = [_levels("queued or waiting", layout.pending, label, unicode=unicode)]
            body += [_line(line, layout, label, columns, unicode=unicode) for line in layout.lines]
            phases = {bar.phase for line in layout.lines for bar in line.bars}
            for lane in layout.lanes:
                body += _density(lane, label, unicode=unicode)
        yield from body
        yield from _axis(layout, label, columns)
        if phases:
            yield _legend(sorted(phases), unicode=unicode)
    said = [f"{line.label.split(maxsplit=1)[0]}: {line.note}" for line in layout.lines if line.note]
    for note in [*said, *layout.notes]:
        yield Text(printable(note), style="dim")


def _line(line: Line, layout: Layout, label: int, columns: int, *, unicode: bool) -> Text:
    cells = [-1] * columns
    whole = layout.end - layout.begin
    for bar in line.bars:
        first = min(int((bar.begin - layout.begin) / whole * columns), columns - 1)
        end = max(round((bar.end - layout.begin) / whole * columns), first + 1)
        rank = _SHOWN_FIRST.index(bar.phase)
        cells[first:end] = [max(cell, rank) for cell in cells[first:end]]
    text = _named(line.label, label)
    for rank, run in itertools.groupby(cells):
        if rank < 0:
            text.append(" " * len(list(run)))
        else:
            sign = SIGNS[_SHOWN_FIRST[rank]]
            text.append((sign.unicode if unicode else sign.ascii) * len(list(run)), sign.style)
    return text


def _density(lane: DensityLane, label: int, *, unicode: bool) -> Iterator[Text]:
    heights = [sum(column) for column in zip(*lane.heights.values(), strict=True)]
    name = f"{lane.label} {lane.executions:,}"
    yield _levels(name, heights, label, lane.begun, unicode=unicode)
    failed = sum(lane.failed)
    if failed:
        sign = SIGNS[Phase.ERROR]
        mark = sign.unicode if unicode else sign.ascii
        text = _named(f"  {failed:,} failed", label)
        text.append("".join(mark if number else " " for number in lane.failed), sign.style)
        yield text


def _levels(
    name: str,
    heights: Sequence[float],
    label: int,
    seen: Sequence[float] | None = None,
    *,
    unicode: bool,
) -> Text:
    levels = _LEVELS[unicode]
    peak = max(heights, default=0) or 1.0
    text = _named(f"{name}, up to {peak:,.3g}", label)
    # What is there at all is seen.
    text.append(
        "".join(
            levels[max(round(height / peak * (len(levels) - 1)), 1 if height or is_seen else 0)]
            for height, is_seen in zip(heights, seen or heights, strict=True)
        ),
        "cyan",
    )
    return text


def _named(name: str, columns: int) -> Text:
    name = printable(" ".join(name.split())) if not name.startswith("  ") else name
    if cell_len(name) > columns:
        name = set_cell_size(name, columns - 2) + ".."
    return Text(f"{set_cell_size(name, columns)}  ")


def _axis(layout: Layout, label: int, columns: int) -> Iterator[Text]:
    marks = ticks(layout.begin, layout.end, max(columns // TICK_COLUMNS, 1))
    for row in range(2):
        line = [" "] * columns
        for mark in marks:
            _write(line, _column(mark, layout, columns), mark.label.split("\n"), row)
        text = "".join(line).rstrip()
        if text:
            yield Text(f"{set_cell_size('time in UTC' if row == 0 else '', label)}  {text}")


def _write(line: list[str], column: int, words: Sequence[str], row: int) -> None:
    word = words[row] if row < len(words) else ""
    column = min(column, len(line) - len(word))
    if column >= 0 and all(char == " " for char in line[max(column - 1, 0) : column + len(word)]):
        line[column : column + len(word)] = word


def _column(mark: Tick, layout: Layout, columns: int) -> int:
    return int((mark.at - layout.begin) / (layout.end - layout.begin) * columns)


def _legend(phases: Iterable[Phase], *, unicode: bool) -> Text:
    text = Text()
    for phase in phases:
        sign = SIGNS[phase]
        text.append(sign.unicode if unicode else sign.ascii, sign.style)
        text.append(f" {sign.name}   ")
    return text
