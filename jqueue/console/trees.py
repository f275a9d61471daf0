"""Families on the terminal: a job, the jobs that it submitted, those that they submitted …"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from jqueue.console.secrets import shown_summaries
from jqueue.console.show import painted_status
from jqueue.console.table import cell_len, shortened
from jqueue.console.terminal import faint, has_unicode, printable, put_painted, width
from jqueue.console.times import ago, now, span
from jqueue.job.family import named_children
from jqueue.job.row import row_of
from jqueue.job.snapshot import Job

Level = tuple[int, Job]
"""A job, and how deep it is below the first."""
LEAST_SUMMARY: Final = 16
"""Times are left out before a summary has less room."""


def put_family(family: list[Level]) -> None:
    """Print a family as a tree, and how many are in which status."""
    for branch, (_, job) in zip(branches(family), family, strict=True):
        put_painted(_line(branch, job))
    if len(family) > 1:
        counts = Counter(str(job.status) for _, job in family)
        parts = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
        put_painted(faint(f"{len(family)} jobs: {parts}"))


def _line(branch: str, job: Job) -> str:
    """A job's line; where there is no room, without its times, and with the summary cut."""
    archived = " (archived)" if job.archived else ""
    summary, times = printable(shown_summaries(job)), _times(job)
    columns = width()
    if columns is not None:
        left = columns - cell_len(f"{branch}{job.id} {job.status}{archived} ")
        if left < min(cell_len(summary), LEAST_SUMMARY) + len(times):
            times = ""
        summary = shortened(summary, max(left - len(times), 1))
    return f"{branch}{job.id} {painted_status(job.status)}{archived} {summary}{faint(times)}"


def _times(job: Job) -> str:
    if job.started is None and job.ended is not None:
        return f"  ended {ago(job.ended, now())}"
    if job.started is None:
        return f"  submitted {ago(job.received, now())}"
    if job.ended is None:
        return f"  began {ago(job.started, now())}"
    return f"  took {span((job.ended - job.started).total_seconds())}, {ago(job.ended, now())}"


def branches(family: list[Level]) -> list[str]:
    """The lines that lead from each job to its parent."""
    tee, corner, bar = ("├─ ", "└─ ", "│  ") if has_unicode() else ("|- ", "`- ", "|  ")
    made: list[str] = []
    later: set[int] = set()
    """The depths at which a brother follows below."""
    for depth, _ in reversed(family):
        later = {one for one in later if one <= depth}
        path = "".join(bar if at in later else "   " for at in range(1, depth))
        made.append(f"{path}{tee if depth in later else corner}" if depth else "")
        later.add(depth)
    return made[::-1]


def walk(root: Job, find: Callable[[set[int]], Iterable[Job]]) -> Iterator[Level]:
    """Yield the family with the depth of each, parents before their children.

    `find` gives the jobs with some IDs, live or archived, those that are there.
    """
    stack = [(0, root)]
    while stack:
        depth, job = stack.pop()
        yield depth, job
        children = sorted(find(named_children(job.document)), key=lambda child: child.id)
        stack += [(depth + 1, child) for child in reversed(children) if _is_child(child, job)]


def _is_child(child: Job, parent: Job) -> bool:
    """What a result names may be no child; and as IDs rise, no family can be a circle."""
    submitter = child.submitter
    return submitter is not None and submitter["job"] == parent.id and child.id > parent.id


def nested(family: list[Level]) -> dict[str, Any]:
    """The family as one object, each with its `children`."""
    path: list[dict[str, Any]] = []
    for depth, job in family:
        node = {**row_of(job), "children": []}
        del path[depth:]
        if path:
            path[-1]["children"].append(node)
        path.append(node)
    return path[0]
