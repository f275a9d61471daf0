"""Commands that change jobs: cancel, change-priority, resolve, archive, autoarchive."""

from typing import TYPE_CHECKING

import click

from jqueue.cli.bulk import Targets, change_chosen, change_each, targets_options
from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.jobids import JOB_ID
from jqueue.console.show import put_json
from jqueue.console.terminal import say
from jqueue.console.values import AGE
from jqueue.job.status import FINALIZED, OPEN, PRIORITY_HIGHEST, PRIORITY_LOWEST
from jqueue.job.transitions import Outcome

if TYPE_CHECKING:
    from jqueue.cli.target import Client


@command("cancel")
@click.option("--kill", is_flag=True, help="A running job too: its processes are ended.")
@targets_options("Cancel", OPEN)
@pass_settings
@click.pass_context
def cancel(context: click.Context, settings: Settings, *, kill: bool, targets: Targets) -> None:
    """Cancel jobs that have not begun; 1 if one could not be.

    \b
    Example:
      jqueue cancel --kill 17
      jqueue cancel --filter '"OP_COPY" in kinds' --dry-run
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    context.exit(change_chosen(settings, targets, lambda queue, job: queue.cancel(job, kill)))


@command("change-priority")
@click.option(
    "--priority",
    type=click.IntRange(PRIORITY_HIGHEST, PRIORITY_LOWEST),
    required=True,
    help="-20 is most urgent, 19 least.",
)
@targets_options("Change the priority of", OPEN)
@pass_settings
@click.pass_context
def change_priority(
    context: click.Context, settings: Settings, *, priority: int, targets: Targets
) -> None:
    """Change the priority of what has not begun of these jobs.

    \b
    Example:
      jqueue change-priority --priority -15 17 18
    """  # noqa: D301  # as above
    context.exit(
        change_chosen(settings, targets, lambda queue, job: queue.change_priority(job, priority))
    )


@command("resolve")
@click.option("--happened/--did-not", default=None, help="Whether the opcode had its effect.")
@click.argument("id", type=JOB_ID, metavar="ID")
@pass_settings
@click.pass_context
def resolve(context: click.Context, settings: Settings, *, happened: bool | None, id: int) -> None:
    """Decide about an opcode that was set aside: it succeeded, or runs again.

    \b
    Example:
      jqueue resolve 17 --did-not
    """  # noqa: D301  # as above
    if happened is None:
        raise click.UsageError("Say --happened or --did-not.")
    context.exit(
        change_each(settings, [id], lambda queue, job: queue.resolve(job, happened=happened))
    )


@command("archive")
@targets_options("Archive", FINALIZED)
@pass_settings
@click.pass_context
def archive(context: click.Context, settings: Settings, *, targets: Targets) -> None:
    """Move finished jobs to the archive; 1 if one could not be.

    \b
    Example:
      jqueue archive 17 18
      jqueue archive --status success --yes
    """  # noqa: D301  # as above
    context.exit(change_chosen(settings, targets, _archive))


def _archive(queue: "Client", job: int) -> Outcome:
    if queue.archive(job):
        return Outcome(True, f"Job {job} archived")
    found = queue.job(job)
    why = "is archived already" if found.archived else f"is not finished: {found.status}"
    return Outcome(False, f"Job {job} {why}")


@command("autoarchive")
@click.argument("age_s", type=AGE, metavar="AGE|all")
@pass_settings
def autoarchive(settings: Settings, *, age_s: float) -> None:
    """Archive all jobs that ended at least AGE ago.

    \b
    Example:
      jqueue autoarchive 7d
    """  # noqa: D301  # as above
    with settings.open() as queue:
        count = queue.auto_archive(age_s)
    if settings.as_json:
        put_json(count._asdict())
    else:
        say(f"{count.archived} jobs archived, {count.remaining} left to look at.")
