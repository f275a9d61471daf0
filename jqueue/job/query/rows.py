"""Jobs as the values of chosen fields, and in the order of one: plain data, times in ISO 8601."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from jqueue.job import jsonio
from jqueue.job.query.fields import Field
from jqueue.job.row import iso_time
from jqueue.job.snapshot import Job

Item = TypeVar("Item")

DEFAULT_FIELDS: Final = ("id", "status", "priority", "received_ts", "summary")
"""What a table of jobs shows unless it is told otherwise."""


def fields_row(fields: Sequence[Field]) -> Callable[[Job], dict[str, Any]]:
    """Return what makes of a job an object of these fields, as `list --json -o` shows it."""

    def row(job: Job) -> dict[str, Any]:
        document, at = job.document, job.archived
        return {field.name: _plain(field, field.get(document, at)) for field in fields}

    return row


def _plain(field: Field, value: Any) -> Any:
    if value is None or not field.is_time:
        return value
    moments = [iso_time(time) for time in times_in(value)]
    return moments if _is_list_of_times(value) else moments[0]


def times_in(value: Any) -> list[Any]:
    """Return the times that a field of times holds: one, or one for each opcode."""
    return value if _is_list_of_times(value) else [value]


def _is_list_of_times(value: Any) -> bool:
    return not value or value[0] is None or isinstance(value[0], list)


def in_order(keyed: Iterable[tuple[Any, Item]], *, descending: bool) -> list[Item]:
    """Return the items in the order of their values; those whose value is None come last.

    Equal ones stay in the order they came in.
    """
    pairs = list(keyed)
    valued = [pair for pair in pairs if pair[0] is not None]
    try:
        valued.sort(key=lambda pair: pair[0], reverse=descending)
    except TypeError:
        # Lists of what can't be compared, a number with a text: their text can.
        valued.sort(key=lambda pair: jsonio.dumps(pair[0]), reverse=descending)
    return [item for _, item in valued] + [item for value, item in pairs if value is None]
