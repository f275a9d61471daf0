"""A worker frozen at version 1 of the worker protocol: `python worker_v1.py QUEUE`.

It imports nothing of ours and speaks the protocol by hand, so that every later daemon is held to
adopt the workers of the first release.  This file must never change.  It carries out OP_NOTE.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

VERSION = 1
END = b"\x03"


class Gone(Exception):
    """The owner closed the connection."""


class Worker:
    def __init__(self, queue):
        self.queue = os.open(queue, os.O_RDONLY | os.O_DIRECTORY)
        self.execution = [0, 0, 0]
        self.unanswered = None
        self.buffer = b""
        self.canceled = False
        signal.signal(signal.SIGTERM, self.on_term)

    def on_term(self, _number, _frame):
        if self.execution[2] == 0:
            os._exit(0)
        self.canceled = True

    def take_livelock(self):
        self.name = f"worker-{os.getpid()}-{os.urandom(12).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        with contextlib.suppress(FileExistsError):
            os.mkdir("livelocks", 0o700, dir_fd=self.queue)
        self.lock = os.open(f"livelocks/{self.name}", flags, 0o600, dir_fd=self.queue)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def release_livelock(self):
        os.unlink(f"livelocks/{self.name}", dir_fd=self.queue)
        os.close(self.lock)

    def hello(self):
        """Connect, as often as it takes, and say who this is and what it executes."""
        while True:
            self.stream = socket.socket(socket.AF_UNIX)
            try:
                self.stream.connect(f"/proc/self/fd/{self.queue}/socket")
                break
            except OSError:
                self.stream.close()
                time.sleep(0.01)
        with open("/proc/self/stat") as file:
            stat = file.read().rpartition(")")[2].split()
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot_id = file.read().strip()
        job, op, token = self.execution
        hello = {
            "version": VERSION,
            "pid": os.getpid(),
            "start_time": int(stat[19]),
            "boot_id": boot_id,
            "sid": int(stat[3]),
            "livelock": self.name,
            "inode": os.fstat(self.lock).st_ino,
            "job": job,
            "op": op,
            "token": token,
            "thread": False,
        }
        self.buffer = b""
        self.send({"method": "WorkerHello", "args": [hello]})
        if self.unanswered is not None:
            self.send(self.unanswered)

    def send(self, message):
        # A broken connection is found by reading.
        with contextlib.suppress(OSError):
            self.stream.sendall(json.dumps(message).encode() + END)

    def receive(self, timeout_s=None):
        """Return the next message, or None if none comes in time; connect anew if need be."""
        while END not in self.buffer:
            ready, _, _ = select.select([self.stream], [], [], timeout_s)
            if not ready:
                return None
            try:
                data = self.stream.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.stream.close()
                self.hello()
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(END)
        message = json.loads(text)
        if message[0] == "end":
            sys.exit(0)
        return message

    def ask(self, message, answer):
        """Send what needs an answer, again on each new connection, until the answer is here."""
        self.unanswered = message
        self.send(message)
        while True:
            got = self.receive()
            if got[0] == answer:
                self.unanswered = None
                return got
            if got[0] == "again":
                self.send(message)

    def run(self):
        self.take_livelock()
        self.hello()
        while True:
            message = self.receive()
            if message[0] == "start":
                self.carry_out(*message[1:7])
                self.execution = [0, 0, 0]
                self.release_livelock()
                self.take_livelock()
                self.send(["idle", self.name, os.fstat(self.lock).st_ino])

    def carry_out(self, job, op, token, attempt, _priority, given):
        self.execution = [job, op, token]

        def note(word):
            line = f"{job} {op} {attempt} {word} {os.getpid()} version-1\n"
            with open(given["path"], "a") as file:
                file.write(line)

        note("begin")
        now = time.time_ns()
        entry = [[now // 10**9, now % 10**9 // 1000], "message", "of version 1"]
        self.send(["log", token, 1, [entry], False])
        self.send(["progress", token, {"done": 1, "total": 2, "text": ""}])
        child = [{"OP_ID": "OP_NOTE", "path": given["path"]}]
        answers = []
        if given.get("submit"):
            answers = self.ask(["submit", token, "1", [child] * given["submit"]], "submitted")[2]
        while given.get("gate") and not os.path.exists(given["gate"]):
            got = self.receive(0.01)
            if self.canceled or (got is not None and got[0] == "cancel"):
                note("canceled")
                break
        note("end")
        children = [child] * given["children"] if given.get("children") else None
        result = {"early": answers}
        finish = ["finish", token, [entry], True, result, children, "report", True]
        assert self.ask(finish, "ok")[1] == token


if __name__ == "__main__":
    Worker(sys.argv[1]).run()
