"""`wait`: until jobs have ended, and exit codes that say how."""

import time
from collections.abc import Iterable
from typing import Final

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.jobids import JOB_ID
from jqueue.console.show import put_json, put_json_array
from jqueue.console.terminal import say
from jqueue.console.values import DURATION
from jqueue.errors import WaitTimeout
from jqueue.job.row import row_of
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus

EXIT_TIMEOUT: Final = 3
NOBODY: Final = "Nobody runs this queue now: waiting for a daemon (jqueue daemon, jqueue run)."


@command("wait")
@click.option("--idle", is_flag=True, help="Wait until nothing runs or can start.")
@click.option("--timeout", "timeout_s", type=DURATION, help="Give up then, with exit code 3.")
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
@pass_settings
@click.pass_context
def wait(
    context: click.Context,
    settings: Settings,
    *,
    idle: bool,
    timeout_s: float | None,
    ids: tuple[int, ...],
) -> None:
    """Wait for jobs: 0 all succeeded, 1 one failed or was canceled, 3 timeout.

    \b
    Example:
      jqueue wait --timeout 10m 17 18
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if idle == bool(ids):
        raise click.UsageError("Give job IDs, or --idle.")
    context.exit(wait_idle(settings, timeout_s) if idle else wait_for(settings, ids, timeout_s))


def wait_for(settings: Settings, ids: Iterable[int], timeout_s: float | None) -> int:
    """Wait for the jobs and return the exit code."""
    deadline = Deadline(timeout_s)
    ended: list[Job] = []
    with settings.open() as queue:
        queue.on_absence = lambda: say(NOBODY)
        for job in dict.fromkeys(ids):
            try:
                found = queue.wait(job, deadline.left_s())
            except WaitTimeout:
                say(f"Job {job} has not ended within {timeout_s:g} s.")
                return EXIT_TIMEOUT
            if found.status is not JobStatus.SUCCESS:
                say(f"Job {job}: {found.status}")
            ended.append(found)
    if settings.as_json:
        put_json_array(map(row_of, ended))
    return 0 if all(job.status is JobStatus.SUCCESS for job in ended) else 1


def wait_idle(settings: Settings, timeout_s: float | None) -> int:
    """Wait until nothing runs or can start, and return the exit code."""
    with settings.open() as queue:
        try:
            left = queue.wait_idle(timeout_s)
        except WaitTimeout as error:
            say(f"{str(error).capitalize()}.")
            return EXIT_TIMEOUT
    if settings.as_json:
        put_json({"unfinished": left})
    elif left:
        say(f"Idle, with {left} unfinished: jqueue explain ID says why one doesn't start.")
    return 0


class Deadline:
    """A limit on the time of waiting; None is none."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end_s = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Return how much time is left, None for any."""
        return None if self._end_s is None else max(self._end_s - time.monotonic(), 0.0)
