"""Why a job is not running, with what its owner knows: locks, limits, workers, kinds, its turn."""

from __future__ import annotations

from typing import Any, Final

from jqueue.execution.executions import Execution
from jqueue.execution.runner import Runner
from jqueue.job.state import Entry
from jqueue.job.transitions import next_op
from jqueue.queue.explain import Reasons, reason_of

NAMED: Final = 5
"""So many jobs are named; of more only the number is told."""
GENERAL: Final = ("ready", "locks")
"""What the queue says for want of knowing better."""


def explain(runner: Runner, reasons: Reasons, job: int) -> Reasons:
    """Return what the queue says of the job, made exact."""
    first = reasons[0]["reason"]
    if first == "finalized":
        return reasons
    execution = runner.endings.executions.get(job)
    if first in ("running", "canceling"):
        return [_executing(reasons[0], execution)] if execution is not None else reasons
    remarks = [one for one in reasons if one["reason"] == "drained"]
    found = [one for one in reasons if one not in remarks and one["reason"] not in GENERAL]
    found += [
        reason_of(held.reason, held.text, held.until, jobs=list(held.jobs))
        for held in runner.dispatcher.obstacles(job)
    ]
    found += _nobody(runner, job)
    return (found or [_turn(runner, job)]) + remarks


def _executing(reason: dict[str, Any], execution: Execution) -> dict[str, Any]:
    where = "in the hands of a claimant" if execution.claimed else "in a thread of the daemon"
    if execution.identity is not None:
        where = f"in process {execution.identity.pid}"
    burial = execution.burial
    if burial is None and execution.worker is not None:
        burial = execution.worker.burial
    if burial is None:
        return {**reason, "text": f"{reason['text']}, {where}"}
    text = f"{reason['text']}; its worker is gone or is being ended, and its locks stay held"
    return {**reason, "text": text, "until": burial.awaits}


def _nobody(runner: Runner, job: int) -> Reasons:
    """Say why none of the workers would take it, however free they are."""
    kind = _kind(runner, job)
    if runner.crew.stopping:
        return [reason_of("stopping", "the daemon is stopping", "a daemon is started again")]
    if not runner.options.workers:
        text = f"the daemon has no workers, and nobody has claimed a job of kind {kind}"
        return [reason_of("workers", text, "somebody claims it, or a daemon has workers")]
    if kind not in runner.options.kinds:
        text = f"nobody here carries out {kind} (--load, claim)"
        return [reason_of("kind", text, f"a daemon loads a unit for {kind}, or somebody claims it")]
    if runner.resting:
        return [
            reason_of("disk", "nothing can be recorded for now", "the disk takes records again")
        ]
    return []


def _turn(runner: Runner, job: int) -> dict[str, Any]:
    running = sorted(runner.endings.executions)
    before, more = runner.dispatcher.before(job, runner.options.kinds)
    workers, limit = runner.options.workers, runner.options.max_running_jobs
    limited = limit is not None and limit <= len(running)
    if len(running) < workers and not limited and not before:
        return reason_of("ready", "it starts now", "its start is recorded")
    text = f"all {workers} workers are busy with {_jobs(running)}"
    if limited:
        text = f"so many jobs run as may at once ({limit}, max_running_jobs): {_jobs(running)}"
    if before:
        are = "is" if len(before) == 1 else "are"
        text += f", and {_jobs(before)}{' and more' if more else ''} {are} before it"
    return reason_of("turn", text, f"one of {_jobs(running)} ends", jobs=running, before=before)


def _jobs(jobs: list[int]) -> str:
    if len(jobs) > NAMED:
        return f"{len(jobs)} jobs"
    named = ", ".join(map(str, jobs))
    return f"job {named}" if len(jobs) == 1 else f"jobs {named}" if jobs else "others"


def _kind(runner: Runner, job: int) -> str:
    entry: Entry | None = runner.store.find(job)
    document = None if entry is None else entry.document
    at = None if document is None else next_op(document)
    given = {} if document is None or at is None else document["ops"][at]["input"]
    return str(given.get("OP_ID", "")) if isinstance(given, dict) else ""
