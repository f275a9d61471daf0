"""The owner's side of one worker connection: what each message means, and its answer.

Messages count by their token: that of the execution which the queue has on this worker.  Whatever
names another is stale, is refused, and ends the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from jqueue.errors import InvalidJob, JQueueError, QueueFailed, Refused, TooLarge
from jqueue.execution.endings import RETRY_S
from jqueue.execution.executions import Channel, Execution, Lock, Worker
from jqueue.execution.loop import Result
from jqueue.execution.runner import Runner
from jqueue.execution.wire import ADOPTED_VERSIONS, WORKER_VERSION
from jqueue.job.failure import encode_error
from jqueue.job.status import JobStatus
from jqueue.queue.children import submit_children
from jqueue.queue.finishing import finish
from jqueue.queue.running import end_log, log, progress, requeue
from jqueue.store import livelock
from jqueue.store.processes import Identity

_log = logging.getLogger(__name__)

FINAL: Final = (JobStatus.SUCCESS, JobStatus.ERROR, JobStatus.QUEUED)


class Port:
    """Handles the messages of one worker's connection."""

    def __init__(self, runner: Runner, worker: Worker, channel: Channel) -> None:
        self._runner = runner
        self._worker = worker
        self._channel = channel
        self._handlers: dict[str, Callable[..., None]] = {
            "idle": self._idle,
            "log": self._logged,
            "progress": self._progress,
            "submit": self._submit,
            "finish": self._finish,
            "decline": self._decline,
        }

    def receive(self, message: Any) -> None:
        """Deal with a message.  Raises InvalidJob for what no worker of ours would send."""
        try:
            handler = self._handlers[message[0]]
            arguments = message[1:]
        except (TypeError, KeyError, IndexError):
            raise InvalidJob(f"no message of a worker: {message!r:.80}") from None
        try:
            handler(*arguments)
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidJob(f"message {message[0]} can't be understood: {error}") from error

    def closed(self) -> None:
        """The connection is gone."""
        self._runner.crew.lost(self._worker, self._channel)

    def _current(self, token: Any) -> Execution | None:
        """Return the execution that a message is about, or end the worker, to whom it is stale.

        Neither, if its end is answered: what came once more by then is not answered again.
        """
        if token == self._worker.answered:
            return None
        execution = self._worker.execution
        if execution is not None and execution.token == token and not execution.denied:
            return execution
        self._end("what it sent is of no execution that the queue has on it")
        return None

    def _is_answered(self, execution: Execution) -> bool:
        """Whether its end was answered while what it had sent before was on its way.

        That came twice, by another connection or because it was asked for twice; the worker is
        with its next opcode by now.
        """
        worker = self._worker
        return worker.execution is not execution or worker.answered == execution.token

    def _end(self, why: str) -> None:
        self._worker.tell(["end", why])
        self._runner.crew.condemn(self._worker, why, grace_s=self._runner.options.kill_grace_s)

    def _idle(self, name: str, inode: int) -> None:
        runner, worker = self._runner, self._worker
        execution = worker.execution
        if worker.condemned is not None:
            worker.tell(["end", worker.condemned])
            return
        if execution is not None and not execution.ended:
            deny(runner, worker, execution)
            return
        lock = self._held(name, inode)
        if lock is not None:
            runner.ready(worker, lock)

    def _held(self, name: str, inode: int) -> Lock | None:
        """Return the livelock that the worker names, or end it: it is one of another queue."""
        place = livelock.place_of(self._runner.queue_fd, name)
        if place is not None and place.inode == inode:
            return Lock(name, *place)
        self._end("its livelock is not in this queue")
        return None

    def _logged(self, token: int, number: int, entries: list[Any], again: bool) -> None:
        execution = self._current(token)
        if execution is None:
            return
        if execution.ended:
            # Its finish, kept by the owner before, came after these.
            self._worker.tell(["logged", number])
            return
        decide = log(execution.job, execution.op_index, token, entries, again=bool(again))
        self._runner.loop.begin(decide, partial(self._log_done, execution, number))

    def _log_done(self, execution: Execution, number: int, result: Result) -> None:
        if self._is_answered(execution):
            return
        if result.error is None:
            self._worker.tell(["logged", number])
        elif isinstance(result.error, Refused):
            self._end(str(result.error))
        elif isinstance(result.error, TooLarge):
            self._end_log(execution, result.error)
            self._worker.tell(["logged", number])
        else:
            self._worker.tell(["unlogged", number])

    def _end_log(self, execution: Execution, error: TooLarge) -> None:
        runner = self._runner
        decide = end_log(
            execution.job,
            execution.op_index,
            execution.token,
            now=runner.clock.now_ns(),
            why=str(error),
        )
        runner.loop.begin(decide, partial(self._last_log_done, execution))

    def _progress(self, token: int, value: Any) -> None:
        execution = self._current(token)
        if execution is not None:
            decide = progress(execution.job, execution.op_index, token, value)
            self._runner.loop.begin(decide, partial(self._progress_done, execution))

    def _progress_done(self, execution: Execution, result: Result) -> None:
        if isinstance(result.error, Refused) and not self._is_answered(execution):
            self._end(str(result.error))

    def _submit(self, token: int, call: str, jobs: list[Any]) -> None:
        execution = self._current(token)
        if execution is None:
            return
        runner = self._runner
        try:
            decide = submit_children(
                execution.job,
                execution.op_index,
                token,
                call=call,
                jobs=jobs,
                now=runner.clock.now_ns(),
                max_live_jobs=runner.max_live_jobs,
                check=runner.check,
            )
        except InvalidJob as error:
            self._submit_done(execution, call, Result(error=error))
            return
        runner.loop.begin_submission(decide, partial(self._submit_done, execution, call))

    def _submit_done(self, execution: Execution, call: str, result: Result) -> None:
        if self._is_answered(execution):
            # It waited for room, came again on another connection, and was answered there.
            return
        error = result.error
        if error is None:
            self._worker.tell(["submitted", call, [list(entry) for entry in result.answer]])
        elif isinstance(error, Refused):
            self._end(str(error))
        else:
            self._worker.tell(["refused", call, type(error).__name__, str(error)])

    def _finish(
        self,
        token: int,
        entries: list[Any],
        ok: bool,
        result: Any,
        children: list[Any] | None,
        on_refusal: str,
        again: bool,
        following: list[Any] | None = None,
    ) -> None:
        execution = self._current(token)
        if execution is None:
            return
        if execution.timed_out and not ok:
            # It fails because its time was over, whatever its unit made of that.
            self._end("its time is over")
            return
        runner = self._runner
        lock = None
        if following is not None and (lock := self._held(*following)) is None:
            return
        job, at = execution.job, execution.op_index
        if entries:
            done = partial(self._last_log_done, execution)
            runner.loop.begin(log(job, at, token, entries, again=bool(again)), done)
        decide = finish(
            job,
            at,
            token,
            now=runner.clock.now_ns(),
            ok=ok,
            result=result,
            children=children,
            on_refusal="error" if on_refusal == "error" else "report",
            max_live_jobs=runner.max_live_jobs,
            check=runner.check,
        )
        runner.end(execution, decide, lock, partial(self._finish_done, execution, lock))

    def _last_log_done(self, execution: Execution, result: Result) -> None:
        if result.error is not None and not isinstance(result.error, Refused):
            _log.warning(
                "the last log entries of job %d could not be kept: %s",
                execution.job,
                result.error,
                extra=execution.named,
            )

    def _finish_done(
        self, execution: Execution, following: Lock | None, result: Result, *, failed: bool = False
    ) -> None:
        runner, error = self._runner, result.error
        if self._is_answered(execution):
            return
        if error is None:
            self._kept(execution, following)
        elif isinstance(error, Refused):
            self._end(str(error))
        elif failed or _is_of_the_disk(error):
            self._ask_again(execution, error)
        else:
            failure = finish(
                execution.job,
                execution.op_index,
                execution.token,
                now=runner.clock.now_ns(),
                ok=False,
                result=encode_error(f"its result can't be kept: {error}"),
                # It was carried out; another attempt would make no smaller one.
                is_final=True,
            )
            done = partial(self._finish_done, execution, following, failed=True)
            runner.loop.begin(failure, done)

    def _kept(self, execution: Execution, following: Lock | None) -> None:
        """The record of its end is durable: the worker is told, and goes on."""
        self._runner.endings.finished(execution)
        self._worker.answered = execution.token
        self._worker.tell(["ok", execution.token])
        self._runner.finished(self._worker, following)

    def _ask_again(self, execution: Execution, error: JQueueError) -> None:
        """Later than at once: the disk won't be better in a moment."""
        text = "the end of job %d can't be kept for now: %s"
        _log.warning(text, execution.job, error, extra=execution.named)
        again = ["again", execution.token]
        self._runner.loop.call_later(RETRY_S, lambda: self._worker.tell(again))

    def _decline(self, token: int, why: str, following: list[Any]) -> None:
        execution = self._current(token)
        lock = None if execution is None else self._held(*following)
        if execution is None or lock is None:
            return
        if not self._worker.adopted:
            # Known before it is queued again, lest the same worker gets it in the same turn.
            text = f"{self._worker.name} of this daemon declined it: {why}"
            self._runner.dispatcher.declined(execution.job, text)
        decide = requeue(execution.job, execution.op_index, token)
        self._runner.loop.begin(decide, partial(self._declined, execution, lock, why))

    def _declined(self, execution: Execution, following: Lock, why: str, result: Result) -> None:
        if self._is_answered(execution):
            return
        if result.error is None:
            text = "job %d is not begun in %s: %s"
            _log.warning(text, execution.job, self._worker.name, why, extra=execution.named)
            self._kept(execution, following)
        elif isinstance(result.error, Refused):
            self._end(str(result.error))
        else:
            self._ask_again(execution, result.error)


class Hello(NamedTuple):
    """What a worker says of itself on each connection."""

    version: int
    identity: Identity
    livelock: str
    inode: int
    execution: tuple[int, int, int]
    """Job, opcode and token; the token is 0 if it is idle."""
    thread: bool


def read_hello(hello: Any, peer_pid: int) -> Hello:
    """Return what a worker's hello says.  Raises InvalidJob for what is none."""
    try:
        identity = Identity.parse(hello)
        version, name, inode = hello["version"], hello["livelock"], hello["inode"]
        execution = hello["job"], hello["op"], hello["token"]
        thread = bool(hello.get("thread"))
    except (TypeError, KeyError, AttributeError):
        raise InvalidJob(f"no hello of a worker: {hello!r:.80}") from None
    if identity is None or identity.pid != peer_pid or not livelock.is_name(name):
        raise InvalidJob("a worker's hello must name its own process and livelock")
    return Hello(version, identity, name, inode, execution, thread)


def greet(runner: Runner, channel: Channel, hello: Any, peer_pid: int) -> Port | None:
    """Take a worker's hello; None if the worker is sent away.  Raises as `read_hello`."""
    version, identity, name, inode, execution, thread = read_hello(hello, peer_pid)
    if version not in ADOPTED_VERSIONS or not (thread or identity.is_alive()):
        channel.send(["end", f"this owner speaks version {WORKER_VERSION}"])
        return None
    worker = None if thread else runner.crew.find(identity)
    if worker is None:
        worker = next((one for one in runner.crew.workers if one.thread and not one.greeted), None)
    if worker is None or thread != worker.thread:
        worker = _adopt(runner, identity, execution)
    port = Port(runner, worker, channel)
    if not (worker.greeted or worker.adopted or worker.condemned):
        # It has loaded its units just now: they may be others than those of workers before.
        runner.dispatcher.release_declined()
        runner.crew.proved()
    worker.channel, worker.greeted = channel, True
    if worker.answered == execution[2]:
        # The answer was lost.
        worker.answered = None
    if worker.silence is not None:
        worker.silence.cancel()
        worker.silence = None
    if worker.condemned is not None:
        channel.send(["end", worker.condemned])
        return port
    if execution[2]:
        _resume(runner, worker, execution, Lock(name, inode))
    else:
        port.receive(["idle", name, inode])
    return port


def _adopt(runner: Runner, identity: Identity, named: tuple[int, int, int]) -> Worker:
    """Take in a worker of an owner before, with what the records have on it."""
    worker = Worker(identity, adopted=True)
    runner.crew.workers.add(worker)
    runner.crew.watch_process(worker)
    runner.crew.arrived()
    found = [
        execution
        for execution in runner.endings.executions.values()
        if execution.identity == identity and execution.worker is None
    ]
    # What it names comes first: beside that it was never told of a start whose record it has.
    found.sort(key=lambda one: (one.job, one.op_index, one.token) != named)
    for execution in found:
        burial = execution.burial
        if burial is not None and not burial.gentle:
            runner.crew.condemn(worker, "what it ran is being ended")
            continue
        if burial is not None:
            # It is being canceled and has its grace, in which its last words are heard.
            burial.stop()
            execution.burial = None
        execution.worker = worker
        if worker.execution is None:
            worker.execution = execution
        else:
            execution.denied = True
            runner.endings.judge(execution)
    return worker


def _resume(runner: Runner, worker: Worker, named: tuple[int, int, int], lock: Lock) -> None:
    """The worker says what it executes: adopted if the queue has the same on it."""
    job, at, token = named
    execution = worker.execution
    if execution is not None and (execution.job, execution.op_index, execution.token) == named:
        if execution.silence is not None:
            _log.info(
                "opcode %d of job %d goes on in %s", at, job, worker.name, extra=execution.named
            )
            execution.silence.cancel()
            execution.silence = None
        if runner.endings.is_canceling(execution):
            runner.endings.kill(job)
        elif execution.timed_out:
            runner.endings.time_is_over(execution)
        return
    entry = runner.store.find(job)
    ops = [] if entry is None or entry.document is None else entry.document["ops"]
    op = ops[at] if isinstance(at, int) and 0 <= at < len(ops) else {}
    if execution is None and op.get("token") == token and op.get("status") in FINAL:
        # Its finish was kept, the answer was lost: the finish comes again.
        worker.execution = Execution(job, at, "", lock, token, worker.identity, worker, ended=True)
        return
    worker.tell(["end", "the queue has something else on it"])
    if execution is not None:
        deny(runner, worker, execution)
    else:
        runner.crew.condemn(worker, "what it executes is stale")


def deny(runner: Runner, worker: Worker, execution: Execution) -> None:
    """The worker doesn't know what the queue has on it: that was never begun."""
    execution.denied = True
    runner.crew.condemn(
        worker, f"it never began opcode {execution.op_index} of job {execution.job}"
    )


def _is_of_the_disk(error: JQueueError) -> bool:
    return not isinstance(error, TooLarge | InvalidJob) or isinstance(error, QueueFailed)
