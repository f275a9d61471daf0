"""Where everything of a timeline stands: rows, lanes or densities, ticks, and what must be said.

Pure data.  Few jobs have a row each.  Of more, executions stand in lanes, one a worker, as long as
they can be told apart; of still more, columns say how many there were at once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

from archive_tools.timeline import MAX_ROWS, NOBODY, OTHERS, Names, Phase, Row, Spans

Mode = Literal["empty", "rows", "lanes", "density"]
By = Literal["job", "worker", "kind"]

COLUMNS: Final = 240
"""What a picture can show side by side: in a density, or as bars in a lane."""
MAX_LANES: Final = 32
MAX_DENSITY_LANES: Final = 12
LEAST_RANGE_S: Final = 0.01
CROWDED: Final = 0.05
"""If nearly all happened in this part of the range, where that is gets said."""

_STEPS_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200),
    *(86_400 * days for days in (1, 2, 7, 14, 30, 91, 182)),
    *(86_400 * 365 * years for years in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)),
)
_DAY_S: Final = 86_400
_MINUTE_S: Final = 60


class Bar(NamedTuple):
    """A span, within the window."""

    begin: float
    end: float
    phase: Phase


class Line(NamedTuple):
    """A job's row, or a worker's lane."""

    label: str
    note: str
    bars: list[Bar]


class Tick(NamedTuple):
    """A moment on the axis; its label has a second line where the day changes."""

    at: float
    label: str


class DensityLane(NamedTuple):
    """How many opcodes of one kind, or on one worker, were executed at once, column by column."""

    label: str
    heights: dict[Phase, list[float]]
    """The mean number in each column, by what came of them."""
    failed: list[int]
    """How many ended in each column with an error, or were interrupted."""
    begun: list[int]
    """How many began in each column: what took no time is seen by it."""

    @property
    def executions(self) -> int:
        """How many there were."""
        return sum(self.begun)

    @property
    def peak(self) -> float:
        """The largest number at once."""
        return max((sum(column) for column in zip(*self.heights.values(), strict=True)), default=0)


@dataclass(frozen=True)
class Layout:
    """A timeline, placed; times in Unix seconds."""

    mode: Mode
    title: str
    begin: float = 0.0
    end: float = 1.0
    lines: list[Line] = field(default_factory=list)
    lanes: list[DensityLane] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)
    """How many opcodes were queued or waiting, in the mean of each column."""
    column_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, phases by name."""
        return {
            "mode": self.mode,
            "title": self.title,
            "begin": self.begin,
            "end": self.end,
            "lines": [
                {
                    "label": line.label,
                    "note": line.note,
                    "bars": [[bar.begin, bar.end, bar.phase.name.lower()] for bar in line.bars],
                }
                for line in self.lines
            ],
            "lanes": [
                {
                    "label": lane.label,
                    "executions": lane.executions,
                    "begun": lane.begun,
                    "failed": lane.failed,
                    "heights": {p.name.lower(): means for p, means in lane.heights.items()},
                }
                for lane in self.lanes
            ],
            "pending": self.pending,
            "column_s": self.column_s,
            "notes": self.notes,
        }


def place(
    spans: Spans,
    *,
    since: float | None = None,
    until: float | None = None,
    now: float | None = None,
    by: By | None = None,
    columns: int = COLUMNS,
) -> Layout:
    """Return where everything stands, from `since` to `until`, or as far as there is anything.

    What goes on is drawn until `now`, in a queue that nobody owns until the last known moment.
    """
    said = _remarks(spans)
    known = [time for time in (*spans.begins, *spans.ends) if math.isfinite(time)]
    if not known:
        return Layout("empty", _count(spans.jobs, "job") + ", nothing to draw", notes=said)
    begin = min(known) if since is None else since
    last = max(known)
    if now is not None and math.inf in spans.ends:
        last = max(last, now)
    end = last if until is None else until
    if end - begin < LEAST_RANGE_S:
        middle = (begin + end) / 2
        begin, end = middle - LEAST_RANGE_S / 2, middle + LEAST_RANGE_S / 2
    said += _remarks_on_time(spans, begin, end, last)
    frame = _Frame(begin, end, last, columns, said)
    if by in (None, "job") and spans.rows is not None:
        return _rows(spans.rows, frame)
    if by == "job":
        said.append(f"more than {MAX_ROWS} jobs can't have a row each")
    if by != "kind":
        lanes = _lanes(spans, frame)
        if lanes is not None:
            return lanes
    return _density(spans, frame, "worker" if by == "worker" else "kind")


class _Frame(NamedTuple):
    begin: float
    end: float
    last: float
    """Where what goes on is drawn to."""
    columns: int
    notes: list[str]

    @property
    def column_s(self) -> float:
        return (self.end - self.begin) / self.columns

    def clip(self, begin: float, end: float, phase: Phase) -> Bar | None:
        end = min(end, self.last) if math.isinf(end) else end
        if end < self.begin or begin > self.end:
            return None
        begin = max(begin, self.begin)
        return Bar(begin, max(min(end, self.end), begin), phase)


def _rows(rows: Iterable[Row], frame: _Frame) -> Layout:
    lines = []
    for row in rows:
        clipped = (frame.clip(span.begin, span.end, span.phase) for span in row.spans)
        bars = [bar for bar in clipped if bar is not None]
        if bars:
            lines.append(Line(row.label, row.note, bars))
    title = _count(len(lines), "job")
    return Layout("rows", title, frame.begin, frame.end, lines, notes=frame.notes)


def _lanes(spans: Spans, frame: _Frame) -> Layout | None:
    """Return lanes by worker; None if they would be too many, or too full to be read."""
    groups: dict[str, list[Bar]] = defaultdict(list)
    few_workers = len(spans.worker_names.numbers) <= MAX_LANES
    total = 0
    for at in range(len(spans)):
        if spans.phases[at] > Phase.WAITING:
            bar = frame.clip(spans.begins[at], spans.ends[at], Phase(spans.phases[at]))
            if bar is None:
                continue
            total += 1
            if total > MAX_LANES * frame.columns:
                return None
            groups[spans.worker_names[spans.workers[at]] if few_workers else NOBODY].append(bar)
    lines = [
        Line(label, "", bars)
        for name in sorted(groups, key=_in_order)
        for label, bars in _side_by_side(name, groups[name])
    ]
    if len(lines) > MAX_LANES or any(_is_smeared(line.bars, frame) for line in lines):
        return None
    how = "a lane for each worker" if NOBODY not in groups else "lanes for what ran at once"
    title = f"{_count(spans.jobs, 'job')}: {_count(total, 'execution')}, {how}"
    return Layout(
        "lanes",
        title,
        frame.begin,
        frame.end,
        lines,
        [],
        _pending(spans, frame),
        frame.column_s,
        frame.notes,
    )


def _in_order(name: str) -> tuple[bool, list[int | str]]:
    """Order workers by number, those that are not known last."""
    return name == NOBODY, [int(part) if part.isdigit() else part for part in name.split()]


def _side_by_side(name: str, bars: list[Bar]) -> list[tuple[str, list[Bar]]]:
    """Return the bars in as few lanes as it takes for none to cover another."""
    lanes: list[list[Bar]] = []
    for bar in sorted(bars):
        free = next((lane for lane in lanes if lane[-1].end <= bar.begin), None)
        if free is None:
            if len(lanes) > MAX_LANES:
                break
            lanes.append([bar])
        else:
            free.append(bar)
    if name == NOBODY:
        return [(f"place {number}", lane) for number, lane in enumerate(lanes, 1)]
    return [(name if number == 0 else "  beside it", lane) for number, lane in enumerate(lanes)]


def _is_smeared(bars: list[Bar], frame: _Frame) -> bool:
    """Say whether the bars can't be told apart by eye."""
    least = frame.column_s / 2
    close = sum(late.begin - early.begin < least for early, late in pairwise(bars))
    return len(bars) > frame.columns or close > max(len(bars) / 2, 10)


def _density(spans: Spans, frame: _Frame, by: Literal["worker", "kind"]) -> Layout:
    names, numbers = (
        (spans.kind_names, spans.kinds) if by == "kind" else (spans.worker_names, spans.workers)
    )
    label_of = _largest(spans, names, numbers)
    columns: dict[str, dict[Phase, _Columns]] = {}
    failed: dict[str, list[int]] = {}
    begun: dict[str, list[int]] = {}
    for at in range(len(spans)):
        phase = Phase(spans.phases[at])
        bar = frame.clip(spans.begins[at], spans.ends[at], phase)
        if bar is None or not phase.is_execution:
            continue
        label = label_of[numbers[at]]
        if label not in columns:
            columns[label] = defaultdict(lambda: _Columns(frame))
            failed[label], begun[label] = [0] * frame.columns, [0] * frame.columns
        columns[label][phase].add(bar)
        begun[label][columns[label][phase].column(bar.begin)] += 1
        if phase in (Phase.ERROR, Phase.INTERRUPTED):
            failed[label][columns[label][phase].column(bar.end)] += 1
    lanes = [
        DensityLane(
            label,
            {phase: columns[label][phase].means() for phase in sorted(columns[label])},
            failed[label],
            begun[label],
        )
        for label in sorted(columns, key=lambda name: (name == OTHERS, -sum(begun[name]), name))
    ]
    executions = sum(lane.executions for lane in lanes)
    title = (
        f"{_count(spans.jobs, 'job')}: opcodes executed at once, by {by};"
        f" {_count(executions, 'execution')}, a column is {_span_text(frame.column_s)}"
    )
    return Layout(
        "density",
        title,
        frame.begin,
        frame.end,
        [],
        lanes,
        _pending(spans, frame),
        frame.column_s,
        frame.notes,
    )


def _largest(spans: Spans, names: Names, numbers: Sequence[int]) -> list[str]:
    """Return a label for each number: its name, or others for those of few spans."""
    counts = Counter(
        number for number, phase in zip(numbers, spans.phases, strict=True) if phase > Phase.WAITING
    )
    kept = {number for number, _ in counts.most_common(MAX_DENSITY_LANES)}
    return [name if number in kept else OTHERS for number, name in enumerate(names.numbers)]


def _pending(spans: Spans, frame: _Frame) -> list[float]:
    columns = _Columns(frame)
    for at in range(len(spans)):
        if spans.phases[at] <= Phase.WAITING:
            bar = frame.clip(spans.begins[at], spans.ends[at], Phase.QUEUED)
            if bar is not None:
                columns.add(bar)
    return columns.means()


class _Columns:
    """How many bars there are at once, in the mean of each column; a bar costs the same however
    long it is.
    """

    def __init__(self, frame: _Frame) -> None:
        self.begin, self.column_s = frame.begin, frame.column_s
        self._parts = [0.0] * frame.columns
        self._steps = [0] * (frame.columns + 1)

    def column(self, time: float) -> int:
        return min(max(int((time - self.begin) / self.column_s), 0), len(self._parts) - 1)

    def add(self, bar: Bar) -> None:
        first, last = self.column(bar.begin), self.column(bar.end)
        if first == last:
            self._parts[first] += (bar.end - bar.begin) / self.column_s
            return
        self._parts[first] += first + 1 - (bar.begin - self.begin) / self.column_s
        self._parts[last] += (bar.end - self.begin) / self.column_s - last
        self._steps[first + 1] += 1
        self._steps[last] -= 1

    def means(self) -> list[float]:
        means, whole = [], 0
        for part, step in zip(self._parts, self._steps, strict=False):
            whole += step
            means.append(whole + part)
        return means


def ticks(begin: float, end: float, at_most: int) -> list[Tick]:
    """Return round moments, in UTC, of which `at_most` fit; the day where it is not known yet."""
    step = next((s for s in _STEPS_S if (end - begin) / s <= at_most), _STEPS_S[-1])
    first = math.ceil(begin / step)
    found: list[Tick] = []
    day = ""
    for number in range(first, first + at_most + 1):
        at = number * step
        if at > end:
            break
        moment = datetime.fromtimestamp(round(at, 3), UTC)
        today = f"{moment:%Y-%m-%d}"
        if step >= _DAY_S:
            label = today
        else:
            label = f"{moment:%H:%M}" if step >= _MINUTE_S else f"{moment:%H:%M:%S}"
            label += f".{moment.microsecond // 1000:03}" if step < 1 else ""
            label += f"\n{today}" if today != day else ""
        found.append(Tick(at, label))
        day = today
    return found


def _remarks(spans: Spans) -> list[str]:
    said = []
    if spans.unreadable:
        said.append(f"{_count(spans.unreadable, 'job')} not there, or can't be read")
    if spans.undated:
        said.append(f"{_count(spans.undated, 'job')} without any time, not drawn")
    if spans.stepped:
        said.append(
            f"{_count(spans.stepped, 'job')} with an end before the beginning (the clock was set"
            " back), drawn as a moment"
        )
    if spans.left_out:
        said.append(f"{_count(spans.left_out, 'span')} left out, over the limit")
    return said


def _remarks_on_time(spans: Spans, begin: float, end: float, last: float) -> list[str]:
    said = []
    going_on = sum(map(math.isinf, spans.ends))
    if going_on:
        said.append(f"{_count(going_on, 'opcode')} not ended, drawn to {moment_text(last)}")
    begins = sorted(time for time in spans.begins if begin <= time <= end)
    if len(begins) > MAX_ROWS:
        early, late = begins[len(begins) // 20], begins[-len(begins) // 20]
        if late - early < CROWDED * (end - begin):
            said.append(
                f"nine tenths of it began from {moment_text(early)} to {moment_text(late + 1)}:"
                " --since and --until show that"
            )
    return said


def moment_text(time: float) -> str:
    """Return the moment, to the second, in UTC."""
    return f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%dT%H:%M:%SZ}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _span_text(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1000:.3g} ms"
