"""Repair: from all evidence that a damaged directory holds to a plan.  Nothing is changed here.

`repair_journal` and `repair_files` are the evidence, `repair_decide` the judge, `repair_jobs` and
`repair_state` find the steps, `repair_apply` carries them out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final

from archive_tools.findings import Finding
from archive_tools.repair_files import gather
from archive_tools.repair_jobs import JobSteps
from archive_tools.repair_journal import JournalEvidence
from archive_tools.repair_plan import Plan, Step
from archive_tools.repair_state import (
    JournalSteps,
    ganeti_steps,
    serial_of,
    version_steps,
)
from archive_tools.verify import verify
from jqueue.errors import QueueFailed, QueueLocked
from jqueue.job.ids import parse_job_file_name
from jqueue.store import opening
from jqueue.store.index import read_index
from jqueue.store.lock import is_owned, read_owner
from jqueue.store.realdisk import QuietDisk
from jqueue.store.segment import JOURNAL

_OF_CONTENT: Final = frozenset(
    {"archive-unfinished", "job-priority", "job-status", "job-times", "key-unknown", "op-unknown"}
)
"""What only a person can decide, inside a file that stays: nothing says what was meant."""
_QUEUE: Final = ("version", "serial", JOURNAL, "archive")


def make_plan(path: Path, *, locked: bool = False) -> Plan:
    """Return what would repair the queue at `path`; a plan without steps: nothing to repair.

    `locked`: the caller holds the queue's lock.  Raises QueueFailed if there is no queue,
    QueueLocked if another process owns it, FormatTooNew, QueueCorrupt in the middle of a repair.
    """
    if not locked:
        check_directory(path)
    with QuietDisk(path) as disk:
        version = version_steps(disk)
        findings = verify(path, owned=False, any_version=True)
        return _plan(disk, findings, version) if findings else Plan(str(path))


def check_directory(path: Path) -> None:
    """Raise QueueFailed or QueueLocked unless there is a queue that nobody owns."""
    if not path.is_dir():
        raise QueueFailed(f"{path}: there is no queue", path=str(path))
    if not any(
        name in _QUEUE or parse_job_file_name(name) is not None for name in os.listdir(path)
    ):
        raise QueueFailed(f"{path}: this is no queue; nothing was changed", path=str(path))
    if is_owned(path):
        holder = read_owner(path)
        who = f"process {holder['pid']}" if holder else "a process"
        raise QueueLocked(
            f"{path}: {who} owns the queue; stop it first, repair works on a queue at rest",
            path=str(path),
            holder=holder,
        )


def _plan(disk: QuietDisk, findings: list[Finding], version: list[Step]) -> Plan:
    plan = Plan(str(disk.path))
    files, journal = gather(disk), JournalEvidence(disk)
    ours = opening.has_journal(disk) or files.copies.stamped
    index = read_index(disk)
    jobs = JobSteps(disk, files, journal, ganeti=not ours)
    moved = {step.path for step in jobs.moves}
    for finding in findings:
        if finding.code == "temp" and finding.path not in moved:
            jobs.set_aside(finding.path, "a writer was cut off before it gave this its name")
    if index is not None:
        jobs.lost_from(index)
    serial = serial_of(disk, jobs, index)
    plan.steps = [*version, *jobs.steps, *_modes(disk, findings, jobs.aside.keys())]
    if ours:
        state = JournalSteps(disk, jobs, findings, index, serial)
        plan.steps += state.steps(plan)
        plan.lost += state.said()
    else:
        plan.steps += ganeti_steps(disk, findings, serial)
    plan.lost += jobs.said()
    _leave(plan, jobs, findings, serial)
    _answer(plan, findings)
    return plan


def _modes(disk: QuietDisk, findings: list[Finding], gone: Container[str]) -> Iterator[Step]:
    for finding in findings:
        if finding.code == "permissions" and finding.path not in gone:
            mode = os.lstat(disk.path / finding.path).st_mode
            if mode & stat.S_IWOTH:
                private = stat.S_IMODE(mode) & ~stat.S_IWOTH
                yield Step("mode", finding.path, "everybody may write to it", mode=private)


def _leave(plan: Plan, jobs: JobSteps, findings: list[Finding], serial: int) -> None:
    """Say what `verify` will find afterwards."""
    gone = {step.path for step in plan.steps if step.do in {"set-aside", "move"}}
    for finding in findings:
        content = finding.code in _OF_CONTENT and finding.path not in gone
        if content or finding.code == "foreign":
            plan.leave(finding)
    for finding in (*jobs.content, *jobs.relations.findings(serial)):
        plan.leave(finding)


def _answer(plan: Plan, findings: list[Finding]) -> None:
    """Note at each step which findings it answers; what none does is left, and said."""
    by_path: dict[str, Step] = {}
    by_job: dict[int, Step] = {}
    for step in plan.steps:
        by_path.setdefault(step.path, step)
        if step.job is not None:
            by_job.setdefault(step.job, step)
    last = plan.steps[-1] if plan.journal else None
    for finding in findings:
        if plan.leaves(finding):
            continue
        answer = by_path.get(finding.path) or by_job.get(finding.job or -1) or last
        if answer is None:
            plan.leave(finding)
        elif finding.code not in answer.answers:
            answer.answers.append(finding.code)
