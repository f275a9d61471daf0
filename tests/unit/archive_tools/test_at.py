"""list, info and tree --at: a queue as it was, and how far back that goes."""

import json
import re
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from jqueue.console import times
from jqueue.store.directory import DirectoryStore
from jqueue.store.protocol import Transaction
from tests.crash.workload import TRANSACTIONS


@pytest.fixture
def path(tmp_path):
    store = DirectoryStore.open(tmp_path / "queue")
    for transaction in TRANSACTIONS[:11]:
        store.commit(transaction)
    store.commit(Transaction("rest", ()))
    store.close()
    return tmp_path / "queue"


def invoke(*args):
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert not isinstance(result.exception, Exception), result.exception
    return result


def statuses(path, at):
    result = invoke("list", "--archived", "--json", "--at", at, path)
    assert result.exit_code == 0, result.output
    return {job["id"]: (job["status"], job["archived"]) for job in json.loads(result.stdout)}


def test_list_at_an_lsn_shows_each_job_as_it_was(path):
    assert statuses(path, 1) == {1: ("queued", False)}
    assert statuses(path, 4)[1] == ("running", False)
    assert statuses(path, 6)[1] == ("success", False)
    assert sorted(statuses(path, 6)) == [1, 2, 3, 4, 5, 6, 7]
    assert statuses(path, 10)[1] == ("success", True)
    assert statuses(path, "2035-01-01") == statuses(path, 11)


def test_info_and_tree_at_an_lsn_show_the_job_as_it_was(path):
    shown = json.loads(invoke("info", "--json", "--at", 4, path, 1).stdout)
    assert (shown["status"], shown["ops"][0]["token"]) == ("running", 4)
    (family,) = json.loads(invoke("tree", "--json", "--at", 6, path, 1).stdout)
    assert [child["id"] for child in family["children"]] == [6, 7]
    (family,) = json.loads(invoke("tree", "--json", "--at", 5, path, 1).stdout)
    assert not family["children"]


class Later(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime(2050, 1, 1, tzinfo=tz)


def test_ages_at_an_lsn_are_those_of_then(path, monkeypatch):
    """A job of long ago was said to be running for as long as that."""
    monkeypatch.setattr(times, "datetime", Later)
    ages = [
        int(re.search(r"received .*\((\d+)d", invoke("info", *at, path, 1).stdout)[1])
        for at in (["--at", 4], [])
    ]
    assert ages[0] < ages[1]
    assert times.now() == Later.now(UTC)


def test_a_moment_out_of_reach_is_one_line_that_says_how_far_the_journal_goes(path):
    late = invoke("list", "--at", 10**6, path)
    assert late.exit_code == 1
    assert "the journal ends at LSN" in late.stderr
    early = invoke("list", "--at", "2001-01-01", path)
    assert early.exit_code == 1
    assert "goes back to LSN 0" in early.stderr
    assert invoke("list", "--at", "soon", path).exit_code == 2
    assert "goes back to LSN 0" in invoke("list", "--at", 1, path).stderr


def test_stats_and_timeline_at_an_lsn_count_and_draw_what_was_there(path):
    def counted(at):
        found = json.loads(invoke("stats", "--json", "--at", at, path).stdout)
        return found["jobs"], found["archived"], found["statuses"]["success"]

    def drawn(at):
        shown = json.loads(invoke("timeline", "--json", "--archived", "--at", at, path).stdout)
        return [line["bars"][-1][2] for line in shown["lines"]]

    assert [counted(at) for at in (1, 6, 11)] == [(1, 0, 0), (7, 0, 1), (9, 1, 1)]
    assert [drawn(at)[0] for at in (1, 4, 6)] == ["queued", "running", "success"]
    assert [len(drawn(at)) for at in (1, 4, 6)] == [1, 5, 7]
