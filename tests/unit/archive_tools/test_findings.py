"""Each kind of finding: named, documented, and never an exception."""

import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from archive_tools.findings import CODES
from archive_tools.verify import verify

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def queue(tmp_path):
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "queue"


def codes(path):
    return {(finding.code, finding.path) for finding in verify(path)}


def changed(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def with_op(path, **values):
    document = json.loads(path.read_text())
    document["ops"][0].update(values)
    path.write_text(json.dumps(document))


def test_every_code_is_in_the_documented_table_with_its_level_and_meaning():
    text = (Path(__file__).parents[3] / "docs" / "findings.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \|$", text, re.MULTILINE)
    assert {code: (level, meaning) for code, level, meaning in rows} == CODES


def test_a_real_ganeti_directory_is_clean(queue):
    assert verify(queue) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "job-empty"),
        (b"\0" * 100, "job-empty"),
        (b'{"id": 20010, "ops": [{"inp', "job-not-json"),
        (b"\xff\xfe{}", "job-not-json"),
        (b'"job"', "job-invalid"),
        (b"[" * 100_000, "job-not-json"),
        (b'{"id": 20011, "ops": []}', "job-wrong-id"),
        (b'{"id": 20010, "ops": 7}', "job-invalid"),
        (b'{"id": 20010, "ops": [{"input": {}, "status": "asleep"}]}', "job-invalid"),
        (b'{"id": "20010", "ops": []}', "job-wrong-id"),
        (b'{"id": 20010, "ops": [], "end_timestamp": [1, 10000000]}', "job-invalid"),
    ],
)
def test_ganetis_damaged_job_files_get_their_finding(queue, content, code):
    (queue / "job-20010").write_bytes(content)
    assert (code, "job-20010") in codes(queue)


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, True), (b"-5\n", True), (b"many\n", True), (b"3\n", True), (b"", True)],
)
def test_a_serial_file_that_can_not_be_is_named(queue, content, found):
    if content is None:
        (queue / "serial").unlink()
    else:
        (queue / "serial").write_bytes(content)
    assert (("serial", "serial") in codes(queue)) == found


@pytest.mark.parametrize("name", ["job-12ab3xyz.new", "job-12-4711.tmp", "serial-99-1.tmp"])
def test_temporary_files_of_both_of_ganetis_writers_are_named(queue, name):
    (queue / name).write_bytes(b"{")
    assert codes(queue) == {("temp", name)}


def test_a_job_that_is_live_and_archived_is_a_twin(queue):
    shutil.copy(queue / "archive/0/job-12", queue / "job-12")
    assert ("job-twin", "archive/0/job-12") in codes(queue)


def test_an_archived_job_in_the_wrong_directory_is_named(queue):
    (queue / "archive/0/job-12").rename(queue / "archive/1/job-12")
    assert ("archive-misplaced", "archive/1/job-12") in codes(queue)


def test_unknown_kinds_and_keys_are_notes_and_kept(queue):
    changed(queue / "job-20010", colour="blue")
    with_op(queue / "job-20011", input={"OP_ID": "OP_MAKE_TEA"})
    with_op(queue / "job-20012", input={"OP_ID": 7})
    assert {("key-unknown", "job-20010"), ("op-unknown", "job-20011")} <= codes(queue)
    assert ("op-unknown", "job-20012") in codes(queue)


def test_links_devices_and_directories_under_a_jobs_name_are_named(queue):
    (queue / "job-1").symlink_to("/etc/passwd")
    (queue / "job-2").mkdir()
    os.mkfifo(queue / "job-3")
    assert {("job-not-regular", f"job-{number}") for number in (1, 2, 3)} <= codes(queue)


def test_impossible_statuses_priorities_and_times_are_named(queue):
    with_op(queue / "job-20031", priority=-99)
    op = json.loads((queue / "job-20031").read_text())["ops"][0]
    changed(queue / "job-20032", ops=[{**op, "status": s} for s in ("queued", "success")])
    changed(queue / "job-20033", received_timestamp=[9, 0], start_timestamp=[8, 0])
    assert {
        ("job-priority", "job-20031"),
        ("job-status", "job-20032"),
        ("job-times", "job-20033"),
    } <= codes(queue)


def test_a_child_that_never_was_and_a_dependency_on_nothing_are_named(queue):
    with_op(queue / "job-20049", result={"jobs": [[True, 99999]]})
    op = json.loads((queue / "job-20015").read_text())["ops"][0]
    op["input"]["depends"] = [[5, []]]
    changed(queue / "job-20015", ops=[op])
    assert {("child-missing", "job-20049"), ("dependency", "job-20015")} <= codes(queue)


def test_what_others_may_write_to_is_named(queue):
    (queue / "job-20010").chmod(0o666)
    assert codes(queue) == {("permissions", "job-20010")}


def test_a_foreign_file_is_a_note(queue):
    (queue / "notes.txt").write_text("mine")
    assert [(finding.code, finding.level) for finding in verify(queue)] == [("foreign", "note")]


def test_verify_changes_nothing_not_even_the_times_of_access(queue):
    for path in queue.rglob("*"):
        os.utime(path, (1, 1))
    before = {path: (path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in queue.rglob("*")}
    # The test's own walk reads directories, and so sets their time of access: files only.
    files = {path: times for path, times in before.items() if path.is_file()}
    verify(queue)
    assert {path: (path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in files} == files
