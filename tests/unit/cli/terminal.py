"""A real terminal of any size, with a program in it: what a person would see, and the raw bytes."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pyte

JQUEUE = [sys.executable, "-c", "from jqueue.cli.main import main; main()"]
AS_ITS_OWN = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Only a session's own terminal sends it signals: Ctrl-C, Ctrl-Z, the size."""
ALTERNATE, NORMAL, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """Runs a program on a pseudo-terminal of its own."""

    def __init__(self, *command, columns=80, rows=24, **env):
        self.master, slave = pty.openpty()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._size(columns, rows)
        self.modes = termios.tcgetattr(slave)
        kept = {name: value for name, value in os.environ.items() if name not in NOT_KEPT}
        self.process = subprocess.Popen(
            [sys.executable, "-SEc", AS_ITS_OWN, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={"LANG": "C.UTF-8", "TERM": "xterm-256color", **kept, **env},
            start_new_session=True,
        )
        self._slave = slave

    def _size(self, columns, rows):
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        self._size(columns, rows)

    def type(self, keys):
        os.write(self.master, keys.encode())

    def read(self, timeout_s):
        """Take in what has arrived; false if nothing did."""
        ready, _, _ = select.select([self.master], [], [], timeout_s)
        if not ready:
            return False
        data = os.read(self.master, 65536)
        self.raw += data
        self._stream.feed(data)
        return True

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, what, timeout_s=30):
        """Wait for a text to be seen."""
        end_s = time.monotonic() + timeout_s
        while what not in self.text:
            self.read(0.1)
            assert time.monotonic() < end_s, f"{what!r} was never seen:\n{self.text}"
        return self.text

    def ended(self, timeout_s=30):
        """Wait for the program's end and return its exit status."""
        end_s = time.monotonic() + timeout_s
        while self.process.poll() is None:
            self.read(0.02)
            assert time.monotonic() < end_s, f"it goes on:\n{self.text}"
        while self.read(0):
            pass
        return self.process.returncode

    @property
    def is_restored(self):
        """Whether the terminal is as it was: its modes, its screen, its cursor."""
        modes = termios.tcgetattr(self._slave)
        switched = self.raw.rfind(ALTERNATE), self.raw.rfind(NORMAL), self.raw.rfind(CURSOR)
        return modes == self.modes and -1 < switched[0] < switched[1] and switched[0] < switched[2]

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._slave)
        os.close(self.master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


NOT_KEPT = {"NO_COLOR", "COLUMNS", "LINES", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "JQUEUE_DIR"}
