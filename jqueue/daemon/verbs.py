"""Our own verbs as the socket serves them: each begins its rule, or reads what is durable.

A verb never blocks the loop: rules are begun and answered after the turn's sync, long readings go
to a few threads, and whoever waits is answered by the batch that he waits for.
"""

# ruff: noqa: D102 - each verb keeps the promise that `queue.Queue` makes of it

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

from jqueue.daemon import luxi
from jqueue.daemon.arguments import Arguments
from jqueue.daemon.call import Call, GanetiCall
from jqueue.daemon.connection import Connection
from jqueue.daemon.facts import Facts
from jqueue.daemon.ganeti import Methods
from jqueue.daemon.idling import Idling
from jqueue.daemon.reactor import Reactor
from jqueue.daemon.slot import Slot
from jqueue.daemon.streams import Stream, job_pieces
from jqueue.daemon.watching import MAX_WATCHED, Watching
from jqueue.errors import InvalidJob, JQueueError, MalformedQuery, Refused
from jqueue.execution.claims import Claims
from jqueue.execution.executions import ClaimAnswer, Lock
from jqueue.execution.explaining import explain
from jqueue.execution.loop import Result
from jqueue.execution.overview import overview
from jqueue.execution.runner import Runner
from jqueue.job.document import check_said
from jqueue.job.ids import parse_job_id
from jqueue.job.jsonio import check_storable
from jqueue.queue import operating
from jqueue.queue.children import submit_children
from jqueue.queue.core import QueueCore
from jqueue.queue.entries import Check, Prepared, check_name, prepared_many, prepared_one
from jqueue.queue.finishing import finish
from jqueue.queue.protocol import Submission
from jqueue.queue.reading import overall
from jqueue.queue.running import log, progress, requeue
from jqueue.queue.submission import Terms, submit_many, submit_one
from jqueue.store import livelock
from jqueue.store.directory import DirectoryStore

_log = logging.getLogger(__name__)

READERS: Final = 4
"""Threads for readings that take long."""


class _Prepare(NamedTuple):
    """How the jobs in a request are checked before its verb is called."""

    argument: str | None
    """Its name among named arguments; with a method of Ganeti's it is the first."""
    check: Callable[[list[Any], Check | None], Prepared]


_PREPARED: Final = {
    "submit": _Prepare("ops", prepared_one),
    "submit_many": _Prepare("jobs", prepared_many),
    "SubmitJob": _Prepare(None, prepared_one),
    "SubmitJobToDrainedQueue": _Prepare(None, prepared_one),
    "SubmitManyJobs": _Prepare(None, prepared_many),
}


class Verbs:
    """Serves requests by name.  In the loop's thread, but for what it hands to its readers."""

    def __init__(self, reactor: Reactor, core: QueueCore, runner: Runner, claims: Claims) -> None:
        self.core = core
        self.reactor = reactor
        self.runner = runner
        self.claims = claims
        self.watching = Watching(reactor, core.store)
        self.idling = Idling(reactor, runner)
        self.readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self.facts: Facts
        """What the owner knows of itself; set by it."""
        self.before_claim: Callable[[], None] = lambda: None
        """Looks after what was running, before somebody gets something new."""
        self.methods = Methods(reactor, core, self.watching, self.readers)
        self._verbs = {
            name.removeprefix("do_"): (method, Arguments(method))
            for name, method in inspect.getmembers(self, inspect.ismethod)
            if name.startswith("do_")
        }

    def handle(self, connection: Connection, request: luxi.Request, slot: Slot) -> None:
        """Answer a request now or later."""
        ganeti = isinstance(request.args, list)
        call = (GanetiCall if ganeti else Call)(self.reactor, self.readers, connection, slot)
        try:
            (self.methods.handle if ganeti else self._handle)(call, request)
        except MalformedQuery as error:
            call.misunderstood(f"{request.method}: {error}")
        except JQueueError as error:
            call.fail(error)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            _log.debug("request %s", request.method, exc_info=True)
            text = f"the arguments of {request.method} can't be understood: {error}"
            call.fail(InvalidJob(text))

    def _handle(self, call: Call, request: luxi.Request) -> None:
        verb = self._verbs.get(request.method)
        if verb is None:
            call.misunderstood(f"unknown method {request.method!r:.80}")
            return
        method, arguments = verb
        wrong = arguments.misnamed(request.args)
        if wrong:
            call.misunderstood(f"{request.method}: wrong or missing: {', '.join(wrong):.80}")
            return
        arguments.check(request.args)
        method(call, **request.args)

    def prepared(self, request: luxi.Request) -> luxi.Request:
        """Check the jobs of a long request beforehand, on any thread: what a verb need not do."""
        prepare = _PREPARED.get(request.method)
        args = request.args
        if prepare is None or not args:
            return request
        place = 0 if isinstance(args, list) else prepare.argument
        found = args[0] if isinstance(args, list) else args.get(place)
        if not isinstance(found, list):
            return request
        checked = prepare.check(found, self.core.check)
        if request.key is not None or (isinstance(args, dict) and args.get("key") is not None):
            _ = checked.digest
        args[place] = checked
        return request

    def forget(self, connection: Connection) -> None:
        """A connection is gone: what it claimed is judged once its livelock is free."""
        for request in list(connection.claims):
            self.claims.gone(request)

    def close(self) -> None:
        """Begin no more readings."""
        self.readers.shutdown(wait=False, cancel_futures=True)
        self.watching.close()

    # Submitting

    def _terms(self, call: Call, **more: Any) -> Terms:
        uid = call.connection.peer.uid
        return Terms(self.core.clock.now_ns(), self.core.max_live_jobs, uid=uid, **more)

    def do_submit(
        self,
        call: Call,
        ops: list[Any] | Prepared,
        key: str | None = None,
        unique: str | None = None,
        despite_drain: bool = False,
    ) -> None:
        terms = self._terms(call, key=key, unique=unique, despite_drain=despite_drain)
        call.begin_submission(submit_one(ops, terms, self.core.check))

    def do_submit_many(
        self,
        call: Call,
        jobs: list[Any] | Prepared,
        key: str | None = None,
        atomic: bool = False,
    ) -> None:
        decide = submit_many(jobs, self._terms(call, key=key), atomic=atomic, check=self.core.check)
        call.begin_submission(decide, _submissions)

    def do_retry(self, call: Call, id: Any, from_failed: bool = False) -> None:
        decide = operating.retry(parse_job_id(id), self._terms(call), from_failed=from_failed)
        call.begin_submission(decide)

    # Reading

    def do_job(self, call: Call, id: Any) -> None:
        job = parse_job_id(id)
        call.answer_in_turn(lambda: luxi.job_to_wire(self.core.job(job)))

    def do_jobs(
        self,
        call: Call,
        ids: list[Any] | None = None,
        statuses: list[str] | None = None,
        archived: bool = False,
    ) -> None:
        jobs = self.core.jobs(ids=ids, statuses=statuses, archived=archived)
        Stream(
            self.reactor,
            self.readers,
            call.connection,
            call.slot,
            job_pieces(jobs),
            lambda error: luxi.frame(luxi.failure(error)),
        ).start()

    def do_count(self, call: Call, statuses: list[str] | None = None) -> None:
        call.answer(self.core.count(statuses=statuses))

    def do_wait(self, call: Call, id: Any, timeout_s: float | None = None) -> None:
        job = parse_job_id(id)
        answer = _waited(call, self._job_to_wire)
        self.watching.wait(call.slot, [job], timeout_s, lambda found: found.finalized, answer)

    def do_wait_idle(self, call: Call, timeout_s: float | None = None) -> None:
        self.idling.wait(call.slot, timeout_s, _waited(call, int))

    def do_wait_change(self, call: Call, id: Any, lsn: int, timeout_s: float | None = None) -> None:
        job = parse_job_id(id)
        answer = _waited(call, self._job_to_wire)
        self.watching.wait(call.slot, [job], timeout_s, lambda found: found.lsn > lsn, answer)

    def do_wait_any(self, call: Call, seen: list[Any], timeout_s: float | None = None) -> None:
        # Of each job: its ID, the LSN that was seen of it, so many log entries of each opcode.
        if not 0 < len(seen) <= MAX_WATCHED:
            raise InvalidJob(f"watch 1 to {MAX_WATCHED} jobs at once, not {len(seen)}")
        known: dict[int, tuple[int, list[int]]] = {
            parse_job_id(job): (_integer(lsn), list(map(_integer, logged)))
            for job, lsn, logged in seen
        }
        answer = _waited(call, lambda job: self._job_to_wire(job, known[job][1]))
        is_new = lambda found: found.lsn > known[found.id][0]  # noqa: E731 - as its neighbours
        self.watching.wait(call.slot, list(known), timeout_s, is_new, answer)

    def _job_to_wire(self, job: int, logged: Sequence[int] = ()) -> dict[str, Any]:
        return luxi.job_to_wire(self.watching.job(job).after(logged))

    def do_explain(self, call: Call, id: Any) -> None:
        call.answer(self.explain(id))

    def explain(self, id: Any) -> list[dict[str, Any]]:
        """What the queue knows, and what the scheduler adds."""
        return explain(self.runner, self.core.reader.explain(id), parse_job_id(id))

    def do_status(self, call: Call) -> None:
        facts = self.facts.now()
        call.run(lambda: {**self.core.status(), **facts})

    def do_metrics(self, call: Call) -> None:
        facts = self.facts.now()
        call.run(lambda: self.facts.metrics(facts))

    def do_top(self, call: Call, rows: int = 50) -> None:
        # Without a snapshot: its cost doesn't follow the number of jobs.
        found = {**overall(self.core.store.find), **self.facts.now()}
        complete = overview(self.runner, rows)
        call.run(lambda: {**found, **complete()})

    def do_drain_state(self, call: Call) -> None:
        call.answer(self.core.drain_state())

    def do_pause_state(self, call: Call) -> None:
        call.answer(self.core.pause_state())

    # Changing

    def do_cancel(self, call: Call, id: Any, kill: bool = False) -> None:
        now = self.core.clock.now_ns()
        call.begin(operating.cancel(parse_job_id(id), now=now, kill=kill), list)

    def do_change_priority(self, call: Call, id: Any, priority: int) -> None:
        call.begin(operating.set_priority(parse_job_id(id), priority), list)

    def do_resolve(self, call: Call, id: Any, happened: bool) -> None:
        now = self.core.clock.now_ns()
        call.begin(operating.resolve(parse_job_id(id), happened=happened, now=now), list)

    def do_archive(self, call: Call, id: Any) -> None:
        decide = operating.archive(parse_job_id(id), now=self.core.clock.now_ns())
        call.begin(decide, lambda outcome: outcome.ok)

    def do_auto_archive(self, call: Call, age_s: float) -> None:
        call.run(lambda: list(self.core.auto_archive(age_s)))

    def do_prune(self, call: Call, ids: list[Any]) -> None:
        call.begin(operating.prune([parse_job_id(job) for job in ids]))

    def do_pack(self, call: Call, number: int) -> None:
        _check_number(number)
        call.run(lambda: list(self._directory.pack(number)))

    def do_unpack(self, call: Call, number: int) -> None:
        _check_number(number)
        call.run(lambda: list(self._directory.unpack(number)))

    @property
    def _directory(self) -> DirectoryStore:
        if not isinstance(self.core.store, DirectoryStore):
            raise InvalidJob("this queue has no archive directories")
        return self.core.store

    def do_drain(self, call: Call, reason: str | None = None, by: str | None = None) -> None:
        call.begin(operating.set_drain(self._flag(reason, by)))

    def do_undrain(self, call: Call) -> None:
        call.begin(operating.set_drain(None))

    def do_pause(self, call: Call, reason: str | None = None, by: str | None = None) -> None:
        call.begin(operating.set_pause(self._flag(reason, by)))

    def do_resume(self, call: Call) -> None:
        call.begin(operating.set_pause(None))

    def _flag(self, reason: str | None, by: str | None) -> dict[str, Any]:
        who = check_name(by, "by") or "?"
        return operating.make_flag(reason, who, self.core.clock.now_ns())

    # Claims

    def do_claim(
        self,
        call: Call,
        livelock_name: str,
        inode: int,
        op_ids: list[str] | None = None,
        timeout_s: float | None = 0,
    ) -> None:
        # A livelock that isn't there has no inode, which must not match an absent one.
        named = type(inode) is int and livelock.is_name(livelock_name)
        if not named or livelock.inode_of(self.runner.queue_fd, livelock_name) != inode:
            raise InvalidJob("a claim names a livelock of this queue, held by the claimant")
        kinds = None if op_ids is None else frozenset(op_ids)
        self.before_claim()
        request = self.claims.request(
            Lock(livelock_name, inode), kinds, timeout_s, partial(_answer_claim, call)
        )
        call.connection.claims.add(request)
        request.settled = lambda: call.connection.claims.discard(request)

    def do_claim_log(
        self,
        call: Call,
        job: int,
        op: int,
        token: int,
        entries: list[Any],
        again: bool = False,
    ) -> None:
        call.begin(log(job, op, token, check_said(entries), again=again))

    def do_claim_progress(self, call: Call, job: int, op: int, token: int, value: Any) -> None:
        call.begin(progress(job, op, token, check_storable(value)))

    def do_claim_submit(
        self, call: Call, job: int, op: int, token: int, name: str, jobs: list[Any]
    ) -> None:
        decide = submit_children(
            job,
            op,
            token,
            call=name,
            jobs=jobs,
            now=self.core.clock.now_ns(),
            max_live_jobs=self.core.max_live_jobs,
            check=self.core.check,
        )
        call.begin_submission(decide, _submissions)

    def do_claim_finish(
        self,
        call: Call,
        job: int,
        op: int,
        token: int,
        ok: bool,
        result: Any = None,
        children: list[Any] | None = None,
        on_refusal: str = "report",
    ) -> None:
        if on_refusal not in ("report", "error"):
            raise InvalidJob(f"on_refusal must be report or error, not {on_refusal!r:.80}")
        decide = finish(
            job,
            op,
            token,
            now=self.core.clock.now_ns(),
            ok=ok,
            result=result,
            children=children,
            on_refusal="error" if on_refusal == "error" else "report",
            max_live_jobs=self.core.max_live_jobs,
            check=self.core.check,
        )
        call.begin(decide, lambda _: self.claims.done(job, token))

    def do_claim_release(self, call: Call, job: int, op: int, token: int) -> None:
        def then(result: Result) -> None:
            # What is over already is given back no more: then there is nothing to say.
            if result.error is None:
                self.claims.done(job, token)
            if result.error is None or isinstance(result.error, Refused):
                call.answer(None)
            else:
                call.fail(result.error)

        self.reactor.begin(requeue(parse_job_id(job), op, token), then)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise InvalidJob(f"{value!r:.80} is not an integer")
    return value


def _check_number(number: int) -> None:
    if number < 0:
        raise InvalidJob(f"archive directories count from 0, there is none {number}")


def _waited(call: Call, shape: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return what answers a call with what was waited for, or with the error instead."""

    def answer(found: Any) -> None:
        if isinstance(found, JQueueError):
            call.fail(found)
        else:
            call.answer_in_turn(lambda: shape(found))

    return answer


def _answer_claim(call: Call, claimed: ClaimAnswer | JQueueError) -> None:
    """Answer with the claimed opcode, or with none."""
    if isinstance(claimed, JQueueError):
        call.fail(claimed)
    else:
        call.answer_in_turn(lambda: None if claimed.document is None else claimed._asdict())


def _submissions(answers: list[Submission]) -> list[list[Any]]:
    return [list(answer) for answer in answers]
