"""Launching workers: processes in sessions of their own, or threads of this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final

from jqueue.execution.executions import Worker
from jqueue.execution.line import WorkerLine
from jqueue.execution.units import UNITS
from jqueue.execution.worker import Executor
from jqueue.job import jsonio
from jqueue.store import processes

MODULE: Final = "jqueue.execution.worker"


def process_launcher(
    queue: str, sources: list[str], *, orphan_timeout_s: float
) -> Callable[[], Worker]:
    """Return what launches one worker process: exec'd, in its own session, never a fork of us."""
    config = {
        "queue": os.path.abspath(queue),
        "load": sources,
        "path": [os.path.abspath(entry) for entry in sys.path],
        "orphan_timeout_s": orphan_timeout_s,
    }
    command = [sys.executable, "-m", MODULE, jsonio.dumps(config).decode()]
    # `-m` must find this package wherever our own import path found it.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    def launch() -> Worker:
        known = os.environ.get("PYTHONPATH")
        search = root if not known else f"{root}{os.pathsep}{known}"
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": search},
        )
        return Worker(processes.Identity.of(process.pid), process=process)

    return launch


def thread_launcher(queue_fd: int, admit: Callable[[socket.socket], None]) -> Callable[[], Worker]:
    """Return what launches one worker thread, connected as a process would be."""

    def launch() -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        identity = processes.myself()
        connections = [theirs]

        def dial() -> socket.socket:
            if not connections:
                raise ConnectionRefusedError("the owner has closed the connection")
            return connections.pop()

        line = WorkerLine(dial, identity, orphan_timeout_s=0, thread=True)
        executor = Executor(line, queue_fd, UNITS)
        admit(ours)
        threading.Thread(target=executor.run, name="worker", daemon=True).start()
        return Worker(identity, thread=True)

    return launch
