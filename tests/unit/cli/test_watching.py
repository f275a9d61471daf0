"""`watch` of jobs that have ended, or end under its eyes."""

import json
import os
import signal

import pytest

from jqueue import JobQueue, ResultWithJobs, connect
from jqueue.cli.following import AT_ONCE
from jqueue.cli.waiting import NOBODY
from tests.unit.cli.terminal import CURSOR, JQUEUE, Terminal

HIDDEN = b"\x1b[?25l"


def test_an_ended_job_is_told_in_order(shell):
    queue, claim = shell.started()
    with queue:
        claim.feedback("hello")
        claim.finish("done")
    assert shell("watch", 1).stdout.splitlines() == [
        "job 1.0 | hello",
        "job 1.0 X: success",
        "job 1: success",
    ]
    lines = [json.loads(line) for line in shell("watch", "--json", 1).stdout.splitlines()]
    assert (lines[0]["job"], lines[0]["op"], lines[0]["message"]) == (1, 0, "hello")
    assert lines[1:] == [
        {"job": 1, "op": 0, "status": "success"},
        {"job": 1, "op": None, "status": "success"},
    ]


def test_a_failed_or_canceled_job_is_exit_code_1(shell):
    shell.submit()
    shell("cancel", 1)
    result = shell("watch", 1, code=1)
    assert result.stdout.splitlines() == ["job 1.0 EXEC(true): canceled", "job 1: canceled"]


def test_time_that_is_over_is_exit_code_3_and_names_what_has_not_ended(shell):
    shell.submit()
    shell("cancel", 1)
    shell.submit()
    result = shell("watch", "--timeout", "0.1", 1, 2, code=3)
    assert result.stdout.splitlines()[-2:] == ["job 2: queued", "job 2.0 EXEC(true): queued"]
    assert result.stderr.splitlines() == [NOBODY, "Not ended within 0.1 s: 2"]


def test_more_jobs_than_can_be_watched_is_a_usage_error(shell):
    result = shell("watch", *range(1, AT_ONCE + 2), code=2)
    assert f"At most {AT_ONCE} jobs at once" in result.stderr


def test_children_are_named_and_watched_if_asked_for(shell):
    queue, claim = shell.started()
    with queue:
        claim.finish(ResultWithJobs([[{"OP_ID": "OP_Y"}], [{"OP_ID": "OP_Z"}]]))
        queue.cancel(2)
        queue.claim(["OP_Z"]).finish(None)
    shell("archive", 3)
    alone = ["job 1.0 X: success", "job 1: submitted job 2", "job 1: submitted job 3"]
    assert shell("watch", 1).stdout.splitlines() == [*alone, "job 1: success"]
    lines = shell("watch", "--children", 1, code=1).stdout.splitlines()
    assert lines[3:] == [
        "job 1: success",
        "job 2.0 Y: canceled",
        "job 2: canceled",
        "job 3.0 Z: success",
        "job 3: success",
    ]


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process", listen=True) as opened:
        yield opened


def watched(queue, *arguments, **settings):
    path = os.fspath(queue.path)
    return Terminal(*JQUEUE, "watch", *arguments, JQUEUE_DIR=path, **settings)


def test_on_a_terminal_lines_run_above_the_progress_of_each_job(queue):
    for _ in range(2):
        queue.submit([{"OP_ID": "OP_X"}])
    claims = [queue.claim(["OP_X"]) for _ in range(2)]
    with watched(queue, "1", "2", columns=40, rows=10) as terminal:
        claims[0].progress({"done": 3, "total": 4, "text": "copying what is long"})
        terminal.until("75%")
        claims[1].feedback("said")
        text = terminal.until("job 2.0 | said")
        assert text.index("job 2.0 | said") < text.rindex("1 running")
        claims[0].finish(None)
        terminal.until("job 1: success")
        claims[1].finish(None)
        assert terminal.ended() == 0
        assert terminal.raw.rfind(HIDDEN) < terminal.raw.rfind(CURSOR)
        assert "copying" not in terminal.text


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_cursor_is_shown_again_whatever_ends_it(queue, signum):
    queue.submit([{"OP_ID": "OP_X"}])
    with watched(queue, "1") as terminal:
        terminal.until("1 queued")
        terminal.process.send_signal(signum)
        assert terminal.ended() == -signum
        assert -1 < terminal.raw.rfind(HIDDEN) < terminal.raw.rfind(CURSOR)


@pytest.mark.parametrize(("language", "bar"), [("C", "#####....."), ("C.UTF-8", "█████░░░░░")])
def test_a_bar_is_of_what_the_locale_can_show(queue, language, bar):
    queue.submit([{"OP_ID": "OP_X"}])
    claim = queue.claim(["OP_X"])
    claim.progress({"done": 1, "total": 2, "text": "copying"})
    with watched(queue, "1", LANG=language) as terminal:
        terminal.until(bar)
        claim.finish(None)
        assert terminal.ended() == 0
        assert terminal.raw.isascii() == (language == "C")


def test_a_log_is_sent_once_however_often_the_job_changes(queue):
    queue.submit([{"OP_ID": "OP_X"}])
    claim = queue.claim(["OP_X"])
    with connect(queue.path) as client:
        claim.feedback("first")
        job = client.wait_any({1: (-1, [])}, 10)
        assert [entry[3] for entry in job.ops[0].log] == ["first"]
        claim.feedback("second")
        job = client.wait_any({1: (job.lsn, [1])}, 10)
        assert [entry[3] for entry in job.ops[0].log] == ["second"]
    claim.finish(None)
