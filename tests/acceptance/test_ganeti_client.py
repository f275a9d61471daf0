"""Debian's real Ganeti client, unchanged, against our socket: its outputs and exit codes.

It is found in $JQUEUE_GANETI (a folder that holds `gnt-job`), in `.ganeti/` where `make
ganeti-client` unpacks it, or installed; where it isn't there these tests are skipped, and
tests/unit/daemon/test_ganeti_methods.py speaks as it does.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from jqueue.job.query import GANETI
from tests.acceptance.conftest import until

ROOT = Path(__file__).parents[2]
PLACES = [
    os.environ.get("JQUEUE_GANETI"),
    ROOT / ".ganeti/usr/share/ganeti/3.0",
    "/usr/share/ganeti/3.0",
]
CLIENT = next((Path(at) for at in PLACES if at and Path(at, "gnt-job").exists()), None)
PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(
    CLIENT is None, reason="Ganeti's client is not here: make ganeti-client, or $JQUEUE_GANETI"
)


class Gnt:
    """Runs the commands; answers exit code, stdout and stderr."""

    def __init__(self, socket):
        # The client's own path of the socket must have less than 108 bytes.
        self.root = Path(tempfile.mkdtemp(prefix="gnt-"))
        sockets = self.root / "node1/var/run/ganeti/socket"
        sockets.mkdir(parents=True)
        (sockets / "ganeti-query").symlink_to(socket)

    def __call__(self, command, *arguments, given=""):
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(CLIENT),
            "GANETI_ROOTDIR": str(self.root / "node1"),
            "GANETI_HOSTNAME": "node1",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(  # noqa: PLW1510 - its exit code is what is looked at
            [PYTHON, CLIENT / command, *map(str, arguments)],
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def gnt(machine):
    machine.start(workers=1)
    until(lambda: [1] if machine.client.has_owner else [])
    made = Gnt(machine.queue / "socket")
    yield made
    shutil.rmtree(made.root)


@pytest.fixture
def paused(machine, gnt):
    """Nothing starts: what is submitted stays queued."""
    machine.client.pause()
    return gnt


def submit(gnt, *options):
    code, out, err = gnt("gnt-debug", "delay", "--submit", "--print-jobid", *options, "0.1")
    assert code == 0, err
    return int(out)


def test_delay_is_submitted_run_and_watched(gnt):
    code, out, err = gnt("gnt-debug", "delay", "0.05")
    assert (code, err) == (0, "")
    job = submit(gnt)
    assert gnt("gnt-job", "wait", job)[0] == 0
    code, out, err = gnt("gnt-job", "watch", job)
    assert (code, err) == (0, ""), out
    code, out, _ = gnt("gnt-job", "list", "--no-headers", "-o", "id,status,summary", job)
    assert (code, out.split()) == (0, [str(job), "success", "TEST_DELAY(0.1)"])


def test_messages_of_a_running_job_are_shown(gnt):
    code, out, _ = gnt("gnt-debug", "delay", "-r", "2", "0.05")
    assert code == 0
    assert "Test delay iteration 1/2" in out


def test_list_and_its_filters(paused):
    first, second = submit(paused, "--priority=high"), submit(paused)
    code, out, _ = paused("gnt-job", "list", "--no-headers", "-o", "id,priority,status")
    assert (code, out.split()) == (0, [str(first), "-10", "queued", str(second), "0", "queued"])
    for given in (["--pending"], ["-F", 'status == "queued" and priority < 0'], ["-F", "id == 1"]):
        code, out, _ = paused("gnt-job", "list", "--no-headers", "-o", "id", *given)
        found = [str(first), str(second)] if given == ["--pending"] else [str(first)]
        assert (code, out.split()) == (0, found), given
    code, out, _ = paused("gnt-job", "list", "--no-headers", "-o", "id", "--error")
    assert (code, out) == (0, "")
    code, out, _ = paused("gnt-job", "list", "--no-headers", "-o", "id,status", "77")
    assert (code, out.split()) == (0, ["77", "-"])
    code, _, err = paused("gnt-job", "list", "-o", "id,nonsense")
    assert (code, "unknown fields nonsense" in err) == (14, True)


def test_list_fields(gnt):
    code, out, _ = gnt("gnt-job", "list-fields", "--no-headers")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == sorted(GANETI)
    code, out, _ = gnt("gnt-job", "list-fields", "--no-headers", "status")
    assert (code, out.split()[:3]) == (0, ["status", "Text", "Status"])
    assert gnt("gnt-job", "list-fields", "nonsense")[0] == 14


def test_info_shows_opcodes_log_and_who_submitted(gnt):
    job = submit(gnt, "-r", "1")
    gnt("gnt-job", "wait", job)
    code, out, _ = gnt("gnt-job", "info", job, 99)
    assert f"Job ID: {job}" in out
    assert "OP_TEST_DELAY" in out
    assert "Test delay iteration 0/1" in out
    assert f"uid={os.getuid()}" in out
    assert code in (0, 1)


def test_cancel_priority_and_archive(paused):
    job = submit(paused)
    code, out, _ = paused("gnt-job", "change-priority", "--priority=high", job)
    assert code == 0
    assert paused("gnt-job", "list", "--no-headers", "-o", "priority", job)[1].split() == ["-10"]
    assert paused("gnt-job", "archive", job)[0] == 1
    code, out, _ = paused("gnt-job", "cancel", job)
    assert (code, bool(out)) == (0, True)
    assert paused("gnt-job", "cancel", job)[0] == 1
    assert paused("gnt-job", "cancel", 99)[0] == 1
    # luxid refuses this one: "has not yet started up".
    assert paused("gnt-job", "archive", job)[0] == 0
    assert paused("gnt-job", "list", "--no-headers", "-o", "id")[1] == ""
    code, out, _ = paused("gnt-job", "list", "--no-headers", "--archived", "-o", "id")
    assert (code, out.split()) == (0, [str(job), "Y"])
    assert paused("gnt-job", "watch", job)[0] == 1


def test_autoarchive_all_archives_all(paused):
    for _ in range(3):
        paused("gnt-job", "cancel", submit(paused))
    code, out, _ = paused("gnt-job", "autoarchive", "1h")
    assert (code, re.findall(r"\d+", out)) == (0, ["0", "0"])
    code, out, _ = paused("gnt-job", "autoarchive", "all")
    assert (code, re.findall(r"\d+", out)) == (0, ["3", "0"])


def test_drain_undrain_and_undrain_again(gnt):
    for verb, said in (("drain", "set"), ("drain", "set"), ("undrain", "unset"), ("undrain", "un")):
        assert gnt("gnt-cluster", "queue", verb)[0] == 0
        code, out, _ = gnt("gnt-cluster", "queue", "info")
        assert (code, f"The drain flag is {said}" in out) == (0, True)
    gnt("gnt-cluster", "queue", "drain")
    code, _, err = gnt("gnt-debug", "delay", "0.1")
    assert (code, "drained" in err) == (1, True)


def test_a_directory_that_ganeti_wrote_is_listed_with_all_its_text(machine, gnt):
    assert machine.terminate() == 0
    shutil.rmtree(machine.queue)
    data = ROOT / "tests/data"
    with tarfile.open(data / "ganeti-queue.tar.gz") as tar:
        tar.extractall(machine.queue.parent, filter="data")
    machine.start(workers=0)
    until(lambda: [1] if machine.client.has_owner else [])
    code, out, _ = gnt("gnt-job", "list", "--no-headers", "--archived", "-o", "id,status")
    assert (code, len(out.splitlines())) == (0, 66)
    code, out, _ = gnt("gnt-job", "info", 9998)
    # The client shows them escaped; luxid cuts each to one byte.
    assert (code, r"\xfcber \u2713" in out) == (0, True), out
