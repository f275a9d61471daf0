"""What `top` shows, as lines: made from the owner's answer, for a screen of any size or none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from jqueue.cli.health import flag_text, health
from jqueue.console.secrets import shown_argument
from jqueue.console.show import COLORS, bar
from jqueue.console.table import Row, fit, shortened
from jqueue.console.terminal import has_unicode, printable
from jqueue.console.times import size, span

WINDOW_S: Final = 10.0
"""Rates are those of the last seconds, so many."""
SORTS: Final[dict[str, tuple[str, Callable[[dict[str, Any]], Any]]]] = {
    "t": ("time", lambda row: row["executed"] or float("inf")),
    "p": ("priority", lambda row: (row["priority"], row["id"])),
    "i": ("ID", lambda row: row["id"]),
}
"""By which key of the keyboard running jobs are sorted, and how."""

Answer = dict[str, Any]


class Rates:
    """Events a second, from the counts of the answers so far."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, dict[str, int]]] = deque()

    def note(self, answer: Answer, at_s: float) -> None:
        """Learn the counts of an answer; those of another process's life are no part of a rate."""
        if answer.get("pid") is None:
            self._seen.clear()
            return
        totals = answer["totals"]
        counts = {
            "submitted": totals["submitted"],
            "started": totals["started"],
            "ended": sum(totals["ended"].values()),
        }
        if self._seen and self._seen[-1][1] != answer["pid"]:
            self._seen.clear()
        self._seen.append((at_s, answer["pid"], counts))
        while at_s - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def rates(self) -> dict[str, float]:
        """Return what happens a second; nothing before there are two answers."""
        if not self._seen or self._seen[-1][0] <= self._seen[0][0]:
            return {}
        (begin_s, _, before), (end_s, _, after) = self._seen[0], self._seen[-1]
        return {name: max(after[name] - before[name], 0) / (end_s - begin_s) for name in after}


class View(NamedTuple):
    """What is to be shown beside the answer."""

    path: str
    sort: str = "t"
    remark: str = ""
    """Why the answer is an old one."""
    keys: str = ""
    """The line that tells the keys."""


class Table(NamedTuple):
    """One part of the screen."""

    headings: Row
    rows: list[Row]
    right: frozenset[int]
    """The columns that are aligned to the right."""
    styles: list[str]
    """One a row."""


def frame(
    answer: Answer, rates: dict[str, float], view: View, room: int | None, height: int | None
) -> list[Text]:
    """Return the screen's lines: none is wider than `room`, and there are at most `height`."""
    head = list(_head(answer, rates, view))
    tables = [
        one for one in (_running(answer, view.sort), _next(answer), _locks(answer)) if one.rows
    ]
    foot = [Text(view.keys, "dim")] if view.keys else []
    space = None if height is None else height - len(head) - len(foot) - 2 * len(tables)
    wants = [len(table.rows) for table in tables]
    given = wants if space is None else shares(space, wants)
    lines = head
    for table, rows in zip(tables, given, strict=True):
        if rows:
            lines += [Text(), *_lines(table, rows, room)]
    if height is not None:
        lines = lines[: height - len(foot)]
        lines += [Text()] * (height - len(foot) - len(lines))
    lines += foot
    for line in lines:
        if room is not None:
            line.truncate(room, overflow="ellipsis" if has_unicode() else "crop")
    return lines


def shares(space: int, wants: Sequence[int]) -> list[int]:
    """Divide rows: each in turn gets one more, until it has all it wants or there are no more."""
    given = [0] * len(wants)
    while space > 0 and given != list(wants):
        for at, want in enumerate(wants):
            if given[at] < want and space > 0:
                given[at] += 1
                space -= 1
    return given


def _head(answer: Answer, rates: dict[str, float], view: View) -> Iterator[Text]:
    state = health(answer, view.path)
    # The path comes last: it may be long, and a narrow screen cuts it.
    title = Text.assemble((f"{'jqueue':<9} ", "bold"))
    if view.remark:
        title.append(view.remark, "bold red")
    elif answer.get("pid") is None:
        title.append("nobody runs this queue: jqueue daemon", "bold red")
    else:
        title.append(state, "green" if state == "ok" else "bold red")
        title.append(f", process {answer['pid']}")
        if answer.get("stopping"):
            title.append(", stopping", "yellow")
    title.append(f"  {printable(view.path)}", "dim")
    yield title
    yield _counts(answer)
    if rates:
        yield _labelled("rates", ", ".join(f"{name} {rate:.1f}/s" for name, rate in rates.items()))
    if answer.get("pid") is not None:
        yield _workers(answer)
    if "journal_bytes" in answer:
        journal = (
            f"{size(answer['journal_bytes'])} of {size(answer['journal_limit_bytes'])},"
            f" reserve {answer['reserve']}, {answer['files_behind']} files behind,"
            f" LSN {answer['lsn']}"
        )
        yield _labelled("journal", journal, "" if answer["reserve"] == "whole" else "bold red")
    if answer.get("held"):
        held = ", ".join(f"{number} {reason}" for reason, number in answer["held"].items())
        yield _labelled("held back", held.replace("_", " "))
    for name, meaning in (("drain", "no new jobs"), ("pause", "nothing is started")):
        if answer.get(name) is not None:
            yield _labelled(name, flag_text(answer[name], meaning), "yellow")


def _labelled(label: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"{label:<9} ", "dim"), (printable(text), style))


def _counts(answer: Answer) -> Text:
    line = Text.assemble((f"{'jobs':<9} ", "dim"))
    shown = [(name, number) for name, number in answer["counts"].items() if number]
    for at, (name, number) in enumerate(shown or [("jobs", 0)]):
        line.append(", " if at else "")
        line.append(f"{number:,} {name}", COLORS.get(name, ""))
    return line


def _workers(answer: Answer) -> Text:
    crew = answer["crew"]
    busy = sum(1 for worker in crew if worker["state"] == "busy")
    line = f"{busy} of {answer['workers_wanted']} busy"
    claims = answer["running"] - busy
    if claims > 0:
        line += f", {claims} opcodes in other hands"
    others = [
        f"{worker['pid'] or 'thread'} {worker['why'] or worker['state']}"
        for worker in crew
        if worker["state"] not in ("busy", "idle")
    ]
    return _labelled("workers", "; ".join([line, *others]), "yellow" if others else "")


def _running(answer: Answer, sort: str) -> Table:
    now_s = answer.get("now", 0.0)
    rows: list[Row] = []
    styles: list[str] = []
    for row in sorted(answer.get("executing", ()), key=SORTS[sort][1]):
        lasted = "" if row["executed"] is None else span(max(now_s - row["executed"], 0.0))
        where = "claimed" if row["claimed"] else str(row["pid"] or "thread")
        progress = printable(bar(row["progress"], 10) or "")
        rows.append((str(row["id"]), lasted, progress, where, str(row["priority"]), _what(row)))
        styles.append(COLORS.get(row["status"], ""))
    headings = ("RUNNING", "FOR", "PROGRESS", "PROCESS", "PRIO", "WHAT")
    return Table(headings, rows, frozenset({0, 1, 3, 4}), styles)


def _next(answer: Answer) -> Table:
    now_s = answer.get("now", 0.0)
    rows: list[Row] = []
    styles: list[str] = []
    for row in answer.get("next", ()):
        age = "" if row["received"] is None else span(max(now_s - row["received"], 0.0))
        unknown = "" if row["known"] else " (nobody here carries it out)"
        rows.append((str(row["id"]), age, str(row["priority"]), _what(row) + unknown))
        styles.append("" if row["known"] else "dim")
    return Table(("NEXT", "AGE", "PRIO", "WHAT"), rows, frozenset({0, 1, 2}), styles)


def _locks(answer: Answer) -> Table:
    rows: list[Row] = []
    for lock in answer.get("locks", ()):
        mode = lock["mode"] if isinstance(lock["mode"], str) else f"{lock['mode']} places"
        waiters = ", ".join(map(str, lock["waiters"]))
        more = lock["waiting"] - len(lock["waiters"])
        waiting = f"{waiters} and {more} more" if more > 0 else waiters
        holders = ", ".join(map(str, lock["holders"]))
        rows.append((shortened(printable(lock["name"]), 30), holders, mode, waiting or "-"))
    headings = ("LOCK", "HELD BY", "MODE", "WAITED FOR BY")
    return Table(headings, rows, frozenset(), [""] * len(rows))


def _what(row: dict[str, Any]) -> str:
    steps = f"{row['op'] + 1}/{row['ops']} " if row["ops"] > 1 else ""
    return printable(steps + str(shown_argument(row["summary"])))


def _lines(table: Table, count: int, room: int | None) -> Iterator[Text]:
    rows = table.rows[:count]
    columns = fit(table.headings, rows, room)

    def line(row: Row, style: str) -> Text:
        parts = []
        for at, places in columns:
            text = row[at]
            gap = " " * (places - cell_len(text))
            last = at == columns[-1][0]
            if last:
                parts.append(text if room is None else shortened(text, places))
            else:
                parts.append(gap + text if at in table.right else text + gap)
        return Text("  ".join(parts).rstrip(), style)

    yield line(table.headings, "dim")
    for row, style in zip(rows, table.styles, strict=False):
        yield line(row, style)
