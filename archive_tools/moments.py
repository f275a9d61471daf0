"""Moments on the command line: an LSN or a time, and a queue as it was then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from archive_tools.journal import records_in, time_of
from jqueue.console.terminal import say
from jqueue.console.times import local, standing_at
from jqueue.errors import InvalidQuery
from jqueue.job.query.moments import moment_us
from jqueue.store.offline import OfflineQueue

At = int | datetime


class AtType(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """An LSN, an ISO 8601 time (local without a zone), or an age as `2h ago`."""

    name = "lsn|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> At:
        """Return an LSN as it is, a time as a datetime."""
        if isinstance(value, int | datetime):
            return value
        if value.isascii() and value.isdigit() and len(value) <= MAX_LSN_DIGITS:
            return int(value)
        try:
            return datetime.fromtimestamp(
                moment_us(value, datetime.now().astimezone()) / 1_000_000, UTC
            )
        except (InvalidQuery, ValueError, OverflowError, OSError):
            self.fail(
                f'{value!r:.80} is neither an LSN nor a time: 8149, "2030-01-31 22:00" or "2h ago"',
                param,
                ctx,
            )


AT: Final = AtType()
MAX_LSN_DIGITS: Final = 18


def at_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command show the queue as it was."""
    return click.option(
        "--at",
        type=AT,
        metavar="LSN|TIME",
        help='As it was: after a journal record, or at a time, as "2h ago".',
    )(function)


def open_at(directory: Path, at: At | None) -> OfflineQueue:
    """Return the queue as it is or was; of the past it is said how far back the journal goes.

    Ages are told as they were then, as long as the command runs.
    """
    queue = OfflineQueue(directory, at=at)
    if at is not None and (reach := queue.reach) is not None:
        moment = at if isinstance(at, datetime) else _time_of(queue)
        click.get_current_context().with_resource(standing_at(moment))
        say(
            f"as of LSN {queue.lsn}, {local(moment)}; the journal goes back to LSN {reach.lsn},"
            f" {local(reach.since)}"
        )
    return queue


def _time_of(queue: OfflineQueue) -> datetime | None:
    """Return when the record of the moment was written."""
    # It stands in the segment of the record after it, or ends the one before.
    for number in (queue.moment.anchor.number, queue.moment.anchor.number - 1):
        for found in records_in(queue.disk, number):
            if found.lsn == queue.lsn:
                return time_of(found.value.get("time"))
    return None
