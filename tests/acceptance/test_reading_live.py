"""P13 under load: a reader beside an owner at full speed sees a consistent prefix."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from archive_tools.contents import read_contents
from jqueue.job.state import Place
from jqueue.job.status import calc_status
from jqueue.store.offline import OfflineQueue

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["full", "process"])
def busy(request, tmp_path):
    """A queue and its busy owner."""
    path = tmp_path / "queue"
    command = [sys.executable, "-m", "tests.acceptance.busy_writer", str(path), request.param]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as writer:
        try:
            assert writer.stdout.readline() == "busy\n"
            yield path, writer
            writer.stdin.close()
            assert writer.wait(timeout=60) == 0
        finally:
            writer.kill()


def wait_for(path, lsn):
    """Return when the owner is so far, and its files are."""
    while True:
        with OfflineQueue(path) as queue:
            if queue.found.journal.watermark >= lsn:
                return


def look(path):
    """Read everything and check that it is of one moment; return its LSN and serial."""
    # Children and the result that names them are one transaction, and so is their removal.
    with OfflineQueue(path) as queue:
        assert queue.owned
        assert (queue.found.index is not None) or queue.found.scanned
        wait_for(path, queue.lsn + 60)
        found = dict(queue.entries(queue.job_ids(archived=True)))
        live = queue.job_ids()
        values = queue.found.values
        lsn, serial = queue.lsn, queue.find("serial") or 0
    assert all(entry is not None for entry in found.values())
    assert all(found[job].place is Place.LIVE for job in live)
    assert max(found, default=0) <= serial
    counted = Counter()
    for job, entry in found.items():
        document = entry.document
        if document is None:  # pruned since
            assert entry.place is Place.ARCHIVE
            continue
        assert document["lsn"] <= lsn
        counted.update([f"count/{calc_status(document['ops'])}"] * (job in live))
        result = document["ops"][0]["result"]
        children = [child for _, child in result["jobs"]] if result and "jobs" in result else []
        for child in children:
            assert child in found, (job, child, lsn)
            assert found[child].place is entry.place or child in live
        if parent := document.get("submitter"):
            assert parent["job"] in found, (job, lsn)
            born = found[parent["job"]].document
            assert born is None or [True, job] in born["ops"][0]["result"]["jobs"]
    assert counted == {key: n for key, n in values.items() if str(key).startswith("count/") and n}
    return lsn, serial


def watch(path, duration_s):
    moments = []
    begun = time.monotonic()
    while time.monotonic() - begun < duration_s or len(moments) < 2:
        moments.append(look(path))
    assert moments == sorted(moments)
    assert moments[0] < moments[-1]


def test_p13_beside_a_busy_owner_a_reader_sees_a_consistent_prefix(busy):
    watch(busy[0], 1.0)


def test_p13_an_export_beside_a_busy_owner_is_of_one_moment(busy):
    wait_for(busy[0], 60)
    with OfflineQueue(busy[0]) as queue:
        wait_for(busy[0], queue.lsn + 60)
        contents = read_contents(queue)
        items = list(contents.items)
    with OfflineQueue(busy[0], at=contents.state.lsn) as queue:
        found = dict(queue.entries(queue.job_ids(archived=True)))
    # What was pruned since is in no file; a moment ago the journal may have had it still.
    there = {job: entry for job, entry in found.items() if entry.document is not None}
    said = {item.document["id"]: item for item in items}
    assert len(said) == len(items) > 0
    with OfflineQueue(busy[0]) as queue:
        # Asked last: what the export could not have any more is pruned by now.
        gone = there.keys() - said.keys()
        assert not any(entry.document for _, entry in queue.entries(sorted(gone)) if entry)
    assert contents.state.serial >= max(said)
    for job, entry in there.items():
        assert job in gone or said[job] == (entry.document, entry.place is Place.ARCHIVE)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_p13_beside_a_busy_owner_for_long(busy):
    watch(busy[0], 600)


def facts_of(path):
    return {
        str(found): (found.stat().st_atime_ns, found.stat().st_mtime_ns, found.stat().st_ctime_ns)
        for found in (path, *path.rglob("*"))
    }


@pytest.mark.parametrize("busy", ["full"], indirect=True)
def test_p13_no_reading_command_changes_anything_not_even_times_of_access(busy):
    path, writer = busy
    writer.stdin.close()
    assert writer.wait(timeout=60) == 0
    for found in (path, *path.rglob("*")):
        os.utime(found, ns=(1, found.stat().st_mtime_ns))  # so that relatime would set it anew
    before = facts_of(path)
    newest = max(int(p.name.partition("-")[2]) for p in path.rglob("job-*"))
    for command in (
        ["list", "--archived"],
        ["list", "--at", "1h ago"],
        ["list", "--archived", "--at", "30"],
        ["info"],
        ["history"],
        ["tree"],
        ["stats"],
        ["verify"],
        ["journal"],
        ["diff", "--from", "40"],
        ["stats", "--at", "30"],
        ["timeline", "--at", "30"],
        ["export"],
        ["report", "--output", "-"],
        ["repair"],
    ):
        ids = [str(newest)] if command[0] in ("info", "history") else []
        ids += [str(path.parent / "export")] if command == ["export"] else []
        result = CliRunner().invoke(cli, [*command, str(path), *ids])
        assert not isinstance(result.exception, Exception), (command, result.exception)
        assert facts_of(path) == before, command
