"""`JobQueue`: a queue directory owned by this process, for use in one program."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from jqueue.daemon.owner import Isolation, Owner
from jqueue.errors import ForkedQueue, JQueueError, QueueFailed, Refused
from jqueue.execution import builtin as _builtin  # noqa: F401 - declares the kinds of every queue
from jqueue.execution.claim import OpClaim
from jqueue.execution.dispatch import Dispatcher
from jqueue.execution.executions import Lock, Options
from jqueue.execution.scheduler import AGE_S
from jqueue.execution.units import UNITS
from jqueue.job.snapshot import Job
from jqueue.queue.clock import SystemClock
from jqueue.queue.core import QueueCore
from jqueue.queue.dependencies import judge_dependencies
from jqueue.queue.finishing import finish
from jqueue.queue.running import EXECUTING, interrupted, log, progress, requeue
from jqueue.queue.submission import MAX_LIVE_JOBS
from jqueue.store import condition, livelock
from jqueue.store.directory import DirectoryStore, Durability, FilesMode
from jqueue.store.protocol import Store


class JobQueue(QueueCore):
    """A queue that this process owns until `close`.  Thread-safe; not for use in a forked child."""

    def __init__(
        self, store: DirectoryStore, path: str, *, max_live_jobs: int = MAX_LIVE_JOBS
    ) -> None:
        self._opened_pid = os.getpid()
        super().__init__(store, SystemClock(), check=UNITS.check, max_live_jobs=max_live_jobs)
        self.path = path
        self._directory = store
        self.aging_s = AGE_S
        """In so much time who waits for locks rises by one priority; set before it runs."""
        self._mutex = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._owner: Owner | None = None
        self._service: threading.Thread | None = None
        self._claimable = threading.Condition()
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        files: FilesMode = "now",
        create: bool = True,
        lock_timeout_s: float = 0,
        listen: bool = False,
    ) -> Self:
        """Own the queue at `path`, and make it if it isn't there and `create`.

        `durability` "process" survives the end of this process, not of the machine; `files`
        "behind" lets job files follow a submission; `listen` serves the socket from now on, else
        `run` and `claim` do.  What was running stays as it is until one of these two.  Raises
        QueueLocked, QueueCorrupt, FormatTooNew, QueueFailed.
        """
        where = os.fspath(path)
        store = DirectoryStore.open(
            where, durability=durability, files=files, create=create, lock_timeout_s=lock_timeout_s
        )
        queue = cls(store, where)
        if listen:
            queue.listen()
        return queue

    @property
    def store(self) -> Store:
        """The store, for this process alone."""
        if os.getpid() != self._opened_pid:
            raise ForkedQueue(
                f"the queue was opened by process {self._opened_pid}; open or connect it anew here",
                opened_pid=self._opened_pid,
            )
        return self._store

    @store.setter
    def store(self, store: Store) -> None:
        self._store = store

    # Running

    def run(
        self,
        *,
        workers: int = 2,
        isolation: Isolation = "process",
        until_idle: bool = False,
        options: Options | None = None,
    ) -> None:
        """Run jobs, and serve the socket, until `stop`; with `until_idle`, until nothing can start.

        "process": workers in sessions of their own; what this program declares as units must be in
        files that they can load, and what it does beside that under `if __name__ == "__main__":`.
        "thread": units run in this process.
        """
        if isolation not in ("process", "thread"):
            raise ValueError(f'isolation is "process" or "thread", not {isolation!r:.40}')
        options = options or Options(workers=workers)
        self.run_prepared(self.prepare(options, isolation, until_idle=until_idle))

    def prepare(self, options: Options, isolation: Isolation, *, until_idle: bool = False) -> Owner:
        """Return what `run_prepared` runs, so that signals can be led to it before."""
        self._stop_service()
        return self._make_owner(options, isolation, until_idle=until_idle)

    def run_prepared(self, owner: Owner) -> None:
        """Run until it is stopped."""
        try:
            owner.run()
        finally:
            with self._mutex:
                self._owner = None

    def _make_owner(
        self,
        options: Options,
        isolation: Isolation,
        *,
        until_idle: bool = False,
        recovers: bool = True,
    ) -> Owner:
        dispatcher = self._ready_dispatcher()
        with self._mutex:
            if self._owner is not None:
                raise RuntimeError("this queue runs already; stop it first")
            self._owner = Owner(
                self,
                dispatcher,
                self.path,
                self._directory.disk.fd,
                options,
                isolation=isolation,
                until_idle=until_idle,
                recovers=recovers,
            )
            return self._owner

    def stop(self, limit_s: float | None = None) -> None:
        """Let `run` return: nothing more starts, and what runs is waited for (up to `limit_s`)."""
        with self._mutex:
            owner = self._owner
        if owner is not None:
            owner.stop(limit_s)

    @property
    def owner(self) -> Owner | None:
        """What runs and serves, while something does."""
        return self._owner

    def listen(self) -> None:
        """Serve the socket on a thread of its own; what was running is left as it is."""
        if self._owner is not None:
            return
        owner = self._make_owner(Options(workers=0), "thread", recovers=False)
        self._service = threading.Thread(target=self._serve, args=(owner,), daemon=True)
        self._service.start()

    def _serve(self, owner: Owner) -> None:
        try:
            owner.run()
        except JQueueError as error:
            self.waiters.fail(error)
        finally:
            with self._mutex:
                if self._owner is owner:
                    self._owner = None

    def _stop_service(self) -> None:
        service, self._service = self._service, None
        owner = self._owner
        if service is not None and owner is not None:
            owner.reactor.stop()
            service.join()

    def _ready_dispatcher(self) -> Dispatcher:
        with self._mutex:
            if self._closed:
                raise QueueFailed(f"{self.path}: the queue is closed", path=self.path)
            if self._dispatcher is None:
                self._dispatcher = Dispatcher(self.store, UNITS, self.clock, age_s=self.aging_s)
            return self._dispatcher

    # Claiming

    def claim(self, op_ids: Sequence[str] | None = None, timeout_s: float = 0) -> OpClaim | None:
        """Take one opcode to execute it here, or return None if none comes in time."""
        dispatcher = self._ready_dispatcher()
        self.listen()
        owner = self._owner
        if owner is not None:
            owner.recover_first()
        kinds = None if op_ids is None else frozenset(op_ids)
        held = livelock.take(self._directory.disk.fd, "claim")
        claimed = None
        try:
            claimed = self._claim(dispatcher, kinds, held, time.monotonic() + timeout_s)
        finally:
            if claimed is None:
                livelock.release(self._directory.disk.fd, held)
        return claimed

    def _claim(
        self,
        dispatcher: Dispatcher,
        kinds: frozenset[str] | None,
        held: livelock.Livelock,
        end_s: float,
    ) -> OpClaim | None:
        changed = threading.Event()
        listening = False
        try:
            while True:
                changed.clear()
                claimed = self._try_claim(dispatcher, kinds, held)
                if claimed is not None:
                    return claimed
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    return None
                if not listening:
                    # Only who has to wait pays for being told; then it looks once more.
                    dispatcher.listen(changed.set)
                    listening = True
                    continue
                due_s = dispatcher.due_in_s()
                limit_s = left_s if due_s is None else min(left_s, due_s)
                changed.wait(min(limit_s, threading.TIMEOUT_MAX))
        finally:
            if listening:
                dispatcher.unlisten(changed.set)

    def _try_claim(
        self, dispatcher: Dispatcher, kinds: frozenset[str] | None, held: livelock.Livelock
    ) -> OpClaim | None:
        while True:
            for job in dispatcher.take_verdicts():
                self._judge(job)
            if self.store.find("pause") is not None:
                return None
            pick = dispatcher.take(kinds)
            if pick is None:
                if dispatcher.more or dispatcher.has_verdicts:
                    continue
                return None
            try:
                committed = self.store.transact(
                    dispatcher.start(pick, Lock(held.name, held.inode), None)
                )
            except Refused:
                dispatcher.returned(pick.job)
                continue
            except BaseException:
                dispatcher.returned(pick.job)
                raise
            document = committed.transaction.answer  # type: ignore[attr-defined]  # a Reply
            attempt = document["ops"][pick.op_index].get("attempts", 0) + 1
            return OpClaim(
                self,
                document,
                pick.op_index,
                committed.lsn,
                attempt,
                partial(self._let_go, held, (pick.job, pick.op_index, committed.lsn)),
            )

    def _judge(self, job: int) -> None:
        try:
            self.ask(judge_dependencies(job, self.clock.now_ns()))
        except JQueueError as error:
            if not isinstance(error, Refused | LookupError):
                raise

    def _let_go(self, held: livelock.Livelock, name: tuple[int, int, int]) -> None:
        """Free the livelock; an opcode that still runs under it (canceled) is judged now."""
        livelock.release(self._directory.disk.fd, held)
        job, at, token = name
        entry = self.store.find(job)
        document = None if entry is None else entry.document
        op = {} if document is None else document["ops"][at]
        if op.get("token") == token and op.get("status") in EXECUTING:
            self.ask(interrupted(job, at, token, now=self.clock.now_ns(), counted=False))

    def claim_log(
        self, job: int, op: int, token: int, entries: list[Any], *, again: bool = False
    ) -> None:
        """Add log entries, for a claim; what was said before is not added `again`."""
        self.ask(log(job, op, token, entries, again=again))

    def claim_progress(self, job: int, op: int, token: int, value: Any) -> None:
        """Record progress, for a claim."""
        self.ask(progress(job, op, token, value))

    def claim_finish(
        self,
        job: int,
        op: int,
        token: int,
        ok: bool,
        result: Any,
        children: list[Any] | None,
        on_refusal: str,
    ) -> None:
        """End the opcode, for a claim."""
        decide = finish(
            job,
            op,
            token,
            now=self.clock.now_ns(),
            ok=ok,
            result=result,
            children=children,
            on_refusal="error" if on_refusal == "error" else "report",
            max_live_jobs=self.max_live_jobs,
            check=self.check,
        )
        self.ask(decide)

    def claim_release(self, job: int, op: int, token: int) -> None:
        """Give the opcode back, for a claim; nothing if it is over."""
        try:
            self.ask(requeue(job, op, token))
        except Refused:
            return

    # The rest

    def wait_change(self, id: int, lsn: int, timeout_s: float | None = None) -> Job:
        """Return the job once it has changed after `lsn`, or is finalized.  Raises WaitTimeout."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        changed = threading.Event()
        undo = self.store.subscribe(lambda batch: changed.set() if id in batch.values else None)
        try:
            while True:
                changed.clear()
                found = self.job(id)
                if found.lsn > lsn or found.finalized:
                    return found
                left_s = None if end_s is None else end_s - time.monotonic()
                if left_s is not None:
                    left_s = min(left_s, threading.TIMEOUT_MAX)
                if (left_s is not None and left_s <= 0) or not changed.wait(left_s):
                    return self.wait(id, 0)
        finally:
            undo()

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say why the job is not running: a list of `{"reason", "text"}`."""
        owner = self._owner
        return super().explain(id) if owner is None else owner.explain(id)

    def status(self) -> dict[str, Any]:
        """Return what there is to say about the queue as a whole."""
        engine, room = self._directory.status(), condition.place(self.path)
        return {**super().status(), **engine, **room, "pid": self._opened_pid}

    def keep(self, *, reserve_bytes: int, history_s: float, history_bytes: int) -> None:
        """Set how large the reserve is, and how much retired journal is kept."""
        _ = self.store
        self._directory.keep(
            reserve_bytes=reserve_bytes, history_s=history_s, history_bytes=history_bytes
        )

    def checkpoint(self) -> None:
        """Return when every job's file is written and synced."""
        _ = self.store
        self._directory.checkpoint()

    def close(self) -> None:
        """Stop serving, make everything durable, bring the files up to date, let go."""
        if self._closed or os.getpid() != self._opened_pid:
            return
        self._closed = True
        self._stop_service()
        if self._owner is not None:
            raise RuntimeError("the queue runs; stop it, and close it when run has returned")
        if self._dispatcher is not None:
            self._dispatcher.close()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Job]:
        return self.jobs()
