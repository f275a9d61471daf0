"""Who submitted whom, as the documents of parents and children say."""

from __future__ import annotations

from typing import Any

from jqueue.job.change import Document


def named_children(document: Document) -> set[int]:
    """Return the IDs that a job's document names as submitted by it.

    In the results of its opcodes, and in the memory of what was submitted in mid-execution.
    """
    results = [op.get("result") for op in document["ops"]]
    calls = (document.get("submissions") or {}).values()
    answers = [named.get("jobs") for named in (*results, *calls) if isinstance(named, dict)]
    return {
        entry[1]
        for answer in answers
        if isinstance(answer, list)
        for entry in answer
        if _is_accepted(entry)
    }


def _is_accepted(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2  # noqa: PLR2004  # a pair
        and entry[0] is True
        and type(entry[1]) is int
        and entry[1] > 0
    )
