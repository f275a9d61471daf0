"""`demo`: an evacuation of image files that survives a kill -9 of its daemon, on real files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jqueue.cli.command import command
from jqueue.errors import JQueueError

if TYPE_CHECKING:
    from jqueue.daemon.client import Client
    from jqueue.job.snapshot import Job

IMAGES = 12
IMAGE_BYTES = 200_000
PAUSE_S = 0.4
LIMIT_S = 60.0
ORDERLY_S = 2.0
UNITS = "jqueue.cli.demo_units"


class DemoFailed(JQueueError):
    """The demo did not end as promised."""


@command("demo")
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path))
def demo(images: Path | None) -> None:
    """Move image files by one job, kill the daemon with SIGKILL in mid-flight, and check the end.

    Works on a copy in a temporary folder; --images DIR takes the files of DIR.

    \b
    Example:
      jqueue demo
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    root = Path(tempfile.mkdtemp(prefix="jqueue-demo-"))
    try:
        _play(root, images)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _play(root: Path, images: Path | None) -> None:
    from jqueue.cli.demo_units import DemoEvacuate, digest  # noqa: PLC0415 - only the demo's
    from jqueue.daemon.client import connect  # noqa: PLC0415 - no other command's import time

    nodes = [root / name for name in ("node1", "node2", "node3")]
    for node in nodes:
        node.mkdir()
    _make_images(nodes[0], images)
    expected = {path.name: digest(path) for path in nodes[0].iterdir()}
    ledger = root / "ledger"
    click.echo(f"{len(expected)} images on node1; one job evacuates it to node2 and node3")
    first = _daemon(root)
    with connect(root / "queue", timeout_s=10) as queue:
        targets = [str(node) for node in nodes[1:]]
        source = str(nodes[0])
        evacuation = DemoEvacuate(
            source=source, targets=targets, ledger=str(ledger), pause_s=PAUSE_S
        )
        job = queue.submit([evacuation])
        queue.wait(job, LIMIT_S)
        _until(lambda: _moved(ledger) >= len(expected) // 3)
        # The ledger's line may be the last thing that a unit did: then nothing would be recovered.
        _until(lambda: queue.count(statuses=["running"]))
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    click.echo(f"kill -9 of the daemon with {_moved(ledger)} of {len(expected)} images moved")
    second = _daemon(root)
    try:
        with connect(root / "queue", timeout_s=10) as queue:
            jobs = _finish(queue, job)
        for line in (root / "daemon.log").read_text().splitlines():
            if " was running: " in line:
                click.echo(f"recovery: {line.partition(' INFO ')[2] or line}")
    finally:
        _end(second)
    _check(nodes, expected, ledger, jobs)
    _draw(job, jobs)
    click.echo(f"all {len(expected)} images were moved exactly once, every checksum is right")


def _make_images(node: Path, images: Path | None) -> None:
    if images is None:
        for number in range(1, IMAGES + 1):
            (node / f"disk{number:02d}.img").write_bytes(os.urandom(IMAGE_BYTES))
        return
    for path in images.iterdir():
        if path.is_file():
            shutil.copy(path, node)


def _daemon(root: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "jqueue", "daemon", "--load", UNITS, "--queue"]
    with (root / "daemon.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [*words, str(root / "queue")], stdout=log, stderr=log
        )


def _end(daemon: subprocess.Popen[bytes]) -> None:
    """Stop the daemon in order; a second SIGTERM says at once."""
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(ORDERLY_S)
    except subprocess.TimeoutExpired:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(LIMIT_S)


def _moved(ledger: Path) -> int:
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def _until(reached: object) -> None:
    end = time.monotonic() + LIMIT_S
    assert callable(reached)
    while not reached():
        if time.monotonic() > end:
            raise DemoFailed(f"the demo did not get on within {LIMIT_S:.0f} s")
        time.sleep(0.02)  # the units write to a plain file, which nothing can wait for


def _finish(queue: Client, job: int) -> list[Job]:
    result = queue.job(job).ops[0].result
    children = [child for accepted, child in result["jobs"] if accepted]
    if len(children) != len(result["jobs"]):
        raise DemoFailed("a child was refused")
    return [queue.wait(child, LIMIT_S) for child in children]


def _check(nodes: list[Path], expected: dict[str, str], ledger: Path, jobs: list[Job]) -> None:
    from jqueue.cli.demo_units import digest  # noqa: PLC0415 - only the demo's

    found = {path.name: digest(path) for node in nodes[1:] for path in node.iterdir()}
    if found != expected or any(nodes[0].iterdir()):
        raise DemoFailed(f"{len(found)} of {len(expected)} images arrived whole")
    moved = sorted(ledger.read_text().splitlines())
    if moved != sorted(f"moved {name}" for name in expected):
        raise DemoFailed("an image was moved twice or never")
    if any(child.status != "success" for child in jobs):
        raise DemoFailed("a job failed")


def _draw(parent: int, jobs: list[Job]) -> None:
    """Draw the family tree and when each child ran, a column for every tenth of a second."""
    begins = [child.started for child in jobs if child.started is not None]
    zero = min(begins)
    click.echo(f"job {parent} DEMO_EVACUATE, its children and when they ran:")
    for child in jobs:
        assert child.started is not None
        assert child.ended is not None
        before = int((child.started - zero).total_seconds() * 10)
        during = max(1, int((child.ended - child.started).total_seconds() * 10))
        attempts = sum((op.attempts or 0) for op in child.ops) - len(child.ops)
        again = f" ({attempts} begun again)" if attempts else ""
        click.echo(f"  +- job {child.id:<3} |{' ' * before}{'#' * during}{again}")
