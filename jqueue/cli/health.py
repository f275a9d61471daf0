"""What is wrong with a queue, from what `status` answers: in a line each, with what to run next."""

import shlex
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from jqueue.console.times import size, span

LOW_DISK_BYTES: Final = 256 << 20
"""Two journals at their bound: less may be gone in a night."""
NEAR: Final = 0.8
"""Of a bound."""
UNFINISHED: Final = ("queued", "waiting", "running", "canceling")


class Problem(NamedTuple):
    """One thing that is wrong, and the command that shows or mends it."""

    text: str
    command: str


def problems(found: dict[str, Any], path: str) -> list[Problem]:
    """Return what is wrong, the worst first."""
    where = shlex.quote(path)
    return [*_of_the_disk(found, where), *_of_the_owner(found, where)]


def health(found: dict[str, Any], path: str = "") -> str:
    """`ok`, or what is wrong."""
    return "; ".join(problem.text for problem in problems(found, path)) or "ok"


def _of_the_disk(found: dict[str, Any], where: str) -> Iterator[Problem]:
    if found.get("failure"):
        text = f"the queue has stopped, to be opened anew: {found['failure']}"
        yield Problem(text, f"jqueue-archive verify {where}")
    if found.get("reserve") == "spent":
        text = "the disk is full: the journal lives on its reserve, no job is accepted"
        yield Problem(text, f"df -h {where}")
    elif found.get("disk_free_bytes") is not None and found["disk_free_bytes"] < LOW_DISK_BYTES:
        yield Problem(f"only {size(found['disk_free_bytes'])} are free", f"df -h {where}")
    if found.get("checkpoint_error"):
        text = f"job files can't be written, which is tried again: {found['checkpoint_error']}"
        yield Problem(text, f"df -h {where}")
    if found.get("resting"):
        yield Problem("nothing is started for now: the disk took no record", f"df -h {where}")
    if found.get("quarantined"):
        text = f"{_many(found['quarantined'], 'damaged file')} set aside in quarantine/"
        yield Problem(text, f"jqueue-archive verify {where}")
    for what, name, limit in (
        ("journal that waits for job files", "journal_bytes", "journal_limit_bytes"),
        ("job files behind", "files_behind", "files_behind_limit"),
    ):
        if found.get(name, 0) > NEAR * found.get(limit, float("inf")):
            text = f"{found[name] / found[limit]:.0%} of the {what} that may be: submissions wait"
            yield Problem(f"{text} at 100%, the disk is too slow", "iostat -x 1")


def _of_the_owner(found: dict[str, Any], where: str) -> Iterator[Problem]:
    unfinished = sum(found["counts"].get(status, 0) for status in UNFINISHED)
    if found.get("pid") is None:
        holder = found.get("holder")
        if holder is not None:
            text = f"process {holder} owns the queue and doesn't answer: it starts, ends or hangs"
            yield Problem(text, f"cat /proc/{holder}/wchan; jqueue status --queue {where}")
        elif unfinished:
            text = f"nobody serves this queue, and {_many(unfinished, 'job')} unfinished"
            yield Problem(text, f"jqueue daemon --queue {where}")
        return
    silent = sum(worker["state"] == "silent" for worker in found.get("crew", ()))
    if silent:
        text = f"{_many(silent, 'worker')} without a connection: given up after silence_s"
        yield Problem(text, f"jqueue list --status running --queue {where}")
    wanted, there = found.get("workers_wanted", 0), found.get("workers", 0)
    if found.get("launch_failure"):
        text = f"the last worker was lost before it was ready: {found['launch_failure']}"
        yield Problem(text, "journalctl -u jqueue (the daemon's log says more)")
    elif there < wanted and not found.get("stopping"):
        text = f"only {there} of {wanted} workers: they end before they are ready"
        yield Problem(text, "journalctl -u jqueue (the daemon's log says why)")


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def flag_text(flag: dict[str, Any] | None, meaning: str, otherwise: str = "") -> str:
    """What a set flag means, for how long it is set, by whom and why."""
    if flag is None:
        return otherwise
    since = flag.get("since")
    age = "" if since is None else f", for {span(max(time.time() - since, 0.0))}"
    by = f", by {flag['by']}" if flag.get("by") else ""
    return f"{meaning}{age}{by}{': ' + flag['reason'] if flag.get('reason') else ''}"
