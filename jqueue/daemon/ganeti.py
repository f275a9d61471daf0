"""Ganeti's methods: what its clients ask of `luxid`, answered by the rules of this queue.

Arguments stand in a list; wrong ones make the whole request one that can't be understood.  Method
by method, what comes in and what goes out is Ganeti's, so that gnt-job works unchanged; where
luxid fails (a drain lifted twice, `autoarchive all`, text beyond ASCII) this does what was meant.
"""

from __future__ import annotations

import inspect
import math
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final

from jqueue.daemon import luxi
from jqueue.daemon.call import Call
from jqueue.daemon.queries import definitions, fields_named, job_rows, query_pieces, values_of
from jqueue.daemon.reactor import Reactor
from jqueue.daemon.streams import Stream
from jqueue.daemon.watching import Watching
from jqueue.errors import InvalidJob, JobNotFound, JQueueError, MalformedQuery, WaitTimeout
from jqueue.job.ids import parse_job_id
from jqueue.job.query import GANETI, compile_filter
from jqueue.job.snapshot import Job
from jqueue.queue import operating
from jqueue.queue.core import QueueCore
from jqueue.queue.entries import Prepared
from jqueue.queue.submission import Terms, submit_many, submit_one

MAX_WAIT_S: Final = 89.0
"""Ganeti's clients give up on an answer after 180 s, and ask for at most half of that."""
ALL_AGES: Final = -1
MAX_FIELDS: Final = 256
"""Of one request; each is computed for each job."""
_LOST: Final = "Can't load job file"


class Methods:
    """Serves Ganeti's methods by name.  In the loop's thread, but for what readers are given."""

    def __init__(
        self, reactor: Reactor, core: QueueCore, watching: Watching, readers: Executor
    ) -> None:
        self._reactor = reactor
        self._core = core
        self._watching = watching
        self._readers = readers
        self._methods: dict[str, tuple[Callable[..., None], range]] = {
            name: (getattr(self, method), _arity(getattr(self, method)))
            for name, method in _METHODS.items()
        }

    def handle(self, call: Call, request: luxi.Request) -> None:
        """Answer now or later.  Raises what the answer is to be, MalformedQuery for nonsense."""
        method, arity = self._methods.get(request.method, (None, range(0)))
        if method is None:
            call.misunderstood(f"unknown method {request.method!r:.80}")
        elif len(request.args) not in arity:
            call.misunderstood(f"{request.method}: wrong number of arguments")
        elif request.method in _WITH_KEY:
            method(call, *request.args, key=request.key)
        else:
            method(call, *request.args)

    # Submitting

    def _terms(self, call: Call, key: Any = None, *, despite_drain: bool = False) -> Terms:
        return Terms(
            self._core.clock.now_ns(),
            self._core.max_live_jobs,
            key=key,
            despite_drain=despite_drain,
            uid=call.connection.peer.uid,
        )

    def _submit_job(self, call: Call, ops: Any, *, key: Any = None) -> None:
        terms = self._terms(call, key)
        call.begin_submission(submit_one(_jobs(ops), terms, self._core.check))

    def _submit_despite_drain(self, call: Call, ops: Any, *, key: Any = None) -> None:
        terms = self._terms(call, key, despite_drain=True)
        call.begin_submission(submit_one(_jobs(ops), terms, self._core.check))

    def _submit_many(self, call: Call, jobs: Any, *, key: Any = None) -> None:
        decide = submit_many(_jobs(jobs), self._terms(call, key), check=self._core.check)
        call.begin_submission(decide, lambda answers: [list(answer) for answer in answers])

    # Watching and reading

    def _wait_for_change(
        self, call: Call, id: Any, names: Any, before: Any, serial: Any, timeout: Any
    ) -> None:
        job, fields = _job_id(id), fields_named(_names(names))
        known = all(field.name in GANETI for field in fields)
        if serial is not None and type(serial) is not int:
            raise MalformedQuery("a log's serial is a number")
        newer_than = -1 if serial is None else serial

        def values(found: Job) -> list[Any]:
            if not known:
                return [None] * len(fields)
            return values_of(job, found.document, found.archived, fields)

        def ready(found: Job) -> bool:
            return values(found) != before or bool(_log_after(found, newer_than))

        def make(*, changed: bool) -> list[Any]:
            try:
                found = self._watching.job(job)
            except JobNotFound:
                raise JobNotFound(_LOST, job_id=job) from None
            if found.archived:
                raise JobNotFound(_LOST, job_id=job)
            return [values(found), _log_after(found, newer_than) if changed else []]

        def answer(found: int | JQueueError) -> None:
            if isinstance(found, JQueueError) and not isinstance(found, WaitTimeout | JobNotFound):
                call.fail(found)
            else:
                # What is there now; if the time is over, without a log.
                changed = not isinstance(found, WaitTimeout)
                call.answer_in_turn(lambda: make(changed=changed))

        self._watching.wait(call.slot, [job], _wait_s(timeout), ready, answer)

    def _query(self, call: Call, what: Any, names: Any, form: Any) -> None:
        _check_jobs(what)
        fields = fields_named(_names(names))
        chosen = compile_filter(form, fields=GANETI)
        pieces = query_pieces(self._core.store.snapshot(), fields, chosen)
        Stream(
            self._reactor,
            self._readers,
            call.connection,
            call.slot,
            pieces,
            lambda error: luxi.ascii_frame(luxi.ganeti_failure(error)),
        ).start()

    def _query_fields(self, call: Call, what: Any, names: Any) -> None:
        _check_jobs(what)
        fields = fields_named(_names(names or sorted(GANETI)))
        call.answer({"fields": definitions(fields)})

    def _query_jobs(self, call: Call, ids: Any, names: Any) -> None:
        wanted = _names(names)
        jobs = [] if ids is None else [_job_id(job) for job in _list(ids)]
        call.run_in_turn(lambda: job_rows(self._core.store.snapshot(), jobs, wanted))

    def _query_config(self, call: Call, names: Any) -> None:
        values = {
            "drain_flag": self._core.drain_state() is not None,
            "cluster_name": "jqueue",
            "master_node": socket.gethostname(),
        }
        call.answer([values.get(name) for name in _names(names)])

    # Changing

    def _cancel(self, call: Call, id: Any, kill: Any = False) -> None:
        now = self._core.clock.now_ns()
        call.begin(operating.cancel(_job_id(id), now=now, kill=_bool(kill)), list)

    def _change_priority(self, call: Call, id: Any, priority: Any) -> None:
        if type(priority) is not int:
            raise MalformedQuery("a priority is a number")
        call.begin(operating.set_priority(_job_id(id), priority), list)

    def _archive(self, call: Call, id: Any) -> None:
        decide = operating.archive(_job_id(id), now=self._core.clock.now_ns())
        call.begin(decide, lambda outcome: outcome.ok)

    def _auto_archive(self, call: Call, age: Any, timeout: Any) -> None:
        age_s, timeout_s = _number(age), _number(timeout)
        if age_s < 0 and age_s != ALL_AGES:
            raise InvalidJob(f"age must be seconds, or {ALL_AGES} for all, not {age_s:g}")
        call.run(lambda: list(self._core.auto_archive(max(age_s, 0), timeout_s=timeout_s)))

    def _set_drain(self, call: Call, drained: Any) -> None:
        by = f"uid {call.connection.peer.uid}"
        now = self._core.clock.now_ns()
        flag = operating.make_flag(None, by, now) if _bool(drained) else None
        call.begin(operating.set_drain(flag), lambda _: True)

    def _pickup(self, call: Call, id: Any) -> None:
        _job_id(id)
        answer = ["GenericError", ["PickupJob is for internal use only"]]
        call.slot.answer(luxi.ascii_frame({"success": False, "result": answer}))


_METHODS: Final = {
    "SubmitJob": "_submit_job",
    "SubmitJobToDrainedQueue": "_submit_despite_drain",
    "SubmitManyJobs": "_submit_many",
    "WaitForJobChange": "_wait_for_change",
    "CancelJob": "_cancel",
    "ChangeJobPriority": "_change_priority",
    "ArchiveJob": "_archive",
    "AutoArchiveJobs": "_auto_archive",
    "Query": "_query",
    "QueryFields": "_query_fields",
    "QueryJobs": "_query_jobs",
    "QueryConfigValues": "_query_config",
    "SetDrainFlag": "_set_drain",
    "PickupJob": "_pickup",
}
_WITH_KEY: Final = frozenset({"SubmitJob", "SubmitJobToDrainedQueue", "SubmitManyJobs"})


def _arity(method: Callable[..., None]) -> range:
    """Return how many arguments a method takes beside the call."""
    given = [
        parameter
        for parameter in inspect.signature(method).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ][1:]
    needed = sum(1 for parameter in given if parameter.default is parameter.empty)
    return range(needed, len(given) + 1)


def _log_after(job: Job, serial: int) -> list[list[Any]]:
    """Return the log entries of all opcodes beyond a serial, in their order."""
    entries = [entry for op in job.document["ops"] for entry in op["log"] if entry[0] > serial]
    return sorted(entries, key=lambda entry: entry[0])


def _wait_s(timeout: Any) -> float:
    return min(max(_number(timeout), 0.0), MAX_WAIT_S)


def _job_id(value: Any) -> int:
    """Return a job's ID, which comes as a number or as decimal text."""
    try:
        return parse_job_id(value)
    except InvalidJob as error:
        raise MalformedQuery(str(error)) from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MalformedQuery(f"{value!r:.80} is not a number of seconds")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MalformedQuery(f"{value!r:.80} is not true or false")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedQuery(f"{value!r:.80} is not a list")
    return value


def _jobs(value: Any) -> list[Any] | Prepared:
    return value if isinstance(value, Prepared) else _list(value)


def _names(value: Any) -> Sequence[str]:
    names = _list(value)
    if len(names) > MAX_FIELDS:
        raise MalformedQuery(f"more than {MAX_FIELDS} fields")
    if not all(isinstance(name, str) for name in names):
        raise MalformedQuery("the names of fields are text")
    return names


def _check_jobs(what: Any) -> None:
    """Refuse queries about what a job queue doesn't have.  Raises InvalidJob."""
    if not isinstance(what, str):
        raise MalformedQuery("what is asked about is text")
    if what != "job":
        raise InvalidJob(f"a job queue knows only of job, not of {what!r:.80}")
