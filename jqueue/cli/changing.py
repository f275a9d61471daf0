"""Commands that change jobs: cancel, change-priority, resolve, archive, autoarchive."""

from collections.abc import Callable, Iterable

import click

from jqueue.cli.command import Settings, command, one_line, pass_settings
from jqueue.cli.show import put_json, put_json_array, say
from jqueue.cli.target import Client
from jqueue.cli.values import AGE, JOB_ID
from jqueue.errors import JobNotFound
from jqueue.job.status import PRIORITY_HIGHEST, PRIORITY_LOWEST
from jqueue.job.transitions import Outcome

Change = Callable[[Client, int], Outcome]


def change_each(settings: Settings, ids: Iterable[int], change: Change) -> int:
    """Change one job after the other, say what became of each, and return the exit code."""
    answers = []
    with settings.open() as queue:
        for job in ids:
            try:
                outcome = change(queue, job)
            except JobNotFound as error:
                outcome = Outcome(False, one_line(str(error)))
            answers.append({"id": job, "ok": outcome.ok, "text": outcome.text})
            if not settings.as_json:
                say(outcome.text)
    if settings.as_json:
        put_json_array(answers)
    return 0 if all(answer["ok"] for answer in answers) else 1


@command("cancel")
@click.option("--kill", is_flag=True, help="A running job too: its processes are ended.")
@click.argument("ids", nargs=-1, required=True, type=JOB_ID, metavar="ID…")
@pass_settings
@click.pass_context
def cancel(context: click.Context, settings: Settings, *, kill: bool, ids: tuple[int, ...]) -> None:
    """Cancel jobs that have not begun; 1 if one could not be.

    \b
    Example:
      jqueue cancel --kill 17
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    context.exit(change_each(settings, ids, lambda queue, job: queue.cancel(job, kill)))


@command("change-priority")
@click.option(
    "--priority",
    type=click.IntRange(PRIORITY_HIGHEST, PRIORITY_LOWEST),
    required=True,
    help="-20 is most urgent, 19 least.",
)
@click.argument("ids", nargs=-1, required=True, type=JOB_ID, metavar="ID…")
@pass_settings
@click.pass_context
def change_priority(
    context: click.Context, settings: Settings, *, priority: int, ids: tuple[int, ...]
) -> None:
    """Change the priority of what has not begun of these jobs.

    \b
    Example:
      jqueue change-priority --priority -15 17 18
    """  # noqa: D301  # as above
    context.exit(
        change_each(settings, ids, lambda queue, job: queue.change_priority(job, priority))
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
@click.argument("ids", nargs=-1, required=True, type=JOB_ID, metavar="ID…")
@pass_settings
@click.pass_context
def archive(context: click.Context, settings: Settings, *, ids: tuple[int, ...]) -> None:
    """Move finished jobs to the archive; 1 if one could not be.

    \b
    Example:
      jqueue archive 17 18
    """  # noqa: D301  # as above
    context.exit(change_each(settings, ids, _archive))


def _archive(queue: Client, job: int) -> Outcome:
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
