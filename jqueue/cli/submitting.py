"""`submit`: a new job.  Imports little: scripts call it often."""

import os
from typing import TYPE_CHECKING, Any

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.jobids import JOB_ID
from jqueue.cli.waiting import wait_for
from jqueue.console.show import put_json
from jqueue.console.terminal import flush, put, say
from jqueue.console.values import DURATION, MOMENT, OP, VARIABLE
from jqueue.job.status import FINALIZED, SUBMISSION_PRIORITIES, JobStatus

if TYPE_CHECKING:
    from jqueue.cli.target import Client

Depends = list[list[Any]]


@command("submit", context_settings={"allow_interspersed_args": False})
@click.option("--op", "ops", type=OP, multiple=True, help="An opcode, as a JSON object.")
@click.option("--key", help="Repeated with the same key and content: the same job.")
@click.option("--unique", metavar="NAME", help="While a job of this name is unfinished: that job.")
@click.option(
    "--priority",
    type=click.Choice([str(priority) for priority in SUBMISSION_PRIORITIES]),
    help="-10 is most urgent.",
)
@click.option("--after", type=JOB_ID, multiple=True, help="Start when this job has succeeded.")
@click.option(
    "--after-any", type=JOB_ID, multiple=True, help="Start when this job has ended, in any way."
)
@click.option("--not-before", type=MOMENT, help="Start no sooner: 2030-01-31T22:00, +2h.")
@click.option("--retries", type=click.IntRange(min=0), help="Try again so often after a failure.")
@click.option("--timeout", "timeout_s", type=DURATION, help="Limit of one attempt: 90, 1.5h.")
@click.option("--comment", help="A remark, kept with the job.")
@click.option("--cwd", type=click.Path(), help="The command's directory; else this one.")
@click.option("--env", type=VARIABLE, multiple=True, help="NAME=VALUE for the command, or NAME.")
@click.option("--wait", is_flag=True, help="Wait for the job's end, as `jqueue wait`.")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD ARG...]")
@pass_settings
@click.pass_context
def submit(  # noqa: PLR0913  # as many as a submission has independent facts
    context: click.Context,
    settings: Settings,
    /,
    *,
    ops: tuple[dict[str, Any], ...],
    key: str | None,
    unique: str | None,
    after: tuple[int, ...],
    after_any: tuple[int, ...],
    not_before: float | None,
    cwd: str | None,
    env: tuple[tuple[str, str], ...],
    wait: bool,
    argv: tuple[str, ...],
    **common: Any,
) -> None:
    """Submit a job and print its ID: opcodes (--op), a command, or both in this order.

    \b
    Example:
      jqueue submit --priority -10 --retries 3 -- rsync -a /home backup:/home
      jqueue submit --op '{"OP_ID": "OP_TEST_DELAY", "duration": 5}'
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if not ops and not argv:
        raise click.UsageError("Nothing to submit: give --op JSON, or -- and a command.")
    if (cwd is not None or env) and not argv:
        raise click.UsageError("--cwd and --env are for a command, and there is none.")
    inputs = [dict(op) for op in ops]
    if argv:
        inputs.append(exec_op(argv, cwd, dict(env)))
    if common["priority"] is not None:
        common["priority"] = int(common["priority"])
    complete(inputs, common, depends_on(after, after_any), not_before)
    with settings.open() as queue:
        job = queue.submit(inputs, key=key, unique=unique)
        put_id(settings, job)
        warn(queue, inputs, will_wait=wait)
    if wait:
        context.exit(wait_for(settings, [job], None))


def put_id(settings: Settings, job: int) -> None:
    """Print a new job's ID, alone on its line."""
    if settings.as_json:
        put_json({"id": job})
    else:
        put(str(job))
        flush()


def exec_op(argv: tuple[str, ...], cwd: str | None, env: dict[str, str]) -> dict[str, Any]:
    """The opcode that runs a command, in the submitter's directory."""
    op: dict[str, Any] = {
        "OP_ID": "OP_EXEC",
        "argv": list(argv),
        "cwd": os.path.abspath(cwd or "."),
    }
    return {**op, "env": env} if env else op


def depends_on(after: tuple[int, ...], after_any: tuple[int, ...]) -> Depends:
    """The dependencies: on success, or on any end."""
    any_end = sorted(FINALIZED)
    return [
        *([job, [JobStatus.SUCCESS.value]] for job in after),
        *([job, [status.value for status in any_end]] for job in after_any),
    ]


def complete(
    inputs: list[dict[str, Any]],
    common: dict[str, Any],
    depends: Depends,
    not_before: float | None,
) -> None:
    """Give the opcodes what the options say, where an opcode doesn't say it itself.

    What holds the job back is the first opcode's alone: the others come after it anyway.
    """
    for op in inputs:
        for name, value in common.items():
            if value is not None:
                op.setdefault(name, value)
    first = inputs[0]
    if depends:
        own = first.get("depends")
        # What the opcode itself has in it is checked with the job, not here.
        first["depends"] = [*own, *depends] if isinstance(own, list) else depends
    if not_before is not None:
        first.setdefault("not_before", not_before)


def warn(queue: "Client", inputs: list[dict[str, Any]], *, will_wait: bool) -> None:
    """Say what will keep the job from running; who waits for it says by itself that nobody does."""
    status = queue.status()
    if status.get("pid") is None:
        if not will_wait:
            daemon = "a daemon (jqueue daemon, jqueue run)"
            say(f"Nothing runs this queue now; the job waits for {daemon}.")
        return
    kinds = status.get("kinds") or []
    if not kinds:
        say(f"Process {status['pid']} accepts jobs, but has no workers: nothing is run.")
        return
    for op_id in dict.fromkeys(op["OP_ID"] for op in inputs):
        if op_id not in kinds:
            import difflib  # noqa: PLC0415 - for mistakes alone

            near = difflib.get_close_matches(op_id, kinds, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            say(f"The daemon knows no unit for {op_id}: it stays queued.{hint}")
