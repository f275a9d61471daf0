"""What is wrong with the journal: every segment kept, the history too, each read alone.

The newest is read first and only one is held at a time: a segment stands by itself, so the newest
that mentions a job says how the job is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from archive_tools.findings import Finding, found
from jqueue.errors import FormatTooNew, QueueCorrupt
from jqueue.job.state import Entry
from jqueue.store.disk import TEMP_NAME, Disk
from jqueue.store.replay import Replayed, replay_record
from jqueue.store.segment import (
    JOURNAL,
    WATERMARK,
    Found,
    Segment,
    read_segment,
    read_watermark,
    segment_numbers,
    segment_path,
)

_NAMES = frozenset({"index", "watermark", "reserve"})

OnLast = Callable[[int, Entry], None]


@dataclass(slots=True)
class JournalFacts:
    """What the check of job files needs to know of the journal."""

    last_lsn: int = 0
    reflects: int = 0
    mode: str = "full"
    whole: bool = True
    """Every record that job files do not reflect was read: what the journal says counts."""
    seen: set[int] = field(default_factory=set)
    """The jobs that some segment mentions."""
    findings: list[Finding] = field(default_factory=list)


def check_journal(
    disk: Disk, *, owned: bool, on_last: OnLast, facts: JournalFacts | None = None
) -> JournalFacts:
    """Check all segments; call `on_last` with each job's last entry, newest segments first.

    `facts` is filled as segments are read, and right for `on_last`.
    """
    facts = facts or JournalFacts()
    facts.findings.extend(_names(disk))
    watermark = _watermark(disk, facts)
    after: Segment | None = None
    generations: dict[str, int] = {}
    for number in reversed(segment_numbers(disk)):
        segment = _read(disk, number, facts)
        if segment is None:
            after = None
            continue
        records = _whole_records(segment, after, facts, watermark, owned=owned)
        if not facts.last_lsn:
            facts.last_lsn = segment.next_lsn - 1
            facts.mode = segment.header.mode
        facts.reflects = max(facts.reflects, segment.reflects)
        twin = generations.setdefault(segment.header.generation, number)
        if twin != number:
            text = f"{segment.path}: the same generation as segment {twin}"
            facts.findings.append(found("journal-generation", segment_path(number), text))
        _replay(segment, records, facts, on_last)
        # What stands before is judged by this one's first LSN only: its records can go.
        segment.records.clear()
        segment.later.clear()
        after = segment
    return facts


def _names(disk: Disk) -> Iterator[Finding]:
    known = {segment_path(number).rpartition("/")[2] for number in segment_numbers(disk)}
    if not known:
        text = f"{disk.path / JOURNAL}: no segment is there, and a journal always has one"
        yield found("journal-missing", JOURNAL, text)
    for name in sorted(set(disk.names(JOURNAL)) - known - _NAMES):
        code = "temp" if TEMP_NAME.fullmatch(name) else "foreign"
        yield found(code, f"{JOURNAL}/{name}", f"{JOURNAL}/{name!r} is none of the journal's files")


def _watermark(disk: Disk, facts: JournalFacts) -> int:
    watermark = read_watermark(disk)
    if not watermark and disk.exists(WATERMARK):
        text = f"{WATERMARK}: damaged; it was evidence of what is durable, no more"
        facts.findings.append(found("watermark", WATERMARK, text))
    return watermark


def _read(disk: Disk, number: int, facts: JournalFacts) -> Segment | None:
    path = segment_path(number)
    try:
        return read_segment(disk, number)
    except QueueCorrupt as error:
        facts.findings.append(found("journal-header", path, str(error), offset=0))
    except FormatTooNew as error:
        facts.findings.append(found("format", path, str(error)))
    except FileNotFoundError:
        return None  # history that the owner has just let go
    except OSError as error:
        facts.findings.append(found("unreadable", path, f"{path}: {error.strerror}"))
    facts.whole = False
    return None


def _whole_records(
    segment: Segment, after: Segment | None, facts: JournalFacts, watermark: int, *, owned: bool
) -> list[Found]:
    """Return the records that count, and note where others should stand."""
    path = segment_path(segment.number)
    expected = segment.next_lsn
    offset = segment.bad_offset if segment.bad_offset is not None else segment.size
    evidence = None
    if after is not None:
        first = after.header.first_lsn
        if after.number != segment.number + 1:
            text = f"{JOURNAL}: the segments between {segment.number} and {after.number} are gone"
            facts.findings.append(found("journal-gap", path, text, lsn=expected))
            facts.whole = facts.whole and facts.reflects >= first - 1
        elif expected < first and segment.header.mode != "process":
            evidence = f"the next segment begins at LSN {first}"
    elif segment.header.mode != "process":
        evidence = _evidence(segment, watermark)
    if evidence is not None:
        retired = facts.reflects >= (after.header.first_lsn - 1 if after else segment.claim)
        facts.whole = facts.whole and after is not None and retired
        history = "; job files reflect it, only the history has a hole" if retired else ""
        text = (
            f"{segment.path}: the record of LSN {expected} at offset {offset} is damaged or"
            f" missing, though {evidence}{history}"
        )
        facts.findings.append(found("journal-corrupt", path, text, offset=offset, lsn=expected))
    elif after is None and segment.bad_offset is not None and not owned:
        lost = segment.size - offset
        text = f"{segment.path}: torn at offset {offset}, {lost} bytes from LSN {expected} on"
        facts.findings.append(found("journal-torn", path, text, offset=offset, lsn=expected))
    end = after.header.first_lsn if after is not None else expected
    return [record for record in segment.records if record.lsn < end]


def _evidence(segment: Segment, watermark: int) -> str | None:
    """Return what says that more was durable than the newest segment holds."""
    if segment.claim >= segment.next_lsn:
        return f"a later record says that LSN {segment.claim} was durable"
    if watermark >= segment.next_lsn:
        return f"job files reflect LSN {watermark}"
    if segment.bad_offset is not None and segment.closed:
        return "it stands behind a clean close"
    return None


def _replay(segment: Segment, records: list[Found], facts: JournalFacts, on_last: OnLast) -> None:
    result = Replayed({}, {segment.number: set()})
    path = segment_path(segment.number)
    for record in records:
        claims = max(record.value.get("durable", 0), record.value.get("reflects", 0) - 1)
        if claims >= record.lsn:
            text = f"{segment.path}: the record of LSN {record.lsn} claims more than was before it"
            facts.findings.append(_of_record("journal-record", path, text, record))
        try:
            replay_record(result, segment.number, record, None)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            text = f"{segment.path}: the record of LSN {record.lsn} makes no sense: {error}"
            facts.findings.append(_of_record("journal-record", path, text, record))
    for job in result.mentioned - facts.seen:
        facts.seen.add(job)
        entry = result.values.get(job)
        if isinstance(entry, Entry):
            on_last(job, entry)


def _of_record(code: str, path: str, text: str, record: Found) -> Finding:
    return found(code, path, text, offset=record.offset, lsn=record.lsn)
