"""How a rule answers: with its transaction, or with what the *next* state holds already."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from jqueue.errors import JQueueError, Refused
from jqueue.job.change import Change, JobSet, OpSet
from jqueue.job.state import Layer
from jqueue.job.transitions import Updates
from jqueue.store.protocol import (
    Committed,
    Decide,
    Precondition,
    Store,
    Ticket,
    Transaction,
    new_transaction_id,
)


@dataclass(slots=True)
class Reply(Transaction):
    """A transaction and what to answer once it is durable."""

    answer: Any = None


class Answered(JQueueError):
    """Not a failure: there is nothing to change, and `answer` is the answer.

    A rule raises it, so that the store hands it over like a refusal: only when all that it rests on
    is durable.
    """

    def __init__(self, answer: Any = None) -> None:
        super().__init__("nothing to change", answer=answer)

    answer: Any


def reply(
    changes: Sequence[Change],
    answer: Any = None,
    *,
    pre: tuple[Precondition, ...] = (),
    essential: bool = False,
) -> Reply:
    """A new transaction with its answer."""
    return Reply(new_transaction_id(), tuple(changes), pre, essential, answer=answer)


def as_changes(job: int, updates: Updates) -> list[Change]:
    """The changes that carry out `updates` of a job."""
    return [JobSet(job, values) if at is None else OpSet(job, at, values) for at, values in updates]


_NOT_AGAIN: Final = Refused("what was to come before it is done already")


def together(first: Decide, second: Decide) -> Decide:
    """Two rules as one transaction, both judged by the state before either.

    It is not essential, whatever they are: what keeps it from the journal has the caller try the
    first alone.  The answer is a pair.  If the second is refused, its refusal stands in its place,
    and the first's changes are all there is.  What refuses the first refuses both.
    """

    def decide(layer: Layer) -> Reply:
        try:
            one = first(layer)
        except Answered as known:
            raise Answered((known.answer, _NOT_AGAIN)) from None
        assert isinstance(one, Reply)
        try:
            other = second(layer)
        except JQueueError as refusal:
            return replace(one, answer=(one.answer, refusal))
        assert isinstance(other, Reply)
        answers = one.answer, other.answer
        changes = (*one.changes, *other.changes)
        return Reply(one.id, changes, (*one.pre, *other.pre), answer=answers)

    return decide


def ask(store: Store, decide: Decide) -> Any:
    """Run a rule, and return its answer once that is durable.  Raises its refusal."""
    try:
        committed = store.transact(decide)
    except Answered as answered:
        return answered.answer
    return answer_of(committed)


def ask_with_room(store: Store, decide: Decide) -> Any:
    """Run a rule that submits: once the store has room for more.  Raises also what hinders that."""
    came = threading.Event()
    while not store.when_room(came.set):
        came.wait()
        came.clear()
    return ask(store, decide)


def collect(ticket: Ticket) -> Any:
    """Wait for a rule that was begun, and return its answer, as `ask`."""
    try:
        committed = ticket.wait()
    except Answered as answered:
        return answered.answer
    return answer_of(committed)


def answer_of(committed: Committed) -> Any:
    """The answer that came along with a durable transaction, or None."""
    transaction = committed.transaction
    return transaction.answer if isinstance(transaction, Reply) else None
