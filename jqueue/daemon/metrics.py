"""A queue's figures as Prometheus text: made when they are asked for, from what is known anyway.

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for what only rises.
Counters count since this owner took the queue (`jqueue_owner_start_time_seconds`), as a
Prometheus counter may.  docs/metrics.md has the table of them, and a test holds it to this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    exposition,
    start_http_server,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from jqueue._version import __version__
from jqueue.store.latency import BOUNDS_S

LOOPBACK: Final = "127.0.0.1"
"""The figures are for this machine: whoever wants them elsewhere puts a proxy of his own before."""

Facts = dict[str, Any]
"""What the verb `status` answers, with an owner or without."""


class _Figures(Collector):
    """Turns facts into families of metrics."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Yield the families, of this moment."""
        facts = self._facts()
        yield from _of_the_queue(facts)
        if "journal_bytes" in facts:
            yield from _of_the_engine(facts)
        if "totals" in facts:
            yield from _of_the_owner(facts)

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: registering must not ask the queue."""
        return ()


def registry(facts: Callable[[], Facts], *, of_process: bool = True) -> CollectorRegistry:
    """Return a registry of this queue alone; `of_process`: this process's memory, CPU … too."""
    made = CollectorRegistry()
    made.register(_Figures(facts))
    if of_process:
        ProcessCollector(registry=made)
    return made


def text(of: CollectorRegistry) -> str:
    """Return the figures in Prometheus's text format 0.0.4."""
    return exposition.generate_latest(of).decode()


def listen(of: CollectorRegistry, port: int) -> tuple[int, Callable[[], None]]:
    """Serve the figures on a port of the loopback interface; return the port, and how to stop.

    Port 0 is any that is free.  Any user of this machine may read them: they hold no job's content.
    Raises OSError.
    """
    server, thread = start_http_server(port, addr=LOOPBACK, registry=of)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), stop


def _of_the_queue(facts: Facts) -> Iterator[Metric]:
    yield _gauge("up", "1 while a process owns the queue and answers.", facts["pid"] is not None)
    info = GaugeMetricFamily("jqueue_build_info", "The version that answers.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    jobs = GaugeMetricFamily("jqueue_jobs", "Live jobs by status.", labels=["status"])
    for status, number in facts["counts"].items():
        jobs.add_metric([status], number)
    yield jobs
    ages = GaugeMetricFamily(
        "jqueue_oldest_job_age_seconds",
        "Since the oldest queued job was submitted, the oldest running opcode began; 0: none.",
        labels=["status"],
    )
    for status in ("queued", "running"):
        name = f"oldest_{status}"
        if name in facts:
            age_s = 0.0 if facts[name] is None else max(time.time() - facts[name], 0.0)
            ages.add_metric([status], age_s)
    yield ages
    yield _gauge("drained", "1 while no submission is accepted.", facts["drain"] is not None)
    yield _gauge("paused", "1 while no opcode is started.", facts["pause"] is not None)
    if facts.get("quarantined") is not None:
        yield _gauge("quarantined_files", "Damaged files set aside.", facts["quarantined"])
    if facts.get("disk_free_bytes") is not None:
        yield _gauge("disk_free_bytes", "Space left for the queue.", facts["disk_free_bytes"])


def _of_the_engine(facts: Facts) -> Iterator[Metric]:
    yield _gauge("journal_bytes", "Journal that waits for its job files.", facts["journal_bytes"])
    yield _gauge(
        "journal_limit_bytes", "Above this submissions wait.", facts["journal_limit_bytes"]
    )
    yield _gauge("journal_segments", "Segments of the journal in use.", facts["segments"])
    lag = facts["lsn"] - facts["reflects"]
    yield _gauge("checkpoint_lag_records", "Records not yet known to be in job files.", lag)
    yield _gauge("files_behind", "Job files to be written.", facts["files_behind"])
    whole = facts["reserve"] == "whole"
    yield _gauge("reserve_whole", "0 while a full disk is met by the reserve.", whole)
    failing = facts["checkpoint_error"] is not None or facts["failure"] is not None
    yield _gauge("failing", "1 while job files can't be written, or the queue stopped.", failing)
    syncs = CounterMetricFamily("jqueue_fsyncs", "Syncs, by what for.", labels=["target"])
    for target, number in facts["syncs"].items():
        syncs.add_metric([target], number)
    yield syncs


def _of_the_owner(facts: Facts) -> Iterator[Metric]:
    totals, latency = facts["totals"], facts["commit_latency"]
    yield _gauge("owner_start_time_seconds", "When this owner took the queue.", facts["since"])
    yield _counter("jobs_submitted", "Jobs submitted.", totals["submitted"])
    yield _counter("opcodes_started", "Attempts at opcodes started.", totals["started"])
    ended = CounterMetricFamily("jqueue_jobs_ended", "Jobs ended, by how.", labels=["status"])
    for status, number in totals["ended"].items():
        ended.add_metric([status], number)
    yield ended
    yield _counter("interruptions", "Opcodes whose process vanished.", totals["interruptions"])
    found = CounterMetricFamily(
        "jqueue_recovered_opcodes", "Opcodes found running at the start, by fate.", labels=["fate"]
    )
    for fate, number in facts["recovered"].items():
        found.add_metric([fate], number)
    yield found
    states: dict[str, int] = dict.fromkeys(("starting", "idle", "busy", "silent", "ending"), 0)
    for worker in facts["crew"]:
        states[worker["state"]] += 1
    workers = GaugeMetricFamily("jqueue_workers", "Workers, by what they do.", labels=["state"])
    for state, number in states.items():
        workers.add_metric([state], number)
    yield workers
    yield _gauge("running_opcodes", "Opcodes that run, claimed ones too.", facts["running"])
    yield _gauge("connections", "Connections to the socket.", facts["connections"])
    buckets, up_to = [], 0
    for bound, number in zip((*map(str, BOUNDS_S), "+Inf"), latency["counts"], strict=True):
        up_to += number
        buckets.append((bound, up_to))
    yield HistogramMetricFamily(
        "jqueue_commit_latency_seconds",
        "Writing and syncing a batch of records.",
        buckets=buckets,
        sum_value=latency["sum_s"],
    )


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(f"jqueue_{name}", said, value=float(value))


def _counter(name: str, said: str, value: float) -> Metric:
    return CounterMetricFamily(f"jqueue_{name}", said, value=float(value))
