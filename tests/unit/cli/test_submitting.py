"""`submit` and `retry`, without a daemon."""

import os

import pytest

from jqueue import JobQueue


def finish(shell, *, ok):
    """End the first job that there is."""
    with JobQueue.open(shell.queue) as queue, queue.claim(["OP_EXEC"]) as claim:
        claim.finish(None) if ok else claim.fail("broken")


def test_submit_prints_the_id_alone_and_says_that_nothing_runs_the_queue(shell):
    result = shell("submit", "--", "echo", "hello")
    assert result.stdout == "1\n"
    assert result.stderr.startswith("Nothing runs this queue now")
    assert shell("submit", "--", "true").stdout == "2\n"


def test_submit_with_json_prints_one_object(shell):
    assert shell.json("submit", "--op", '{"OP_ID": "OP_X"}') == {"id": 1}


def test_a_command_runs_in_the_submitters_directory_with_its_variables(shell, monkeypatch):
    monkeypatch.setenv("COLOR", "blue")
    shell("submit", "--env", "A=1=2", "--env", "COLOR", "--", "ls", "-l", "--all")
    op = shell.json("info", 1)["ops"][0]["input"]
    assert op["argv"] == ["ls", "-l", "--all"]
    assert op["cwd"] == os.getcwd()
    assert op["env"] == {"A": "1=2", "COLOR": "blue"}


def test_opcodes_come_before_the_command_and_options_fill_what_they_leave_open(shell):
    op = '{"OP_ID": "OP_X", "priority": -10}'
    shell("submit", "--op", op, "--priority", "10", "--retries", "2", "--timeout", "1m", "--", "x")
    first, second = (op["input"] for op in shell.json("info", 1)["ops"])
    assert (first["OP_ID"], first["priority"], first["retries"]) == ("OP_X", -10, 2)
    assert (second["OP_ID"], second["priority"], second["timeout_s"]) == ("OP_EXEC", 10, 60.0)


def test_dependencies_and_the_earliest_time_are_the_first_opcodes(shell):
    shell.submit()
    shell("submit", "--after", "1", "--after-any", "job-1", "--not-before", "+1h", "--", "true")
    op = shell.json("info", 2)["ops"][0]["input"]
    assert op["depends"] == [[1, ["success"]], [1, ["canceled", "error", "success"]]]
    assert op["not_before"] > 1.7e9


def test_key_and_unique_give_the_same_job_again(shell):
    assert [shell.submit("--key", "k") for _ in range(2)] == [1, 1]
    assert [shell.submit("--unique", "nightly") for _ in range(2)] == [2, 2]


def test_another_content_under_the_same_key_is_refused_in_one_line(shell):
    shell("submit", "--key", "k", "--", "true")
    result = shell("submit", "--key", "k", "--", "false", code=1)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--op", "{"),
        ("--op", "[]"),
        ("--op", "{}"),
        ("--op", '{"OP_ID": 5}'),
        ("--op", '{"OP_ID": "lower"}'),
        ("--priority", "5", "--", "true"),
        ("--after", "zero", "--", "true"),
        ("--not-before", "yesterday", "--", "true"),
        ("--timeout", "soon", "--", "true"),
        ("--timeout", "nan", "--", "true"),
        ("--retries", "-1", "--", "true"),
        ("--env", "=x", "--", "true"),
        ("--env", "NOT_SET_ANYWHERE", "--", "true"),
        ("--cwd", "/", "--op", '{"OP_ID": "OP_X"}'),
        ("--no-such-option",),
    ],
)
def test_wrong_arguments_are_a_matter_of_usage_and_make_no_queue(shell, arguments):
    result = shell("submit", *arguments, code=2)
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert not shell.queue.exists()


@pytest.mark.parametrize(
    "op",
    [
        '{"OP_ID": "OP_X", "priority": 99}',
        '{"OP_ID": "OP_X", "depends": 3}',
        '{"OP_ID": "OP_X", "depends": [[77, []]]}',
    ],
)
def test_an_opcode_that_is_none_is_refused_in_one_line(shell, op):
    result = shell("submit", "--op", op, "--after", "1", code=1)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


def test_a_drained_queue_refuses_and_says_why(shell):
    shell("drain", "--reason", "moving house")
    result = shell("submit", "--", "true", code=1)
    assert "moving house" in result.stderr
    assert result.stdout == ""


def test_retry_prints_the_new_ids(shell):
    shell.submit()
    finish(shell, ok=False)
    result = shell("retry", "--from-failed", "1")
    assert result.stdout == "2\n"
    assert shell.json("list", 2)[0]["retry_of"] == 1


def test_an_unfinished_job_is_not_retried(shell):
    shell.submit()
    shell.submit()
    finish(shell, ok=False)
    result = shell("retry", 2, 9, 1, code=1)
    assert result.stdout == "3\n"
    told = result.stderr.splitlines()
    assert len(told) == 2
    assert "not finished" in told[0]
    assert "9" in told[1]
