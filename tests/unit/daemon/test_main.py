"""The daemon in this process: it reopens after a failed sync (P10), and loads before it opens."""

import asyncio
import errno
import os
import threading

import pytest

from jqueue import JobNotFound, OutcomeUnknown, QueueFull, aio, connect
from jqueue.daemon import main
from jqueue.execution.executions import Options


class Served:
    """`serve` on a thread, with what it opened."""

    def __init__(self, path):
        self.queues = []
        self.opened = threading.Semaphore(0)
        self.thread = threading.Thread(
            target=main.serve,
            args=(path,),
            kwargs={"options": Options(workers=1), "isolation": "thread", "ready": self.ready},
        )
        self.thread.start()
        self.wait()

    def ready(self, queue):
        self.queues.append(queue)
        self.opened.release()

    def wait(self):
        assert self.opened.acquire(timeout=30)

    def stop(self):
        self.queues[-1].stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path / "queue")
    yield made
    made.stop()


def test_failed_sync_is_an_unknown_outcome_and_the_daemon_reopens_itself(
    served, tmp_path, monkeypatch
):
    with connect(tmp_path / "queue", timeout_s=30) as client:
        first = client.submit([{"OP_ID": "OP_TEST_DELAY"}])
        assert client.wait(first, 30).status == "success"
        real, failing = os.fdatasync, [True]

        def fail_once(fd):
            if failing and threading.current_thread() is served.thread:
                failing.clear()
                raise OSError(errno.EIO, "the disk has failed")
            real(fd)

        monkeypatch.setattr(os, "fdatasync", fail_once)
        with pytest.raises(OutcomeUnknown):
            client.submit([{"OP_ID": "OP_TEST_DELAY"}])
        served.wait()
        last = client.submit([{"OP_ID": "OP_TEST_DELAY"}])
        assert client.wait(last, 30).status == "success"
        assert client.job(first).status == "success"
        assert len(served.queues) == 2


def test_what_cannot_be_loaded_stops_the_daemon_before_it_touches_the_queue(tmp_path, capsys):
    assert main.run_daemon(str(tmp_path / "queue"), sources=["no_such_module_here"]) == 1
    assert "no_such_module_here" in capsys.readouterr().err
    assert not (tmp_path / "queue").exists()


def test_the_operators_numbers_reach_the_queue(tmp_path):
    path = tmp_path / "queue"
    path.mkdir(0o700)
    text = "max_live_jobs = 1\nreserve_bytes = 1048576\njournal_retention_s = 5\n"
    text += "journal_retention_bytes = 7\naging_s = 3\narchive_after_s = 9\nworkers = 0\n"
    (path / "config.toml").write_text(text)
    seen = []

    def look(queue):
        queue.submit([{"OP_ID": "OP_X"}])
        with pytest.raises(QueueFull):
            queue.submit([{"OP_ID": "OP_X"}])
        checkpointer = queue.store.checkpointer
        seen.append((checkpointer.history_s, checkpointer.history_bytes))
        seen.append((queue.aging_s, queue.owner.archive_after_s))
        queue.stop()

    serving = threading.Thread(target=main.serve, args=(str(path),), kwargs={"ready": look})
    serving.start()
    serving.join(30)
    assert seen == [(5, 7), (3, 9)]
    assert (path / "journal" / "reserve").stat().st_size == 1048576


def test_asyncio_mirrors_the_verbs(served, tmp_path):
    async def use():
        async with aio.connect(tmp_path / "queue") as queue:
            job = await queue.submit([{"OP_ID": "OP_TEST_DELAY"}])
            done = await queue.wait(job, 30)
            listed = [found.id async for found in queue.jobs()]
            with pytest.raises(JobNotFound):
                await queue.job(99)
            return done.status, listed

    assert asyncio.run(use()) == ("success", [1])
