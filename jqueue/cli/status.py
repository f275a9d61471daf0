"""`status`: what is wrong first, then the queue as a whole."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.health import flag_text, problems
from jqueue.console.show import put_json
from jqueue.console.terminal import paint, put, put_folded, put_painted
from jqueue.console.times import local, now, size, span

INDENT: Final = 13
MAX_RUNNING: Final = 10
"""Running opcodes that a person is shown."""
EXIT_DEGRADED: Final = 1


@command("status")
@click.option("--check", is_flag=True, help="Exit with 1 if something is wrong.")
@pass_settings
@click.pass_context
def status(context: click.Context, settings: Settings, *, check: bool) -> None:
    """Show the queue as a whole: what is wrong, owner, jobs, drain, pause, journal.

    \b
    Example:
      jqueue status --check
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with settings.open() as queue:
        found = queue.status()
    path = settings.queue_path
    wrong = problems(found, path)
    if settings.as_json:
        said = [problem._asdict() for problem in wrong]
        health = "degraded" if wrong else "ok"
        put_json({"queue": path, "health": health, "problems": said, **found})
    else:
        if not wrong:
            put_painted(f"health:      {paint('ok', 'green')}")
        for problem in wrong:
            put_painted(paint(f"PROBLEM: {problem.text}", "red"))
            put(f"    look: {problem.command}")
        for name, value in _lines(path, found):
            put_folded(f"{name + ':':<12} {value}", INDENT)
    context.exit(EXIT_DEGRADED if check and wrong else 0)


def _lines(path: str, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person wants to know, from `status`'s answer; zeros are left out."""
    yield "queue", path
    yield "owner", _owner(found)
    if found.get("crew"):
        states = Counter(worker["state"] for worker in found["crew"])
        parts = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        yield "workers", f"{found['workers']} of {found['workers_wanted']}: {parts}"
    counts = {name: number for name, number in found["counts"].items() if number}
    parts = ", ".join(f"{number} {name}" for name, number in counts.items())
    yield "jobs", f"{found['jobs']}{f': {parts}' if parts else ''}; the newest is {found['serial']}"
    if found.get("oldest_queued"):
        yield "oldest", f"queued for {_since(found['oldest_queued'])}"
    yield from _running(found)
    yield "drain", flag_text(found.get("drain"), "yes", "no: new jobs are accepted")
    yield "pause", flag_text(found.get("pause"), "yes", "no: jobs are started")
    if "journal_bytes" in found:
        held, limit = size(found["journal_bytes"]), size(found["journal_limit_bytes"])
        yield "journal", f"{held} of {limit}, segments: {found['segments']}"
        lag = found["lsn"] - found["reflects"]
        behind = f"a crash replays {lag} of them, job files to be written: {found['files_behind']}"
        yield "durable", f"{found['durability']}, all through LSN {found['lsn']}; {behind}"
        yield "reserve", found["reserve"]
    if found.get("disk_free_bytes") is not None:
        yield "disk", f"{size(found['disk_free_bytes'])} free of {size(found['disk_size_bytes'])}"
    if found.get("kinds"):
        yield "kinds", ", ".join(found["kinds"])


def _owner(found: dict[str, Any]) -> str:
    pid = found.get("pid")
    if pid is None:
        return "none that answers: jobs wait for jqueue daemon, or jqueue run"
    stopping = ", stopping" if found.get("stopping") else ""
    if "since" not in found:
        return f"process {pid}{stopping}"
    began = local(datetime.fromtimestamp(found["since"], UTC))
    return f"process {pid} on {found['host']}, since {began} ({_since(found['since'])}){stopping}"


def _running(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    running = sorted(found.get("executions", ()), key=lambda one: one["since"] or 0)
    for one in running[:MAX_RUNNING]:
        age = f" for {_since(one['since'])}" if one["since"] is not None else ""
        by = "claimed" if one["claimed"] else f"process {one['pid']}"
        kind = f" ({one['kind']})" if one["kind"] else ""
        yield "running", f"job {one['job']}, opcode {one['op']}{kind}{age}, {by}"
    if len(running) > MAX_RUNNING:
        yield "running", f"and {len(running) - MAX_RUNNING} more: jqueue list --status running"


def _since(at_s: float) -> str:
    return span(max(now().timestamp() - at_s, 0.0))
