"""Job IDs on the command line, which a shell completes from the queue that is meant."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from jqueue.cli.command import Settings
from jqueue.console.values import JobIdType, first_fitting
from jqueue.errors import JQueueError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

LOOKED_AT: Final = 10_000


class QueueJobId(JobIdType):
    """A job's ID; completed with the newest that fit, each with its status and summary."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what fits; nothing if the queue can't be read."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - seldom needed

        del param
        settings = ctx.find_object(Settings) or Settings()
        with suppress(JQueueError, OSError), settings.open() as queue:
            newest = queue.status()["serial"]
            ids = range(newest, max(newest - LOOKED_AT, 0), -1)
            found = queue.jobs(ids=first_fitting(ids, incomplete), archived=True)
            return [
                CompletionItem(str(job.id), help=f"{job.status} {', '.join(job.summary)}"[:60])
                for job in found
            ]
        return []


JOB_ID: Final = QueueJobId()
