"""`watch`: what happens to a job, as it happens, until it has ended."""

import contextlib

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.logs import LOOK_S, put_new_entries
from jqueue.console.show import put_json
from jqueue.console.terminal import flush, put
from jqueue.console.values import JOB_ID
from jqueue.errors import WaitTimeout
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus


@command("watch")
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
@click.pass_context
def watch(context: click.Context, settings: Settings, *, id: int) -> None:
    """Follow a job's status and log until it has ended; 1 if it has failed or was canceled.

    With --json an object a line: those of `log`, and for each change of status {"op", "status"},
    where null stands for the job itself.

    \b
    Example:
      jqueue watch 17
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with settings.open() as queue:
        job = queue.job(id)
        seen = Seen(settings)
        seen.put(job)
        while not job.finalized:
            with contextlib.suppress(WaitTimeout):
                job = queue.wait_change(id, job.lsn, LOOK_S)
            seen.put(job)
    context.exit(0 if job.status is JobStatus.SUCCESS else 1)


class Seen:
    """What of a job was shown already."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries: dict[int, int] = {}
        self._statuses: dict[int | None, str] = {}

    def put(self, job: Job) -> None:
        """Print what is new: an opcode's beginning before its log, its end after it."""
        if not job.finalized:
            self._put_status(None, f"job {job.id}", str(job.status))
        for op in job.ops:
            name = f"opcode {op.index} {op.summary}"
            ended = op.ended is not None
            if not ended:
                self._put_status(op.index, name, str(op.status))
            put_new_entries(self._settings, op, self._entries)
            if ended:
                self._put_status(op.index, name, str(op.status))
        if job.finalized:
            self._put_status(None, f"job {job.id}", str(job.status))

    def _put_status(self, op_index: int | None, name: str, status: str) -> None:
        if self._statuses.get(op_index) == status:
            return
        self._statuses[op_index] = status
        if self._settings.as_json:
            put_json({"op": op_index, "status": status})
        else:
            put(f"{name}: {status}")
            flush()
