"""`history`: every transition of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from archive_tools.command import command, directory_argument, json_option
from archive_tools.diff import Delta
from archive_tools.history import History, Step, history, in_utc, steps_of
from archive_tools.jobids import JOB_ID
from archive_tools.journal import shown
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json_array
from jqueue.console.table import put_table
from jqueue.console.terminal import say
from jqueue.console.times import local
from jqueue.errors import JobNotFound, QueueCorrupt
from jqueue.job.change import Document
from jqueue.store import jobfiles
from jqueue.store.disk import Disk
from jqueue.store.offline import OfflineQueue
from jqueue.store.past import reach
from jqueue.store.realdisk import QuietDisk

QUIET: Final = frozenset(
    {
        *("start_timestamp", "exec_timestamp", "end_timestamp", "worker", "livelock", "process_id"),
        *("token", "interruption", "max_interruptions", "retries"),
    }
)
"""What a person is not shown where something else changed; --json has it."""


@command("history")
@show_secrets_option
@directory_argument()
@click.argument("id", type=JOB_ID, metavar="ID")
@json_option("An array of steps: time, lsn, kinds, text, changes.")
@click.pass_context
def show_history(context: click.Context, directory: Path, *, id: int, as_json: bool) -> None:
    """Show all that happened to job ID of DIRECTORY: when, in which record, what changed.

    As far back as the journal is kept, for archived and pruned jobs, too; before that the times in
    the job's document tell, and it is said.  1 if a part of the journal is damaged.

    \b
    Example:
      jqueue-archive history /var/lib/jqueue 12
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    damage: list[str] = []
    try:
        with OfflineQueue(directory) as queue:
            job = queue.job(id)
            document = None if job is None else job.to_dict()
            found = _history(queue.disk, id, document, owned=queue.owned)
    except QueueCorrupt as error:
        damage.append(str(error))
        with QuietDisk(directory) as disk:
            entry = jobfiles.load(disk, id)
            found = _history(disk, id, entry and entry.document, owned=False)
    if not found.steps:
        raise JobNotFound(f"no job {id} in {directory}, nor in its journal", job_id=id)
    if as_json:
        put_json_array(map(_row, found.steps))
    else:
        put_table(("TIME", "LSN", "WHAT"), map(_cells, found.steps), right=frozenset({"LSN"}))
    for text in (*damage, *found.damage):
        say(f"the journal is damaged: {text}")
    context.exit(1 if damage or found.damage else 0)


def _history(disk: Disk, job: int, document: Document | None, *, owned: bool) -> History:
    known = reach(disk)
    if known is None:
        say(f"{disk.path}: there is no journal; the times in the job's document are all there is")
        steps = [] if document is None else steps_of(document)
        return History(steps, whole=False, damage=[])
    found = history(disk, job, owned=owned, document=document)
    if found.steps and not found.whole:
        since = local(known.since)
        say(
            f"the journal goes back to LSN {known.lsn}, {since}:"
            " steps without an LSN are told by the times in the job's document"
        )
    return found


def _row(step: Step) -> dict[str, object]:
    return {
        "time": in_utc(step.time),
        "lsn": step.lsn,
        "kinds": step.kinds,
        "text": step.text,
        "changes": [delta._asdict() for delta in step.deltas],
    }


def _cells(step: Step) -> tuple[str, str, str]:
    texts = [step.text, told(step.deltas)]
    lsn = "-" if step.lsn is None else str(step.lsn)
    return local(step.time), lsn, "; ".join(filter(None, texts))


def told(deltas: list[Delta]) -> str:
    """Return changes in words."""
    loud = [delta for delta in deltas if delta.key not in QUIET]
    return "; ".join(map(_told, loud or deltas))


def _told(delta: Delta) -> str:
    where = "" if delta.op is None else f"opcode {delta.op} "
    if delta.key == "log" and isinstance(delta.old, int):
        return f"{where}log: " + " | ".join(shown(entry[-1]) for entry in delta.new)
    return f"{where}{delta.key}: {shown(delta.old, delta.key)} -> {shown(delta.new, delta.key)}"
