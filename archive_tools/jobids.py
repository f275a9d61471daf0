"""Arguments of the commands that a shell completes from what is on the disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from jqueue.console.values import JobIdType, first_fitting
from jqueue.errors import JQueueError
from jqueue.store.offline import OfflineQueue

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class OfflineJobId(JobIdType):
    """A job's ID; completed with the newest of the directory that was named before."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what fits; nothing if the queue can't be read."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - seldom needed

        del param
        directory = ctx.params.get("directory")
        if directory is None:
            return []
        with suppress(JQueueError, OSError), OfflineQueue(Path(directory)) as queue:
            ids = sorted(queue.job_ids(archived=True), reverse=True)
            return [CompletionItem(str(job)) for job in first_fitting(ids, incomplete)]
        return []


JOB_ID: Final = OfflineJobId()
