"""Ganeti's directories, whole and damaged in its ways, through every command that reads."""

import gzip
import json
import os
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from jqueue.job.row import iso_time

DATA = Path(__file__).parents[2] / "data"
FACTS = json.loads((DATA / "ganeti-queue.json").read_text())
JOBS = {job["id"]: job for job in FACTS["jobs"]}
FIELDS = (
    "id,status,priority,archived,summary,opstatus,oppriority,opresult,received_ts,start_ts,end_ts"
)


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert "Traceback" not in result.output
    assert result.exit_code == code, result.output
    return result


def fields_of(fact):
    times = {name: iso_time(fact[name]) for name in ("received_ts", "start_ts", "end_ts")}
    return {name: {**fact, **times}[name] for name in FIELDS.split(",")}


def unpack(path):
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as archive:
        archive.extractall(path, filter="data")
    return path / "queue"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("whole"))


def test_list_says_what_the_facts_say(whole):
    rows = json.loads(run("list", whole, "--archived", "--json", "-o", FIELDS).stdout)
    assert rows == [fields_of(fact) for fact in FACTS["jobs"]]
    assert len(run("list", whole, "--ndjson").stdout.splitlines()) == FACTS["live"]


@pytest.mark.parametrize("status", sorted(FACTS["count"].keys() - {"archived"}))
def test_list_finds_the_jobs_of_each_status(whole, status):
    rows = json.loads(run("list", whole, "--status", status, "--json").stdout)
    assert len(rows) == FACTS["count"][status]
    wanted = [j["id"] for j in FACTS["jobs"] if j["status"] == status]
    filtered = run("list", whole, "--archived", "--filter", f'status == "{status}"', "--json")
    assert [row["id"] for row in json.loads(filtered.stdout)] == wanted


def test_info_says_what_the_facts_say(whole):
    lines = run("info", whole, *JOBS, "--json").stdout.splitlines()
    for line, fact in zip(lines, FACTS["jobs"], strict=True):
        job = json.loads(line)
        logs = [entry for op in job["ops"] for entry in op["log"]]
        assert {
            name: job[name] for name in ("id", "status", "priority", "archived", "summary")
        } == {name: fact[name] for name in ("id", "status", "priority", "archived", "summary")}
        assert job.get("livelock") == fact["livelock"]
        assert job.get("process_id") == fact["process_id"]
        assert [op["status"] for op in job["ops"]] == fact["opstatus"]
        assert [op["result"] for op in job["ops"]] == fact["opresult"]
        assert max((entry[0] for entry in logs), default=0) == fact["log_serial"]
        assert [op["input"].get("depends") or [] for op in job["ops"]] == fact["depends"]
    shown = run("info", whole, *JOBS).stdout
    assert all(f"job {job}  " in shown for job in JOBS)


def test_tree_shows_jobs_that_submitted_none(whole):
    found = json.loads(run("tree", whole, *JOBS, "--json").stdout)
    assert [(job["id"], job["status"], job["children"]) for job in found] == [
        (fact["id"], fact["status"], []) for fact in FACTS["jobs"]
    ]
    assert run("tree", whole, "--archived").stdout == ""


def test_stats_count_what_the_facts_count(whole):
    found = json.loads(run("stats", whole, "--json").stdout)
    statuses = [fact["status"] for fact in FACTS["jobs"]]
    assert (found["live"], found["archived"]) == (FACTS["live"], FACTS["archived"])
    assert found["statuses"] == {name: statuses.count(name) for name in found["statuses"]}
    assert sum(kind["ops"] for kind in found["kinds"]) == sum(
        len(j["opstatus"]) for j in JOBS.values()
    )
    # What follows a failed opcode was not executed: its error is that of the first.
    failed = sum("error" in fact["opstatus"] for fact in FACTS["jobs"])
    assert sum(error["ops"] for error in found["errors"]) == failed
    ended = [fact for fact in FACTS["jobs"] if fact["finalized"] and fact["end_ts"]]
    assert found["total_s"]["count"] == len(ended)


def test_verify_finds_nothing(whole):
    assert json.loads(run("verify", whole, "--json").stdout) == []


def test_every_export_holds_what_the_facts_say(whole, tmp_path):
    run("export", whole, tmp_path / "e.gz")
    with gzip.open(tmp_path / "e.gz") as file:
        lines = [json.loads(line) for line in file]
    assert lines[0]["serial"] == FACTS["serial"]
    assert lines[-1]["manifest"]["live"] == FACTS["live"]
    assert lines[-1]["manifest"]["archived"] == FACTS["archived"]
    run("export", "--format", "sqlite", whole, tmp_path / "e.db")
    with sqlite3.connect(tmp_path / "e.db") as base:
        found = base.execute("SELECT id, status, archived FROM jobs ORDER BY id").fetchall()
    base.close()
    assert found == [(j["id"], j["status"], j["archived"]) for j in FACTS["jobs"]]
    run("export", "--format", "ganeti", whole, tmp_path / "theirs")
    rows = json.loads(run("list", tmp_path / "theirs", "--archived", "--json", "-o", FIELDS).stdout)
    assert rows == [fields_of(fact) for fact in FACTS["jobs"]]


def test_a_timeline_is_drawn(whole):
    assert json.loads(run("timeline", whole, "--json").stdout)


def changed(**values):
    return lambda data: json.dumps({**json.loads(data), **values}).encode()


def with_op(**values):
    def change(data):
        job = json.loads(data)
        return json.dumps({**job, "ops": [{**job["ops"][0], **values}, *job["ops"][1:]]}).encode()

    return change


BROKEN = {
    "job-20010": (lambda data: data[: len(data) // 2], "job-not-json"),
    "job-20011": (lambda _: b"", "job-empty"),
    "job-20012": (lambda data: bytes(len(data)), "job-empty"),
    "job-20014": (lambda _: b"<html></html>", "job-not-json"),
    "job-20015": (lambda data: data.replace(b"OP_", b"\xff\xfe_", 1), "job-not-json"),
    "job-20016": (changed(id=20999), "job-wrong-id"),
    "job-20017": (changed(id="20017"), "job-wrong-id"),
    "job-20018": (changed(ops=None), "job-invalid"),
    "job-20019": (with_op(status="asleep"), "job-invalid"),
    "job-20020": (with_op(start_timestamp=[1]), "job-invalid"),
    "job-20021": (lambda data: b"[" * 5000, "job-not-json"),
    "job-20022": (
        lambda data: data.replace(b"{", b'{"big": 1' + b"0" * 400 + b", ", 1),
        "job-not-json",
    ),
    "job-20023": (lambda data: data.replace(b"{", b'{"nan": NaN, ', 1), "job-not-json"),
    "job-20024": (lambda data: data.replace(b"OP_", b"\\ud800_", 1), "job-not-json"),
    "job-20025": (with_op(log=[["x"]]), "job-invalid"),
    "archive/0/job-9998": (lambda data: data[:-3], "job-not-json"),
    "archive/1/job-10000": (lambda _: b"", "job-empty"),
}
"""Files that hold no job any more."""
ODD = {
    "job-20031": (with_op(input={"OP_ID": "OP_MAKE_TEA"}), "op-unknown"),
    "job-20032": (with_op(input={"OP_ID": 7}), "op-unknown"),
    "job-20033": (with_op(input=["OP_TEST_DELAY"]), "op-unknown"),
    "job-20034": (changed(colour="blue"), "key-unknown"),
    "job-20035": (with_op(colour="blue"), "key-unknown"),
    "job-20036": (with_op(priority=-99), "job-priority"),
}
"""Files that hold a job which Ganeti would not have written."""
TEMPS = ("job-12ab3xyz.new", "job-12-4711.tmp", "serial-99-1.tmp", "archive/0/job-9-1.tmp")
LOST = {317, 12}
"""Their directory is wrong; both live and archived: the live one counts."""
UNREADABLE = {int(path.rpartition("-")[2]) for path in BROKEN}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    queue = unpack(tmp_path_factory.mktemp("damaged"))
    for path, (change, _) in {**BROKEN, **ODD}.items():
        (queue / path).write_bytes(change((queue / path).read_bytes()))
    for name in TEMPS:
        (queue / name).write_bytes(b"{")
    shutil.copy(queue / "archive/0/job-12", queue / "job-12")
    (queue / "archive/0/job-317").rename(queue / "archive/1/job-317")
    (queue / "job-1").symlink_to("/etc/passwd")
    (queue / "job-2").mkdir()
    os.mkfifo(queue / "job-3")
    return queue


@pytest.fixture(scope="module")
def findings(damaged):
    found = json.loads(run("verify", damaged, "--json", code=1).stdout)
    return {(finding["code"], finding["path"]) for finding in found}


EXPECTED = [
    *((code, path) for path, (_, code) in {**BROKEN, **ODD}.items()),
    *(("temp", name) for name in TEMPS),
    ("job-twin", "archive/0/job-12"),
    ("archive-misplaced", "archive/1/job-317"),
    *(("job-not-regular", f"job-{number}") for number in (1, 2, 3)),
]


@pytest.mark.parametrize("expected", EXPECTED)
def test_each_damage_has_its_finding(findings, expected):
    assert expected in findings


def test_no_job_that_is_whole_has_a_finding(findings):
    assert {path for _, path in findings} <= {path for _, path in EXPECTED}


def test_list_shows_every_job_that_can_be_read_as_it_is(damaged):
    result = run("list", damaged, "--archived", "--json", "-o", FIELDS, code=1)
    rows = {row["id"]: row for row in json.loads(result.stdout)}
    untouched = JOBS.keys() - UNREADABLE - {int(path[4:]) for path in ODD} - LOST
    assert {job: rows[job] for job in untouched} == {job: fields_of(JOBS[job]) for job in untouched}
    assert rows[12] == {**fields_of(JOBS[12]), "archived": False}
    firsts = [rows[job]["summary"][0] for job in (20031, 20032, 20033)]
    assert firsts == ["MAKE_TEA", "INVALID_OP", "INVALID_OP"]
    assert not rows.keys() & (UNREADABLE | {317, 1, 2, 3})
    assert result.stderr.count("see: jqueue-archive verify") == 20
    assert run("list", damaged, "--archived", code=1).stdout.count("\n") == len(rows) + 1


@pytest.mark.parametrize("job", sorted(UNREADABLE | {1, 2, 3}))
def test_info_and_tree_of_a_damaged_job_say_so(damaged, job):
    for command in ("info", "tree"):
        assert f"no job {job}, or it can't be read" in run(command, damaged, job, code=1).stderr


def test_info_shows_odd_jobs(damaged):
    odd = [int(path[4:]) for path in ODD]
    assert len(run("info", damaged, *odd, "--json").stdout.splitlines()) == len(odd)
    assert run("info", damaged, *odd).stdout.count("\njob ") == len(odd) - 1


def test_stats_number_what_can_not_be_read(damaged):
    found = json.loads(run("stats", damaged, "--json").stdout)
    rows = json.loads(run("list", damaged, "--archived", "--json", code=1).stdout)
    assert found["jobs"] == len(rows)
    assert found["unreadable"] == len(UNREADABLE) + 3
    assert "can't be read" in run("stats", damaged).stdout
    assert run("tree", damaged, "--archived", code=1).stdout == ""
    run("timeline", damaged, "--json")


@pytest.mark.parametrize("kind", ["jqueue", "ganeti", "sqlite"])
def test_every_export_takes_what_can_be_read(damaged, tmp_path, kind):
    result = run("export", "--format", kind, damaged, tmp_path / "out", code=1)
    rows = json.loads(run("list", damaged, "--archived", "--json", code=1).stdout)
    assert f"exported {len(rows)} jobs" in result.stderr


@pytest.mark.parametrize(
    ("content", "is_found"),
    [
        (None, True),
        (b"-5\n", True),
        (b"many\n", True),
        (b"3\n", True),
        (b"", True),
        (b"\xff\xfe", True),
        (b"9" * 5000, True),
        (b"20078", False),
        (b"20078\n\n", False),
    ],
)
def test_a_serial_that_can_not_be_is_found_and_stops_no_command(tmp_path, content, is_found):
    queue = tmp_path / "queue"
    (queue / "archive/1").mkdir(parents=True)
    (queue / "version").write_text("1\n")
    for path in ("job-20010", "archive/1/job-10000"):
        (queue / path).write_bytes(SAMPLES[path])
    if content is not None:
        (queue / "serial").write_bytes(content)
    found = json.loads(run("verify", queue, "--json", code=int(is_found)).stdout)
    assert {finding["code"] for finding in found} == ({"serial"} if is_found else set())
    assert len(json.loads(run("list", queue, "--archived", "--json").stdout)) == 2
    assert json.loads(run("stats", queue, "--json").stdout)["jobs"] == 2
    run("info", queue, 20010)
    run("tree", queue, 10000)
    run("export", queue, tmp_path / "out.gz")


def _samples():
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as archive:
        return {
            path: archive.extractfile(f"queue/{path}").read()
            for path in ("job-20010", "archive/1/job-10000")
        }


SAMPLES = _samples()
