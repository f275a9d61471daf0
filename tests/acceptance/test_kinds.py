"""Kinds and parameters that are not understood wait with the reason, and go on once they are."""

import os
import signal

import pytest

from tests.acceptance.conftest import UNITS, until

SHAPED = """
from jqueue import OpCode, logical_unit

class Shaped(OpCode):
    {parameter}: int

@logical_unit(Shaped)
def shaped(op, context):
    return op.{parameter}
"""
OTHER = """
from jqueue import OpCode, logical_unit

class Other(OpCode):
    pass

@logical_unit(Other)
def other(op, context):
    return "other"
"""


def reason(client, job, word):
    """Wait until this keeps the job, and return what is told."""
    found = until(lambda: [one for one in client.explain(job) if one["reason"] == word])
    assert client.job(job).status == "queued"
    return found[0]


@pytest.mark.slow
def test_an_unknown_kind_goes_on_when_a_daemon_loads_its_unit(machine):
    client = machine.start(workers=1, sources=()).client
    job = client.submit([machine.note(), {"OP_ID": "OP_TEST_DELAY", "duration": 0}])
    blocked = client.submit([machine.note(depends=[[job, []]])])
    known = {"OP_ID": "OP_TEST_DELAY", "duration": 0}
    assert client.wait(client.submit([known]), 30).status == "success"
    assert "OP_NOTE" in reason(client, job, "kind")["text"]
    machine.kill()
    machine.start(workers=1)
    assert {client.wait(each, 30).status for each in (job, blocked)} == {"success"}
    # Without the unit what is left waits again.
    machine.terminate()
    machine.start(workers=1, sources=())
    job = client.submit([machine.note()])
    assert "--load" in reason(client, job, "kind")["text"]


def test_parameters_that_fit_no_more_wait_until_a_unit_takes_them(machine, tmp_path):
    units = tmp_path / "shaped.py"
    units.write_text(SHAPED.format(parameter="size"))
    client = machine.start(workers=1, sources=(units,)).client
    client.pause()
    job = client.submit([{"OP_ID": "OP_SHAPED", "size": 5}])
    machine.kill()
    units.write_text(SHAPED.format(parameter="length"))
    machine.start(workers=1, sources=(units,))
    client.resume()
    other = client.submit([{"OP_ID": "OP_SHAPED", "length": 6}])
    assert client.wait(other, 30).ops[0].result == 6
    told = reason(client, job, "parameters")
    assert "size" in told["text"]
    assert "OP_SHAPED" in told["until"]
    assert machine.terminate() == 0
    units.write_text(SHAPED.format(parameter="size"))
    machine.start(workers=1, sources=(units,))
    assert client.wait(job, 30).ops[0].result == 5


@pytest.mark.parametrize(
    "changed",
    [OTHER, pytest.param(SHAPED.format(parameter="length"), marks=pytest.mark.slow)],
    ids=["other kind", "other parameter"],
)
def test_a_worker_with_other_code_than_its_daemon_fails_no_job(machine, tmp_path, changed):
    units = tmp_path / "shaped.py"
    units.write_text(SHAPED.format(parameter="size"))
    client = machine.start(workers=1, sources=(units, UNITS)).client
    first = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    # The file changes under the daemon, and the next worker to be launched loads it anew.
    units.write_text(changed)
    os.kill(int(begun[4]), signal.SIGKILL)
    machine.open_gate()
    assert client.wait(first, 30).status == "success"
    job = client.submit([{"OP_ID": "OP_SHAPED", "size": 5, "retries": 0}])
    told = reason(client, job, "declined")
    assert "size" in told["text"] or "OP_SHAPED" in told["text"]
    assert client.wait(client.submit([machine.note()]), 30).status == "success"
    assert (client.job(job).ops[0].attempts, client.job(job).status) == (0, "queued")
    # Mended, it goes on in the next worker that is launched; a daemon started anew would do, too.
    units.write_text(SHAPED.format(parameter="size"))
    worker = int(machine.until_written("begin", 3)[-1][4])
    os.kill(worker, signal.SIGKILL)
    assert client.wait(job, 30).ops[0].result == 5


def test_a_worker_of_the_daemon_before_gets_no_kind_that_it_cannot_know(machine, tmp_path):
    units = tmp_path / "other.py"
    units.write_text(OTHER)
    client = machine.start(workers=1).client
    first = client.submit([machine.gated()])
    machine.until_written("begin")
    machine.kill()
    machine.start(workers=1, sources=(UNITS, units))
    job = client.submit([{"OP_ID": "OP_OTHER"}])
    machine.open_gate()
    assert client.wait(first, 30).status == "success"
    done = client.wait(job, 30)
    assert (done.ops[0].result, done.ops[0].attempts) == ("other", 1)
    assert set(machine.begun_and_ended().values()) == {1}


HANGING = """
import os, signal, sys
if sys.argv[0].endswith("worker.py") and os.path.exists({path!r}):
    signal.pause()
"""


# A worker whose units hang while they are loaded kept a place for ever, and nothing ran.
def test_a_worker_that_hangs_while_it_loads_is_given_up_and_said_so(machine, tmp_path):
    units, hangs = tmp_path / "hanging.py", tmp_path / "hangs"
    hangs.touch()
    units.write_text(OTHER + HANGING.format(path=str(hangs)))
    client = machine.start(workers=1, sources=(UNITS, units), load_limit_s=1.0).client
    job = client.submit([machine.note()])
    text = "still loading its units after 1 s"
    until(lambda: [1] if text in (client.status().get("launch_failure") or "") else [])
    assert text in machine.said()
    hangs.unlink()
    assert client.wait(job, 30).status == "success"
    assert client.status()["launch_failure"] is None
