r"""The text form of filters, as Ganeti's `--filter`, parsed to the list form.

    status == "error" and summary =~ "COPY"
    not archived and ("error" in opstatus or received_ts > "2h ago")

    FIELD                 is true, set, not empty; of a list: any element is
    FIELD == VALUE        also =  !=  <  >  <=  >=
    FIELD =~ PATTERN      also !~; text, or m/PATTERN/flags with the flags i and s
    FIELD =* GLOB         also !*; the whole text, with * and ? as in a shell
    VALUE in FIELD        also not in: whether a list contains the value
    and &&   or ||   not !   ( )

A value is text in "…" or '…' (a backslash before a quote or a backslash is dropped, any other one
stays), a number, true or false.  Times compare with Unix seconds, ISO 8601 text, or an age: `"2h
ago"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from jqueue.errors import InvalidQuery, MalformedQuery
from jqueue.job.query.fields import ALL, Field, field_named
from jqueue.job.query.filters import MAX_DEPTH
from jqueue.job.query.moments import moment_us

MAX_TEXT_CHARS: Final = 65_536


def parse_filter(
    text: str, *, now: datetime | None = None, fields: Mapping[str, Field] = ALL
) -> list[Any]:
    """Return the list form of a filter, its times as Unix seconds.

    `now` is an aware time: ages count back from it, and times without a zone have its zone.
    Raises MalformedQuery for what isn't a filter and InvalidQuery for an unknown field, both with
    the `position` in the text; InvalidQuery for a time that is none.
    """
    # Here, not above: only who filters pays for the import of the parser.
    from jqueue.job.query.grammar import parse  # noqa: PLC0415

    if len(text) > MAX_TEXT_CHARS:
        raise MalformedQuery(f"a filter has at most {MAX_TEXT_CHARS} characters")
    form, places = parse(text)
    for name, position in places:
        try:
            field_named(name, fields)
        except InvalidQuery as error:
            raise InvalidQuery(str(error), field=error.field, position=position) from None
    _resolve_times(form, fields, now)
    return form


def _resolve_times(form: list[Any], fields: Mapping[str, Field], now: datetime | None) -> None:
    left = [(form, 1)]
    while left:
        part, depth = left.pop()
        if depth > MAX_DEPTH:
            raise MalformedQuery(f"a filter is nested at most {MAX_DEPTH} deep")
        if part[0] in ("&", "|", "!"):
            left.extend((inner, depth + 1) for inner in part[1:])
        elif part[0] not in ("?", "=~", "=[]") and fields[part[1]].is_time:
            part[2] = moment_us(part[2], now) / 1_000_000


def show_position(text: str, error: InvalidQuery) -> str:
    """Return the text with a caret below the place that the error is about: two lines."""
    if error.position is None:
        return text
    start = text.rfind("\n", 0, error.position) + 1
    line = text[start:].partition("\n")[0]
    return f"{line}\n{' ' * (error.position - start)}^"
