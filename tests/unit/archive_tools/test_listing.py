"""`list`, `info`, `tree` and `stats` offline: what `jqueue` says, in every form."""

import csv
import io
import json
import shutil

import pytest
from click.testing import CliRunner

from archive_tools import parallel
from archive_tools.cli import cli as archive_cli
from jqueue import JobQueue, ResultWithJobs
from jqueue.cli.main import cli as jqueue_cli


def run(command, *arguments, code=0):
    result = CliRunner().invoke(command, [str(one) for one in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Jobs 1 to 4 ended (1 archived, 2 archived and packed), 5 is 4's child, 6 and 7 are open."""
    path = tmp_path_factory.mktemp("listing") / "queue"
    with JobQueue.open(path) as opened:
        for name in ("a", "b", "c", "d"):
            opened.submit([{"OP_ID": "OP_COPY", "name": name}])
        for name in ("a", "b", "c", "d"):
            with opened.claim() as claim:
                if name == "b":
                    claim.fail("disk 7 is full")
                elif name == "d":
                    claim.finish(ResultWithJobs([[{"OP_ID": "OP_CHILD"}]]))
                else:
                    claim.finish(name)
        opened.submit([{"OP_ID": "OP_LATER", "priority": -10}], key="k")
        opened.submit([{"OP_ID": "OP_LATER"}, {"OP_ID": "OP_COPY"}], unique="u")
        opened.archive(2)
    run(archive_cli, "pack", "--all", path)
    with JobQueue.open(path) as opened:
        opened.archive(1)
    return path


@pytest.fixture
def queue(made):
    """For those who only read."""
    return made


@pytest.fixture
def own(made, tmp_path):
    """For those who change it."""
    return shutil.copytree(made, tmp_path / "queue")


LISTS = [
    (),
    ("--archived",),
    ("--archived", "--sort", "id"),
    ("--archived", "--sort", "-id"),
    ("--archived", "--sort", "summary"),
    ("--archived", "--sort", "-end_ts"),
    ("--archived", "--sort", "key"),
    ("--status", "queued"),
    ("--status", "queued", "--status", "error", "--archived"),
    ("--since", "1h"),
    ("--since", "2099-01-01"),
    ("--filter", 'archived and "OP_COPY" in kinds'),
    ("--filter", '"OP_COPY" in kinds or key == "k"', "--archived"),
    ("--filter", "id == 1 or id == 5"),
    ("-o", "id,opend,received_ts,opresult,errors,oplog", "--archived"),
    ("-o", "+submitter,kinds", "--sort", "-priority"),
    (2, 5, 2, 1),
]


@pytest.mark.parametrize("arguments", LISTS)
def test_a_list_is_what_jqueue_lists(queue, arguments):
    for form in (("--json",), ()):
        ours = run(archive_cli, "list", queue, *arguments, *form).stdout
        assert ours == run(jqueue_cli, "--queue", queue, "list", *arguments, *form).stdout
    assert ours.count("\n") > 1 or "2099-01-01" in arguments


@pytest.mark.parametrize("arguments", LISTS)
def test_every_form_of_a_list_has_the_same_rows(queue, arguments):
    rows = json.loads(run(archive_cli, "list", queue, *arguments, "--json").stdout)
    lines = run(archive_cli, "list", queue, *arguments, "--ndjson").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = list(
        csv.DictReader(io.StringIO(run(archive_cli, "list", queue, *arguments, "--csv").stdout))
    )
    assert [row["id"] for row in table] == [str(row["id"]) for row in rows]
    assert all(row.keys() == rows[0].keys() for row in table)


@pytest.mark.parametrize(
    "arguments", [("--archived",), ("--filter", "archived and id > 1", "--sort", "-id")]
)
def test_many_processes_list_what_one_does(queue, arguments, monkeypatch):
    alone = run(archive_cli, "list", queue, *arguments, "--json").stdout
    monkeypatch.setattr(parallel, "ALONE_S", 0)
    monkeypatch.setattr(parallel, "CHUNK", 2)
    assert run(archive_cli, "list", queue, *arguments, "--json").stdout == alone


@pytest.mark.damages
def test_a_job_that_is_not_there_or_damaged_is_said_and_the_rest_is_listed(own):
    result = run(archive_cli, "list", own, 1, 99, "--json", code=1)
    assert [row["id"] for row in json.loads(result.stdout)] == [1]
    assert result.stderr.count("\n") == 1
    assert "no job 99" in result.stderr
    (own / "archive/0/job-1").write_text("{")
    result = run(archive_cli, "list", own, "--archived", "--json", code=1)
    assert [row["id"] for row in json.loads(result.stdout)] == [2, 3, 4, 5, 6, 7]
    assert "job 1," in result.stderr


def test_info_shows_what_jqueue_shows(queue):
    for job in range(1, 8):
        ours = run(archive_cli, "info", queue, job, "--json").stdout
        assert ours == run(jqueue_cli, "--queue", queue, "info", job, "--json").stdout
        assert f"job {job} " in run(archive_cli, "info", queue, job).stdout
    result = run(archive_cli, "info", queue, 2, 99, 3, "--json", code=1)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [2, 3]


def test_a_tree_is_what_jqueue_shows_and_without_an_id_every_family_is_there(queue):
    [ours] = json.loads(run(archive_cli, "tree", queue, 4, "--json").stdout)
    assert ours == json.loads(run(jqueue_cli, "--queue", queue, "tree", 4, "--json").stdout)
    assert [child["id"] for child in ours["children"]] == [5]
    assert json.loads(run(archive_cli, "tree", queue, "--json").stdout) == [ours]
    shown, theirs = (
        [line.partition("  ")[0] for line in run(*command, 4).stdout.splitlines()]
        for command in ((archive_cli, "tree", queue), (jqueue_cli, "--queue", queue, "tree"))
    )
    assert shown == theirs
    assert "2 jobs: 1 queued, 1 success" in run(archive_cli, "tree", queue).stdout
    run(archive_cli, "tree", queue, 99, code=1)


def test_a_family_whose_first_job_is_archived_is_shown_when_asked_for(own):
    with JobQueue.open(own) as opened:
        opened.archive(4)
    assert run(archive_cli, "tree", own).stdout == ""
    assert "4 success (archived)" in run(archive_cli, "tree", own, "--archived").stdout


def test_stats_count_live_and_archived_jobs_or_those_that_are_chosen(queue):
    found = json.loads(run(archive_cli, "stats", queue, "--json").stdout)
    assert (found["jobs"], found["live"], found["archived"]) == (7, 5, 2)
    assert {name: n for name, n in found["statuses"].items() if n} == {
        "queued": 3,
        "success": 3,
        "error": 1,
    }
    assert found["errors"] == [{"message": "disk # is full", "ops": 1}]
    kinds = {kind["kind"]: (kind["ops"], kind["errors"]) for kind in found["kinds"]}
    assert kinds == {"OP_COPY": (5, 1), "OP_LATER": (2, 0), "OP_CHILD": (1, 0)}
    assert {s["submitter"] for s in found["submitters"]} >= {"job 4"}
    assert found["running_s"]["count"] == 4
    live = json.loads(run(archive_cli, "stats", queue, "--live", "--json").stdout)
    assert live["jobs"] == 5
    chosen = json.loads(run(archive_cli, "stats", queue, "--status", "error", "--json").stdout)
    assert chosen["jobs"] == 1
    assert json.loads(run(archive_cli, "stats", queue, 3, 4, "--json").stdout)["jobs"] == 2


def test_stats_are_read_by_a_person(queue):
    shown = run(archive_cli, "stats", queue).stdout
    for part in ("7 jobs, 5 live and 2 archived", "STATUS", "running", "OP_COPY", "disk # is full"):
        assert part in shown
    assert run(archive_cli, "stats", queue, "--since", "2099-01-01").stdout.startswith("0 jobs")


@pytest.mark.parametrize("command", ["list", "info", "tree", "stats"])
def test_what_is_wrong_is_one_line(tmp_path, command):
    result = run(archive_cli, command, tmp_path / "none", 1, code=1)
    assert result.stderr.count("\n") == 1
    assert str(tmp_path / "none") in result.stderr
