"""Processes as the kernel knows them: who one is, who is left in a session, and ending them.

A pid alone names nobody, because it is used again.  A `Identity` is the pid with the start time and
the boot that it belongs to; a process is signaled only if all three still fit.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import cache
from typing import Any, NamedTuple, Self

_STATE, _SESSION, _START_TIME = 0, 3, 19
"""Places in /proc/PID/stat, counted behind the command's closing parenthesis."""


class Identity(NamedTuple):
    """One process, told apart from every other before and after it."""

    pid: int
    start_time: int
    """Clock ticks after boot."""
    boot_id: str
    sid: int
    """Its session; for a worker its own pid; 0 if its leader is outside this pid namespace."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the identity of a live process (not of a zombie), or None."""
        fields = _stat(pid)
        if fields is None or fields[_STATE] in "ZX":
            return None
        return cls(pid, int(fields[_START_TIME]), boot_id(), int(fields[_SESSION]))

    @classmethod
    def parse(cls, value: Any) -> Self | None:
        """Return the identity that a record holds as an object, or None if it holds none."""
        if not isinstance(value, dict):
            return None
        pid, start_time, sid = (value.get(name) for name in ("pid", "start_time", "sid"))
        boot = value.get("boot_id")
        if type(pid) is not int or type(start_time) is not int or type(sid) is not int:
            return None
        if pid <= 0 or start_time <= 0 or sid < 0 or not isinstance(boot, str):
            return None
        return cls(pid, start_time, boot, sid)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a record holds it."""
        return self._asdict()

    def is_alive(self) -> bool:
        """Say whether this very process lives (a zombie doesn't)."""
        return Identity.of(self.pid) == self


@cache
def boot_id() -> str:
    """Return the random name of this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def myself() -> Identity:
    """Return this process's own identity."""
    found = Identity.of(os.getpid())
    assert found is not None
    return found


def session_members(leader: Identity) -> list[int]:
    """Return the live processes, zombies aside, of the session that `leader` leads or led.

    Nobody is in it when the leader's boot is over, or when its pid names a later process: the
    kernel gives no pid out again while a session of that number has members.
    """
    if leader.boot_id != boot_id() or leader.sid != leader.pid:
        return []
    fields = _stat(leader.pid)
    if fields is not None and int(fields[_START_TIME]) != leader.start_time:
        return []
    members = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            fields = _stat(int(name))
            if fields and int(fields[_SESSION]) == leader.sid and fields[_STATE] not in "ZX":
                members.append(int(name))
    return members


def signal_session(leader: Identity, number: signal.Signals) -> int:
    """Send a signal to every process of the session; return to how many it was sent."""
    pidfds = open_pidfds(leader)
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
        os.close(pidfd)
    return len(pidfds)


def open_pidfds(leader: Identity) -> list[int]:
    """Return a pidfd, readable once it has ended, for each live process of the session."""
    found = []
    for pid in session_members(leader):
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            # Looked at again now that the descriptor holds on to it: the pid may be another's.
            fields = _stat(pid)
            if fields is not None and int(fields[_SESSION]) == leader.sid:
                found.append(pidfd)
            else:
                os.close(pidfd)
    return found


def _stat(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold spaces and parentheses: what follows its last one is plain.
    return text[text.rindex(")") + 2 :].split()
