"""Verbs on many jobs: named, or chosen and then confirmed by a person."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from jqueue.cli.command import Function, Settings
from jqueue.cli.hints import missing_job
from jqueue.cli.jobids import JOB_ID
from jqueue.cli.selecting import choose
from jqueue.console.choosing import choice_options
from jqueue.console.jobs import put_jobs
from jqueue.console.secrets import shown_summaries
from jqueue.console.show import ellipsis, put_json_array
from jqueue.console.terminal import flush, one_line, say
from jqueue.errors import InvalidJob, JobNotFound, Refused
from jqueue.job.query.choice import Choice
from jqueue.job.row import row_of
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus
from jqueue.job.transitions import Outcome

if TYPE_CHECKING:
    from jqueue.cli.target import Client

PREVIEW: Final = 10

Change = Callable[["Client", int], Outcome]


class Targets:
    """Which jobs a verb is for: `ids`, or those in `statuses` that are chosen."""

    def __init__(self, verb: str, statuses: frozenset[JobStatus], said: dict[str, Any]) -> None:
        self.verb = verb
        self.ids: tuple[int, ...] = said["ids"]
        self.dry_run: bool = said["dry_run"]
        self._yes: bool = said["yes"]
        self._statuses = statuses
        self._choice = Choice(said["statuses"], said["since"], said["expr"])
        if not self.ids and not self._choice.given:
            raise click.UsageError("Name jobs, or choose them by --filter, --status or --since.")

    def find(self, queue: "Client") -> list[Job]:
        """Return the jobs that are chosen; of a status in which the verb can mean them."""
        usual = self._choice
        if not usual.statuses:
            usual = usual._replace(statuses=tuple(sorted(self._statuses)))
        return list(choose(queue, self.ids, usual))

    def resolve(self, settings: Settings, queue: "Client") -> list[int] | None:
        """Return the IDs; None after a dry run, or if the person says no.

        Raises UsageError where there is nobody to ask.
        """
        if not self._choice.given and not self.dry_run:
            return list(dict.fromkeys(self.ids))
        jobs = self.find(queue)
        if self.dry_run:
            if settings.as_json:
                put_json_array(map(row_of, jobs))
            else:
                put_jobs(iter(jobs))
                flush()
            say(f"{counted(jobs)}: none was changed (--dry-run).")
            return None
        if jobs and not self._yes and not self._confirmed(jobs):
            return None
        if not jobs:
            say("No job matches.")
        return [job.id for job in jobs]

    def _confirmed(self, jobs: list[Job]) -> bool:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError(
                f"{counted(jobs)} would be changed: add --yes to do it, or --dry-run to see them."
            )
        for job in jobs[:PREVIEW]:
            say(f"  {job.id} {job.status} {shown_summaries(job)}")
        if len(jobs) > PREVIEW:
            say(f"  {ellipsis()} and {len(jobs) - PREVIEW} more")
        return click.confirm(f"{self.verb} {counted(jobs)}?", err=True)


def counted(jobs: list[Job]) -> str:
    """How many jobs, and in which status: 12 jobs (10 queued, 2 waiting)."""
    counts = Counter(str(job.status) for job in jobs)
    parts = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}{f' ({parts})' if parts else ''}"


def targets_options(verb: str, statuses: Iterable[JobStatus]) -> Callable[[Function], Function]:
    """Add the IDs and what chooses instead of them; the command gets `targets`."""

    def add(function: Function) -> Function:
        names = ("ids", "dry_run", "yes", "statuses", "since", "expr")

        def run(*args: Any, **named: Any) -> Any:
            said = {name: named.pop(name) for name in names}
            return function(*args, targets=Targets(verb, frozenset(statuses), said), **named)

        run.__doc__ = function.__doc__
        given: Function = click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")(run)
        given = click.option("--yes", is_flag=True, help="Change what was chosen, unasked.")(given)
        given = click.option("--dry-run", is_flag=True, help="Show what is chosen, no more.")(given)
        return choice_options(given)

    return add


def change_each(settings: Settings, ids: Iterable[int], change: Change) -> int:
    """Change one job after the other, say what became of each, and return the exit code."""
    with settings.open() as queue:
        return change_all(settings, queue, ids, change)


def change_chosen(settings: Settings, targets: Targets, change: Change) -> int:
    """The same for jobs that are named or chosen; 0 too if none is."""
    with settings.open() as queue:
        ids = targets.resolve(settings, queue)
        if ids is None:
            return 0 if targets.dry_run else 1
        return change_all(settings, queue, ids, change)


def change_all(settings: Settings, queue: "Client", ids: Iterable[int], change: Change) -> int:
    """Change jobs; with --json the answers are one array."""
    answers: list[dict[str, Any]] = []
    for job in ids:
        outcome = _outcome(settings, queue, job, change)
        answers.append({"id": job, "ok": outcome.ok, "text": outcome.text})
        if not settings.as_json:
            say(outcome.text)
    if settings.as_json:
        put_json_array(answers)
    return 0 if all(answer["ok"] for answer in answers) else 1


def _outcome(settings: Settings, queue: "Client", job: int, change: Change) -> Outcome:
    try:
        outcome = change(queue, job)
    except JobNotFound as error:
        return Outcome(False, one_line(str(error)) + missing_job(job, settings))
    except (InvalidJob, Refused) as error:
        # It is this job's own matter; the others may be changed all the same.
        return Outcome(False, f"job {job}: {one_line(str(error))}")
    if not outcome.ok and outcome.text.endswith("not found in queue"):
        return Outcome(False, f"no job {job}{missing_job(job, settings)}")
    return outcome
