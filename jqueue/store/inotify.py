"""Waiting for something to happen in a directory, told by the kernel (inotify(7))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from typing import Final

_IN_CREATE: Final = 0x100
_IN_MOVED_TO: Final = 0x80
_IN_ATTRIB: Final = 0x4
_IN_MODIFY: Final = 0x2
_READ_BYTES: Final = 65_536

_libc = ctypes.CDLL(None, use_errno=True)


class Appearance:
    """Wakes when something appears in a directory; where inotify is lacking, only by time."""

    def __init__(self, directory_fd: int, *, modified: bool = False) -> None:
        """Watch the directory; with `modified` wake when a file in it is written to, too."""
        mask = _IN_CREATE | _IN_MOVED_TO | _IN_ATTRIB | (_IN_MODIFY if modified else 0)
        self._fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            path = f"/proc/self/fd/{directory_fd}".encode()
            if _libc.inotify_add_watch(self._fd, path, mask) < 0:
                self.close()

    def wait(self, timeout_s: float) -> bool:
        """Return when something has appeared, or its mode changed; false if the time is over."""
        watched = [self._fd] if self._fd >= 0 else []
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, _READ_BYTES)
        return bool(ready)

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
