"""The commands that show and change nothing, without a daemon."""

import contextlib
import os
import pty
import subprocess
import sys

import pytest

from jqueue import JobQueue


def files(path):
    return {name: path.joinpath(name).stat().st_mtime_ns for name in os.listdir(path)}


def test_list_shows_live_jobs_and_with_json_the_promised_members(shell):
    shell("submit", "--op", '{"OP_ID": "OP_TEST_DELAY", "duration": 0.2}', "--priority", "-10")
    [job] = shell.json("list")
    assert {name: job[name] for name in ("id", "status", "priority", "summary", "archived")} == {
        "id": 1,
        "status": "queued",
        "priority": -10,
        "summary": ["TEST_DELAY(0.2)"],
        "archived": False,
    }
    heading, row = shell("list").stdout.splitlines()
    assert heading.split() == ["ID", "STATUS", "PRIORITY", "RECEIVED", "SUMMARY"]
    assert row.split()[:3] == ["1", "queued", "-10"]


def test_list_by_status_and_by_id_and_archived(shell):
    for _ in range(3):
        shell.submit()
    shell("cancel", 2, 3)
    shell("archive", 3)
    assert [job["id"] for job in shell.json("list")] == [1, 2]
    assert [job["id"] for job in shell.json("list", "--status", "canceled")] == [2]
    assert [job["id"] for job in shell.json("list", "--archived")] == [1, 2, 3]
    assert [job["id"] for job in shell.json("list", 3)] == [3]
    assert shell.json("list", 1, "--status", "canceled") == []
    assert "canceled*" in shell("list", "--archived").stdout


def test_an_empty_queue_lists_as_an_empty_array(shell):
    shell("undrain", code=1)
    shell.submit()
    shell("cancel", 1)
    shell("autoarchive", "all")
    assert shell("list", "--json").stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    [
        ("info", 9),
        ("tree", 9),
        ("log", 9),
        ("log", "--follow", 9),
        ("explain", 9),
        ("watch", 9),
        ("wait", 9),
        ("list", 9),
        ("cancel", 9),
        ("change-priority", "--priority", 3, 9),
        ("retry", 9),
        ("archive", 9),
        ("resolve", 9, "--happened"),
    ],
)
def test_an_unknown_job_is_one_line_and_exit_code_1(shell, command):
    shell.submit()
    result = shell(*command, code=1)
    assert "9" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("info", 1),
        ("tree", 1),
        ("log", 1),
        ("explain", 1),
        ("watch", 1),
        ("status",),
        ("wait", 1),
        ("cancel", 1),
        ("archive", 1),
        ("undrain",),
        ("resume",),
        ("autoarchive", "all"),
        ("recover",),
        ("recover", "--plan"),
    ],
)
def test_no_queue_is_one_line_and_none_is_made(shell, command):
    result = shell(*command, code=1)
    assert result.stdout == ""
    assert str(shell.queue) in result.stderr
    assert result.stderr.count("\n") == 1
    assert not shell.queue.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("no-such-command",),
        ("list", "--status", "sleeping"),
        ("list", "0x1"),
        ("list", "-1"),
        ("info",),
        ("info", "one"),
        ("info", 1, 2),
        ("tree",),
        ("log", "1.5"),
        ("watch",),
        ("wait",),
        ("wait", "--idle", 1),
        ("wait", "--timeout", "never", 1),
        ("cancel",),
        ("change-priority", 1),
        ("change-priority", "--priority", 20, 1),
        ("change-priority", "--priority", -21, 1),
        ("resolve", 1),
        ("archive", "all"),
        ("autoarchive", "old"),
        ("autoarchive",),
        ("daemon", "--workers", -1),
        ("run", "--workers", 0),
        ("status", "now"),
        ("recover", 1),
        ("list", "--queue", ""),
    ],
)
def test_wrong_arguments_are_a_matter_of_usage(shell, command):
    result = shell(*command, code=2)
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert not shell.queue.exists()


def test_info_shows_all_and_with_json_the_document(shell):
    shell("submit", "--key", "k", "--op", '{"OP_ID": "OP_X", "name": "a"}')
    shown = shell("info", 1).stdout
    assert "opcode 0: X" in shown
    assert "  name        a\n" in shown
    found = shell.json("info", 1)
    assert (found["id"], found["status"], found["key"]) == (1, "queued", "k")
    assert found["ops"][0]["input"]["name"] == "a"


def test_log_shows_what_an_opcode_said_with_json_an_object_a_line(shell):
    queue, claim = shell.started()
    with queue:
        claim.feedback("hello")
        claim.feedback("a\x1b[31mb")
        claim.finish("done")
    assert shell("log", 1).stdout == "hello\na\\x1b[31mb\n"
    assert len(shell("log", "--times", 1).stdout.splitlines()[0]) == len(
        "2030-01-01 00:00:00 hello"
    )
    first = shell("log", "--json", 1).stdout.splitlines()[0]
    assert '"message":"hello"' in first
    # The job has ended: following it shows the same.
    assert shell("log", "--follow", 1).stdout == shell("log", 1).stdout


def test_tree_of_one_job(shell):
    shell("submit", "--", "true")
    assert shell("tree", 1).stdout.startswith("1 queued EXEC(true)  submitted ")
    assert shell.json("tree", 1)["children"] == []
    shell("cancel", 1)
    assert shell("tree", 1).stdout.startswith("1 canceled EXEC(true)  ended ")


def test_a_list_of_nothing_says_where_else_to_look(shell):
    shell.submit()
    shell("cancel", 1)
    shell("archive", 1)
    assert shell("list", "--status", "canceled").stderr == (
        "No live job matches; add --archived to see archived ones, too.\n"
    )
    assert shell("list").stderr.startswith("No live job;")
    for words in (("--archived",), ("--json",), (1,)):
        assert shell("list", *words).stderr == ""


def test_a_drained_queue_names_the_command_that_ends_it(shell):
    shell("drain", "--reason", "moving")
    assert shell("submit", "--", "true", code=1).stderr == (
        "Error: the queue is drained: moving; undrain it first (jqueue undrain)\n"
    )


def test_explain_and_status_say_what_keeps_jobs(shell):
    shell.submit()
    shell("pause", "--reason", "disk check")
    assert "disk check" in shell("explain", 1).stdout
    assert shell.json("explain", 1)[0]["reason"] == "paused"
    found = shell.json("status")
    assert (found["jobs"], found["pid"], found["pause"]["reason"]) == (1, None, "disk check")
    assert found["counts"]["queued"] == 1
    assert str(shell.queue) in shell("status").stdout


def test_reading_changes_nothing(shell):
    shell.submit()
    before = files(shell.queue)
    for command in (["list"], ["info", 1], ["tree", 1], ["log", 1], ["explain", 1], ["status"]):
        shell(*command)
    shell("recover", "--plan")
    assert files(shell.queue) == before


def test_queue_and_json_may_stand_before_the_command_and_after(shell, tmp_path):
    other = tmp_path / "other"
    shell("--queue", other, "submit", "--", "true")
    assert not shell.queue.exists()
    before = shell("--json", "--queue", other, "list").stdout
    assert before == shell("list", "--queue", other, "--json").stdout
    assert '"id":1' in before


def test_no_color_and_no_table_goes_into_a_pipe(shell):
    shell.submit()
    for more in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}):
        run = run_command(shell, "list", **more)
        assert run.returncode == 0
        assert b"\x1b" not in run.stdout
        assert len(run.stdout.splitlines()) == 2


def test_a_reader_that_has_seen_enough_gets_no_traceback(shell):
    with JobQueue.open(shell.queue) as queue:
        queue.submit_many([[{"OP_ID": "OP_X", "text": "x" * 100}] for _ in range(2000)])
    command = f'"{sys.executable}" -m jqueue --queue "{shell.queue}" list --json | head -c 10'
    run = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert len(run.stdout) == 10
    assert run.stderr == b""


def test_a_text_that_is_no_unicode_is_shown_escaped(shell):
    run = run_command(shell, "submit", "--", "echo", b"\xff", LC_ALL="C")
    assert b"Traceback" not in run.stderr
    if run.returncode == 0:
        assert run_command(shell, "info", "1", LC_ALL="C").returncode == 0


def test_a_damaged_job_is_one_line(shell):
    shell.submit()
    (shell.queue / "job-2").write_bytes(b"no JSON")
    result = shell("info", 2, code=1)
    assert result.stderr.count("\n") == 1
    os.unlink(shell.queue / "job-2")


def run_command(shell, *words, **more):
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return subprocess.run(
        [sys.executable, "-m", "jqueue", "--queue", shell.queue, *words],
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**env, **more},
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help_with_an_example(shell, flag):
    top = shell(flag).stdout
    commands = [line.split()[0] for line in top.split("Commands:")[1].splitlines() if line.strip()]
    assert "recover" in commands
    assert "watch" in commands
    for command in commands:
        assert "Example" in shell(command, flag).stdout


def test_version(shell):
    assert shell("--version").stdout.startswith("jqueue, version ")


def on_terminal(shell, *words, **more):
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    # As wide as a person's: a terminal of no size is taken for one of 80 columns.
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **more}
    command = [sys.executable, "-m", "jqueue", "--queue", shell.queue, *words]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    told = b""
    with contextlib.suppress(OSError):
        # Linux says EIO when the last process at the other end has closed it.
        while more := os.read(ours, 65536):
            told += more
    os.close(ours)
    assert process.wait(60) == 0
    return told.decode()


def test_a_terminal_gets_colors_unless_it_wants_none(shell, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    shell("submit", "--", "[red]\x1b[2J")
    shell("cancel", 1)
    colored = on_terminal(shell, "list")
    assert "\x1b[35m" in colored
    plain = on_terminal(shell, "list", NO_COLOR="1")
    assert "\x1b[35m" not in plain
    for told in (colored, plain):
        # What a job says of itself steers no terminal, and is no markup.
        assert "\x1b[2J" not in told
        assert "[red]" in told
