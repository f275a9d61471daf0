"""Healthy queue directories, and the ways in which one file of them may be damaged."""

import random
import shutil
from pathlib import Path

from jqueue.store.realdisk import RealDisk
from tests.crash.workload import SEGMENT_BYTES, TRANSACTIONS, open_store

HINTS = {"lock", "owner"}
NEW_NAMES = ("job-77", "archive/0/job-78", "journal/00000099", ".tmp-job-5-0123456789abcdef")


def make_queue(path: Path, how: str) -> None:
    """Live the day in a directory: `closed` cleanly, or `killed` with files behind the journal."""
    path.mkdir()
    disk = RealDisk(path)
    store = open_store(disk, segment_bytes=SEGMENT_BYTES)
    for at, transaction in enumerate(TRANSACTIONS):
        store.commit(transaction)
        if at % 6 == 5:
            store.checkpoint()
    if how == "closed":
        store.close()
    else:
        store.checkpointer._write_files()
        store.ledger.mark()
        store.journal.close()
        disk.close()
    (path / "journal/reserve").unlink(missing_ok=True)


def files_of(path: Path) -> list[Path]:
    """Return every file but the hints of who owned the queue."""
    found = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return [file for file in found if file.name not in HINTS]


def contents_of(path: Path) -> dict[str, bytes]:
    """Return what every file holds, without the papers of repairs."""
    files = {str(file.relative_to(path)): file.read_bytes() for file in files_of(path)}
    return {name: data for name, data in files.items() if "quarantine/repair-" not in name}


def mutate(path: Path, rng: random.Random) -> str:
    """Damage one file, or exchange two; return how, in words."""
    files = files_of(path)
    file, other = rng.choice(files), rng.choice(files)
    data = file.read_bytes()
    how = rng.choice(["flip", "flips", "cut", "zero", "line", "missing", "swap", "double"])
    at = rng.randrange(max(len(data), 1))
    if not data:
        file.unlink()
    elif how in {"flip", "flips"}:
        changed = bytearray(data)
        for _ in range(1 if how == "flip" else 3):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
    elif how == "cut":
        file.write_bytes(data[:at])
    elif how == "zero":
        file.write_bytes(data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :])
    elif how == "line":
        lines = data.splitlines(keepends=True)
        file.write_bytes(b"".join(lines[: len(lines) // 2] + lines[len(lines) // 2 + 1 :]))
    elif how == "missing":
        file.unlink()
    elif how == "swap":
        file.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        target = path / rng.choice(NEW_NAMES)
        target.parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(file, target)
        return f"{file.name} doubled as {target.name}"
    return f"{how} of {file.relative_to(path)} at {at}, {other.relative_to(path)}"
