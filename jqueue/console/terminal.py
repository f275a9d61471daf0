"""What this terminal can show, and text made fit for it: data on stdout, talk on stderr."""

import os
import shutil
import sys
from typing import Final

import click

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")
}
_COERCED = frozenset({"C.UTF-8", "C.utf8", "UTF-8"})
WIDE: Final = 60
"""Columns from which on further lines stand below what their first line says."""
_NO_LOCALE = frozenset({"", "C", "POSIX"})


def printable(text: str) -> str:
    """The text with control characters, and what stdout can't encode, written out."""
    text = text.translate(_CONTROLS)
    if text.isascii():
        return text
    encoding = _encoding()
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _encoding() -> str:
    # What stands in for stdout while rich draws below it has none.
    outer = sys.__stdout__.encoding if sys.__stdout__ is not None else None
    return sys.stdout.encoding or outer or "utf-8"


def one_line(text: str) -> str:
    """The text without line ends."""
    return " ".join(text.split()) or "failed"


def has_colors() -> bool:
    """Whether stdout is a terminal, and nobody asked for plain text (https://no-color.org)."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def has_unicode() -> bool:
    """Whether lines and ellipses may be drawn: the locale is one of Unicode, as the user set it.

    Python turns the C locale into a UTF-8 one for itself (PEP 538); the terminal is not asked.
    """
    if _encoding().lower().replace("-", "") != "utf8":
        return False
    everything, language = os.environ.get("LC_ALL", ""), os.environ.get("LANG", "")
    kind = os.environ.get("LC_CTYPE", "")
    if kind in _COERCED and language in _NO_LOCALE:
        kind = ""
    name = everything or kind or language
    return name.upper().replace("-", "").endswith("UTF8")


def width() -> int | None:
    """How many columns a line may have; None where it is no person who reads."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, 20)


def paint(text: str, color: str | None) -> str:
    """The text, printable, in this color if there are any."""
    text = printable(text)
    return click.style(text, fg=color) if color and has_colors() else text


def faint(text: str) -> str:
    """The text, printable, so that the eye can pass over it."""
    text = printable(text)
    return click.style(text, dim=True) if has_colors() else text


def say(text: str) -> None:
    """Say something to the person, beside the data."""
    click.echo(printable(text), err=True)


def put(text: str) -> None:
    """Print a line of data."""
    put_painted(printable(text))


def put_folded(line: str, indent: int) -> None:
    """Print a line of data; on a terminal it is folded, and its further lines are indented."""
    columns = width()
    if columns is None:
        put(line)
        return
    import textwrap  # noqa: PLC0415 - for people alone

    inset = " " * (indent if columns >= WIDE else indent // 2)
    wrap = textwrap.TextWrapper(columns, subsequent_indent=inset, break_on_hyphens=False)
    for part in wrap.wrap(printable(line)):
        put_painted(part)


def put_painted(line: str) -> None:
    """Print a line that was made printable before, colors and all."""
    sys.stdout.write(line + "\n")


def put_bytes(data: bytes) -> None:
    """Write bytes to stdout: JSON is UTF-8 whatever the locale is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def flush() -> None:
    """Let a reader see what was put so far."""
    sys.stdout.flush()
