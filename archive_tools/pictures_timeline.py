"""Timelines as pictures: rows, lanes and densities as `timeline_layout` placed them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from archive_tools.pictures import LOOKS, drawing, encoded, shown
from archive_tools.report_html import inline_svg, page
from archive_tools.timeline import Phase
from archive_tools.timeline_layout import DensityLane, Layout, Line, moment_text, ticks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES: Final = 12.0
ROW_INCHES: Final = 0.19
LANE_INCHES: Final = 0.62
MARGIN_INCHES: Final = 1.5
TICKS: Final = 9
LABEL_CHARS: Final = 48
NOTE_CHARS: Final = 150
LEAST_WIDTH: Final = 0.0012
"""What took no time is drawn this part of the range wide, to be seen."""
SHORT: Final = 10
"""What is drawn less than so many times as wide as that has a marker."""


def timeline_picture(layout: Layout, kind: str, *, salt: str = "") -> bytes:
    """Return the timeline as an SVG or PNG file.

    Raises PicturesMissing without the library that draws.
    """
    with drawing() as figure_of:
        drawn = {
            "empty": _empty,
            "rows": _rows,
            "lanes": _lanes,
            "density": _density,
        }[layout.mode](layout, figure_of)
        return encoded(drawn, kind, salt=salt)


def timeline_page(layout: Layout) -> bytes:
    """Return the timeline as an HTML page that needs nothing else.  Raises as the picture."""
    return page(layout.title, [inline_svg(timeline_picture(layout, "svg"))])


def _empty(layout: Layout, figure_of: type[Figure]) -> Figure:
    figure = figure_of(figsize=(WIDTH_INCHES, 1.2))
    text = "\n".join([layout.title, *layout.notes])
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=10)
    return figure


def _rows(layout: Layout, figure_of: type[Figure]) -> Figure:
    figure, (axes,) = _figure(layout, figure_of, [len(layout.lines) * ROW_INCHES])
    _draw_lines(axes, layout)
    _finish(figure, [axes], layout, _phases_of(layout.lines))
    return figure


def _lanes(layout: Layout, figure_of: type[Figure]) -> Figure:
    heights = [LANE_INCHES, len(layout.lines) * ROW_INCHES * 1.4]
    figure, (above, axes) = _figure(layout, figure_of, heights)
    _draw_pending(above, layout)
    _draw_lines(axes, layout)
    _finish(figure, [above, axes], layout, [Phase.QUEUED, *_phases_of(layout.lines)])
    return figure


def _density(layout: Layout, figure_of: type[Figure]) -> Figure:
    heights = [LANE_INCHES] * (1 + len(layout.lanes))
    figure, (above, *rest) = _figure(layout, figure_of, heights)
    _draw_pending(above, layout)
    phases = {Phase.QUEUED}
    for axes, lane in zip(rest, layout.lanes, strict=True):
        _draw_density(axes, lane, layout)
        phases.update(lane.heights)
    _finish(figure, [above, *rest], layout, sorted(phases))
    return figure


def _figure(
    layout: Layout, figure_of: type[Figure], heights: Sequence[float]
) -> tuple[Figure, list[Axes]]:
    total = sum(heights) + MARGIN_INCHES + 0.13 * len(_wrapped(layout.notes))
    figure = figure_of(figsize=(WIDTH_INCHES, total), layout="constrained")
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    return figure, list(axes[:, 0])


def _draw_lines(axes: Axes, layout: Layout) -> None:
    from matplotlib.collections import PolyCollection  # noqa: PLC0415 - only while `drawing`

    least = (layout.end - layout.begin) * LEAST_WIDTH
    for phase in _phases_of(layout.lines):
        look = LOOKS[phase]
        found = [
            (at, bar)
            for at, line in enumerate(layout.lines)
            for bar in line.bars
            if bar.phase is phase
        ]
        half = 0.18 if phase is Phase.QUEUED else 0.36
        boxes = []
        for at, bar in found:
            begin, end = bar.begin - layout.begin, max(bar.end, bar.begin + least) - layout.begin
            boxes.append(
                [(begin, at - half), (end, at - half), (end, at + half), (begin, at + half)]
            )
        axes.add_collection(PolyCollection(boxes, gid=phase.name.lower(), **_paint(phase)))
        short = [(at, bar) for at, bar in found if bar.end - bar.begin < SHORT * least]
        if look.marker and short:
            axes.scatter(
                [(bar.begin + bar.end) / 2 - layout.begin for _, bar in short],
                [at for at, _ in short],
                marker=look.marker,
                s=30,
                color=look.color,
                edgecolors="black",
                linewidths=0.6,
                zorder=4,
                clip_on=False,
            )
    axes.set_ylim(len(layout.lines) - 0.4, -0.6)
    axes.set_yticks(range(len(layout.lines)))
    axes.set_yticklabels([shown(line.label, LABEL_CHARS) for line in layout.lines])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for at, line in enumerate(layout.lines):
        if line.note:
            where: Any = axes.get_yaxis_transform()
            axes.text(1.01, at, shown(line.note), transform=where, va="center", fontsize=7)


def _paint(phase: Phase) -> dict[str, Any]:
    look = LOOKS[phase]
    return {
        "facecolor": look.color,
        "hatch": look.hatch or None,
        "edgecolor": look.edge,
        "linewidth": 0.3,
        "zorder": 2 if phase is Phase.QUEUED else 3,
    }


def _draw_pending(axes: Axes, layout: Layout) -> None:
    peak = max(layout.pending, default=0)
    nothing = [0.0] * len(layout.pending)
    _steps(axes, layout, nothing, layout.pending, "pending", **_paint(Phase.QUEUED))
    _scale(axes, peak)
    _name(axes, "queued or waiting")


def _draw_density(axes: Axes, lane: DensityLane, layout: Layout) -> None:
    below = [0.0] * len(layout.pending)
    for phase, means in lane.heights.items():
        above = [low + mean for low, mean in zip(below, means, strict=True)]
        _steps(axes, layout, below, above, phase.name.lower(), **_paint(phase))
        below = above
    peak = lane.peak or 1.0
    _draw_begun(axes, lane, layout, peak)
    marks = [at for at, number in enumerate(lane.failed) if number]
    axes.scatter(
        [(at + 0.5) * layout.column_s for at in marks],
        [-0.13 * peak] * len(marks),
        gid="failed",
        **_FAILED,
    )
    _scale(axes, peak)
    axes.set_ylim(-0.26 * peak, peak * 1.05)
    failed = sum(lane.failed)
    more = f"\n{failed:,} failed" if failed else ""
    _name(axes, f"{shown(lane.label, 30)}\n{lane.executions:,} executions{more}")


_FAILED: Final[Any] = {
    "marker": "X",
    "s": 12,
    "color": LOOKS[Phase.ERROR].color,
    "linewidths": 0,
    "zorder": 5,
}


def _steps(
    axes: Axes,
    layout: Layout,
    below: list[float],
    above: list[float],
    gid: str,
    **paint: Any,
) -> None:
    edges = [at * layout.column_s for at in range(len(above) + 1)]
    axes.fill_between(
        edges,
        [*below, below[-1]],
        [*above, above[-1]],
        where=_edges_of(above, below),
        step="post",
        gid=gid,
        **{**paint, "linewidth": 0},
    )


def _edges_of(above: list[float], below: list[float]) -> list[bool]:
    """Say of each edge of a column whether one at its side is filled."""
    filled = [high > low for low, high in zip(below, above, strict=True)]
    return [left or right for left, right in zip([False, *filled], [*filled, False], strict=True)]


def _draw_begun(axes: Axes, lane: DensityLane, layout: Layout, peak: float) -> None:
    """Draw a line below each column in which something began, however short it was."""
    whole = [-0.05 * peak if number else 0.0 for number in lane.begun]
    _steps(axes, layout, whole, [0.0] * len(whole), "begun", color="#666666")


def _scale(axes: Axes, peak: float) -> None:
    peak = peak or 1.0
    axes.set_ylim(0, peak * 1.05)
    axes.set_yticks([0, peak])
    axes.set_yticklabels(["0", f"{peak:,.3g}" if peak < 1000 else f"{peak:,.0f}"])  # noqa: PLR2004 - thousands need no fraction


def _name(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7.5, labelpad=8)


def _finish(
    figure: Figure, all_axes: Sequence[Axes], layout: Layout, phases: Iterable[Phase]
) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - only while `drawing`
    from matplotlib.patches import Patch  # noqa: PLC0415 - only while `drawing`

    axes = all_axes[-1]
    whole = layout.end - layout.begin
    axes.set_xlim(-0.005 * whole, 1.005 * whole)
    marks = ticks(layout.begin, layout.end, TICKS)
    axes.set_xticks([tick.at - layout.begin for tick in marks])
    axes.set_xticklabels([tick.label for tick in marks])
    axes.set_xlabel("\n".join(["time in UTC", *_wrapped(layout.notes)]), loc="left")
    handles: list[Artist] = [
        Patch(**{**_paint(phase), "linewidth": 0.3}, label=LOOKS[phase].name) for phase in phases
    ]
    if layout.mode == "density":
        handles.append(
            Line2D([], [], linestyle="", marker="X", color=LOOKS[Phase.ERROR].color, label="failed")
        )
    first, last = moment_text(layout.begin), moment_text(layout.end)
    all_axes[0].set_title(f"{layout.title}\n{first} to {last}", loc="left", fontsize=10)
    figure.legend(handles=handles, loc="outside upper left", ncols=9, fontsize=7.5)


def _wrapped(notes: Iterable[str]) -> list[str]:
    return [part for note in notes for part in textwrap.wrap(shown(note, 600), NOTE_CHARS)]


def _phases_of(lines: Iterable[Line]) -> list[Phase]:
    return sorted({bar.phase for line in lines for bar in line.bars})
