"""What `export --format ganeti` writes is read by Ganeti's own code as what the queue holds.

Ganeti's code is found as tests/acceptance/test_ganeti_client.py finds its client, else skipped.
"""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from jqueue import JobQueue
from tests.acceptance.test_ganeti_client import CLIENT, PYTHON

DATA = Path(__file__).parents[1] / "data"
READER = """
import json, os, sys
from ganeti import jqueue, serializer
from ganeti.utils import ReadFile
for path in sys.argv[1:]:
    state = serializer.LoadJson(ReadFile(path))
    job = jqueue._QueuedJob.Restore(None, state, False, "archive" in path)
    print(json.dumps({
        "id": job.id, "status": job.CalcStatus(), "priority": job.CalcPriority(),
        "archived": job.archived, "summary": [op.input.Summary() for op in job.ops],
        "log_serial": job.log_serial, "lost": sorted(state.keys() - job.Serialize().keys()),
        "same": all(job.Serialize()[key] == state[key] for key in state if key != "ops"),
    }))
"""

pytestmark = pytest.mark.skipif(
    CLIENT is None, reason="Ganeti's code is not here: make ganeti-client, or $JQUEUE_GANETI"
)


def exported(queue, target):
    result = CliRunner().invoke(cli, ["export", "--format", "ganeti", str(queue), str(target)])
    assert result.exit_code == 0, result.output
    return sorted(target.rglob("job-*"))


def read_by_ganeti(paths):
    done = subprocess.run(
        [PYTHON, "-c", READER, *map(str, paths)],
        env={"PYTHONPATH": str(CLIENT), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {job["id"]: job for job in map(json.loads, done.stdout.splitlines())}


def test_ganetis_sample_is_the_same_to_ganeti_after_import_and_export(tmp_path):
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    facts = json.loads((DATA / "ganeti-queue.json").read_text())["jobs"]
    CliRunner().invoke(cli, ["import", str(tmp_path / "queue"), str(tmp_path / "ours")])
    found = read_by_ganeti(exported(tmp_path / "ours", tmp_path / "theirs"))
    for fact in facts:
        job = found.pop(fact["id"])
        names = ("status", "priority", "archived", "summary", "log_serial")
        assert {name: job[name] for name in names} == {name: fact[name] for name in names}
        assert (job["lost"], job["same"]) == ([], True)
    assert found == {}


def test_jobs_of_ours_of_ganetis_kinds_are_read_by_ganeti(tmp_path):
    delay = {"OP_ID": "OP_TEST_DELAY", "duration": 0.5}
    with JobQueue.open(tmp_path / "queue") as queue:
        queue.submit([delay, {**delay, "depends": [], "priority": -10, "comment": "why"}])
        queue.submit([{**delay, "retries": 2, "timeout_s": 5, "not_before": 1}], key="k")
        queue.submit([{**delay, "depends": [[2, ["success", "error"]]]}], unique="u")
        for end in (None, "finish", "fail"):
            with queue.claim() as claim:
                claim.feedback("working")
                if end == "fail":
                    claim.fail("no")
                elif end:
                    claim.finish({"any": ["thing"]})
        queue.submit([delay])
        queue.cancel(4)
        queue.archive(4)
        wanted = {job.id: job for job in queue.jobs(archived=True)}
    found = read_by_ganeti(exported(tmp_path / "queue", tmp_path / "theirs"))
    assert found.keys() == wanted.keys()
    for number, job in wanted.items():
        assert found[number]["status"] == job.status
        assert found[number]["archived"] == job.archived
        assert found[number]["summary"] == job.summary
        assert found[number]["log_serial"] == max(
            (entry[0] for op in job.ops for entry in op.log), default=0
        )
        assert (found[number]["lost"], found[number]["same"]) == ([], True)
