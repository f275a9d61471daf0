"""Figures for Prometheus: on the verb and on a loopback port, as its own parser reads them."""

import re
import threading
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jqueue import JobQueue, OpCode, QueueFailed, connect, logical_unit

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


class UnitTestCounted(OpCode):
    fails: bool = False


@logical_unit(UnitTestCounted)
def counted(op, context):
    if op.fails:
        raise ValueError("as asked")


class Figures:
    """What a scrape says, by name and labels."""

    def __init__(self, text):
        self.families = list(text_string_to_metric_families(text))
        self.values = {
            (one.name, *(f"{key}={value}" for key, value in sorted(one.labels.items()))): one.value
            for family in self.families
            for one in family.samples
        }

    def __getitem__(self, name):
        return self.values[name if isinstance(name, tuple) else (name,)]


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue") as opened:
        yield opened


def test_the_verb_counts_what_was_submitted_started_and_ended(queue):
    queue.listen()
    ids = [queue.submit([UnitTestCounted(fails=turn == 0)]) for turn in range(4)]
    queue.cancel(ids[3])
    with connect(queue.path) as client:
        first = Figures(client.metrics())
        for _ in range(2):
            with queue.claim(["OP_UNIT_TEST_COUNTED"]) as claim:
                if claim.op.input.get("fails"):
                    claim.fail("as asked")
                else:
                    claim.finish(None)
        last = Figures(client.metrics())
    assert first["jqueue_up"] == 1
    assert first["jqueue_jobs", "status=queued"] == 3
    assert first["jqueue_oldest_job_age_seconds", "status=queued"] > 0
    assert first["jqueue_jobs_ended_total", "status=canceled"] == 1
    assert last["jqueue_jobs_submitted_total"] == 4
    assert last["jqueue_opcodes_started_total"] == 2
    assert last["jqueue_jobs_ended_total", "status=error"] == 1
    assert last["jqueue_jobs_ended_total", "status=success"] == 1
    assert last["jqueue_jobs", "status=queued"] == 1
    # Each start and each finish was a batch of its own.
    commits = "jqueue_commit_latency_seconds_count"
    assert last[commits] >= first[commits] + 4
    syncs = ("jqueue_fsyncs_total", "target=journal")
    assert last[syncs] - first[syncs] == last[commits] - first[commits]


def test_an_interruption_is_counted_and_a_units_own_words_are_not(queue):
    queue.listen()
    queue.submit([UnitTestCounted()])
    claim = queue.claim()
    queue.claim_log(claim.job.id, 0, claim.token, [[[1, 0], "interrupted", "said so"]])
    with connect(queue.path) as client:
        assert Figures(client.metrics())["jqueue_interruptions_total"] == 0
        # What a dead claimant leaves is judged by whoever owns the queue next.
        from jqueue.queue.running import interrupted  # noqa: PLC0415

        queue.ask(interrupted(claim.job.id, 0, claim.token, now=queue.clock.now_ns()))
        assert Figures(client.metrics())["jqueue_interruptions_total"] == 1


def test_without_an_owner_the_figures_are_what_the_files_show(tmp_path):
    with JobQueue.open(tmp_path / "queue") as opened:
        opened.submit([UnitTestCounted()])
        opened.drain("moving")
    with connect(tmp_path / "queue") as client:
        figures = Figures(client.metrics())
    assert figures["jqueue_up"] == 0
    assert figures["jqueue_jobs", "status=queued"] == 1
    assert figures["jqueue_drained"] == 1
    assert ("jqueue_jobs_submitted_total",) not in figures.values


class Running:
    """An owner that runs on a thread and serves its figures on a free port."""

    def __init__(self, queue, port=0):
        self.owner = queue.prepare(queue_options(), "thread")
        self.owner.metrics_port = port
        self.thread = threading.Thread(target=queue.run_prepared, args=(self.owner,))
        self.thread.start()

    def __enter__(self):
        return self.owner

    def __exit__(self, *_):
        self.owner.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


def queue_options():
    from jqueue.execution.executions import Options  # noqa: PLC0415 - a test's own need

    return Options(workers=1)


def scrape(port, host="127.0.0.1"):
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=20) as answer:
        return Figures(answer.read().decode())


def test_the_port_says_what_the_verb_says_and_nobody_hears_it_elsewhere(queue):
    with Running(queue) as owner:
        assert queue.wait(queue.submit([UnitTestCounted()]), 30).status == "success"
        figures = scrape(owner.facts.port)
        assert figures["jqueue_jobs_ended_total", "status=success"] == 1
        assert figures["jqueue_workers", "state=idle"] == 1
        with connect(queue.path) as client:
            assert set(figures.values) == set(Figures(client.metrics()).values)
        listeners = Path("/proc/net/tcp").read_text().splitlines()[1:]
        port = f"{owner.facts.port:04X}"
        bound = {line.split()[1] for line in listeners if line.split()[1].endswith(":" + port)}
        assert bound == {f"0100007F:{port}"}
    with pytest.raises(OSError, match="refused"):
        scrape(owner.facts.port)


def test_a_port_that_is_taken_is_one_error_and_the_queue_is_free_again(queue, tmp_path):
    with Running(queue) as owner, JobQueue.open(tmp_path / "other") as other:
        second = other.prepare(queue_options(), "thread")
        second.metrics_port = owner.facts.port
        with pytest.raises(QueueFailed, match="can't be served on port"):
            other.run_prepared(second)


def test_the_document_lists_exactly_the_metrics_there_are(queue):
    queue.listen()
    with connect(queue.path) as client:
        text = client.metrics()
    ours = {name for name in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE) if "jqueue" in name}
    listed = set(re.findall(r"^\| `(jqueue_\w+)", DOCUMENT.read_text(), re.MULTILINE))
    assert listed == ours
    for name in ours:
        kind = re.search(rf"^# TYPE {name} (\w+)", text, re.MULTILINE)[1]
        assert (kind == "counter") == name.endswith("_total")
