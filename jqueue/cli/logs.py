"""`log`: what the opcodes of a job said."""

from typing import Any

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.following import Following
from jqueue.cli.jobids import JOB_ID
from jqueue.cli.waiting import NOBODY
from jqueue.console.show import put_json
from jqueue.console.terminal import flush, put, say
from jqueue.console.times import local
from jqueue.job import jsonio
from jqueue.job.snapshot import Job, as_datetime


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
    with settings.open() as queue:
        if not follow:
            _put(settings, queue.job(id), times=times)
            return
        queue.on_absence = lambda: say(NOBODY)
        for job in Following(queue, [id]):
            _put(settings, job, times=times)


def _put(settings: Settings, job: Job, *, times: bool) -> None:
    for op in job.ops:
        for entry in op.log:
            if settings.as_json:
                put_json(entry_as_json(op.index, entry))
            else:
                text = entry_text(entry)
                put(f"{local(as_datetime(entry[1]))} {text}" if times else text)
    flush()


def entry_as_json(op_index: int, entry: list[Any]) -> dict[str, Any]:
    """A log entry as a line of JSON."""
    serial, moment, kind, message = entry
    at = as_datetime(moment)
    time = None if at is None else at.isoformat()
    return {"op": op_index, "serial": serial, "time": time, "type": kind, "message": message}


def entry_text(entry: list[Any]) -> str:
    """What a log entry says."""
    message = entry[3]
    return message if isinstance(message, str) else jsonio.dumps(message).decode()
