"""Rows of text in columns that fit the terminal, printed as they come."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from jqueue.console.show import COLORS, ellipsis
from jqueue.console.terminal import faint, paint, printable, put_painted, width

PEEK = 200
"""Rows whose widths decide those of the columns; later ones may stand out."""
LEAST_LAST = 12
"""The last column, which is cut where a line ends, gets at least so many places."""

Row = Sequence[str]


def put_table(headings: Row, rows: Iterable[Row], *, right: frozenset[str] = frozenset()) -> None:
    """Print rows below their headings; on a terminal no line is longer than it is wide.

    A row's status is seen by its color.  Where there is no room columns are left out from the last
    but one backwards, never the first two.  Errors of `rows` come before anything is printed.
    """
    rows = iter(rows)
    first = list(islice(rows, PEEK))
    columns = fit(headings, first, width())
    for line in _lines(headings, columns, chain(first, rows), right):
        put_painted(line)


def fit(headings: Row, rows: Sequence[Row], room: int | None) -> list[tuple[int, int]]:
    """Return which columns are shown in `room` places, and how wide; None is room enough."""
    widths = [
        max(chain([cell_len(headings[at])], (cell_len(row[at]) for row in rows)))
        for at in range(len(headings))
    ]
    shown = list(range(len(headings)))
    if room is None:
        return [(at, widths[at]) for at in shown]
    last = shown[-1]
    least = min(widths[last], LEAST_LAST)
    while len(shown) > 3 and _needed(shown, widths) + least > room:  # noqa: PLR2004 - see above
        del shown[-2]
    left = max(room - _needed(shown, widths), least)
    return [(at, left if at == last else widths[at]) for at in shown]


def _needed(shown: Sequence[int], widths: Sequence[int]) -> int:
    """How many places all but the last take, with the gaps."""
    return sum(widths[at] + 2 for at in shown[:-1])


def _lines(
    headings: Row, columns: list[tuple[int, int]], rows: Iterable[Row], right: frozenset[str]
) -> Iterator[str]:
    cut = width() is not None
    aligned = {at for at, heading in enumerate(headings) if heading in right}

    def line(row: Row) -> tuple[str, str]:
        """Return the line, and the status that stands in it."""
        parts = []
        for at, places in columns:
            text = printable(row[at])
            size = cell_len(text)
            if at == columns[-1][0]:
                parts.append(shortened(text, places) if cut else text)
            elif at in aligned:
                parts.append(" " * (places - size) + text)
            else:
                parts.append(text + " " * (places - size))
        return "  ".join(parts).rstrip(), next((cell for cell in row if _is_status(cell)), "")

    yield faint(line(headings)[0])
    for row in rows:
        text, status = line(row)
        if status:
            color = COLORS.get(status.rstrip("*"))
            before, _, after = text.partition(status)
            text = before + paint(status, color) + after
        yield text


def _is_status(cell: str) -> bool:
    return cell.rstrip("*") in COLORS


def cell_len(text: str) -> int:
    """How many places the text takes."""
    if text.isascii():
        return len(text)
    from rich import cells  # noqa: PLC0415 - most tables are plain ASCII

    return cells.cell_len(text)


def shortened(text: str, places: int) -> str:
    """The text in at most so many places."""
    if cell_len(text) <= places:
        return text
    from rich.cells import set_cell_size  # noqa: PLC0415 - as above

    mark = ellipsis()
    return set_cell_size(text, max(places - len(mark), 1)).rstrip() + mark
