"""Replay: the state that the unretired segments promise, built by the same `apply` as live.

Idempotent and total: the first change of a job in each segment brings the whole document along, so
a replay from any older moment, or of a replay, ends in the same state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jqueue.errors import QueueCorrupt
from jqueue.job.change import Submitted, decode_change, touched_job, touched_jobs
from jqueue.job.state import Entry, Key, Layer, Place, apply_all
from jqueue.store.segment import Found, Journal

ABSOLUTE = ("serial", "drain", "pause")
"""Keys whose value a change sets outright: right at the end of a replay wherever it began."""


@dataclass(slots=True)
class Replayed:
    """The outcome: values (jobs among them), which jobs each segment mentions, ids seen."""

    values: dict[Key, Any]
    held: dict[int, set[int]] = field(default_factory=dict)
    transactions: list[tuple[str, int]] = field(default_factory=list)

    def find(self, key: Key) -> Any:
        """Return the value of `key`: the base of the layers.

        What an index left unloaded is not there: the records that matter bring its document.
        """
        value = self.values.get(key)
        return None if type(value) is bytes else value

    @property
    def mentioned(self) -> set[int]:
        """Return all jobs that any unretired segment mentions."""
        return set().union(*self.held.values())


def replay(
    journal: Journal, values: dict[Key, Any], *, derived_after: int | None, until: int | None = None
) -> Replayed:
    """Return the state after all records of `journal`, or those through LSN `until`.

    `values` is where it begins: an index's, or nothing.  Derived values (`count/…`, `waited/…`) are
    kept up from `derived_after` on, the LSN of which `values` is the state; None leaves them out.

    Raises QueueCorrupt for a record that does not make sense.
    """
    result = Replayed(values)
    begin = journal.last_said if journal.caught_up else journal.segments[0].header._asdict()
    for key in ABSOLUTE:
        result.values[key] = begin.get(key)
    for segment in journal.segments:
        result.held[segment.number] = set()
    last = journal.last_lsn if until is None else until
    resume(result, journal, after=0, until=last, derived_after=derived_after)
    return result


def resume(
    result: Replayed, journal: Journal, *, after: int, until: int, derived_after: int | None
) -> None:
    """Go on with the records after LSN `after`, through `until`."""
    for segment, found in journal.records():
        if not after < found.lsn <= until:
            continue
        try:
            replay_record(result, segment.number, found, derived_after)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise QueueCorrupt(
                f"{segment.path}: the record of LSN {found.lsn} at offset {found.offset} makes no"
                f" sense ({error}); nothing was changed, look with: jqueue-archive verify,"
                " mend with: jqueue-archive repair",
                path=segment.path,
                offset=found.offset,
                lsn=found.lsn,
            ) from error


def replay_record(result: Replayed, number: int, found: Found, derived_after: int | None) -> None:
    """Carry out a record of segment `number`.

    `result.held` has an entry for the segment.  Raises ValueError, KeyError, TypeError or
    AttributeError if the record makes no sense.
    """
    record = found.value
    held = result.held[number]
    for document in record.get("base", ()):
        job = document["id"]
        if job not in held:
            result.values[job] = Entry(document, Place.LIVE, document.get("lsn", 0))
    layer = Layer(result, found.lsn)
    changes = [decode_change(value) for value in record["changes"]]
    apply_all(layer, changes)
    held.update(touched_jobs(changes))
    derived = derived_after is not None and found.lsn > derived_after
    for key, value in layer.new.items():
        if derived or _is_absolute(key):
            if value is None and key not in ABSOLUTE:
                result.values.pop(key, None)
            else:
                result.values[key] = value
    if record.get("tx"):
        result.transactions.append((record["tx"], found.lsn))


def _is_absolute(key: Key) -> bool:
    """Say whether a change sets the value of `key` outright; the others are derived from jobs.

    A user's key is in no job file when its job came about under a unique name, and only in part for
    a batch: before the first index the records are all there is.
    """
    return isinstance(key, int) or key in ABSOLUTE or key.startswith("key/")


def carried(journal: Journal, values: dict[Key, Any]) -> list[tuple[dict[str, Any], set[int]]]:
    """Return the records that nothing claims durable, to be copied into a new segment.

    Each keeps its LSN and claim; a job's first change among them is given its whole document again:
    `values` are the entries as they were before the first of them.
    """
    claim = journal.claim
    held: set[int] = set()
    copies = []
    for _, found in journal.records():
        if found.lsn <= claim:
            continue
        jobs: set[int] = set()
        base = {document["id"]: document for document in found.value.get("base", ())}
        for value in found.value["changes"]:
            change = decode_change(value)
            job = touched_job(change)
            if job is None or job in held:
                continue
            jobs.add(job)
            held.add(job)
            if isinstance(change, Submitted) or job in base:
                continue
            entry = values.get(job)
            if isinstance(entry, Entry) and entry.place is Place.LIVE:
                base[job] = entry.document
        record = {key: value for key, value in found.value.items() if key != "base"}
        if base:
            record["base"] = list(base.values())
        copies.append((record, jobs))
    return copies
