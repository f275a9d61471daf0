"""Telling the service manager how the daemon does: systemd's protocol, sd_notify(3).

Messages are datagrams to the socket that $NOTIFY_SOCKET names.  The variables are taken out of the
environment: what this process starts is not the service, and must not speak for it.

Written here because it is a few lines: the packages for it are older than this protocol's newer
messages, or need a compiler.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Final, Self

from jqueue.execution.loop import Loop

_log = logging.getLogger(__name__)

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
USEC: Final = 1_000_000
STOP_MARGIN_S: Final = 60.0
"""Beyond the limit for what runs, a stop takes the time of writing the last job files."""


class Notifier:
    """Sends; without a service manager it does nothing.  Never blocks, never raises."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = address
        self._status = ""
        self._socket: socket.socket | None = None
        if address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Self:
        """Return what the environment asks for, and leave nothing of it there."""
        name, usec, pid = (environment.pop(variable, "") for variable in VARIABLES)
        if not name:
            return cls()
        if name[0] not in "/@":
            _log.warning("NOTIFY_SOCKET=%.200s can't be notified: no path, no abstract name", name)
            return cls()
        address = f"\0{name[1:]}" if name[0] == "@" else name
        meant = pid in ("", str(os.getpid()))
        timed = meant and usec.isascii() and usec.isdigit() and int(usec) > 0
        return cls(address, int(usec) / USEC if timed else None)

    def ready(self, status: str) -> None:
        """The socket listens, recovery is done."""
        self._status = status
        self._send(f"READY=1\nSTATUS={status}")

    def say(self, status: str) -> None:
        """Say how it does, if that is new."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def stopping(self, status: str, limit_s: float | None) -> None:
        """The stop has begun, and may take so long however the unit's own limit is set."""
        self._status = status
        message = f"STOPPING=1\nSTATUS={status}"
        if limit_s is not None:
            message += f"\nEXTEND_TIMEOUT_USEC={int((limit_s + STOP_MARGIN_S) * USEC)}"
        self._send(message)

    def watch(self, loop: Loop, status: Callable[[], str]) -> None:
        """Say twice in each of the watchdog's periods that the loop turns, and how it does.

        A timer of the loop itself: when that hangs, nothing is said, and that is the message.
        """
        if self.watchdog_s is None:
            return
        self._send("WATCHDOG=1")
        self.say(status())
        loop.call_later(self.watchdog_s / 2, lambda: self.watch(loop, status))

    def _send(self, message: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            # A manager that takes none, or is gone: the queue's work goes on without it.
            _log.debug("the service manager can't be notified: %s", error)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
