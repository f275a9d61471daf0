"""What the owner knows of each execution and each worker, for as long as they live."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from jqueue.execution.burial import Burial
from jqueue.execution.loop import Timer
from jqueue.job.change import Document
from jqueue.store.processes import Identity


class Lock(NamedTuple):
    """A livelock's name, and which file of that name it is (device 0: not known)."""

    name: str
    inode: int
    device: int = 0


class Channel(Protocol):
    """The owner's end of one connection."""

    def send(self, message: Any) -> None:
        """Send, sooner or later, never blocking; a broken connection is found out elsewhere."""

    def read_out(self) -> None:
        """Deal with everything that has arrived, now."""

    def close(self) -> None:
        """Close, without waiting for what is unsent."""


@dataclass(slots=True, eq=False)
class Execution:
    """One opcode in the hands of a worker or claimant, from the begin of its start to its end."""

    job: int
    op_index: int
    kind: str
    lock: Lock
    token: int = 0
    """0 until the record of the start is durable."""
    identity: Identity | None = None
    """The executing process; None for a claimant, and for a thread of the owner."""
    worker: Worker | None = None
    claimed: bool = False
    counted: bool = True
    """Whether the loss of its process counts as an interruption."""
    cancel_wanted: bool = False
    """Whether its job was found canceling while the record of its start was on its way."""
    denied: bool = False
    """Whether the worker said that it never began."""
    ended: bool = False
    """Whether a finish of it is durable; only the answer may be lacking."""
    judged: bool = False
    """Whether its judgement is under way: until a record says it, however often that fails."""
    timeout_s: float | None = None
    timed_out: bool = False
    timer: Timer | None = None
    silence: Timer | None = None
    burial: Burial | None = None

    @property
    def named(self) -> dict[str, Any]:
        """What a line of the log says of it beside its text."""
        named: dict[str, Any] = {"job": self.job, "op": self.op_index, "kind": self.kind or None}
        if self.identity is not None:
            named["pid"] = self.identity.pid
        return named

    @property
    def is_ending(self) -> bool:
        """Whether its processes are being ended: by itself, or with the worker that has it."""
        return self.burial is not None or (
            self.worker is not None and self.worker.burial is not None
        )

    @property
    def is_in_hand(self) -> bool:
        """Whether somebody will end it: so it must be with each execution, from its begin on.

        The record of its start is on its way; or a worker has it that is there, is missed, or is
        being buried; or one of an owner before is awaited; or it is being ended, or judged.  A
        claim is in the hands of `Claims`, which looks at its livelock.
        """
        worker = self.worker
        with_worker = (
            worker is not None
            and not worker.gone
            and (worker.execution is self or worker.following is self)
        )
        waited_for = self.burial is not None or self.silence is not None
        return not self.token or with_worker or waited_for or self.judged or self.claimed

    @property
    def makes_room(self) -> bool:
        """Whether its end is begun, and what its worker does next is begun in the same record."""
        worker = self.worker
        return worker is not None and worker.execution is self and worker.following is not None

    def stop_timers(self) -> None:
        """Call off its timeout, and the limit of its silence."""
        for timer in (self.timer, self.silence):
            if timer is not None:
                timer.cancel()
        self.timer = self.silence = None


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process (or thread), from its launch or its hello until nothing of it is left."""

    identity: Identity | None
    channel: Channel | None = None
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    lock: Lock | None = None
    """The livelock of its next execution, while it is idle."""
    execution: Execution | None = None
    following: Execution | None = None
    """What begins in the record that ends `execution`, until that is durable."""
    answered: int | None = None
    """The token whose end it was told to be kept, unless it says on a connection that it wasn't."""
    condemned: str | None = None
    """Why it gets no further start and is killed."""
    greeted: bool = False
    silence: Timer | None = None
    burial: Burial | None = None
    gone: bool = False
    """Whether nothing of it is left."""
    thread: bool = False
    adopted: bool = False
    """Whether an owner before launched it: its code may be of then."""

    @property
    def usable(self) -> bool:
        """Whether it can be told to start something."""
        return self.condemned is None and self.channel is not None

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return "a thread" if self.identity is None else f"process {self.identity.pid}"

    def tell(self, message: Any) -> None:
        """Send, if it is connected; what is lost is asked for again at the next connection."""
        if self.channel is not None:
            self.channel.send(message)


class ClaimAnswer(NamedTuple):
    """The claimed opcode: its token and job's document; None in `document` if none came."""

    document: Document | None = None
    op_index: int = 0
    token: int = 0
    attempt: int = 0


@dataclass(slots=True)
class Options:
    """The numbers that an operator may set."""

    workers: int = 2
    max_running_jobs: int | None = None
    kill_grace_s: float = 5.0
    silence_s: float = 60.0
    load_limit_s: float = 60.0
    orphan_timeout_s: float = 3600.0
    kinds: frozenset[str] = field(default_factory=frozenset)
