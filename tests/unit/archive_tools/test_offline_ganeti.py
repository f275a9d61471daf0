"""A real Ganeti directory, read offline, says what the facts beside it say, and stays as it is."""

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from archive_tools.verify import verify
from jqueue.job.snapshot import Job
from jqueue.job.state import Place
from jqueue.store.directory import DirectoryStore
from jqueue.store.offline import OfflineQueue

DATA = Path(__file__).parents[2] / "data"
FACTS = json.loads((DATA / "ganeti-queue.json").read_text())


@pytest.fixture
def queue_path(tmp_path: Path) -> Path:
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "queue"


def _listing(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(path)): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
        for p in path.rglob("*")
    }


def _jobs(source: OfflineQueue | DirectoryStore) -> dict[int, Job]:
    view = source if isinstance(source, OfflineQueue) else source.snapshot()
    found = {}
    for job in view.job_ids(archived=True):
        entry = view.find(job)
        found[job] = Job(entry.document, archived=entry.place is Place.ARCHIVE)
    return found


def test_p13_offline_reader_shows_a_ganeti_queue_and_changes_nothing(queue_path: Path) -> None:
    before = _listing(queue_path)
    with OfflineQueue(queue_path) as queue:
        jobs = _jobs(queue)
        assert queue.find("serial") == FACTS["serial"]
        assert queue.find("drain") is not None
    assert len(jobs) == len(FACTS["jobs"])
    for fact in FACTS["jobs"]:
        job = jobs[fact["id"]]
        assert (str(job.status), job.priority) == (fact["status"], fact["priority"])
        assert list(job.summary) == fact["summary"]
        assert job.archived == fact["archived"]
    assert _listing(queue_path) == before


def test_a_ganeti_directory_opens_as_a_queue_and_keeps_its_serial(queue_path: Path) -> None:
    with OfflineQueue(queue_path) as queue:
        before = {job: seen.to_dict() for job, seen in _jobs(queue).items()}
    for _ in range(2):
        store = DirectoryStore.open(queue_path)
        try:
            assert store.find("serial") == FACTS["serial"]
            assert store.find("drain") is not None
            assert {job: seen.to_dict() for job, seen in _jobs(store).items()} == before
        finally:
            store.close()
    assert [f.code for f in verify(queue_path)] == [f.code for f in verify(queue_path)]


def test_verify_names_a_damaged_job_file_and_exits_1(queue_path: Path) -> None:
    (queue_path / "job-20010").write_bytes(b'{"id": 20010, "ops"')
    result = CliRunner().invoke(cli, ["verify", "--json", str(queue_path)])
    assert result.exit_code == 1
    found = {(f["code"], f["path"]) for f in json.loads(result.stdout)}
    assert ("job-not-json", "job-20010") in found


def test_verify_exits_2_where_there_is_no_queue(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["verify", str(tmp_path / "none")]).exit_code == 2


def test_list_json_is_an_array_with_the_documented_members(queue_path: Path) -> None:
    result = CliRunner().invoke(cli, ["list", "--json", "--archived", str(queue_path)])
    assert result.exit_code == 0
    jobs = json.loads(result.stdout)
    assert len(jobs) == len(FACTS["jobs"])
    assert {"id", "status", "priority", "summary", "archived"} <= set(jobs[0])
