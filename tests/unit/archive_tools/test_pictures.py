"""Pictures and text of timelines: everything drawn where it was placed, and the same each time."""

import builtins
import json
import re
import time
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from archive_tools.pictures import PicturesMissing, shown
from archive_tools.pictures_timeline import timeline_picture
from archive_tools.reading import seek
from archive_tools.timeline import Phase
from archive_tools.timeline_layout import Bar, DensityLane, Layout, Line, place
from archive_tools.timeline_reading import collect
from archive_tools.timeline_text import chart_columns, timeline_text
from jqueue.queue.core import QueueCore
from jqueue.queue.running import interrupted, requeue
from jqueue.store.directory import DirectoryStore
from jqueue.store.offline import OfflineQueue
from tests.unit.archive_tools.jobs import ended
from tests.unit.archive_tools.test_timeline import many, spans
from tests.unit.queue.making import begin, delay, run

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script> & $x^2$ \x1b[31m \ufffe \"'> 漢字"

ROWS = Layout(
    "rows",
    "2 jobs",
    0.0,
    100.0,
    [
        Line("1  COPY", "2 attempts", [Bar(0, 25, Phase.QUEUED), Bar(25, 75, Phase.SUCCESS)]),
        Line(HOSTILE, "", [Bar(50, 100, Phase.ERROR), Bar(10, 10, Phase.CANCELED)]),
    ],
)
LANES = Layout("lanes", "lanes", 0.0, 10.0, ROWS.lines, [], [1.0, 2.0], 5.0)
HEIGHTS = {Phase.SUCCESS: [1, 0, 0, 2, 0], Phase.ERROR: [0, 0, 0, 1, 0]}
DENSITY = Layout(
    "density",
    "many",
    0.0,
    5.0,
    [],
    [DensityLane(HOSTILE, HEIGHTS, [0, 0, 0, 3, 0], [4, 0, 0, 5, 0])],
    [0.0, 1.0, 2.0, 3.0, 4.0],
    1.0,
    ["a note"],
)
EMPTY = Layout("empty", "0 jobs, nothing to draw")


def boxes(picture, phase):
    """The boxes of a phase as (left, right, top), in the picture's points."""
    for group in ET.fromstring(picture).iter(f"{SVG}g"):
        if group.get("id") == phase:
            for path in group.iter(f"{SVG}path"):
                found = re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d"))
                xs, ys = [float(x) for x, _ in found], [float(y) for _, y in found]
                yield min(xs), max(xs), min(ys)


def test_bars_stand_where_they_were_placed():
    picture = timeline_picture(ROWS, "svg")
    ((queued_from, queued_to, _),) = boxes(picture, "queued")
    ((from_, to, first),) = boxes(picture, "success")
    ((error_from, error_to, second),) = boxes(picture, "error")
    assert queued_to == pytest.approx(from_)
    assert to - from_ == pytest.approx(2 * (queued_to - queued_from), rel=1e-3)
    assert error_from == pytest.approx((from_ + to) / 2, rel=1e-3)
    assert error_to - queued_from == pytest.approx(2 * (to - from_), rel=1e-3)
    assert second > first
    ((_, _, _),) = boxes(picture, "canceled")


def test_a_density_shows_every_column_that_has_something_however_lonely():
    picture = timeline_picture(DENSITY, "svg")
    first, last = sorted(boxes(picture, "success"))
    ((error_from, error_to, _),) = boxes(picture, "error")
    assert first[1] - first[0] == pytest.approx(last[1] - last[0], rel=1e-3)
    assert (error_from, error_to) == pytest.approx(last[:2], rel=1e-3)
    assert last[0] - first[0] == pytest.approx(3 * (first[1] - first[0]), rel=1e-3)
    assert len(list(boxes(picture, "begun"))) == 2


@pytest.mark.parametrize("layout", [ROWS, LANES, DENSITY, EMPTY], ids=lambda layout: layout.mode)
def test_the_same_timeline_gives_the_same_bytes_and_text_stays_text(layout):
    picture = timeline_picture(layout, "svg")
    assert picture == timeline_picture(layout, "svg")
    texts = "".join(ET.fromstring(picture).itertext())
    assert layout.title in texts
    assert not re.search(rb"<script|\x1b|202\d-\d\d-\d\dT\d\d:\d\d:\d\d\.", picture)
    if layout is not EMPTY:
        assert "</text><script>alert(1)" in texts
    if layout is ROWS:
        assert "$x^2$" in texts


@pytest.mark.parametrize("layout", [ROWS, DENSITY, EMPTY], ids=lambda layout: layout.mode)
def test_png_is_drawn_too(layout):
    assert timeline_picture(layout, "png").startswith(b"\x89PNG")


def test_a_label_is_one_line_that_xml_can_hold():
    assert shown("a\nb\t\x00\ufffe\ud800\u202e") == "a b \\x00\\ufffe\\ud800\\u202e"
    assert shown("x" * 300, 10) == "xxxxxxxxx…"


def test_ten_thousand_jobs_make_a_picture_of_bounded_size():
    picture = timeline_picture(place(spans(*many(10_000))), "svg")
    assert len(picture) < 500_000
    assert b"10,000 executions" in picture


def test_without_the_library_one_line_says_what_installs_it(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(PicturesMissing, match=r"pip install 'jqueue\[pictures\]'"):
        timeline_picture(EMPTY, "svg")


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("number", [0, 1, 50, 120, 3000])
def test_text_fits_the_width_and_says_what_its_signs_mean(width, unicode, number):
    layout = place(spans(*many(number)), columns=chart_columns(width))
    lines = [str(line) for line in timeline_text(layout, width, unicode=unicode)]
    chart = [line for line in lines if not line.startswith((layout.title, *layout.notes))]
    assert all(len(line) <= width for line in chart if "success" not in line)
    assert unicode or all(line.isascii() for line in lines)
    if number:
        assert any("time in UTC" in line for line in lines)


def test_the_text_shows_an_error_among_many_in_its_column():
    documents = [*many(80), ended(99, at=10.0, took=0.01, status="error")]
    layout = place(spans(*documents), columns=60)
    row = next(str(line) for line in timeline_text(layout, 90, unicode=True) if "99 " in str(line))
    assert row.count("✗") == 1
    assert row.index("✗") > 60


class RealClock:
    now_ns = staticmethod(time.time_ns)
    steady_s = staticmethod(time.monotonic)


@pytest.fixture
def queue_dir(tmp_path):
    """Job 1 was interrupted, given back, and succeeded; job 2 is queued."""
    path = tmp_path / "queue"
    store = DirectoryStore.open(path)
    queue = QueueCore(store, RealClock(), user="alice")
    queue.submit([delay()])
    queue.submit([delay()])
    queue.ask(interrupted(1, 0, begin(queue, 1), now=time.time_ns()))
    queue.ask(requeue(1, 0, begin(queue, 1, worker={"pid": 5, "start_time": 1, "boot_id": "b"})))
    run(queue, 1)
    store.close()
    return path


def command(*args, **options):
    return CliRunner().invoke(cli, ["timeline", *map(str, args)], **options)


def test_the_journal_knows_the_executions_that_the_document_forgot(queue_dir):
    with OfflineQueue(queue_dir) as queue:
        found = collect(queue, seek(queue, [1, 2, 3]))
    assert found.unreadable == 1
    executed = [span for span in found.rows[0].spans if span.phase.is_execution]
    assert [span.phase for span in executed] == [Phase.INTERRUPTED, Phase.REPEATED, Phase.SUCCESS]
    assert [span.worker for span in executed] == ["process 4711", "process 5", "process 4711"]
    times = [time for span in executed for time in (span.begin, span.end)]
    assert times == sorted(times)
    assert found.rows[0].note == "2 attempts, 1× interrupted"


def test_the_command_draws_into_files_and_as_text_and_changes_nothing(queue_dir, tmp_path):
    paths = sorted(queue_dir.rglob("*"))
    before = [path.stat() for path in paths]
    for kind, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("html", b"<!DOCTYPE html>")):
        target = tmp_path / f"picture.{kind}"
        assert command(queue_dir, "--output", target).exit_code == 0
        assert target.read_bytes().startswith(start)
        assert target.stat().st_mode & 0o777 == 0o600
    text = command(queue_dir)
    assert (text.exit_code, text.stdout.splitlines()[0]) == (0, "2 jobs")
    assert "1: 2 attempts, 1× interrupted" in text.stdout
    chosen = command(queue_dir, "--status", "queued", "--filter", "id > 1")
    assert chosen.stdout.startswith("1 job\n2 TEST_DELAY")
    placed = json.loads(command(queue_dir, "--json", "1").stdout)
    assert [bar[2] for bar in placed["lines"][0]["bars"]][-1] == "success"
    assert [path.stat() for path in paths] == before
    assert sorted(queue_dir.rglob("*")) == paths


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--output", "x.gif"], 2, "'x.gif' ends in none of .svg, .png, .html"),
        (["--since", "yesterday-ish"], 2, "is not a time"),
        (["--since", "1h", "--until", "2h"], 2, "it must be after --since"),
        (["--output", "{queue}/x.svg"], 1, "within the queue nothing is written"),
        (["--filter", "status =="], 2, "filter at the end"),
        (["99"], 1, "not there, or unreadable: 1 of the jobs"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_line(queue_dir, args, code, says):
    result = command(queue_dir, *(arg.format(queue=queue_dir) for arg in args))
    assert result.exit_code == code
    assert says in result.stderr
    assert not list(queue_dir.glob("x.svg"))
