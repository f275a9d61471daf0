"""What a queue's jobs come to as a whole: counted in one pass, in bounded memory; plain data out.

Times are in seconds.  `waiting` is from a job's submission until its first opcode is executed,
`running` an opcode's execution, `total` a job's whole life until its end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from archive_tools.distribution import Distribution, Tally, Timeline
from archive_tools.reading import Read, Sought, worked
from jqueue.job import jsonio
from jqueue.job.change import Document
from jqueue.job.failure import error_text
from jqueue.job.query.choice import Choice
from jqueue.job.snapshot import Job
from jqueue.job.status import FINALIZED, JobStatus, calc_status
from jqueue.job.summary import INVALID_OP
from jqueue.store.offline import OfflineQueue

MAX_NAMES: Final = 10_000
"""Different submitters, or errors, that are counted one by one; later ones count as others."""
MAX_KINDS: Final = 1_000
OTHERS: Final = "(others)"
MAX_MESSAGE_CHARS: Final = 200

Time = list[int]

_NUMBER: Final = re.compile(r"[0-9]+")
_UID: Final = re.compile(r"uid=([0-9]+)")


EVERYTHING: Final = Choice()


class KindStats:
    """The opcodes of one kind."""

    def __init__(self) -> None:
        self.ops = 0
        self.errors = 0
        self.running = Distribution()

    def merge(self, other: KindStats) -> None:
        """Count all that `other` has counted."""
        self.ops += other.ops
        self.errors += other.errors
        self.running.merge(other.running)


class Stats:
    """Of all jobs that were added."""

    def __init__(self) -> None:
        self.live = 0
        self.archived = 0
        self.unreadable = 0
        self.retries = 0
        """Jobs that repeat another."""
        self.repeated_ops = 0
        """Opcodes that were executed more than once."""
        self.interruptions = 0
        self.statuses: Counter[str] = Counter()
        self.kinds: dict[str, KindStats] = {}
        self.submitters = Tally(MAX_NAMES)
        self.errors = Tally(MAX_NAMES)
        self.received = Timeline()
        self.ended = Timeline()
        self.waiting = Distribution()
        self.running = Distribution()
        self.total = Distribution()
        self.size_bytes = Distribution()
        self.first_received: Time | None = None
        self.last_ended: Time | None = None

    def add(self, document: Document, *, archived: bool, size_bytes: int) -> None:
        """Count a job."""
        if archived:
            self.archived += 1
        else:
            self.live += 1
        ops = document["ops"]
        status = calc_status(ops)
        self.statuses[str(status)] += 1
        self.retries += document.get("retry_of") is not None
        self.submitters.add(submitter_of(document))
        self.size_bytes.add(size_bytes)
        self._add_times(document, finalized=status in FINALIZED)
        failed = False
        for op in ops:
            is_error = op["status"] == JobStatus.ERROR
            # The later ones were not executed: their error is that of the first.
            self._add_op(op, failed=is_error and not failed)
            failed = failed or is_error

    def merge(self, other: Stats) -> None:
        """Count all that `other` has counted."""
        for name in ("live", "archived", "unreadable", "retries", "repeated_ops", "interruptions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.statuses.update(other.statuses)
        for kind, of_kind in other.kinds.items():
            self._kind(kind).merge(of_kind)
        for name in ("submitters", "errors", "received", "ended"):
            getattr(self, name).merge(getattr(other, name))
        for name in ("waiting", "running", "total", "size_bytes"):
            getattr(self, name).merge(getattr(other, name))
        self._note_span(other.first_received, other.last_ended)

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return self.live + self.archived

    @property
    def looked(self) -> int:
        """How many jobs were looked at."""
        return self.jobs + self.unreadable

    @property
    def jobs_per_s(self) -> float | None:
        """Jobs ended a second, from the first submission to the last end; None without either."""
        took_s = seconds_between(self.first_received, self.last_ended)
        return self.total.count / took_s if took_s else None

    def _add_times(self, document: Document, *, finalized: bool) -> None:
        received, ended = document["received_timestamp"], document["end_timestamp"]
        ended = ended if finalized else None
        self._note_span(received, ended)
        if ended is not None:
            self.ended.add(ended[0])
        if received is None:
            return
        self.received.add(received[0])
        begun = document["ops"][0]["exec_timestamp"] if document["ops"] else None
        if (waited_s := seconds_between(received, begun)) is not None:
            self.waiting.add(waited_s)
        if (took_s := seconds_between(received, ended)) is not None:
            self.total.add(took_s)

    def _note_span(self, received: Time | None, ended: Time | None) -> None:
        if received is not None:
            self.first_received = min(self.first_received or received, received)
        if ended is not None:
            self.last_ended = max(self.last_ended or ended, ended)

    def _add_op(self, op: dict[str, Any], *, failed: bool) -> None:
        given = op["input"]
        op_id = given.get("OP_ID") if isinstance(given, dict) else None
        kind = self._kind(op_id if isinstance(op_id, str) else INVALID_OP)
        kind.ops += 1
        self.repeated_ops += op.get("attempts", 0) > 1
        self.interruptions += op.get("interruptions", 0)
        if failed:
            kind.errors += 1
            self.errors.add(message_of(op["result"]))
        ran_s = seconds_between(op["exec_timestamp"], op["end_timestamp"])
        if ran_s is not None and op["status"] in FINALIZED:
            self.running.add(ran_s)
            kind.running.add(ran_s)

    def _kind(self, name: str) -> KindStats:
        if name not in self.kinds and len(self.kinds) >= MAX_KINDS:
            name = OTHERS
        return self.kinds.setdefault(name, KindStats())

    def ranked_kinds(self) -> list[tuple[str, KindStats]]:
        """Return the kinds with what is known of them, the most frequent first."""
        return sorted(self.kinds.items(), key=lambda pair: (-pair[1].ops, pair[0]))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "jobs": self.jobs,
            "live": self.live,
            "archived": self.archived,
            "unreadable": self.unreadable,
            "statuses": {str(status): self.statuses[str(status)] for status in JobStatus},
            "retries": self.retries,
            "repeated_ops": self.repeated_ops,
            "interruptions": self.interruptions,
            "first_received": iso(self.first_received),
            "last_ended": iso(self.last_ended),
            "jobs_per_s": self.jobs_per_s,
            "received": self.received.to_dict(),
            "ended": self.ended.to_dict(),
            "waiting_s": self.waiting.to_dict(),
            "running_s": self.running.to_dict(),
            "total_s": self.total.to_dict(),
            "size_bytes": self.size_bytes.to_dict(),
            "kinds": [
                {
                    "kind": name,
                    "ops": kind.ops,
                    "errors": kind.errors,
                    "running_s": kind.running.to_dict(),
                }
                for name, kind in self.ranked_kinds()
            ],
            "submitters": _ranked(self.submitters, "submitter", "jobs"),
            "errors": _ranked(self.errors, "message", "ops"),
        }


def _ranked(tally: Tally, name: str, counted: str) -> list[dict[str, Any]]:
    found = tally.ranked() + ([(OTHERS, tally.others)] if tally.others else [])
    return [{name: text, counted: count} for text, count in found]


def seconds_between(first: Time | None, later: Time | None) -> float | None:
    """Return the seconds from one `[seconds, microseconds]` to another; None without both."""
    if first is None or later is None:
        return None
    return later[0] - first[0] + (later[1] - first[1]) / 1_000_000


def iso(time: Time | None) -> str | None:
    """Return the time in ISO 8601, to the second, in UTC."""
    return None if time is None else datetime.fromtimestamp(time[0], UTC).isoformat()


def message_of(result: Any) -> str:
    """Return what an error says, so that equal errors are equal: numbers are written as #."""
    line = error_text(result).strip().partition("\n")[0]
    return _NUMBER.sub("#", line[: 2 * MAX_MESSAGE_CHARS])[:MAX_MESSAGE_CHARS] or "(nothing)"


def submitter_of(document: Document) -> str:
    """Return who submitted a job: another job, a user, a program, or nobody known.

    Users stand in the reason trail of its opcodes, and so do Ganeti's programs.
    """
    submitter = document.get("submitter")
    if submitter is not None:
        return f"job {submitter['job']}"
    given = document["ops"][0]["input"] if document["ops"] else None
    trail = given.get("reason") if isinstance(given, dict) else None
    for hop in trail if isinstance(trail, list) else ():
        texts = [part for part in hop if isinstance(part, str)] if isinstance(hop, list) else []
        if not texts:
            continue
        if ":opcode:" not in texts[0]:
            return texts[0][:MAX_MESSAGE_CHARS]
        if found := _UID.search(texts[-1]):
            return f"user {found[1]}"
    return "unknown"


def count_jobs(reads: Iterable[Read], choice: Choice = EVERYTHING) -> Stats:
    """Return what those of these jobs come to that are chosen; unreadable ones are numbered."""
    stats = Stats()
    for read in reads:
        if read.document is None:
            stats.unreadable += 1
        elif choice is EVERYTHING or choice.matches(Job(read.document, archived=read.archived)):
            size_bytes = len(jsonio.dumps(read.document)) + 1
            stats.add(read.document, archived=read.archived, size_bytes=size_bytes)
    return stats


def stats_of(
    queue: OfflineQueue, jobs: Iterable[Sought], choice: Choice = EVERYTHING
) -> Iterator[Stats]:
    """Yield, part by part, what the chosen ones of these jobs come to, counted with all
    processors; together (`merge`) they are what all come to.
    """
    return worked(queue, jobs, partial(_count_chunk, choice))


def _count_chunk(choice: Choice, reads: Iterator[Read]) -> list[Stats]:
    return [count_jobs(reads, choice)]
