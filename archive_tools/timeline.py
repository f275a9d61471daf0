"""What jobs and opcodes did when: spans of time, from documents and what the journal still knows.

Pure data, in Unix seconds: nothing here reads a file, or draws.  `Spans` takes documents one by
one, in about 30 bytes a span, and can be merged from parts; `timeline_layout` places them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from jqueue.job.change import Document
from jqueue.job.redaction import Redaction
from jqueue.job.status import FINALIZED
from jqueue.job.summary import INVALID_OP, op_summary

MAX_ROWS: Final = 100
"""So many jobs have a row each; of more, lanes or densities are drawn."""
MAX_SPANS: Final = 4_000_000
"""About 120 MB; what is left out is counted."""
MAX_REPEATED: Final = 10_000
"""Jobs that are kept until the journal was asked for their earlier attempts."""
MAX_NAMES: Final = 1_000
MAX_KEPT_CHARS: Final = 4_096
MAX_LABEL_CHARS: Final = 60
MAX_NAMED: Final = 4
"""More opcodes don't fit a row's name."""
OTHERS: Final = "(others)"
NOBODY: Final = "(not known)"


class Phase(IntEnum):
    """What an opcode did; the order is that of a legend."""

    QUEUED = 0
    """From its submission, or the end of the opcode before it, until it left the queue."""
    WAITING = 1
    """For locks or other jobs."""
    RUNNING = 2
    SUCCESS = 3
    ERROR = 4
    CANCELED = 5
    INTERRUPTED = 6
    """An execution whose process vanished."""
    REPEATED = 7
    """An execution that failed, or was given back, and was begun again."""

    @property
    def is_execution(self) -> bool:
        """Whether something was executed."""
        return self > Phase.WAITING


class Span(NamedTuple):
    """An opcode in one phase; `end` is infinite while it goes on."""

    begin: float
    end: float
    phase: Phase
    op: int
    worker: str = NOBODY


class Attempt(NamedTuple):
    """An execution that the document knows no more, as the journal says it was."""

    begin: float
    end: float
    phase: Phase
    worker: str


class Row(NamedTuple):
    """One job: its name, what else is to be said, its spans in the order of time."""

    job: int
    label: str
    note: str
    spans: list[Span]


Attempts = Mapping[tuple[int, int], Sequence[Attempt]]
"""By job and opcode, in the order of time."""


def seconds(time: Sequence[int] | None) -> float | None:
    """Return `[seconds, microseconds]` as Unix seconds; None stays None."""
    return None if time is None else time[0] + time[1] / 1_000_000


def spans_of(document: Document, attempts: Attempts | None = None) -> list[Span]:
    """Return what a job's opcodes did; an end before its beginning makes a span without length."""
    spans: list[Span] = []
    ready = seconds(document["received_timestamp"])
    job_end = seconds(document["end_timestamp"])
    for index, op in enumerate(document["ops"]):
        earlier = (attempts or {}).get((document["id"], index), ())
        found = list(_spans_of_op(op, index, ready, job_end, earlier))
        spans += found
        if op["status"] != "success":
            break
        # Without times of its own an opcode does not tell when the next one's turn came.
        ready = found[-1].end if found else None
    return spans


def _spans_of_op(
    op: Mapping[str, Any],
    index: int,
    ready: float | None,
    job_end: float | None,
    earlier: Sequence[Attempt],
) -> Iterator[Span]:
    executed, end = seconds(op["exec_timestamp"]), _end_of(op, job_end)
    for attempt in earlier:
        if executed is None or attempt.begin < executed:
            if ready is not None:
                yield _span(ready, attempt.begin, Phase.QUEUED, index)
            yield _span(attempt.begin, attempt.end, attempt.phase, index, attempt.worker)
            ready = attempt.end
    started = None if op["status"] == "queued" else seconds(op["start_timestamp"])
    left = _first(started, executed, end)
    if ready is not None and left is not None and left > ready:
        yield _span(ready, left, Phase.QUEUED, index)
    waited = _first(executed, end)
    if started is not None and waited is not None and waited > started:
        yield _span(started, waited, Phase.WAITING, index)
    yield from _execution(op, index, executed, end, earlier)


def _execution(
    op: Mapping[str, Any],
    index: int,
    executed: float | None,
    end: float | None,
    earlier: Sequence[Attempt],
) -> Iterator[Span]:
    """Yield how the opcode was executed last, or is; or the moment in which it ended without."""
    status, worker = op["status"], worker_of(op)
    begin = _first(executed, end)
    if status in FINALIZED:
        if begin is not None:
            last = begin if end is None else end
            yield _span(begin, last, Phase[status.upper()], index, worker)
    elif executed is None or status == "queued":
        return
    elif status == "waiting":
        # Set aside: its process vanished, and a person must say what came of it.
        ended = next((known.end for known in earlier if known.begin >= executed), executed)
        yield _span(executed, ended, Phase.INTERRUPTED, index, worker)
        yield _span(ended, math.inf, Phase.WAITING, index)
    else:
        yield _span(executed, math.inf, Phase.RUNNING, index, worker)


def _end_of(op: Mapping[str, Any], job_end: float | None) -> float | None:
    if op["status"] not in FINALIZED:
        return math.inf
    end = seconds(op["end_timestamp"])
    return job_end if end is None and op["status"] == "canceled" else end


def _span(begin: float, end: float, phase: Phase, op: int, worker: str = NOBODY) -> Span:
    return Span(begin, max(begin, end), phase, op, worker)


def _first(*times: float | None) -> float | None:
    return next((time for time in times if time is not None), None)


def worker_of(op: Mapping[str, Any]) -> str:
    """Return the process that executes an opcode, or executed it last, as it is named."""
    worker = op.get("worker")
    pid = worker.get("pid") if isinstance(worker, dict) else None
    if type(pid) is int:
        return f"process {pid}"
    return "a claimant" if op.get("livelock") else NOBODY


def has_clock_step(document: Document) -> bool:
    """Say whether a time of the document is before one that it must follow."""
    pairs = [
        (document["received_timestamp"], document["start_timestamp"]),
        (document["start_timestamp"], document["end_timestamp"]),
    ]
    for op in document["ops"]:
        pairs += [
            (op["start_timestamp"], op["exec_timestamp"]),
            (op["exec_timestamp"], op["end_timestamp"]),
        ]
    return any(early is not None and late is not None and late < early for early, late in pairs)


def row_of(document: Document, spans: list[Span]) -> Row:
    """Return the row of a job, without secrets in its name."""
    redaction = Redaction()
    ops = document["ops"]
    label = ", ".join(op_summary(op["input"], redaction) for op in ops[:MAX_NAMED])
    label += f" and {len(ops) - MAX_NAMED} more" if len(ops) > MAX_NAMED else ""
    if len(label) > MAX_LABEL_CHARS:
        label = label[: MAX_LABEL_CHARS - 1] + "…"
    return Row(document["id"], f"{document['id']}  {label}", _note(document), spans)


def _note(document: Document) -> str:
    ops = document["ops"]
    attempts = max((op.get("attempts", 0) for op in ops), default=0)
    interruptions = sum(op.get("interruptions", 0) for op in ops)
    said = [
        f"{attempts} attempts" if attempts > 1 else "",
        f"{interruptions}× interrupted" if interruptions else "",
        "set aside" if any(op.get("parked") for op in ops) else "",
        f"retry of {document['retry_of']}" if document.get("retry_of") else "",
    ]
    return ", ".join(filter(None, said))


class Names:
    """Names as small numbers; beyond the first `MAX_NAMES` they are others."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the number of a name."""
        if name not in self.numbers and len(self.numbers) >= MAX_NAMES:
            name = OTHERS
        return self.numbers.setdefault(name, len(self.numbers))

    def __getitem__(self, number: int) -> str:
        """Return the name of a number."""
        return list(self.numbers)[number]


class Spans:
    """What was added: the spans of all jobs, in columns; a row a job as long as there are few."""

    def __init__(self) -> None:
        self.jobs = 0
        self.undated = 0
        """Jobs without any time."""
        self.stepped = 0
        """Jobs with an end before the beginning: the clock was set back."""
        self.left_out = 0
        self.unreadable = 0
        """Jobs that are nowhere, or whose files can't be read."""
        self.rows: list[Row] | None = []
        """None once there are more than `MAX_ROWS`."""
        self.repeated: list[Document] = []
        """Jobs whose earlier attempts only the journal can know; see `settle`."""
        self.begins, self.ends = array("d"), array("d")
        self.phases, self.kinds, self.workers = array("B"), array("H"), array("H")
        self.kind_names, self.worker_names = Names(), Names()

    def __len__(self) -> int:
        """Return the number of spans."""
        return len(self.begins)

    def add(self, document: Document) -> None:
        """Take a job."""
        self.jobs += 1
        self.stepped += has_clock_step(document)
        if any(map(_was_repeated, document["ops"])):
            self._keep(_trimmed(document))
        else:
            self._take(document, {})

    def settle(self, attempts: Attempts) -> None:
        """Take the jobs that were executed more than once, with what the journal knows of that."""
        for document in self.repeated:
            self._take(document, attempts)
        self.repeated = []
        if self.rows is not None:
            self.rows.sort()

    def merge(self, other: Spans) -> None:
        """Take all that `other` took."""
        for name in ("jobs", "undated", "stepped", "left_out", "unreadable"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if self.rows is not None and other.rows is not None:
            self.rows += other.rows
            self._bound_rows()
        else:
            self.rows = None
        for document in other.repeated:
            self._keep(document)
        kinds = [self.kind_names.number(name) for name in other.kind_names.numbers]
        workers = [self.worker_names.number(name) for name in other.worker_names.numbers]
        room = max(MAX_SPANS - len(self), 0)
        self.left_out += max(len(other) - room, 0)
        self.begins += other.begins[:room]
        self.ends += other.ends[:room]
        self.phases += other.phases[:room]
        self.kinds.extend(kinds[number] for number in other.kinds[:room])
        self.workers.extend(workers[number] for number in other.workers[:room])

    def _keep(self, document: Document) -> None:
        """Keep a job until the journal was asked; too many of them do without."""
        if len(self.repeated) < MAX_REPEATED:
            self.repeated.append(document)
        else:
            self._take(document, {})

    def _take(self, document: Document, attempts: Attempts) -> None:
        spans = spans_of(document, attempts)
        if not spans:
            self.undated += 1
        if self.rows is not None:
            self.rows.append(row_of(document, spans))
            self._bound_rows()
        for span in spans:
            if len(self) >= MAX_SPANS:
                self.left_out += 1
                continue
            self.begins.append(span.begin)
            self.ends.append(span.end)
            self.phases.append(span.phase)
            self.kinds.append(self.kind_names.number(_kind(document["ops"][span.op])))
            self.workers.append(self.worker_names.number(span.worker))

    def _bound_rows(self) -> None:
        if self.rows is not None and len(self.rows) > MAX_ROWS:
            self.rows = None


def _kind(op: Mapping[str, Any]) -> str:
    given = op["input"]
    op_id = given.get("OP_ID") if isinstance(given, dict) else None
    return op_id.removeprefix("OP_")[:MAX_LABEL_CHARS] if isinstance(op_id, str) else INVALID_OP


def _was_repeated(op: Mapping[str, Any]) -> bool:
    return op.get("attempts", 0) > 1 or op.get("interruptions", 0) > 0 or bool(op.get("retry_at"))


_KEPT: Final = (
    "attempts", "end_timestamp", "exec_timestamp", "interruptions", "livelock", "parked",
    "start_timestamp", "status", "worker",
)  # fmt: skip


def _trimmed(document: Document) -> Document:
    """Return what is needed of a document: not its results and logs, nor long parameters."""
    ops = [
        {**{name: op[name] for name in _KEPT if name in op}, "input": _short(op["input"])}
        for op in document["ops"]
    ]
    return {**document, "ops": ops, "submissions": None}


def _short(given: Any) -> Any:
    """Return the parameters, but of many only the kind: they are kept for a name."""
    return (
        given
        if not isinstance(given, dict) or len(str(given)) < MAX_KEPT_CHARS
        else {"OP_ID": given.get("OP_ID")}
    )
