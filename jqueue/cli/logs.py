"""`log`: what the opcodes of a job said."""

import contextlib
from typing import Any, Final

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.console.show import put_json
from jqueue.console.terminal import flush, put
from jqueue.console.times import local
from jqueue.console.values import JOB_ID
from jqueue.errors import WaitTimeout
from jqueue.job import jsonio
from jqueue.job.snapshot import Job, Op, as_datetime

LOOK_S: Final = 60.0
"""One request for a change waits so long; then another one follows."""


@command("log")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@click.option("--times", "-t", is_flag=True, help="Put the time before each line.")
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
def log(settings: Settings, *, follow: bool, times: bool, id: int) -> None:
    """Show the log of a job's opcodes; with --json an object a line.

    \b
    Example:
      jqueue log --follow 17
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    shown: dict[int, int] = {}
    with settings.open() as queue:
        job = queue.job(id)
        _put_new(settings, job, shown, times=times)
        while follow and not job.finalized:
            with contextlib.suppress(WaitTimeout):
                job = queue.wait_change(id, job.lsn, LOOK_S)
            _put_new(settings, job, shown, times=times)


def _put_new(settings: Settings, job: Job, shown: dict[int, int], *, times: bool) -> None:
    """Print the entries of all opcodes that were not shown yet."""
    for op in job.ops:
        put_new_entries(settings, op, shown, times=times)


def put_new_entries(
    settings: Settings, op: Op, shown: dict[int, int], *, times: bool = False
) -> None:
    """Print an opcode's entries that were not shown yet, and count them in `shown`."""
    entries = op.log
    for entry in entries[shown.get(op.index, 0) :]:
        _put_entry(settings, op.index, entry, times=times)
    shown[op.index] = len(entries)
    flush()


def _put_entry(settings: Settings, op_index: int, entry: list[Any], *, times: bool) -> None:
    serial, moment, kind, message = entry
    at = as_datetime(moment)
    if settings.as_json:
        time = None if at is None else at.isoformat()
        put_json({"op": op_index, "serial": serial, "time": time, "type": kind, "message": message})
        return
    text = message if isinstance(message, str) else jsonio.dumps(message).decode()
    put(f"{local(at)} {text}" if times else text)
