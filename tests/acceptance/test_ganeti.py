"""A directory that Ganeti left behind recovers under the real daemon, and loses nothing."""

import json
import tarfile

from tests.acceptance.conftest import until


def test_ganeti_directory_recovers_and_finished_opcodes_keep_their_results(machine, request):
    data = request.config.rootpath / "tests" / "data"
    with tarfile.open(data / "ganeti-queue.tar.gz") as tar:
        tar.extractall(machine.queue.parent, filter="data")
    expected = json.loads((data / "ganeti-queue.json").read_text())
    client = machine.start(workers=0).client
    statuses = ["running", "waiting", "canceling"]
    until(lambda: [1] if client.status()["pid"] and not client.count(statuses=statuses) else [])
    found = {job.id: job for job in client.jobs(archived=True)}
    assert sorted(found) == sorted(job["id"] for job in expected["jobs"])
    for job in expected["jobs"]:
        ops = found[job["id"]].ops
        for op, status, result in zip(ops, job["opstatus"], job["opresult"], strict=True):
            if status in ("success", "error", "canceled"):
                assert (op.status, op.result) == (status, result)
            elif status == "canceling":
                assert op.status == "canceled"
            else:
                assert op.status == "queued"
    assert client.drain_state() is not None
    assert machine.terminate() == 0
