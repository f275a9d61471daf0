"""One claimed opcode, in the hands of whoever claimed it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from jqueue.errors import Refused
from jqueue.execution.context import MESSAGE, to_inputs
from jqueue.execution.units import ResultWithJobs
from jqueue.job.change import Document
from jqueue.job.document import timestamp
from jqueue.job.failure import encode_error
from jqueue.job.jsonio import check_storable
from jqueue.job.snapshot import Job, Op


class Hand(Protocol):
    """The way from a claim to its queue; each call returns once it is durable."""

    def claim_log(self, job: int, op: int, token: int, entries: list[Any]) -> None:
        """Add log entries, once."""

    def claim_progress(self, job: int, op: int, token: int, value: Any) -> None:
        """Record progress."""

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
        """End the opcode."""

    def claim_release(self, job: int, op: int, token: int) -> None:
        """Give it back, uncounted."""


class OpClaim:
    """A claim as `queue.Claim` promises it.  `let_go` frees its livelock, once all is said."""

    def __init__(
        self,
        hand: Hand,
        document: Document,
        op_index: int,
        token: int,
        attempt: int,
        let_go: Callable[[], None],
    ) -> None:
        self.job = Job(document)
        self.attempt = attempt
        self.token = token
        self._op_index = op_index
        self._hand = hand
        self._let_go: Callable[[], None] | None = let_go

    @property
    def op(self) -> Op:
        """The claimed opcode."""
        return self.job.ops[self._op_index]

    @property
    def _name(self) -> tuple[int, int, int]:
        return self.job.id, self._op_index, self.token

    def feedback(self, message: str) -> None:
        """Add a line to the opcode's log."""
        entry = [timestamp(time.time_ns()), MESSAGE, check_storable(message)]
        self._hand.claim_log(*self._name, [entry])

    def progress(self, value: Any) -> None:
        """Say how far it is."""
        self._hand.claim_progress(*self._name, check_storable(value))

    def finish(self, result: Any = None) -> None:
        """End the opcode with success; a `ResultWithJobs` submits its jobs with it."""
        if isinstance(result, ResultWithJobs):
            others = check_storable(result.others)
            self._end(True, others, to_inputs(result.jobs), result.on_refusal)
        else:
            self._end(True, check_storable(result), None, "report")

    def fail(self, error: BaseException | str) -> None:
        """End the opcode with an error; it is tried again if it has retries left."""
        self._end(False, encode_error(error), None, "report")

    def release(self) -> None:
        """Give it back, as if it had not been claimed."""
        self._last_word(self._hand.claim_release, *self._name)

    def _end(self, ok: bool, result: Any, children: list[Any] | None, on_refusal: str) -> None:
        self._last_word(self._hand.claim_finish, *self._name, ok, result, children, on_refusal)

    def _last_word(self, say: Callable[..., None], *arguments: Any) -> None:
        """Say it and let go; after a failure (a full disk) it may be said again."""
        try:
            say(*arguments)
        except Refused:
            # It is over: who holds the livelock on would keep the opcode from being judged.
            self._close()
            raise
        self._close()

    def _close(self) -> None:
        let_go, self._let_go = self._let_go, None
        if let_go is not None:
            let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._let_go is None:
            return
        if value is None:
            self.release()
        else:
            self.fail(value)
