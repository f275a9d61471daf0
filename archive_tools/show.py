"""Showing: data on stdout, talk on stderr, and nothing that could steer a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click

from jqueue.job import jsonio

_CONTROLS: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")
}


def printable(text: str) -> str:
    """Return the text with what could steer a terminal, or not be printed, written out."""
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode()


def say(text: str) -> None:
    """Say something to the person, beside the data."""
    click.echo(printable(text), err=True)


def put(text: str) -> None:
    """Print a line of data."""
    click.echo(printable(text))


def put_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(jsonio.dumps(value).decode())


def put_json_array(values: Iterable[Any]) -> None:
    """Print an array, an element a line, as the elements come."""
    separator = "["
    for value in values:
        click.echo(f"{separator}{jsonio.dumps(value).decode()}", nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[" else "]")
