"""What jobs did when, and where it stands: as plain data."""

import math
import random

import pytest

from archive_tools import timeline
from archive_tools.timeline import MAX_ROWS, Attempt, Phase, Spans, spans_of
from archive_tools.timeline_layout import Bar, place, ticks
from tests.unit.archive_tools.jobs import BEGIN_S, Past, ended


def spans(*documents, attempts=None):
    found = Spans()
    for document in documents:
        found.add(document)
    found.settle(attempts or {})
    return found


def shape(found):
    """Spans as (from, to, phase), in seconds after BEGIN_S."""
    return [(round(b - BEGIN_S, 3), round(e - BEGIN_S, 3), phase.name) for b, e, phase, *_ in found]


def test_a_job_is_queued_waits_for_locks_is_executed_and_ends_and_then_its_next_opcode():
    past = Past(1, "OP_A", "OP_B").wait(2).start(5).end(9).start(10, op=1)
    assert shape(spans_of(past.document)) == [
        (0, 2, "QUEUED"),
        (2, 5, "WAITING"),
        (5, 9, "SUCCESS"),
        (9, 10, "QUEUED"),
        (10, math.inf, "RUNNING"),
    ]


def test_after_a_failed_opcode_nothing_is_drawn_of_those_that_failed_for_it():
    past = Past(1, "OP_A", "OP_B").start(1).end(3, status="error")
    assert shape(spans_of(past.document)) == [(0, 1, "QUEUED"), (1, 3, "ERROR")]


def test_what_was_canceled_in_the_queue_has_the_moment_of_its_end():
    past = Past(1, "OP_A", "OP_B")
    past.document["ops"] = [{**op, "status": "canceled"} for op in past.document["ops"]]
    past.document["end_timestamp"] = [BEGIN_S + 4, 0]
    assert shape(spans_of(past.document)) == [(0, 4, "QUEUED"), (4, 4, "CANCELED")]


def test_an_earlier_execution_stands_where_the_journal_says():
    past = Past(1).start(1).interrupt(3).start(6, worker=7).end(8)
    earlier = Attempt(BEGIN_S + 1, BEGIN_S + 3, Phase.INTERRUPTED, "process 100")
    found = spans_of(past.document, {(1, 0): [earlier]})
    assert shape(found) == [
        (0, 1, "QUEUED"),
        (1, 3, "INTERRUPTED"),
        (3, 6, "QUEUED"),
        (6, 8, "SUCCESS"),
    ]
    assert [span.worker for span in found if span.phase.is_execution] == [
        "process 100",
        "process 7",
    ]


def test_an_opcode_set_aside_was_interrupted_and_waits_for_a_person():
    document = Past(1).start(1, policy="unknown").interrupt(3).document
    earlier = Attempt(BEGIN_S + 1, BEGIN_S + 3, Phase.INTERRUPTED, "process 100")
    assert shape(spans_of(document, {(1, 0): [earlier]}))[1:] == [
        (1, 3, "INTERRUPTED"),
        (3, math.inf, "WAITING"),
    ]
    assert shape(spans_of(document))[1:] == [(1, 1, "INTERRUPTED"), (1, math.inf, "WAITING")]


def test_a_clock_that_was_set_back_makes_a_moment_and_is_said():
    document = ended(1, at=10, took=-5)
    assert shape(spans_of(document))[-1] == (10, 10, "SUCCESS")
    assert "1 job with an end before the beginning" in place(spans(document)).notes[0]


def test_jobs_without_times_and_no_jobs_at_all_are_said_and_not_drawn():
    document = {**Past(1).document, "received_timestamp": None}
    layout = place(spans(document))
    assert (layout.mode, layout.title) == ("empty", "1 job, nothing to draw")
    assert layout.notes == ["1 job without any time, not drawn"]
    assert place(spans()).title == "0 jobs, nothing to draw"


def test_few_jobs_have_a_row_each_within_the_window():
    found = spans(ended(1, at=0, took=10), ended(2, at=20, took=5), Past(3, at=40).document)
    layout = place(found, since=BEGIN_S + 5, until=BEGIN_S + 22)
    assert layout.mode == "rows"
    assert [line.label for line in layout.lines] == ["1  COPY", "2  COPY"]
    assert layout.lines[0].bars == [Bar(BEGIN_S + 5, BEGIN_S + 10, Phase.SUCCESS)]
    assert layout.lines[1].bars == [Bar(BEGIN_S + 20, BEGIN_S + 22, Phase.SUCCESS)]


def test_what_goes_on_is_drawn_to_the_last_known_moment_or_to_now():
    found = spans(Past(1).start(1).document, ended(2, at=2, took=6))
    running = Bar(BEGIN_S + 1, BEGIN_S + 8, Phase.RUNNING)
    assert place(found).lines[0].bars[-1] == running
    assert place(found, now=BEGIN_S + 60.0).lines[0].bars[-1].end == BEGIN_S + 60


def test_a_single_moment_has_a_window_around_it():
    layout = place(spans(*(ended(job, at=0, took=0) for job in range(1, 4))))
    assert layout.begin < BEGIN_S < layout.end
    assert len(layout.lines) == 3


def test_what_took_some_milliseconds_is_within_the_window_as_a_whole():
    layout = place(spans(ended(1, at=0, took=0.009)))
    assert layout.begin <= BEGIN_S
    assert [bar.end for bar in layout.lines[0].bars] == [pytest.approx(BEGIN_S + 0.009)]
    assert layout.end >= BEGIN_S + 0.009


def test_a_rows_name_has_no_secret_and_its_note_says_how_often_it_ran():
    secret = {"OP_ID": "OP_EXEC", "argv": ["tool", "--password", "hunter2"]}
    past = Past(5, secret, retry_of=4).start(1).interrupt(2).start(3).end(4)
    row = spans(past.document).rows[0]
    assert "hunter2" not in row.label
    assert row.label == "5  EXEC(tool --password '[redacted]')"
    assert row.note == "2 attempts, 1× interrupted, retry of 4"


def many(number, *, gap=1.0, workers=4):
    """Jobs one after the other on each of some workers, all queued from the beginning."""
    for job in range(number):
        at = (job // workers) * gap
        yield ended(job + 1, at=at, took=gap / 2, worker=job % workers, op=f"OP_K{job % 3}")


def test_more_jobs_stand_in_lanes_of_their_workers_and_no_bar_covers_another():
    layout = place(spans(*many(MAX_ROWS + 20)))
    assert layout.mode == "lanes"
    assert [line.label for line in layout.lines] == [f"process {number}" for number in range(4)]
    for line in layout.lines:
        assert len(line.bars) == 30
        assert all(a.end <= b.begin for a, b in zip(line.bars, line.bars[1:], strict=False))


def test_workers_that_nobody_knows_share_as_many_lanes_as_ran_at_once():
    documents = [ended(job, at=job * 1.0, took=1.5) for job in range(1, 121)]
    for document in documents:
        del document["ops"][0]["worker"], document["ops"][0]["livelock"]
    layout = place(spans(*documents))
    assert [line.label for line in layout.lines] == ["place 1", "place 2"]


def test_very_many_are_drawn_as_how_many_there_were_at_once():
    layout = place(spans(*many(3_000)), columns=100)
    assert layout.mode == "density"
    assert layout.title.startswith("3,000 jobs: opcodes executed at once, by kind; 3,000 exec")
    assert [lane.label for lane in layout.lanes] == ["K0", "K1", "K2"]
    # Half of the time each of the four workers is busy.
    means = [sum(lane.heights[Phase.SUCCESS]) / 100 for lane in layout.lanes]
    assert sum(means) == pytest.approx(2, rel=0.01)


def test_a_burst_that_would_be_one_smear_is_a_density_and_where_it_was_is_said():
    documents = [*many(1000, gap=0.01), ended(2000, at=1_000_000)]
    layout = place(spans(*documents))
    assert layout.mode == "density"
    assert "nine tenths of it began from 2026-09-21T14:13:20Z to" in layout.notes[-1]


def test_columns_hold_exactly_the_time_that_there_was():
    chance = random.Random(1)
    documents = [
        ended(job, at=chance.uniform(0, 100), took=chance.expovariate(0.2)) for job in range(500)
    ]
    layout = place(spans(*documents), by="kind")
    total = sum(map(sum, (means for lane in layout.lanes for means in lane.heights.values())))
    took = sum(e - b for d in documents for b, e, p, *_ in spans_of(d) if p.is_execution)
    assert total * layout.column_s == pytest.approx(took, rel=1e-6)


def test_each_failure_is_marked_in_its_column_however_many_succeeded():
    documents = [*many(5000), ended(6000, at=600, took=0.0, status="error", op="OP_K1")]
    lanes = {lane.label: lane for lane in place(spans(*documents), columns=100).lanes}
    assert sum(lanes["K1"].failed) == 1
    assert lanes["K1"].failed[int(600 / 1250 * 100)] == 1
    assert sum(lanes["K0"].failed) == 0


def test_rare_kinds_are_drawn_together():
    documents = [ended(job, at=job, op=f"OP_K{job % 40}") for job in range(1000)]
    layout = place(spans(*documents), by="kind")
    assert len(layout.lanes) == 13
    assert layout.lanes[-1].label == "(others)"
    assert sum(lane.executions for lane in layout.lanes) == 1000


def test_parts_come_to_the_same_as_the_whole():
    documents = [*many(90), Past(200).start(1).interrupt(2).document]
    whole, part, rest = spans(*documents), Spans(), Spans()
    for document in documents[:50]:
        part.add(document)
    for document in documents[50:]:
        rest.add(document)
    part.merge(rest)
    part.settle({})
    assert place(part) == place(whole)
    assert place(part, by="kind") == place(whole, by="kind")


def test_jobs_that_ran_again_are_kept_in_bounded_number_and_all_are_drawn(monkeypatch):
    monkeypatch.setattr(timeline, "MAX_REPEATED", 3)
    whole, part = Spans(), Spans()
    for job in range(1, 5):
        whole.add(Past(job).start(1).interrupt(2).document)
        part.add(Past(10 + job).start(1).interrupt(2).document)
    whole.merge(part)
    assert len(whole.repeated) == 3
    whole.settle({})
    assert [row.job for row in whole.rows] == [1, 2, 3, 4, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("length", "labels"),
    [
        (0.02, ["14:13:20.000\n2026-09-21", "14:13:20.005", "14:13:20.010"]),
        (20, ["14:13:20\n2026-09-21", "14:13:25", "14:13:30"]),
        (7200, ["14:15\n2026-09-21", "14:30", "14:45"]),
        (200_000, ["00:00\n2026-09-22", "12:00", "00:00\n2026-09-23"]),
        (5_000_000, ["2026-09-24", "2026-10-01", "2026-10-08"]),
    ],
)
def test_ticks_are_round_moments_with_the_day_where_it_changes(length, labels):
    found = ticks(BEGIN_S, BEGIN_S + length, 9)
    assert [tick.label for tick in found][:3] == labels
    assert 2 <= len(found) <= 10


def test_ticks_end_with_the_year_9999():
    assert ticks(0, 253_402_300_799, 9)[-1].label.startswith("9")
