"""Showing jobs: as JSON, and as rows."""

from collections.abc import Iterable
from typing import Any

from jqueue.console.terminal import flush, has_unicode, paint, put_bytes
from jqueue.job import jsonio

COLORS = {
    "success": "green",
    "error": "red",
    "canceled": "magenta",
    "canceling": "magenta",
    "running": "cyan",
    "waiting": "yellow",
}


def put_json(value: Any) -> None:
    """Print a value as one line of JSON, for its reader to have at once."""
    put_bytes(jsonio.dumps(value) + b"\n")
    flush()


def put_json_array(values: Iterable[Any]) -> None:
    """Print an array, an element a line, as the elements come."""
    separator = b"["
    for value in values:
        put_bytes(separator + jsonio.dumps(value))
        separator = b",\n"
    put_bytes(b"[]\n" if separator == b"[" else b"]\n")


def painted_status(status: str) -> str:
    """The status in its color."""
    return paint(status, COLORS.get(status))


def ellipsis() -> str:
    """What stands for the rest."""
    return "…" if has_unicode() else "..."


def bar(progress: Any, columns: int = 20) -> str | None:
    """An opcode's progress as a line: a bar if it has a total, its text; None if it has neither."""
    if not isinstance(progress, dict):
        return None
    done, total, text = (progress.get(name) for name in ("done", "total", "text"))
    if not isinstance(done, int | float):
        return str(text) if text else None
    text = f" {text}" if text else ""
    if not isinstance(total, int | float) or total <= 0:
        return f"{done:g}{text}"
    part = min(max(done / total, 0.0), 1.0)
    full, empty = ("█", "░") if has_unicode() else ("#", ".")
    filled = round(part * columns)
    return f"{full * filled}{empty * (columns - filled)} {part:4.0%} {done:g}/{total:g}{text}"
