"""`status`: what is wrong comes first, with what to run next; `--check` says it to programs."""

import json
import shlex

import pytest

from jqueue import JobQueue
from jqueue.cli.health import LOW_DISK_BYTES, problems
from tests.unit.cli.terminal import JQUEUE, Terminal

FINE = {
    "pid": 12,
    "counts": {"queued": 3, "running": 1},
    "failure": None,
    "checkpoint_error": None,
    "reserve": "whole",
    "disk_free_bytes": 1 << 40,
    "quarantined": 0,
    "journal_bytes": 1 << 20,
    "journal_limit_bytes": 128 << 20,
    "files_behind": 5,
    "files_behind_limit": 100_000,
    "resting": False,
    "stopping": False,
    "workers": 2,
    "workers_wanted": 2,
    "crew": [{"pid": 13, "state": "busy"}, {"pid": 14, "state": "idle"}],
}


def test_a_queue_at_work_has_no_problem():
    assert problems(FINE, "/q") == []
    assert problems({**FINE, "pid": None, "counts": {"success": 9}}, "/q") == []
    assert problems({**FINE, "workers": 0, "stopping": True}, "/q") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"failure": "sync failed"}, "has stopped, to be opened anew: sync failed"),
        ({"reserve": "spent", "disk_free_bytes": 0}, "the disk is full"),
        ({"disk_free_bytes": LOW_DISK_BYTES - 1}, "only 256.0 MiB are free"),
        ({"disk_free_bytes": 0}, "only 0 B are free"),
        ({"checkpoint_error": "EIO"}, "job files can't be written, which is tried again: EIO"),
        ({"resting": True}, "the disk took no record"),
        ({"quarantined": 2}, "2 damaged files set aside"),
        ({"journal_bytes": 120 << 20}, "94% of the journal"),
        ({"files_behind": 90_000}, "90% of the job files behind"),
        ({"pid": None}, "nobody serves this queue, and 4 jobs unfinished"),
        ({"pid": None, "holder": 77}, "process 77 owns the queue and doesn't answer"),
        ({"crew": [{"pid": 13, "state": "silent"}]}, "1 worker without a connection"),
        ({"launch_failure": "process 13: it has died"}, "was ready: process 13: it has died"),
        ({"workers": 1}, "only 1 of 2 workers"),
    ],
)
def test_each_thing_that_is_wrong_is_one_line_and_a_command(change, said):
    [problem] = problems({**FINE, **change}, "/my queue")
    assert said in problem.text
    assert problem.command
    if "queue" in problem.command and "-u jqueue" not in problem.command:
        assert "/my queue" in shlex.split(problem.command)


def test_the_problem_comes_first_and_check_is_exit_code_1(shell):
    shell.submit()
    lines = shell("status", "--check", code=1).stdout.splitlines()
    assert lines[0] == "PROBLEM: nobody serves this queue, and 1 job unfinished"
    assert lines[1] == f"    look: jqueue daemon --queue {shell.queue}"
    shell("status")
    found = shell.json("status", "--check", code=1)
    assert (found["health"], len(found["problems"])) == ("degraded", 1)
    shell("cancel", 1)
    assert "ok" in shell("status", "--check").stdout.splitlines()[0]
    assert shell.json("status")["health"] == "ok"


def test_an_owner_that_does_not_listen_is_named(shell):
    with JobQueue.open(shell.queue) as queue:
        queue.submit([{"OP_ID": "OP_X"}])
        first = shell("status").stdout.splitlines()[0]
        assert f"process {queue._opened_pid} owns the queue and doesn't answer" in first


def test_damage_and_flags_are_shown_with_since_and_by_whom(shell):
    shell("drain", "--reason", "moving house")
    (shell.queue / "quarantine").mkdir()
    (shell.queue / "quarantine" / "job-9.4").touch()
    said = shell("status", "--check", code=1).stdout
    assert said.startswith("PROBLEM: 1 damaged file set aside in quarantine/\n")
    assert ": moving house" in next(line for line in said.splitlines() if "drain:" in line)


def test_an_owner_says_who_it_is_and_what_runs(shell):
    with JobQueue.open(shell.queue, listen=True) as queue:
        queue.submit([{"OP_ID": "OP_X"}])
        lines = shell("status").stdout
        assert f"process {queue._opened_pid} on " in lines
        assert "oldest:      queued for " in lines
        assert "of 128.0 MiB, segments: 1" in lines
        assert json.loads(shell("status", "--json").stdout)["health"] == "ok"


def test_its_lines_are_folded_between_words_to_fit_a_terminal(tmp_path):
    with (
        JobQueue.open(tmp_path / "queue", listen=True) as queue,
        Terminal(*JQUEUE, "status", JQUEUE_DIR=str(queue.path), columns=40) as terminal,
    ):
        assert terminal.ended() == 0
        lines = [line.rstrip() for line in terminal.raw.decode().splitlines()]
    # The path of a test has no blank, and may be longer.
    durable = next(at for at, line in enumerate(lines) if line.startswith("durable:"))
    assert max(map(len, lines[durable:])) <= 40
    assert lines[durable] == "durable:     full, all through LSN 0; a"
    assert lines[durable + 1].startswith("      crash replays 0")
