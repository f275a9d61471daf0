"""The demo's logical units: an evacuation that submits one job for each image it finds."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from jqueue import Context, OpCode, ResultWithJobs, logical_unit


class DemoEvacuate(OpCode):
    """Move every image of `source` to the other nodes."""

    source: str
    targets: list[str]
    ledger: str
    pause_s: float = 0.0


class DemoCopyImage(OpCode):
    """Copy one image and check what arrived."""

    source: str
    target: str
    ledger: str
    pause_s: float = 0.0


class DemoRemoveImage(OpCode):
    """Remove the source of a copied image."""

    source: str
    ledger: str


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _note(ledger: str, what: str, image: str) -> None:
    """Write down, outside the queue, that something was carried out."""
    with Path(ledger).open("a", encoding="utf-8") as file:
        file.write(f"{what} {Path(image).name}\n")


@logical_unit(DemoEvacuate)
def evacuate(op: DemoEvacuate, context: Context) -> ResultWithJobs:
    """List the images, and submit a job for each with this very result."""
    images = sorted(path for path in Path(op.source).iterdir() if path.is_file())
    jobs = []
    for number, image in enumerate(images):
        target = str(Path(op.targets[number % len(op.targets)]) / image.name)
        copy = DemoCopyImage(source=str(image), target=target, ledger=op.ledger, pause_s=op.pause_s)
        jobs.append([copy, DemoRemoveImage(source=str(image), ledger=op.ledger)])
    context.feedback(f"{len(images)} images to move")
    return ResultWithJobs(jobs, on_refusal="error")


@logical_unit(DemoCopyImage)
def copy_image(op: DemoCopyImage, context: Context) -> str:
    """Copy to a temporary name, check, rename: running it again does no harm."""
    source, target = Path(op.source), Path(op.target)
    data = source.read_bytes()
    time.sleep(op.pause_s)
    temporary = target.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    if digest(temporary) != digest(source):
        raise ValueError(f"{temporary} differs from {source}")
    temporary.rename(target)
    context.feedback(f"{source.name}: copied and verified")
    return digest(target)


@logical_unit(DemoRemoveImage)
def remove_image(op: DemoRemoveImage, context: Context) -> None:  # noqa: ARG001 - the unit's shape
    """Remove the source; its copy was verified by the opcode before."""
    Path(op.source).unlink(missing_ok=True)
    _note(op.ledger, "moved", op.source)
