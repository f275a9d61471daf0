"""The kinds that every queue knows: OP_EXEC runs a command, OP_TEST_DELAY waits."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections import deque
from typing import Final

from jqueue.errors import InvalidJob
from jqueue.execution.context import Context
from jqueue.execution.units import logical_unit
from jqueue.job.opcode import OpCode

MAX_OUTPUT_BYTES: Final = 1 << 20
"""Output of one command that goes to the log: the first half of it, and the last."""
MAX_LINE_BYTES: Final = 64 << 10
"""A longer line becomes several entries, so that no entry grows without bound."""
OUTPUT: Final = "output"
_READ_BYTES: Final = 64 << 10


class Exec(OpCode):
    """Run a command: exit status 0 is success.  `argv` is executed as it is, without a shell."""

    OP_ID = "OP_EXEC"
    summary_field = "argv"
    argv: list[str]
    cwd: str | None = None
    env: dict[str, str] | None = None


class ExecFailed(Exception):
    """The command could not be run, exited with another status than 0, or died by a signal."""


@logical_unit(Exec)
def execute(op: Exec, context: Context) -> dict[str, int]:
    """Run the command; its output lines, of both streams, become log entries as they come."""
    if not op.argv or not op.argv[0] or any("\0" in word for word in op.argv):
        raise InvalidJob("argv needs a program, and no word of it may hold NUL", field="argv")
    inherited = () if context.livelock_fd is None else (context.livelock_fd,)
    try:
        process = subprocess.Popen(  # noqa: S603 - to run the user's command is what it is for
            op.argv,
            cwd=op.cwd,
            env=None if op.env is None else {**os.environ, **op.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
        )
    except OSError as error:
        raise ExecFailed(f"{op.argv[0]} can't be run: {error}") from error
    with process:
        _relay(process, Output(context))
    if process.returncode < 0:
        raise ExecFailed(f"{op.argv[0]} was ended by signal {-process.returncode}")
    if process.returncode:
        raise ExecFailed(f"{op.argv[0]} exited with status {process.returncode}")
    return {"exit": 0}


def _relay(process: subprocess.Popen[bytes], output: Output) -> None:
    """Pass the output on until the command has ended; what it left running may write on in vain."""
    assert process.stdout is not None
    stream = process.stdout.fileno()
    os.set_blocking(stream, False)
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(stream, selectors.EVENT_READ)
            ready.register(ended, selectors.EVENT_READ)
            while True:
                events = {key.fd for key, _ in ready.select()}
                if not _read(stream, output) or ended in events:
                    break
        _read(stream, output)
    finally:
        os.close(ended)
    output.close()


def _read(stream: int, output: Output) -> bool:
    """Read what is there; say whether more may come."""
    while True:
        try:
            data = os.read(stream, _READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        output.feed(data)


class Output:
    """Turns bytes into log entries: whole lines, the head at once, of the rest only the tail."""

    def __init__(self, context: Context, limit_bytes: int = MAX_OUTPUT_BYTES) -> None:
        self._context = context
        self._half_bytes = limit_bytes // 2
        self._head_bytes = 0
        self._partial = b""
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._cut_bytes = 0
        self._cut_lines = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)
        while len(self._partial) > MAX_LINE_BYTES:
            self._line(self._partial[:MAX_LINE_BYTES])
            self._partial = self._partial[MAX_LINE_BYTES:]

    def close(self) -> None:
        """Pass on the tail, saying what was cut before it."""
        if self._partial:
            self._line(self._partial)
            self._partial = b""
        if self._cut_lines:
            self._say(f"[{self._cut_lines} lines, {self._cut_bytes} bytes, are left out here]")
        for line in self._tail:
            self._say(_decode(line))
        self._tail.clear()

    def _line(self, line: bytes) -> None:
        for at in range(0, max(len(line), 1), MAX_LINE_BYTES):
            self._piece(line[at : at + MAX_LINE_BYTES])

    def _piece(self, line: bytes) -> None:
        if self._head_bytes + len(line) <= self._half_bytes and not self._tail:
            self._head_bytes += len(line) + 1
            self._say(_decode(line))
            return
        self._tail.append(line)
        self._tail_bytes += len(line) + 1
        while self._tail_bytes > self._half_bytes:
            cut = len(self._tail.popleft()) + 1
            self._tail_bytes -= cut
            self._cut_bytes += cut
            self._cut_lines += 1

    def _say(self, text: str) -> None:
        self._context.feedback(OUTPUT, text)


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "backslashreplace")


class TestDelay(OpCode):
    """Wait: for trying a queue out.  Accepts Ganeti's further parameters and ignores them."""

    OP_ID = "OP_TEST_DELAY"
    summary_field = "duration"
    allow_unknown = True
    duration: float = 0.0
    repeat: int = 0


@logical_unit(TestDelay)
def test_delay(op: TestDelay, context: Context) -> None:
    """Wait so many seconds, `repeat` times more with a log entry each; a cancellation ends it."""
    for turn in range(op.repeat + 1):
        if op.repeat:
            context.feedback(f"Test delay iteration {turn}/{op.repeat}")
        end = time.monotonic() + max(op.duration, 0.0)
        while (left := end - time.monotonic()) > 0:
            if context.cancel_requested:
                raise InterruptedError("canceled")
            # A signal handler that returns doesn't end a sleep: short ones let it be noticed.
            time.sleep(min(left, 0.1))
