"""The offline tools on a long history: list, stats, verify and one job, packed and not.

`plain reading + orjson` opens, reads and decodes every file and writes nothing: the limit of one
process.  Memory is the largest of any process of the command.

    python -m bench.archive [DIR] [JOBS]      only this; a million jobs are made as packs only
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from archive_tools.contents import Contents, State
from archive_tools.importing import import_queue
from bench.peers import PAYLOAD
from jqueue.job.document import new_document, timestamp, with_job, with_op
from jqueue.job.ids import ARCHIVE_DIVISOR, archive_dir, job_file_name
from jqueue.store.offline import OfflineQueue
from jqueue.store.packed import Packs, pack_path
from jqueue.store.packing import Packer
from jqueue.store.realdisk import PRIVATE_FILE, RealDisk

JOBS = 100_000
FIRST_S = 1_700_000_000
TOOL = [sys.executable, "-c", "from archive_tools.cli import main; main()"]
LOOKUPS = 2000


def document(job, rng):
    """Return an ended job as the queue leaves it: waited, ran, a few failed."""
    received = FIRST_S * 10**9 + job * 10**9 // 2
    begin = timestamp(received + int(rng.lognormvariate(16, 2)))
    end = [begin[0] + 1 + int(rng.expovariate(0.1)), begin[1]]
    failed = rng.random() < 0.03
    made = with_op(
        new_document(job, [PAYLOAD], now=received, uid=1000),
        0,
        status="error" if failed else "success",
        result=["OpExecError", [f"disk {job % 9} is full"]] if failed else None,
        start_timestamp=begin,
        exec_timestamp=begin,
        end_timestamp=end,
        attempts=1,
        token=3 * job,
        log=[[1, begin, "message", "line one"]],
    )
    return with_job(made, start_timestamp=begin, end_timestamp=end, lsn=3 * job)


def make(path, jobs, *, packed):
    """Make a queue of archived jobs only, in files or in packs."""
    rng = random.Random(1)
    import_queue(Contents(State(3 * jobs, jobs, None, None, {}), iter(())), path)
    with RealDisk(path, file_mode=PRIVATE_FILE) as disk:
        packer = Packer(disk, Packs(disk))
        for number in range(jobs // ARCHIVE_DIVISOR + 1):
            first = number * ARCHIVE_DIVISOR
            here = range(max(first, 1), min(first + ARCHIVE_DIVISOR, jobs + 1))
            files = ((job, orjson.dumps(document(job, rng)) + b"\n") for job in here)
            disk.mkdir(f"archive/{number}")
            if packed:
                packer._write(number, files)  # noqa: SLF001  # packing files that were never made
                continue
            for job, data in files:
                disk.create(f"{archive_dir(job)}/{job_file_name(job)}", data)


def on_disk(path):
    """Return the bytes that the archive takes on the disk."""
    return sum(
        entry.stat().st_blocks * 512
        for directory in os.scandir(path / "archive")
        for entry in os.scandir(directory)
    )


def command(*arguments, to=os.devnull):
    """Run the command; return wall and processor seconds, and the largest process's MiB."""
    began = time.perf_counter()
    with Path(to).open("wb") as out:
        process = subprocess.Popen([*TOOL, *map(str, arguments)], stdout=out)
        largest = 0
        while process.poll() is None:
            largest = max(largest, _largest(process.pid))
            time.sleep(0.02)
    took = time.perf_counter() - began
    assert process.returncode in (0, 1), arguments
    return took, largest


def _largest(pid):
    """Return the resident MiB, at most until now, of the largest of a process and its children."""
    found = 0
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        found = int(status.partition("VmHWM:")[2].split()[0]) // 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return found
    return max([found, *map(_largest, children)])


def plain(path):
    """Read and decode every file of the archive: the limit.  Returns the seconds."""
    began = time.perf_counter()
    for directory in os.scandir(path / "archive"):
        at = os.open(directory.path, os.O_RDONLY)
        for name in os.listdir(at):
            file = os.open(name, os.O_RDONLY, dir_fd=at)
            orjson.loads(os.read(file, 1 << 16))
            os.close(file)
        os.close(at)
    return time.perf_counter() - began


def jq(path):
    """Let find, xargs and jq do what `list --json` does.  Returns the seconds; None without jq."""
    if shutil.which("jq") is None:
        return None
    script = (
        "{id, status: .ops[0].status, priority: 0, summary: [.ops[].input.OP_ID], archived: true,"
        " received: .received_timestamp, started: .start_timestamp, ended: .end_timestamp}"
    )
    began = time.perf_counter()
    find = subprocess.Popen(
        ["find", path / "archive", "-name", "job-*", "-print0"], stdout=subprocess.PIPE
    )
    subprocess.run(
        ["xargs", "-0", "-P2", "-n2000", "jq", "-c", script],
        stdin=find.stdout,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    find.wait()
    return time.perf_counter() - began


def lookups(path, jobs):
    """Return the microseconds to read one archived job at random, by the library."""
    rng = random.Random(2)
    wanted = [rng.randint(1, jobs) for _ in range(LOOKUPS)]
    with OfflineQueue(path) as queue:
        began = time.perf_counter()
        for job in wanted:
            assert queue.job(job).id == job
        return (time.perf_counter() - began) / LOOKUPS * 1e6


def row(name, jobs, took, limit, mib=None):
    memory = "" if mib is None else f"{mib:>8} MiB"
    ratio = "" if limit is None else f"{limit / took:>10.2f}"
    print(f"{name:<34}{took:>8.2f} s{jobs / took:>10.0f}{ratio:>10}{memory:>12}")


COMMANDS = {
    "list --json": ("list", "--archived", "--json"),
    "list --csv": ("list", "--archived", "--csv"),
    "list (table)": ("list", "--archived"),
    "list --filter --json": ("list", "--archived", "--json", "--filter", '"error" in opstatus'),
    "list --sort --json": ("list", "--archived", "--json", "--sort", "-end_ts"),
    "stats": ("stats",),
    "verify": ("verify",),
}


def measure(path, jobs, limit):
    for name, (verb, *options) in COMMANDS.items():
        took, mib = command(verb, path, *options)
        row(name, jobs, took, limit, mib)


def archive(root: Path, jobs: int = JOBS) -> None:
    """Measure it in files, then in packs, below `root`."""
    heading = f"{'':<34}{'':>10}{'jobs/s':>10}{'x limit':>10}{'memory':>12}"
    if jobs <= JOBS:
        files = root / "files"
        make(files, jobs, packed=False)
        size = on_disk(files) / jobs
        limit = min(plain(files) for _ in range(2))
        print(f"\n{jobs} archived jobs, a file each, {size:.0f} bytes a job\n{heading}")
        row("plain reading + orjson: the limit", jobs, limit, limit)
        if (took := jq(files)) is not None:
            row("find | xargs -P2 jq", jobs, took, limit)
        measure(files, jobs, limit)
        print(f"one job at random: {lookups(files, jobs):.0f} us")
        shutil.rmtree(files)
    packs = root / "packs"
    make(packs, jobs, packed=True)
    size = on_disk(packs) / jobs
    print(f"\n{jobs} archived jobs in packs, {size:.0f} bytes a job\n{heading}")
    measure(packs, jobs, None)
    print(f"one job at random: {lookups(packs, jobs):.0f} us")
    assert (packs / pack_path(0)).exists()
    shutil.rmtree(packs)


def main():
    at = sys.argv[1] if sys.argv[1:] else None
    root = Path(tempfile.mkdtemp(prefix="jqueue-bench-", dir=at))
    try:
        archive(root, int(sys.argv[2]) if sys.argv[2:] else JOBS)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
