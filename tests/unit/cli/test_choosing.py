"""Choosing jobs by status, time and filter: for lists, and for verbs on many at once."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from jqueue.cli.main import COMMANDS, cli
from jqueue.console.times import ago, span


@pytest.fixture
def three(shell):
    """Three jobs: 1 is canceled, 3 is more urgent."""
    shell.submit()
    shell("submit", "--op", '{"OP_ID": "OP_COPY", "name": "x"}')
    shell.submit("--priority", "-10")
    shell("cancel", 1)
    return shell


def ids(shell, *arguments):
    return [job["id"] for job in shell.json("list", *arguments)]


def test_a_filter_of_ganetis_language_chooses(three):
    assert ids(three, "--filter", 'status == "canceled" or "OP_COPY" in kinds') == [1, 2]
    assert ids(three, "--filter", "priority < 0", "--status", "queued") == [3]
    assert ids(three, "--filter", "id == 1 or id == 3") == [1, 3]


def test_since_means_the_last_thing_that_happened(three):
    assert ids(three, "--since", "1h") == [1, 2, 3]
    assert ids(three, "--since", "2099-01-01") == []


def test_a_filter_that_names_archived_finds_archived_jobs(three):
    three("archive", 1)
    assert ids(three, "--filter", "archived") == [1]
    assert ids(three, "--filter", "priority <= 0") == [2, 3]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--filter", "status =="),
        ("--filter", 'stauts == "error"'),
        ("--since", "yesterday"),
        ("-o", "id,stauts"),
        ("--sort", "id,status"),
        ("--sort", "nothing"),
    ],
)
def test_a_wrong_choice_is_one_line_and_a_matter_of_usage(three, arguments):
    result = three("list", *arguments, code=2)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_an_unknown_field_names_the_one_that_is_near(three):
    assert "'status'" in three("list", "-o", "stauts", code=2).stderr


def test_fields_and_order_are_the_users(three):
    heading, *rows = three("list", "-o", "id,kinds", "--sort", "-id").stdout.splitlines()
    assert heading.split() == ["ID", "Kinds"]
    assert [row.split() for row in rows] == [["3", "OP_EXEC"], ["2", "OP_COPY"], ["1", "OP_EXEC"]]
    assert ids(three, "--sort", "end_ts")[0] == 1
    [row] = three.json("list", "-o", "id,end_ts,opend", 1)
    assert row == {"id": 1, "end_ts": three.json("list", 1)[0]["ended"], "opend": [None]}


def test_a_dry_run_shows_what_is_chosen_and_changes_nothing(three):
    result = three("cancel", "--filter", "priority < 0", "--dry-run")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ID", "3"]
    assert "1 job (1 queued)" in result.stderr
    assert [job["id"] for job in three.json("cancel", "--since", "1h", "--dry-run")] == [2, 3]
    assert ids(three, "--status", "queued") == [2, 3]


def test_many_jobs_are_not_changed_unasked(three):
    result = three("cancel", "--since", "1h", code=2)
    assert "2 jobs (2 queued)" in result.stderr
    assert "--yes" in result.stderr
    assert ids(three, "--status", "queued") == [2, 3]


def test_chosen_jobs_are_changed_with_yes(three):
    three("change-priority", "--priority", 5, "--filter", '"OP_COPY" in kinds', "--yes")
    assert [job["priority"] for job in three.json("list", 2, 3)] == [5, -10]
    assert three("retry", "--status", "canceled", "--yes").stdout == "4\n"
    answers = three.json("cancel", "--status", "queued", "--yes")
    assert [answer["id"] for answer in answers] == [2, 3, 4]
    assert len(three.json("archive", "--status", "canceled", "--yes")) == 4
    assert ids(three) == []


def test_nothing_chosen_is_fine_and_nothing_named_is_a_mistake(three):
    assert "No job matches" in three("cancel", "--filter", "priority > 10", "--yes").stderr
    three("cancel", code=2)


def test_a_missing_job_says_where_it_was_looked_for(shell):
    shell.submit()
    result = shell("info", 12, code=1)
    assert f"no job 12: the newest in {shell.queue} is job 1" in result.stderr


def test_a_missing_queue_says_how_one_is_made(shell):
    assert "jqueue submit makes one" in shell("list", code=1).stderr


def test_a_wrong_command_names_the_one_that_is_near(shell):
    result = shell("lsit", code=2)
    assert "did you mean list?" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example(shell, name):
    shown = shell(name, "--help").stdout
    assert "Example:" in shown
    assert f"jqueue {name}" in shown
    assert shown.isascii()


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_is_of_this_program(shell, kind):
    assert "_JQUEUE_COMPLETE" in shell("completion", kind).stdout


def test_a_shell_completes_commands_and_statuses(tmp_path):
    env = {**os.environ, "_JQUEUE_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from jqueue.cli.main import main; main()"]
    words = {**env, "COMP_WORDS": "jqueue change-"}
    done = subprocess.run(
        command, check=False, env=words, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "plain,change-priority\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.26, "0.3s"), (12, "12s"), (185, "3m05s"), (7380, "2h03m"), (352_800, "4d02h")],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds, text):
    assert span(seconds) == text
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert ago(datetime.fromtimestamp(at.timestamp() - seconds, UTC), at) == f"{text} ago"


def run(queue, *words, **settings):
    command = [sys.executable, "-m", "jqueue", *words]
    env = {**os.environ, "JQUEUE_DIR": str(queue), **settings.pop("env", {})}
    return subprocess.run(command, check=False, env=env, timeout=60, **settings)


def test_json_is_utf8_and_text_is_ascii_where_the_locale_is_c(three):
    three("submit", "--comment", "x", "--op", '{"OP_ID": "OP_X", "name": "Zürich"}')
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = run(three.queue, "info", "4", "--json", env=env, capture_output=True)
    assert json.loads(done.stdout.decode())["ops"][0]["input"]["name"] == "Zürich"
    done = run(three.queue, "info", "4", env=env, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Z\\xfcrich" in done.stdout


def test_a_reader_that_leaves_and_a_full_disk_are_no_traceback(three):
    for _ in range(40):
        three("submit", "--", "echo", "x" * 4000)
    script = f"{sys.executable} -m jqueue list --json | head -c 1"
    env = {**os.environ, "JQUEUE_DIR": str(three.queue)}
    done = subprocess.run(
        ["bash", "-c", script], check=False, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[", "")
    with open("/dev/full", "w") as full:
        done = run(three.queue, "list", stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: No space left on device\n"


def test_cli_is_the_group_that_main_runs():
    assert list(COMMANDS) == cli.list_commands(None)
