"""`top` on a real terminal, and the lines that it shows."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from jqueue import JobQueue
from jqueue.cli.topframe import Rates, View, frame, shares
from tests.unit.cli.terminal import ALTERNATE, JQUEUE, Terminal

ANSWER = {
    "pid": 4711,
    "serial": 12,
    "totals": {"submitted": 12, "started": 3, "ended": {"error": 1}},
    "counts": {"queued": 9, "running": 2, "error": 1},
    "drain": {"reason": "moving", "by": "root", "since": 0},
    "pause": None,
    "lsn": 99,
    "journal_bytes": 4096,
    "journal_limit_bytes": 8192,
    "reserve": "whole",
    "files_behind": 0,
    "now": 1000.0,
    "running": 2,
    "workers_wanted": 4,
    "crew": [
        {"pid": 5, "state": "busy", "job": 1, "why": None},
        {"pid": 6, "state": "ending", "job": None, "why": "it has died"},
    ],
    "held": {"not_before": 3},
    "executing": [
        {
            "id": number,
            "op": 0,
            "ops": 2,
            "priority": -number,
            "summary": "COPY(日本語)",
            "status": "running",
            "executed": 900.0 + number,
            "progress": {"done": 1, "total": 2, "text": "half\x1b[2J"},
            "attempt": 1,
            "claimed": False,
            "pid": 5,
        }
        for number in (1, 2)
    ],
    "next": [
        {
            "id": number,
            "op": 0,
            "ops": 1,
            "priority": 0,
            "summary": "EXEC(true)",
            "received": 990.0,
            "known": True,
        }
        for number in range(3, 12)
    ],
    "locks": [
        {"name": "disk/é", "mode": "exclusive", "holders": [1], "waiting": 3, "waiters": [3, 4]}
    ],
}


@given(st.integers(1, 220), st.integers(1, 60), st.sampled_from("tpi"))
def test_a_frame_fits_its_width_and_height(columns, rows, sort):
    lines = frame(ANSWER, {"submitted": 1.0}, View("/q", sort, keys="q quit"), columns, rows)
    assert len(lines) <= rows
    assert all(cell_len(line.plain) <= columns for line in lines)
    assert all(line.plain.isprintable() for line in lines)


def test_where_there_is_room_everything_is_shown():
    text = "\n".join(line.plain for line in frame(ANSWER, {}, View("/q"), None, None))
    for part in (
        "9 queued, 2 running, 1 error",
        "1 of 4 busy",
        "6 it has died",
        "3 not before",
        ", by root: moving",
        "4.0 KiB of 8.0 KiB",
        "1/2 COPY(日本語)",
        "EXEC(true)",
        "3, 4 and 1 more",
    ):
        assert part in text, text


def test_running_jobs_are_sorted_as_asked():
    def order(sort):
        lines = [line.plain.split() for line in frame(ANSWER, {}, View("/q", sort), None, None)]
        return [line[0] for line in lines if line and line[0] in "12"]

    assert (order("t"), order("i"), order("p")) == (["1", "2"], ["1", "2"], ["2", "1"])


def test_rows_are_divided_evenly_and_never_more_than_there_are():
    assert shares(7, [2, 9, 1]) == [2, 4, 1]
    assert shares(99, [2, 9, 1]) == [2, 9, 1]
    assert shares(-3, [2, 9]) == [0, 0]


def test_rates_are_those_of_one_owner():
    rates = Rates()
    rates.note(ANSWER, 0.0)
    assert rates.rates() == {}
    totals = {"submitted": 22, "started": 5, "ended": {"error": 2, "success": 1}}
    rates.note({**ANSWER, "totals": totals}, 2.0)
    assert rates.rates() == {"submitted": 5.0, "started": 1.0, "ended": 1.0}
    rates.note({**ANSWER, "pid": 4712}, 3.0)
    assert rates.rates() == {}


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process", listen=True) as opened:
        opened.submit([{"OP_ID": "OP_X"}])
        yield opened


def top(queue, *arguments, **settings):
    return Terminal(*JQUEUE, "top", *arguments, JQUEUE_DIR=os.fspath(queue.path), **settings)


def by_q(terminal):
    terminal.type("q")
    return 0


def by_control_c(terminal):
    terminal.type("\x03")
    return 0


def by_sigterm(terminal):
    terminal.process.terminate()
    return -signal.SIGTERM


@pytest.mark.parametrize("end", [by_q, by_control_c, by_sigterm])
def test_the_terminal_is_restored_whatever_ends_it(queue, end):
    with top(queue) as terminal:
        terminal.until("NEXT")
        assert not terminal.is_restored
        assert terminal.ended() == 0 if end(terminal) == 0 else terminal.ended() == -signal.SIGTERM
        assert terminal.is_restored


def test_the_terminal_is_restored_after_an_exception_of_our_own():
    code = "from jqueue.cli.screen import Screen\nwith Screen(): raise ValueError('ours')"
    with Terminal(sys.executable, "-c", code) as terminal:
        assert terminal.ended() == 1
        assert terminal.is_restored
        assert b"ValueError: ours" in terminal.raw


def test_suspended_it_gives_the_terminal_back_and_takes_it_again(queue):
    with top(queue) as terminal:
        terminal.until("NEXT")
        terminal.type("\x1a")
        _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        while terminal.read(0):
            pass
        assert terminal.is_restored
        taken = terminal.raw.count(ALTERNATE)
        terminal.process.send_signal(signal.SIGCONT)
        while terminal.raw.count(ALTERNATE) == taken:
            terminal.read(1)
        by_q(terminal)
        assert terminal.ended() == 0
        assert terminal.is_restored


def test_it_fits_another_size_at_once(queue):
    with top(queue, "--interval", "3600") as terminal:
        terminal.until("NEXT")
        before = len(terminal.raw)
        terminal.resize(40, 12)
        while len(terminal.raw) == before:
            terminal.read(1)
        assert "q quit" in terminal.until("q quit").splitlines()[11]


def test_an_ascii_locale_gets_ascii_only(queue):
    with top(queue, columns=40, LANG="C") as terminal:
        terminal.until("NEXT")
        by_q(terminal)
        assert terminal.ended() == 0
        assert terminal.raw.isascii()


def test_an_owner_that_goes_is_waited_for(tmp_path):
    path = tmp_path / "queue"
    with JobQueue.open(path, durability="process", listen=True) as first:
        terminal = top(first, "--interval", "0.1")
        terminal.until(" ok, process")
    with terminal:
        terminal.until("daemon gone, reconnecting")
        with JobQueue.open(path, durability="process", listen=True):
            terminal.until(" ok, process")
        by_q(terminal)
        assert terminal.ended() == 0
        assert terminal.is_restored


def test_on_a_pipe_it_is_one_plain_screen(shell, queue):
    shell.queue = Path(queue.path)
    lines = shell("top").stdout.splitlines()
    assert lines[0].startswith("jqueue    ok, process ")
    assert lines[0].endswith(str(queue.path))
    assert lines[-1].split()[0] == "1"
    assert "\x1b" not in "".join(lines)
    answer = json.loads(shell("top", "--json").stdout)
    assert answer["queue"] == str(queue.path)
    assert [row["id"] for row in answer["next"]] == [1]


def test_without_an_owner_it_says_so(shell):
    shell.submit()
    assert "nobody runs this queue" in shell("top", "--once").stdout
