"""Every job of a queue directory that Ganeti wrote, against what a correct reader reports."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from jqueue.job.dependency import dependencies_of
from jqueue.job.document import check_document
from jqueue.job.ids import archive_dir, parse_job_file_name
from jqueue.job.jsonio import dumps, loads
from jqueue.job.snapshot import Job
from jqueue.job.status import FINALIZED
from jqueue.job.transitions import archivable

DATA = Path(__file__).parents[2] / "data"
EXPECTED = json.loads((DATA / "ganeti-queue.json").read_bytes())
WANTED = {job["id"]: job for job in EXPECTED["jobs"]}


def read_sample():
    found = {}
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as tar:
        for member in tar:
            directory, name = os.path.split(member.name)
            job_id = parse_job_file_name(name)
            if job_id is not None:
                found[job_id] = (directory, tar.extractfile(member).read())
    return found


FILES = read_sample()


def test_the_sample_is_whole():
    assert FILES.keys() == WANTED.keys()
    assert len(FILES) == EXPECTED["live"] + EXPECTED["archived"] == 66


@pytest.mark.parametrize("job_id", sorted(WANTED))
def test_every_job_reads_as_ganeti_reads_it(job_id):
    directory, data = FILES[job_id]
    wanted = WANTED[job_id]
    document = check_document(loads(data), job_id)
    job = Job(document, archived="archive" in directory)
    logs = [entry for op in job.ops for entry in op.log]
    assert {
        "archived": job.archived,
        "depends": [dependencies_of(op) for op in document["ops"]],
        "end_ts": document["end_timestamp"],
        "finalized": job.finalized,
        "id": job.id,
        "livelock": document.get("livelock"),
        "log_entries_newer_than_1": sorted(entry[0] for entry in logs if entry[0] > 1),
        "log_serial": max((entry[0] for entry in logs), default=0),
        "oppriority": [op.priority for op in job.ops],
        "opresult": [op.result for op in job.ops],
        "opstatus": [op.status for op in job.ops],
        "priority": job.priority,
        "process_id": document.get("process_id"),
        "received_ts": document["received_timestamp"],
        "start_ts": document["start_timestamp"],
        "status": job.status,
        "summary": job.summary,
    } == wanted
    assert (directory == f"queue/{archive_dir(job_id)}") == wanted["archived"]
    assert bool(archivable(document)) == (job.status in FINALIZED)


@pytest.mark.parametrize("job_id", sorted(WANTED))
def test_every_job_survives_reading_and_writing(job_id):
    _, data = FILES[job_id]
    document = check_document(loads(data), job_id)
    assert document == json.loads(data)
    assert check_document(loads(dumps(document)), job_id) == document
