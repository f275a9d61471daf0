"""What a short command must not import: its start is most of what it costs."""

import json
import subprocess
import sys

import pytest

from jqueue import JobQueue

PROGRAM = """
import atexit, json, sys

def tell(path=sys.argv.pop(1)):
    with open(path, "w") as file:
        json.dump(sorted(sys.modules), file)

atexit.register(tell)
from jqueue.cli.main import main
main()
"""
FROM_ELSEWHERE = ("asyncio", "filelock", "lark", "logging", "prometheus_client", "re2", "rich")
THE_QUEUE_ITSELF = (
    "archive_tools",
    "jqueue.daemon.jobqueue",
    "jqueue.daemon.server",
    "jqueue.execution.claim",
    "jqueue.execution.units",
    "jqueue.job.change",
    "jqueue.queue.core",
    "jqueue.store",
)
QUERIES = ("jqueue.cli.bulk", "jqueue.console.table", "jqueue.job.query")


@pytest.fixture
def modules_of(tmp_path):
    """Runs the program, and returns what it had imported at its end."""
    path = tmp_path / "modules.json"

    def run(*arguments):
        command = [sys.executable, "-c", PROGRAM, str(path), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        return json.loads(path.read_text())

    return run


def imported(modules, names):
    return [one for one in modules for name in names if one == name or one.startswith(f"{name}.")]


def test_importing_jqueue_imports_nothing_else():
    code = "import jqueue, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in run.stdout.split() if name.startswith("jqueue")}
    assert ours == {"jqueue", "jqueue._version"}
    assert not imported(run.stdout.split(), (*FROM_ELSEWHERE, "click", "orjson"))


def test_version_and_help_need_no_queue(modules_of):
    for word in ("--version", "--help"):
        assert not imported(modules_of(word), (*FROM_ELSEWHERE, "jqueue.daemon", "jqueue.store"))
    assert not imported(modules_of("--version"), ("jqueue.job", "orjson"))


def test_a_daemons_client_imports_no_queue(modules_of, tmp_path):
    with JobQueue.open(tmp_path / "queue", listen=True):
        where = ("--queue", tmp_path / "queue")
        submit = modules_of(*where, "submit", "--", "true")
        listing = modules_of(*where, "list")
    assert not imported(submit, (*FROM_ELSEWHERE, *THE_QUEUE_ITSELF, *QUERIES))
    assert not imported(listing, (*FROM_ELSEWHERE, *THE_QUEUE_ITSELF))


def test_who_reads_without_an_owner_imports_no_lock(modules_of, tmp_path):
    with JobQueue.open(tmp_path / "queue"):
        pass
    assert not imported(modules_of("--queue", tmp_path / "queue", "list"), ("filelock",))
