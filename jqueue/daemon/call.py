"""One request on its way to its answer, in the encoding of our own verbs or in Ganeti's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

from jqueue.daemon import luxi
from jqueue.daemon.answer_room import is_small
from jqueue.daemon.connection import Connection
from jqueue.daemon.reactor import Reactor
from jqueue.daemon.slot import Slot
from jqueue.errors import JQueueError, QueueFailed
from jqueue.execution.loop import Result
from jqueue.store.protocol import Decide

_log = logging.getLogger(__name__)


class Call:
    """A request for one of our own verbs."""

    __slots__ = ("_reactor", "_readers", "connection", "slot")

    def __init__(
        self, reactor: Reactor, readers: Executor, connection: Connection, slot: Slot
    ) -> None:
        self._reactor = reactor
        self._readers = readers
        self.connection = connection
        self.slot = slot

    def answer(self, value: Any) -> None:
        """Answer with a result."""
        self.slot.answer(self.encode(value))

    def answer_in_turn(self, make: Callable[[], Any]) -> None:
        """Answer with a result that is made when the answers before it are sent, and there is room.

        Many who wait for one large job don't have it in memory once each: `make` is to read what
        it shows, and holds nothing large until then.  What it raises is the answer instead.
        """
        self.slot.when_first(partial(self._make, make))

    def _make(self, make: Callable[[], Any], has_room: bool) -> bool:
        try:
            value = make()
        except JQueueError as error:
            self.fail(error)
            return True
        if has_room or is_small(value):
            self.answer(value)
            return True
        return False

    def encode(self, value: Any) -> bytes:
        """Return a result as it is sent."""
        return luxi.frame(luxi.success(value))

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.slot.answer(luxi.frame(luxi.failure(error)))

    def misunderstood(self, text: str) -> None:
        """Answer that the request can't be understood, and close the connection, as luxid does."""
        self.slot.answer(luxi.frame(luxi.parse_error(text)))
        self.connection.hang_up()

    def begin(self, decide: Decide, shape: Callable[[Any], Any] | None = None) -> None:
        """Answer with what the rule comes to, once that is durable."""
        self._reactor.begin(decide, partial(self._then, shape))

    def begin_submission(self, decide: Decide, shape: Callable[[Any], Any] | None = None) -> None:
        """Answer like `begin`, once there is room."""
        self._reactor.begin_submission(decide, partial(self._then, shape))

    def _then(self, shape: Callable[[Any], Any] | None, result: Result) -> None:
        if result.error is not None:
            self.fail(result.error)
        else:
            self.answer(result.answer if shape is None else shape(result.answer))

    def run_in_turn(self, work: Callable[[], Any]) -> None:
        """Answer like `run`, when the answers before it are sent, and there is room."""

        def begin(has_room: bool) -> bool:
            if has_room:
                self.run(work)
            return has_room

        self.slot.when_first(begin)

    def run(self, work: Callable[[], Any]) -> None:
        """Answer with what `work` returns: nothing large; it runs on a reader's thread."""
        reactor = self._reactor

        def running() -> None:
            try:
                data = self.encode(work())
            except JQueueError as error:
                caught: JQueueError = error
                reactor.call_threadsafe(lambda: self.fail(caught))
            except Exception as error:  # noqa: BLE001 - a boundary: see below
                # Whoever asked waits for an answer, whatever went wrong on this thread.
                _log.exception("a reading failed")
                failed = QueueFailed(f"the owner met an error of its own: {error!r:.200}")
                reactor.call_threadsafe(lambda: self.fail(failed))
            else:
                reactor.call_threadsafe(lambda: self.slot.answer(data))

        self._readers.submit(running)


class GanetiCall(Call):
    """A request for one of Ganeti's methods: answers are ASCII, errors are classes of Ganeti's."""

    __slots__ = ()

    def encode(self, value: Any) -> bytes:
        """Return a result as it is sent."""
        return luxi.ascii_frame(luxi.success(value))

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.slot.answer(luxi.ascii_frame(luxi.ganeti_failure(error)))
