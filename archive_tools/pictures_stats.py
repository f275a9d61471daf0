"""What a queue's jobs come to, as one picture: times, throughput, and what failed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from archive_tools.distribution import Distribution, Timeline
from archive_tools.pictures import LOOKS, drawing, encoded, shown
from archive_tools.stats import KindStats, Stats
from archive_tools.timeline import Phase
from archive_tools.timeline_layout import ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_DECADE: Final = 6
LEAST_S: Final = 1e-4
"""Shorter times are drawn as this one."""
MAX_KINDS: Final = 10
MAX_BINS: Final = 120
RECEIVED: Final = "#0072b2"
SIZE_INCHES: Final = (12.0, 7.0)

_MARKS: Final = (
    *((10**-power, f"{10 ** (3 - power)} ms") for power in (4, 3, 2, 1)),
    *((1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (36_000, "10 h")),
    *((86_400 * days, f"{days} d") for days in (4, 40, 400)),
)


class Step(NamedTuple):
    """How many values were above `low` and up to `high`."""

    low: float
    high: float
    number: int


def histogram(values: Distribution) -> list[Step]:
    """Return the distribution in steps of equal width on a logarithmic axis, empty ones too."""
    counts: Counter[int] = Counter()
    for low, high, count in values.buckets():
        middle = max(math.sqrt(low * high), LEAST_S)
        counts[math.floor(math.log10(middle) * PER_DECADE)] += count
    if not counts:
        return []
    return [
        Step(10 ** (at / PER_DECADE), 10 ** ((at + 1) / PER_DECADE), counts[at])
        for at in range(min(counts), max(counts) + 1)
    ]


def failing_kinds(stats: Stats) -> list[tuple[str, KindStats]]:
    """Return the kinds of which most opcodes failed in number, at most `MAX_KINDS`."""
    failing = [(name, kind) for name, kind in stats.kinds.items() if kind.errors]
    return sorted(failing, key=lambda pair: (-pair[1].errors, pair[0]))[:MAX_KINDS]


def stats_picture(stats: Stats, kind: str, *, salt: str = "") -> bytes:
    """Return it as an SVG or PNG file.  Raises PicturesMissing without the library that draws."""
    with drawing() as figure_of:
        figure = figure_of(figsize=SIZE_INCHES, layout="constrained")
        (above, beside), (below, last) = figure.subplots(2, 2)
        jobs = f"{stats.jobs:,} jobs" if stats.jobs != 1 else "1 job"
        figure.suptitle(f"{jobs}, {stats.archived:,} of them archived", fontsize=11)
        _draw_times(above, "Waiting: from submission to execution", stats.waiting, Phase.WAITING)
        _draw_times(beside, "Running: an opcode's execution", stats.running, Phase.RUNNING)
        _draw_throughput(below, stats.received, stats.ended)
        _draw_errors(last, stats)
        return encoded(figure, kind, salt=salt)


def _draw_times(axes: Axes, title: str, values: Distribution, phase: Phase) -> None:
    axes.set_title(title, loc="left")
    steps = histogram(values)
    if not steps:
        _nothing(axes, "none yet")
        return
    axes.set_xscale("log")
    axes.bar(
        [step.low for step in steps],
        [step.number for step in steps],
        width=[step.high - step.low for step in steps],
        align="edge",
        color=LOOKS[phase].color,
        edgecolor="#555555",
        linewidth=0.4,
    )
    low, high = steps[0].low / 2, steps[-1].high * 2
    marks = [(at, name) for at, name in _MARKS if low <= at <= high]
    axes.set_xlim(low, high)
    axes.set_xticks([at for at, _ in marks], [name for _, name in marks])
    axes.minorticks_off()
    _whole_numbers(axes, [step.number for step in steps])
    for part, style in ((0.5, "-"), (0.99, ":")):
        at = max(values.quantile(part), LEAST_S)
        label = f"{'half' if part == 0.5 else '99 %'} within {_duration(values.quantile(part))}"  # noqa: PLR2004 - the median
        axes.axvline(at, color="black", linestyle=style, linewidth=1, label=label)
    axes.legend(loc="upper left", fontsize=7.5)
    # Room for the legend above the bars.
    axes.set_ylim(0, max(step.number for step in steps) * 1.3)


def _draw_throughput(axes: Axes, received: Timeline, ended: Timeline) -> None:
    axes.set_title("Jobs over time", loc="left")
    drawn = [(received, "received", RECEIVED, "--"), (ended, "ended", "#009e73", "-")]
    found = [events.drawn(MAX_BINS) for events, *_ in drawn]
    bins = [bin_ for _, some in found for bin_ in some]
    if not bins:
        _nothing(axes, "none yet")
        return
    begin = min(bin_.start_s for bin_ in bins)
    end = max(some[-1].start_s + width_s for width_s, some in found if some)
    for (_, name, color, style), (width_s, some) in zip(drawn, found, strict=True):
        if some:
            edges = [bin_.start_s - begin for bin_ in some]
            axes.stairs(
                [bin_.events for bin_ in some],
                [*edges, edges[-1] + width_s],
                label=f"{name}, in {_duration(width_s)}",
                color=color,
                linestyle=style,
                linewidth=1.2,
            )
    marks = ticks(begin, end, 5)
    axes.set_xticks([tick.at - begin for tick in marks], [tick.label for tick in marks])
    axes.set_xlim(0, end - begin)
    peak = max(bin_.events for bin_ in bins)
    axes.set_ylim(0, peak * 1.3)
    _whole_numbers(axes, [peak])
    axes.legend(loc="upper left", fontsize=7.5, ncols=2)
    first = datetime.fromtimestamp(begin, UTC)
    axes.set_xlabel(f"time in UTC, from {first:%Y-%m-%d %H:%M:%S}")


def _draw_errors(axes: Axes, stats: Stats) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - only while `drawing`

    axes.set_title("Opcodes that failed, by kind", loc="left")
    kinds = failing_kinds(stats)
    if not kinds:
        _nothing(axes, "none")
        return
    look = LOOKS[Phase.ERROR]
    bars = axes.barh(
        range(len(kinds)),
        [kind.errors for _, kind in kinds],
        color=look.color,
        hatch=look.hatch,
        edgecolor=look.edge,
        linewidth=0.4,
    )
    axes.bar_label(bars, [_share(kind) for _, kind in kinds], padding=4, fontsize=7.5)
    axes.set_yticks(range(len(kinds)), [shown(name.removeprefix("OP_"), 28) for name, _ in kinds])
    # One bar would fill the whole height.
    axes.set_ylim(max(len(kinds), 4) - 0.5, -0.5)
    axes.set_xlim(0, max(kind.errors for _, kind in kinds) * 1.35)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    more = sum(1 for kind in stats.kinds.values() if kind.errors) - len(kinds)
    if more > 0:
        axes.set_xlabel(f"and {more} kinds more")


def _share(kind: KindStats) -> str:
    return f"{kind.errors:,} of {kind.ops:,} ({kind.errors / kind.ops:.1%})"


def _nothing(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _whole_numbers(axes: Axes, counts: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - only while `drawing`

    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    if max(counts) >= 1000:  # noqa: PLR2004 - from here on commas help
        axes.yaxis.set_major_formatter("{x:,.0f}")


def _duration(seconds: float) -> str:
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e6:.3g} µs"
