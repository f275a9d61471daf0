"""`repair`: a plan, its application, and the way back."""

from __future__ import annotations

from pathlib import Path

import click

from archive_tools.command import FindingCommand, command, directory_argument
from archive_tools.repair import make_plan
from archive_tools.repair_apply import apply_file, apply_plan, undo_file
from archive_tools.repair_copy import copy_queue
from archive_tools.repair_plan import Plan, dump_plan, shown
from archive_tools.verify import verify
from jqueue.console.terminal import put, say

_FILE = click.Path(path_type=Path, dir_okay=False)


@command("repair", cls=FindingCommand)
@directory_argument()
@click.option("--plan", "plan_file", type=_FILE, help="Where the plan goes [here, by its id].")
@click.option("--apply", "to_apply", type=_FILE, help="Carry out this plan, under the lock.")
@click.option("--undo", "to_undo", type=_FILE, help="Put back what a repair changed: its record.")
@click.option("--output", type=click.Path(path_type=Path), help="Repair a copy, made here.")
@click.pass_context
def repair(
    context: click.Context,
    directory: Path,
    *,
    plan_file: Path | None,
    to_apply: Path | None,
    to_undo: Path | None,
    output: Path | None,
) -> None:
    """Say what would repair DIRECTORY, as a plan in a file; change nothing until it is applied.

    What is damaged goes to quarantine, never away; an undo record is written first.  Exit code 0:
    nothing to repair, or done; 1: a plan was made; 2: it can't be read, or repaired.

    \b
    Example:
      jqueue-archive repair /var/lib/jqueue
      jqueue-archive repair /var/lib/jqueue --apply repair-0123456789abcdef.json
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if sum(given is not None for given in (plan_file, to_apply, to_undo, output)) > 1:
        raise click.UsageError("one of --plan, --apply, --undo and --output, not several")
    if to_apply is not None:
        record = apply_file(directory, to_apply)
        if record is None:
            say("nothing to repair; nothing was changed")
        else:
            _applied(directory, record)
    elif to_undo is not None:
        undo_file(directory, to_undo)
        say("undone: every file is as it was before the repair")
    elif output is not None:
        copy_queue(directory, output)
        plan = make_plan(output)
        if _show(plan):
            _applied(output, apply_plan(output, plan))
    else:
        plan = make_plan(directory)
        if _show(plan):
            target = plan_file or Path(f"repair-{plan.id}.json")
            target.write_bytes(dump_plan(plan))
            say(f"nothing was changed; the plan is in {target}, to carry it out:")
            say(f"jqueue-archive repair {directory} --apply {target}")
            context.exit(1)


def _show(plan: Plan) -> bool:
    """Print the plan; return whether there is something to do."""
    for line in shown(plan):
        put(line)
    if not plan.steps:
        say("nothing to repair")
    return bool(plan.steps)


def _applied(directory: Path, record: Path) -> None:
    say(f"repaired; what was set aside is in {record.parent}")
    say(f"to take it back: jqueue-archive repair {directory} --undo {record}")
    left = verify(directory)
    for finding in left:
        put(f"{finding.code:<18} {finding.text}")
    say(f"{len(left)} findings are left for a person" if left else "verify finds nothing more")
