"""`recover`: what becomes of opcodes whose owner has vanished, shown beforehand or done now."""

import os
from typing import Any, Final

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.console.show import put_json_array
from jqueue.console.terminal import put, say
from jqueue.errors import JobNotFound

LIMIT_S: Final = 30.0
"""Killing takes so long at most: a process in the kernel's hands, or outside its session, may not
end.  What is left then is left to the next owner."""

Row = dict[str, Any]


@command("recover")
@click.option("--plan", is_flag=True, help="Show what recovery would do, and change nothing.")
@pass_settings
@click.pass_context
def recover(context: click.Context, settings: Settings, *, plan: bool) -> None:
    """Recover the queue as a starting daemon does, and end; 1 if something could not be ended yet.

    What a living worker executes goes on: the next daemon adopts it. All else that was running is
    queued again, fails, or is set aside, as its unit says; what is being canceled is ended.

    \b
    Example:
      jqueue recover --plan
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    rows = planned(settings) if plan else recovered(settings)
    if settings.as_json:
        put_json_array(rows)
    else:
        for row in rows:
            _put_row(row)
        if not rows:
            say("Nothing was running: there is nothing to recover.")
    context.exit(1 if any(row.get("over") is False for row in rows) else 0)


def _put_row(row: Row) -> None:
    text = f"job {row['job']}, opcode {row['op']}, {row['status']}: {row['text']}"
    put(text if row.get("over", True) else f"{text}; that is not over yet")


def planned(settings: Settings) -> list[Row]:
    """What recovery would do, read from outside: no lock, nothing changed."""
    from jqueue.execution.recovery import find  # noqa: PLC0415  # help needs no queue
    from jqueue.store.offline import OfflineQueue  # noqa: PLC0415  # as above

    path = settings.queue_path
    with OfflineQueue(path) as moment:
        if moment.owned:
            say("The queue has an owner; this is what its successor would do.")
        queue_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return [found.describe() for found in find(moment, queue_fd)]
        finally:
            os.close(queue_fd)


def recovered(settings: Settings) -> list[Row]:
    """Own the queue, do what recovery does, without starting anything, and return what was done."""
    import logging  # noqa: PLC0415  # as in `planned`

    from jqueue.cli.target import TIMEOUT_S  # noqa: PLC0415
    from jqueue.daemon.jobqueue import JobQueue  # noqa: PLC0415
    from jqueue.execution.executions import Options  # noqa: PLC0415

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    path = settings.queue_path
    with JobQueue.open(path, create=False, lock_timeout_s=TIMEOUT_S) as queue:
        owner = queue.prepare(Options(workers=0), "process")
        executions = owner.runner.endings.executions

        def stop_when_over() -> None:
            # Who goes on has no burial; a worker that comes meanwhile may deliver its result.
            if not any(one.is_ending for one in executions.values()):
                owner.stop_now()

        owner.reactor.after_turn.append(stop_when_over)
        owner.reactor.call_later(LIMIT_S, owner.stop_now)
        queue.run_prepared(owner)
        rows = owner.recovered
        left = {job for job, one in executions.items() if one.is_ending}
        for row in rows:
            row["after"] = _status_of(queue, row)
            row["over"] = row["job"] not in left
    return rows


def _status_of(queue: Any, row: Row) -> str | None:
    try:
        return str(queue.job(row["job"]).ops[row["op"]].status)
    except (JobNotFound, IndexError):
        return None
