"""A queue's day as plain transactions, and the states that it may be found in afterwards.

The oracle is the memory engine: `STATES[n]` is the state after the first n transactions.  Whatever
happened to the disk, the state found must be one of those between the last transaction that was
acknowledged and the last that was begun, so: nothing acknowledged is lost (P1), nothing is there in
part (P2) or out of nowhere.
"""

import pytest

from jqueue.errors import JQueueError, OutcomeUnknown
from jqueue.job import jsonio
from jqueue.job.change import Archived, DrainSet, JobSet, KeySet, Logged, OpSet, Started, Submitted
from jqueue.job.document import new_document
from jqueue.job.transitions import finish_updates, start_updates
from jqueue.store.directory import DirectoryStore
from jqueue.store.memory import MemoryStore
from jqueue.store.protocol import Transaction

NOW = 1_700_000_000 * 10**9
SEGMENT_BYTES = 2500
OWN_STAMPS = ("lsn", "token")


def document(job, *, op=None, count=1, **options):
    given = {"OP_ID": "OP_TEST_DELAY", "duration": 0.1, **(op or {})}
    return new_document(job, [given] * count, now=NOW, **options)


def changes_of(job, updates):
    return [JobSet(job, values) if op is None else OpSet(job, op, values) for op, values in updates]


def submit(*jobs, **options):
    return [Submitted(document(job, **options)) for job in jobs]


def start(job):
    first, *rest = start_updates(document(job), 0, NOW, livelock="w-1", process_id=1)
    return [Started(job, 0, first[1]), *changes_of(job, rest)]


def finish(job, status="success", **result):
    return changes_of(job, finish_updates(document(job), 0, status, {"of": job, **result}, NOW))


def logged(job, text):
    return [Logged(job, 0, [[1, [1, 0], "message", text]])]


DAY = [
    submit(1),
    submit(2, 3, 4),
    [*submit(5, key="k", unique="u"), KeySet("k", [5], "")],
    start(1),
    logged(1, "half way"),
    [*finish(1, jobs=[[True, 6], [True, 7]]), *submit(6, 7, submitter={"job": 1, "op": 0})],
    [DrainSet({"reason": "r", "by": "b", "since": 1.0})],
    submit(8, op={"depends": [[2, ["success"]], [4, []]]}),
    submit(9, retry_of=1),
    [Archived(1, 2.0)],
    start(2),
    logged(2, "one"),
    logged(2, "two"),
    finish(2, "error"),
    [DrainSet(None)],
    submit(*range(10, 30)),
    [*finish(3), Archived(3, 3.0)],
    logged(4, "of a queued job"),
    start(30 - 1),
]
TRANSACTIONS = [Transaction(f"tx-{at}", tuple(changes)) for at, changes in enumerate(DAY)]
RESTS = {2: "checkpoint", 5: "mark", 9: "checkpoint", 12: "reopen", 15: "mark", 16: "checkpoint"}
"""What is done before a transaction, beside committing."""
GROUPS = {3, 13}
"""Where a transaction and the next are made durable together."""


def plain(value):
    """The JSON of a document without what depends on how often the queue was opened."""
    value = jsonio.loads(jsonio.dumps(value))
    return {
        **{name: member for name, member in value.items() if name not in OWN_STAMPS},
        "ops": [{n: m for n, m in op.items() if n not in OWN_STAMPS} for op in value["ops"]],
    }


def state_of(store):
    """Everything that a queue says of itself: every job, and every other value."""
    with store.ledger.mutex:
        items = store.ledger.durable_items()
    state = {k: v for k, v in items.items() if isinstance(k, str) and v not in (None, 0)}
    with store.snapshot() as moment:
        live = moment.job_ids()
        for job in moment.job_ids(archived=True):
            entry = moment.find(job)
            state[job] = (str(entry.place), entry.document and plain(entry.document))
            assert (job in live) == entry.live
        state["open"] = moment.open_ids()
    state["order"] = list(store.claim_order())
    return state


def _states():
    store = MemoryStore()
    states = [state_of(store)]
    for transaction in TRANSACTIONS:
        store.commit(transaction)
        states.append(state_of(store))
    return states


STATES = _states()


class Progress:
    """How much of the day was acknowledged, and how much begun."""

    def __init__(self):
        self.acknowledged = 0
        self.begun = 0
        self.store = None

    def possible(self):
        return STATES[self.acknowledged : self.begun + 1]


def open_store(disk, **options):
    options = {"segment_bytes": SEGMENT_BYTES, "background": False, **options}
    return DirectoryStore(disk, **options)


def live_the_day(disk, progress, transactions=TRANSACTIONS):
    """Do it all; a `Crash` ends it anywhere."""
    store = progress.store = open_store(disk)
    at = 0
    while at < len(transactions):
        rest = RESTS.get(at)
        if rest == "checkpoint":
            store.checkpoint()
        elif rest == "mark":
            store.ledger.mark()
        elif rest == "reopen":
            store.close()
            store = progress.store = open_store(disk)
        group = transactions[at : at + 2] if at in GROUPS else transactions[at : at + 1]
        progress.begun = at + len(group)
        tickets = [store.begin(lambda _, t=transaction: t) for transaction in group]
        store.flush()
        for ticket in tickets:
            ticket.wait()
            progress.acknowledged += 1
        at += len(group)
    store.close()


def live_with_errors(disk, progress):
    """Do it all though calls fail: what was refused is absent and is tried again.

    A queue that stopped is reopened.  Returns the errors that callers met.
    """
    errors = []

    def attempt(call):
        for _ in range(5):
            try:
                return call()
            except JQueueError as error:
                errors.append(error)
                _after_error(disk, progress, error)
        raise AssertionError(errors)

    attempt(lambda: _reopen(disk, progress))
    for at, transaction in enumerate(TRANSACTIONS):
        if RESTS.get(at) == "checkpoint":
            attempt(lambda: progress.store.checkpoint())  # noqa: PLW0108 - of the newest store
        elif RESTS.get(at) == "mark":
            attempt(lambda: progress.store.ledger.mark())  # noqa: PLW0108 - of the newest store
        elif RESTS.get(at) == "reopen":
            attempt(lambda: _reopen(disk, progress))
        progress.begun = at + 1
        attempt(lambda t=transaction: progress.store.commit(t))
        progress.acknowledged = at + 1
        assert attempt(lambda: state_of(progress.store)) == STATES[at + 1]
    attempt(lambda: _reopen(disk, progress))
    return errors


def _after_error(disk, progress, error):
    store = progress.store
    if store is None:
        return
    stopped = store.ledger.failure
    if stopped is None:
        assert not isinstance(error, OutcomeUnknown), error
        assert state_of(store) == STATES[progress.acknowledged], error
        if store.journal.reserve_spent:  # as the checkpointer's thread does
            assert store.journal.restock()
        return
    for _ in range(2):  # it stays stopped, whatever is asked
        with pytest.raises(JQueueError) as again:
            store.commit(Transaction("another", tuple(submit(99))))
        assert again.value is stopped
    _reopen(disk, progress)
    assert state_of(progress.store) in progress.possible()


def _reopen(disk, progress):
    store, progress.store = progress.store, None
    if store is not None:
        store.close()
    progress.store = open_store(disk)
