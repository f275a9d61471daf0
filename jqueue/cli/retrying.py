"""`retry`: finished jobs again, as new ones."""

import click

from jqueue.cli.bulk import Targets, targets_options
from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.hints import hint_for
from jqueue.cli.submitting import put_id
from jqueue.console.terminal import one_line, say
from jqueue.errors import InvalidJob, JobNotFound, Refused
from jqueue.job.status import JobStatus


@command("retry")
@click.option("--from-failed", is_flag=True, help="Only from the first unsuccessful opcode on.")
@targets_options("Retry", {JobStatus.ERROR, JobStatus.CANCELED})
@pass_settings
@click.pass_context
def retry(
    context: click.Context, settings: Settings, *, from_failed: bool, targets: Targets
) -> None:
    """Submit finished jobs again, as new ones, and print their IDs; 1 if one could not be.

    Chosen, not named: those that failed or were canceled.

    \b
    Example:
      jqueue retry --from-failed 17
      jqueue retry --filter '"OP_COPY" in kinds' --since 1d --dry-run
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    code = 0
    with settings.open() as queue:
        ids = targets.resolve(settings, queue)
        for job in ids or ():
            try:
                put_id(settings, queue.retry(job, from_failed=from_failed))
            except (JobNotFound, InvalidJob, Refused) as error:
                # It is this job's own matter; the others may be retried all the same.
                hint = hint_for(error, settings)
                named = "" if isinstance(error, JobNotFound) else f"job {job}: "
                say(f"{named}{one_line(str(error))}{hint}")
                code = 1
    context.exit(code if ids is not None or targets.dry_run else 1)
