"""Many files are worked on by several processes, from any script, whatever becomes of them."""

import os
import subprocess
import sys
import threading
from functools import partial
from itertools import count

import pytest

from archive_tools import parallel
from archive_tools.parallel import CHUNK, in_chunks
from jqueue import JobQueue
from jqueue.errors import QueueFailed

MANY = range(4 * CHUNK + 7)

# Nothing keeps another process from running it again, should one import it.
SCRIPT = """
from pathlib import Path
from archive_tools import parallel, verify
parallel.ALONE_S, parallel.CHUNK = 0, 1
print("findings:", verify.verify(Path({path!r})))
"""


@pytest.fixture(autouse=True)
def helped_at_once(monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_S", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def where(items):
    return [(item, os.getpid()) for item in items]


def test_results_come_in_order_and_from_other_processes():
    found = list(in_chunks(where, MANY))
    assert [item for item, _ in found] == list(MANY)
    assert os.getpid() not in {pid for _, pid in found}


def test_a_little_work_is_done_here(monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_S", 60)
    assert {pid for _, pid in in_chunks(where, MANY)} == {os.getpid()}


@pytest.mark.parametrize("run", ["file", "stdin", "thread"])
def test_a_library_call_works_in_a_script_without_a_guard(tmp_path, run):
    with JobQueue.open(tmp_path / "queue") as queue:
        queue.submit_many([[{"OP_ID": "OP_COPY"}]] * 8)
    script = tmp_path / "script.py"
    text = SCRIPT.format(path=str(tmp_path / "queue"))
    if run == "thread":
        text = "import threading\ndef main():" + text.replace("\n", "\n    ") + "\n"
        text += "one = threading.Thread(target=main)\none.start()\none.join()\n"
    script.write_text(text)
    command = [sys.executable, *([] if run == "stdin" else [str(script)])]
    with script.open() as source:
        done = subprocess.run(command, stdin=source, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("findings: []\n", "")


def dying(caller, items):
    if os.getpid() != caller and CHUNK in items:
        os._exit(1)
    return items


def test_what_a_helper_leaves_undone_is_done_here():
    assert list(in_chunks(partial(dying, os.getpid()), MANY)) == list(MANY)


def test_without_helpers_all_is_done_here(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert {pid for _, pid in in_chunks(where, MANY)} == {os.getpid()}


def failing(items):
    raise QueueFailed(f"the chunk of {items[0]}", path="there")


def test_an_error_is_raised_here():
    with pytest.raises(QueueFailed, match="the chunk of 0") as caught:
        list(in_chunks(failing, MANY))
    assert caught.value.path == "there"


def test_whoever_has_seen_enough_leaves_no_process_and_no_thread():
    threads = threading.active_count()
    results = in_chunks(where, count())
    pids = {next(results)[1] for _ in range(3 * CHUNK)}
    results.close()
    assert threading.active_count() == threads
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_memory_is_bounded_what_is_not_taken_is_not_made():
    given = count()
    results = in_chunks(where, given)
    next(results)
    assert next(given) <= (2 * 2 + 3) * CHUNK
    results.close()
