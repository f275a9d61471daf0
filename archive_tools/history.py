"""Every transition of one job: from the kept journal, and before that from the job's own times."""

from __future__ import annotations

from datetime import datetime
from operator import itemgetter
from typing import Final, NamedTuple

from archive_tools.diff import Delta, deltas_of
from archive_tools.journal import Damage, parts, said, time_of
from jqueue.job.change import Document, decode_change
from jqueue.job.state import Entry, Layer, Place, apply_all
from jqueue.store.disk import Disk
from jqueue.store.replay import Replayed
from jqueue.store.segment import Found

TOLD: Final = frozenset({"submitted", "archived", "pruned", "quarantined"})
"""What is more than a change of values."""
OP_TIMES: Final = (("start_timestamp", "started"), ("end_timestamp", "ended"))


class Step(NamedTuple):
    """What one record did to a job.  `lsn` is None where only the job's document tells of it."""

    time: datetime | None
    lsn: int | None
    kinds: list[str]
    text: str
    deltas: list[Delta]


class History(NamedTuple):
    """`whole` says whether the journal goes back to the submission; `damage` what it lost."""

    steps: list[Step]
    whole: bool
    damage: list[str]


def history(disk: Disk, job: int, *, owned: bool, document: Document | None) -> History:
    """Return what happened to `job`; beside an owner, what is durable.

    `document` is the job as it is: where the journal tells nothing, its times do.  Raises
    QueueFailed if there is no journal.
    """
    walk = _Walk(job)
    damage: list[str] = []
    last = 0
    steps: list[Step] = []
    for part in parts(disk, owned=owned):
        if isinstance(part.what, Damage):
            damage.append(part.what.text)
        elif isinstance(part.what, Found):
            new = part.what.lsn > last
            last = max(last, part.what.lsn)
            taken = walk.take(part.number, part.what)
            steps += taken if new else []
    whole = bool(steps) and "submitted" in steps[0].kinds
    if not whole:
        earliest = walk.first if steps else document
        steps = [*(() if earliest is None else steps_of(earliest)), *steps]
    return History(steps, whole, damage)


class _Walk:
    """One job through all records; each segment brings its document along again."""

    def __init__(self, job: int) -> None:
        self.job = job
        self.first: Document | None = None
        """As it was before the first record that is kept."""
        self._number = 0
        self._state = Replayed({})

    def take(self, number: int, found: Found) -> list[Step]:
        if number != self._number:
            self._number, self._state = number, Replayed({})
        for document in found.value.get("base", ()):
            if document["id"] == self.job:
                entry = Entry(document, Place.LIVE, document.get("lsn", 0))
                self._state.values.setdefault(self.job, entry)
                self.first = self.first or document
        mine = [one for one in said(found.value) if one.job == self.job]
        if not mine:
            return []
        before = self._document()
        texts = [one.text for one in mine if one.about in TOLD]
        try:
            layer = Layer(self._state, found.lsn)
            apply_all(layer, [decode_change(one.value) for one in mine])
            self._state.values.update(layer.new)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            # A record before it is damaged.
            texts = [*(one.text for one in mine), "what was before is not known"]
        after = self._document()
        deltas = []
        if before is not None and after is not None:
            deltas = list(deltas_of(before, after))
        kinds = list(dict.fromkeys(one.about for one in mine))
        time = time_of(found.value.get("time"))
        return [Step(time, found.lsn, kinds, "; ".join(texts), deltas)]

    def _document(self) -> Document | None:
        entry = self._state.values.get(self.job)
        return entry.document if isinstance(entry, Entry) else None


def in_utc(moment: datetime | None) -> str | None:
    """Return the moment in ISO 8601."""
    return None if moment is None else moment.isoformat()


def steps_of(document: Document) -> list[Step]:
    """Return what a document's own times tell."""
    stamps = [(document.get("received_timestamp"), "submitted")]
    for at, op in enumerate(document["ops"]):
        stamps += [(op.get(key), f"opcode {at} {text}") for key, text in OP_TIMES]
    stamps.append((document.get("end_timestamp"), "ended"))
    known = [(time, text) for stamp, text in stamps if (time := time_of(stamp)) is not None]
    return [Step(time, None, [], text, []) for time, text in sorted(known, key=itemgetter(0))]
