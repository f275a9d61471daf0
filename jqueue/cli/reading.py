"""`info` and `explain`: the commands that show and change nothing."""

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.jobids import JOB_ID
from jqueue.console.details import put_job
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json
from jqueue.console.terminal import put
from jqueue.job.row import row_of


@command("info")
@show_secrets_option
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
def info(settings: Settings, *, id: int) -> None:
    """Show everything about one job; with --json its document, as in its file.

    \b
    Example:
      jqueue info 17
    """  # noqa: D301  # as above
    with settings.open() as queue:
        job = queue.job(id)
    if settings.as_json:
        put_json({**job.to_dict(), **row_of(job)})
        return
    put_job(job, whole_log=f"jqueue log {job.id}")


@command("explain")
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
def explain(settings: Settings, *, id: int) -> None:
    """Say why a job is not running.

    \b
    Example:
      jqueue explain 17
    """  # noqa: D301  # as above
    with settings.open() as queue:
        reasons = queue.explain(id)
    if settings.as_json:
        put_json(reasons)
        return
    for reason in reasons:
        until = reason.get("until")
        put(f"{reason['text']} (until: {until})" if until else reason["text"])
