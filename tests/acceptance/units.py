"""Logical units that leave their traces outside the queue, for the real daemon to load."""

import fcntl
import os
import signal
import subprocess
import sys
import time

from jqueue import OpCode, ResultWithJobs, logical_unit


def write(path, *words):
    line = " ".join(str(word) for word in (*words, time.time_ns())) + "\n"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line.encode())
    os.close(fd)


class Note(OpCode):
    """Writes when it begins and ends; waits for the file `gate`, if it has one."""

    path: str
    gate: str = ""
    children: int = 0
    submit: int = 0
    fails: int = 0
    talks: int = 1


@logical_unit(Note)
def note(op, context):
    write(op.path, context.job_id, context.op_index, context.attempt, "begin", os.getpid())
    for turn in range(op.talks):
        context.feedback(f"line {turn}")
    if op.submit:
        answers = context.submit_many_jobs([[Note(op.path)] for _ in range(op.submit)])
        context.feedback("submitted", [list(answer) for answer in answers])
    while op.gate and not os.path.exists(op.gate):
        # The gate is a file so that it outlives every process of the test.
        time.sleep(0.01)
        if context.cancel_requested:
            write(op.path, context.job_id, context.op_index, context.attempt, "canceled")
            raise InterruptedError("canceled")
    write(op.path, context.job_id, context.op_index, context.attempt, "end", os.getpid())
    if context.attempt <= op.fails:
        raise RuntimeError(f"attempt {context.attempt} fails, as it was told")
    if op.children:
        return ResultWithJobs([[Note(op.path)] for _ in range(op.children)], note="with children")
    return "done"


class Alone(OpCode):
    """Says so if the same opcode executes anywhere else at this moment."""

    path: str
    takes_s: float
    children: int = 0


@logical_unit(Alone)
def alone(op, context):
    with open(f"{op.path}-{context.job_id}-{context.op_index}", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = context.job_id, context.op_index, context.attempt, "OVERLAP", os.getpid()
            write(op.path, *words)
        write(op.path, context.job_id, context.op_index, context.attempt, "begin", os.getpid())
        answers = []
        if op.children:
            jobs = [[Alone(op.path, op.takes_s)]]
            answers = context.submit_many_jobs(jobs) + context.submit_many_jobs(jobs)
        time.sleep(op.takes_s)
        write(op.path, context.job_id, context.op_index, context.attempt, "end", os.getpid())
    more = [[Alone(op.path, op.takes_s)] for _ in range(op.children)]
    return ResultWithJobs(more, early=[answer.value for answer in answers])


class Careful(OpCode):
    path: str
    gate: str


@logical_unit(Careful, interruption="unknown")
def careful(op, context):
    note(Note(op.path, gate=op.gate), context)


class Fragile(OpCode):
    path: str
    gate: str


@logical_unit(Fragile, interruption="fail")
def fragile(op, context):
    note(Note(op.path, gate=op.gate), context)


class Suicide(OpCode):
    path: str


@logical_unit(Suicide)
def suicide(op, context):
    write(op.path, context.job_id, context.op_index, context.attempt, "begin", os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


class Parent(OpCode):
    """Leaves a process in its session, and waits."""

    path: str
    gate: str


@logical_unit(Parent)
def parent(op, context):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    write(op.path, context.job_id, context.op_index, context.attempt, "child", child.pid)
    while not os.path.exists(op.gate):
        time.sleep(0.01)
    child.kill()
    child.wait()


class Exclusive(OpCode):
    path: str
    name: str


@logical_unit(Exclusive, locks=lambda op: {op.name: "exclusive"})
def exclusive(op, context):
    write(op.path, context.job_id, context.op_index, context.attempt, "begin", os.getpid())
    time.sleep(0.02)
    write(op.path, context.job_id, context.op_index, context.attempt, "end", os.getpid())


class Locked(OpCode):
    path: str
    gate: str


@logical_unit(Locked, locks={"node1": "exclusive"})
def locked(op, context):
    note(Note(op.path, gate=op.gate), context)


class Slow(OpCode):
    pass


@logical_unit(Slow, timeout_s=0.3)
def slow(op, context):
    while True:
        time.sleep(1)


class Noop(OpCode):
    pass


@logical_unit(Noop, max_running=1)
def noop(op, context):
    return None


class Stubborn(OpCode):
    path: str
    gate: str


@logical_unit(Stubborn)
def stubborn(op, context):
    """Heeds neither SIGTERM nor a cancellation."""
    write(op.path, context.job_id, context.op_index, context.attempt, "begin", os.getpid())
    while not os.path.exists(op.gate):
        time.sleep(0.01)
    write(op.path, context.job_id, context.op_index, context.attempt, "end", os.getpid())


class Single(OpCode):
    path: str
    gate: str


@logical_unit(Single, max_running=1)
def single(op, context):
    note(Note(op.path, gate=op.gate), context)
