"""What an owner is doing, for a person who watches it: bounded, whatever the queue's length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from jqueue.execution.executions import Execution
from jqueue.execution.locks import Rank
from jqueue.execution.runner import Runner
from jqueue.job.change import Document
from jqueue.job.snapshot import Op, as_datetime
from jqueue.job.state import Entry
from jqueue.job.status import calc_priority
from jqueue.job.transitions import next_op
from jqueue.store.protocol import Store

MAX_ROWS: Final = 200
"""So many jobs and locks are told; no screen is higher."""
NAMED: Final = 10
"""So many holders and waiters of a lock are named."""


def overview(runner: Runner, rows: int) -> Callable[[], dict[str, Any]]:
    """Look, in the loop's thread; the answer is made by what is returned, on any thread.

    It reads the files of up to `rows` queued jobs.
    """
    rows = max(min(rows, MAX_ROWS), 0)
    store, kinds = runner.store, runner.options.kinds
    upcoming, held, locks = runner.dispatcher.overview(rows, NAMED, kinds)
    executing = list(islice(runner.endings.executions.values(), rows))
    found: dict[str, Any] = {
        "now": time.time(),
        "held": held,
        "locks": [lock._asdict() for lock in locks],
    }

    def complete() -> dict[str, Any]:
        running = (_running_row(store, one) for one in executing)
        found["executing"] = [row for row in running if row is not None]
        found["next"] = sorted(_next_rows(store, upcoming, kinds), key=lambda row: not row["known"])
        return found

    return complete


def _running_row(store: Store, execution: Execution) -> dict[str, Any] | None:
    document = _document(store, execution.job)
    if document is None or execution.op_index >= len(document["ops"]):
        return None
    op = Op(document["ops"][execution.op_index], execution.op_index)
    return {
        **_row(document, op),
        "status": str(op.status),
        "executed": None if op.executed is None else op.executed.timestamp(),
        "progress": op.progress,
        "attempt": op.attempts,
        "claimed": execution.claimed,
        "pid": None if execution.identity is None else execution.identity.pid,
    }


def _next_rows(
    store: Store, ranks: Iterable[Rank], kinds: frozenset[str]
) -> Iterator[dict[str, Any]]:
    for _, number in ranks:
        document = _document(store, number)
        at = None if document is None else next_op(document)
        if document is not None and at is not None:
            op = Op(document["ops"][at], at)
            received = as_datetime(document["received_timestamp"])
            yield {
                **_row(document, op),
                "received": None if received is None else received.timestamp(),
                "known": op.op_id in kinds,
            }


def _row(document: Document, op: Op) -> dict[str, Any]:
    return {
        "id": document["id"],
        "op": op.index,
        "ops": len(document["ops"]),
        "priority": calc_priority(document["ops"]),
        "summary": op.summary,
    }


def _document(store: Store, number: int) -> Document | None:
    """The live document; a queued job's is in its file."""
    entry: Entry | None = store.find(number)
    return entry.document if entry is not None and entry.live else None
