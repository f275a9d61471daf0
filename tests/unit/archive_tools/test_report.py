"""The report for a bug: complete, no secrets, no scripts, bounded, made of a broken queue too."""

import html
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from click.testing import CliRunner

from archive_tools import report_facts, report_jobs
from archive_tools.cli import cli
from archive_tools.distribution import Distribution
from archive_tools.pictures import PicturesMissing
from archive_tools.pictures_stats import failing_kinds, histogram, stats_picture
from archive_tools.reading import Read
from archive_tools.report import report
from archive_tools.report_facts import Facts, Survey, gather, last_records
from archive_tools.report_html import element, page
from archive_tools.report_jobs import JobTeller
from archive_tools.stats import count_jobs
from jqueue import JobQueue
from jqueue.job import jsonio
from jqueue.job.document import new_document, with_job, with_op
from jqueue.job.redaction import Redaction
from jqueue.queue.core import QueueCore
from jqueue.queue.running import log
from jqueue.store.directory import DirectoryStore
from jqueue.store.realdisk import QuietDisk
from jqueue.store.segment import segment_path
from tests.unit.archive_tools.jobs import Past, ended
from tests.unit.archive_tools.test_pictures import RealClock
from tests.unit.queue.making import begin, end

NOW = datetime(2030, 1, 31, 22, 0, tzinfo=UTC)
SCRIPT = "</pre></details><script>alert(1)</script>"
SECRET = "hunter2hunter2"


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """Job 1 failed, with a log; job 2 runs; both are full of secrets and of HTML."""
    return gather(make_queue(tmp_path_factory.mktemp("facts") / "queue"))


@pytest.fixture(scope="module")
def told(facts):
    return report(facts, now=NOW).decode()


@pytest.fixture
def queue_dir(tmp_path):
    return make_queue(tmp_path / "queue")


@pytest.fixture
def no_pictures(monkeypatch):
    """Nothing is drawn, as where there is no library for it."""

    def missing(*_args, **_options):
        raise PicturesMissing("pictures need matplotlib: pip install 'jqueue[pictures]'")

    monkeypatch.setattr("archive_tools.pictures_timeline.timeline_picture", missing)


def make_queue(path):
    store = DirectoryStore.open(path)
    queue = QueueCore(store, RealClock(), user="alice")
    queue.submit([{"OP_ID": "OP_COPY", "password": SECRET, "name": SCRIPT, "env": {"A": SECRET}}])
    queue.submit([{"OP_ID": "OP_EXEC", "argv": ["curl", f"https://bob:{SECRET}@host/", SCRIPT]}])
    token = begin(queue, 1)
    said = [f"Authorization: Bearer {SECRET}", SCRIPT, {"api_key": SECRET}]
    queue.ask(log(1, 0, token, [[[1_800_000_000, 0], "message", message] for message in said]))
    end(queue, 1, token, ok=False, result=["OpExecError", [f"no: token={SECRET} {SCRIPT}"]])
    begin(queue, 2)
    store.close()
    return path


class Tags(HTMLParser):
    """Every tag, and every attribute that could fetch or run something."""

    def __init__(self, text):
        super().__init__()
        self.open, self.names, self.active = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        if tag != "meta":
            self.open.append(tag)
        self.active += [
            (tag, name, value)
            for name, value in attrs
            if name.startswith("on") or (name in ("src", "href") and not value.startswith("#"))
        ]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_hostile_text_is_shown_as_text_and_nothing_is_fetched_or_run(told):
    tags = Tags(told)
    assert tags.open == []
    assert not tags.names & {"script", "iframe", "img", "link", "object", "base", "form"}
    assert tags.active == []
    assert html.escape(SCRIPT) in told
    assert not re.search(r"url\((?!#)|@import|http-equiv=\"refresh", told)
    assert "default-src 'none'" in told


def test_no_secret_gets_into_the_report_and_what_was_redacted_is_said(told):
    assert SECRET not in told
    for kind in ("parameter password", "environment value", "user and password in a URL"):
        assert kind in told
    assert "logs may hold more" in told
    assert "header Authorization" in told


def test_logs_are_left_out_if_that_is_wanted(told, facts, no_pictures):
    assert "log:" in told
    text = report(facts, now=NOW, logs=False).decode()
    assert "log:" not in text
    assert "no logs" in text


def test_the_report_tells_of_failed_and_running_jobs_of_the_journal_and_of_versions(told):
    for said in (
        "1 running, 1 error",
        "1  error  COPY: no: token=[redacted]",
        "2  running  EXEC(curl",
        "started job 2 opcode 0: running",
        "2030-01-31 22:00:00 UTC",
        "matplotlib",
    ):
        assert html.escape(said) in told
    assert told.count("<svg") == 2


def test_the_same_facts_give_the_same_report(facts, told):
    assert report(facts, now=NOW).decode() == told


@pytest.mark.damages
def test_a_queue_with_a_damaged_journal_gets_a_report_too(queue_dir):
    (segment,) = sorted((queue_dir / "journal").glob("0*"))
    data = segment.read_bytes()
    segment.write_bytes(data[:200] + b"?" + data[201:])
    text = report(gather(queue_dir), now=NOW).decode()
    assert "can&#x27;t be read" in text
    assert "journal-" in text
    assert Tags(text).open == []


def test_without_the_library_that_draws_the_report_says_so(facts, no_pictures):
    text = report(facts, now=NOW).decode()
    assert "jqueue[pictures]" in text
    assert "1 running, 1 error" in text


def test_only_the_last_failed_jobs_and_the_first_begun_ones_are_told_about(monkeypatch):
    monkeypatch.setattr(report_facts, "MAX_FAILED", 5)
    monkeypatch.setattr(report_facts, "MAX_BEGUN", 5)
    whole, part = Survey(), Survey()
    for job in range(1, 21):
        whole.add(Read(job, ended(job, at=job, status="error"), archived=False))
        part.add(Read(20 + job, Past(20 + job, at=job).start(job).document, archived=False))
    whole.merge(part)
    assert sorted(job for _, job in whole.failed) == [16, 17, 18, 19, 20]
    assert whole.begun == [21, 22, 23, 24, 25]
    assert whole.stats.jobs == 40


def test_a_job_of_any_size_is_told_in_bounded_space(monkeypatch):
    entries = [[number, [1, 0], "message", "x" * 5_000] for number in range(1, 201)]
    document = ended(1, at=0, status="error")
    op = {**document["ops"][0], "log": entries, "result": ["y" * 100_000]}
    op["input"] = {"OP_ID": "OP_COPY", "text": "z" * 100_000}
    document = {**document, "ops": [op] * 100}
    teller = JobTeller(Redaction(), logs=True)
    told = teller.tell([document])
    assert len(told) < report_jobs.MAX_OPS * 4 * report_jobs.MAX_CHARS
    assert "without the first 150 entries" in told
    assert "80 more opcodes" in told
    assert "characters more)" in told
    # A secret at the cut is not shown by half.
    op["input"] = {"text": f"{'z ' * 3_995} https://bob:{SECRET}@host/"}
    assert SECRET[:3] not in teller.tell([{**document, "ops": [op]}])
    monkeypatch.setattr(teller, "left", 100)
    again = teller.tell([document, document])
    assert (again.count("<details>"), teller.cut) == (1, 1)


def test_the_end_of_the_journal_is_told_across_segments_without_parameters(tmp_path, monkeypatch):
    monkeypatch.setattr(report_facts, "MAX_RECORDS", 6)
    for _ in range(3):
        store = DirectoryStore.open(tmp_path / "queue")
        QueueCore(store, RealClock(), user="alice").submit([{"OP_ID": "OP_COPY", "x": SECRET}])
        store.close()
    with QuietDisk(tmp_path / "queue") as disk:
        found = last_records(disk)
    lsns = [record.lsn for record in found]
    assert len(lsns) == 6
    assert lsns == list(range(lsns[0], lsns[0] + 6))
    assert ["submitted job 3"] in [record.changes[:1] for record in found]
    assert SECRET not in str(found)


@pytest.mark.damages
def test_the_records_around_damage_are_told(tmp_path):
    with JobQueue.open(tmp_path / "queue") as queue:
        for _ in range(5):
            queue.submit([{"OP_ID": "OP_COPY"}])
    segment = tmp_path / "queue" / segment_path(1)
    lines = segment.read_bytes().splitlines(keepends=True)
    lost = next(at for at, line in enumerate(lines) if b'"id":3' in line)
    lines[lost] = b"#" + lines[lost][1:]
    segment.write_bytes(b"".join(lines))
    with QuietDisk(tmp_path / "queue") as disk:
        said = [text for record in last_records(disk) for text in record.changes]
    jobs = [f"submitted job {job}" for job in (1, 2, 4, 5)]
    assert [text for text in said if text.startswith("submitted")] == jobs


def test_text_in_an_element_is_text_and_only_html_is_html():
    assert element("b", "<i>", element("i", "&"), title='"\x00') == (
        '<b title="&quot;\\x00">&lt;i&gt;<i>&amp;</i></b>'
    )
    assert b"<title>&lt;x&gt;</title>" in page("<x>", [])


def test_the_command_writes_a_private_file_and_refuses_one_in_the_queue(
    queue_dir, tmp_path, no_pictures
):
    target = tmp_path / "report.html"
    run = lambda *args: CliRunner().invoke(cli, ["report", *map(str, args)])  # noqa: E731
    result = run(queue_dir, "--output", target, "--no-logs")
    assert result.exit_code == 0
    assert "logs may hold more" in result.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    assert Tags(target.read_text()).open == []
    assert run(queue_dir, "-o", queue_dir / "r.html").exit_code == 1
    assert run(tmp_path / "nothing", "-o", target).exit_code == 1
    assert run(queue_dir).exit_code == 2


def test_an_empty_directory_of_facts_makes_a_page(tmp_path, no_pictures):
    assert "None." in report(Facts(tmp_path, [], []), now=NOW).decode()


# The picture of statistics


def test_the_stats_command_draws_too(queue_dir, tmp_path):
    target = tmp_path / "stats.png"
    result = CliRunner().invoke(cli, ["stats", str(queue_dir), "--picture", str(target)])
    assert result.exit_code == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert "2 jobs" in result.stdout
    result = CliRunner().invoke(cli, ["stats", str(queue_dir), "--picture", "stats.html"])
    assert result.exit_code == 2


def test_the_steps_of_a_histogram_hold_every_value_once_on_a_logarithmic_axis():
    values = Distribution()
    for value in (0, 0.0, 0.0011, 0.0012, 0.9, 1.1, 1000):
        values.add(value)
    steps = histogram(values)
    assert sum(step.number for step in steps) == 7
    assert all(step.high / step.low == pytest.approx(10 ** (1 / 6)) for step in steps)
    assert all(a.high == pytest.approx(b.low) for a, b in pairwise(steps))
    assert [step.number for step in steps if step.number] == [2, 2, 1, 1, 1]
    assert histogram(Distribution()) == []


def test_kinds_that_fail_most_come_first():
    jobs = [ended(job, at=job, status="error", op=f"OP_K{job % 3}") for job in range(8)]
    jobs.append(ended(9, at=9, op="OP_FINE"))
    found = failing_kinds(count_jobs(Read(job["id"], job, archived=False) for job in jobs))
    assert [(name, kind.errors) for name, kind in found] == [
        ("OP_K0", 3),
        ("OP_K1", 3),
        ("OP_K2", 2),
    ]


@pytest.mark.parametrize("number", [0, 1, 200])
def test_statistics_are_drawn_the_same_each_time(number):
    jobs = [
        ended(job, at=job, took=job / 10, status="error" if job % 5 == 0 else "success")
        for job in range(number)
    ]
    stats = count_jobs(Read(job["id"], job, archived=False) for job in jobs)
    picture = stats_picture(stats, "svg")
    assert picture == stats_picture(stats, "svg")
    assert picture.count(b">none") == (4 if number == 0 else 0)


class Secrets:
    """Texts with a secret each; `places` says where each was put."""

    def __init__(self):
        self.places = {}

    def at(self, place):
        secret = f"zq{len(self.places):03}hunter2"
        self.places[secret] = place
        return f"go token={secret} https://bob:{secret}@host/"

    def job(self, job, status):
        """A job that has one wherever a text can stand."""
        given = {
            "OP_ID": "OP_COPY",
            "password": self.at("a parameter by its name"),
            "name": self.at("a parameter"),
            "env": {"A": self.at("an environment")},
            "comment": self.at("comment"),
            "reason": [[self.at("the reason's source"), self.at("reason"), 5]],
            "argv": ["x", "--token", self.at("an option"), self.at("an argument")],
            "nested": {"a": [{"b": self.at("a nested value"), self.at("a name"): 1}]},
        }
        failed = status == "error"
        made = with_op(
            new_document(job, [given], now=1_700_000_000 * 10**9, uid=0),
            0,
            status=status,
            result=["OpExecError", [self.at("error")]] if failed else {"x": [self.at("result")]},
            log=[
                [1, [1_700_000_000, 0], "message", self.at("log")],
                [2, [1_700_000_000, 0], self.at("the kind of an entry"), {"k": self.at("entry")}],
            ],
            locks={"exclusive": [self.at("the name of a lock")]},
            livelock=self.at("livelock"),
            parked=self.at("why it was set aside"),
            interruption=self.at("policy"),
            progress={"done": 1, "total": 2, "text": self.at("progress")},
        )
        return with_job(made, key=self.at("key"), unique=self.at("unique name"))


@pytest.mark.damages
def test_wherever_a_job_has_a_secret_the_report_has_none(tmp_path):
    secrets = Secrets()
    for job, status in ((1, "error"), (2, "running")):
        (tmp_path / f"job-{job}").write_bytes(jsonio.dumps(secrets.job(job, status)))
    (tmp_path / "version").write_text("1\n")
    (tmp_path / "serial").write_text("2\n")
    drain = {"reason": secrets.at("drain"), "by": secrets.at("by"), "since": 1.5}
    (tmp_path / "drain").write_bytes(jsonio.dumps(drain))
    (tmp_path / secrets.at("the name of a file").partition(" https")[0]).touch()
    found = gather(tmp_path)
    assert (found.problem, found.survey.stats.unreadable) == (None, 0)
    text = report(found, now=NOW).decode()
    assert [place for secret, place in secrets.places.items() if secret in text] == []
