"""Changes made at once are the changes made one by one, and cost what one does."""

from hypothesis import given
from hypothesis import strategies as st

from jqueue.job.change import JobSet, OpSet, Submitted
from jqueue.job.document import new_document, with_op
from jqueue.job.state import Entry, Layer, Place, apply, apply_all
from tests.unit.job.making import NOW

STATUSES = ["waiting", "canceled", "success", None]


class Nothing:
    """The state of an empty queue."""

    def find(self, _key):
        return None


def change(at, status):
    if status is None:
        return JobSet(1, {"start_timestamp": [at, 0]})
    return OpSet(1, at, {"status": status})


def new_values(make, changes):
    layer = Layer(Nothing(), 7)
    apply(layer, Submitted(new_document(1, [{"OP_ID": "OP_X"}] * 4, now=NOW, unique="u")))
    make(layer, changes)
    return values_of(layer)


def values_of(layer):
    return {key: value for key, value in layer.new.items() if value is not None}


@given(st.lists(st.builds(change, st.integers(0, 3), st.sampled_from(STATUSES)), max_size=12))
def test_changes_made_at_once_are_the_changes_made_one_by_one(changes):
    def one_by_one(layer, changes):
        for one in changes:
            apply(layer, one)

    assert new_values(apply_all, changes) == new_values(one_by_one, changes)


class Queue:
    """A state with a serial and one job."""

    def find(self, key):
        job = Entry(new_document(2, [{"OP_ID": "OP_X"}], now=NOW), Place.LIVE, 3)
        return {"serial": 2, "count/queued": 1, 2: job}.get(key)


def new_job(job, finished, unique, target):
    depends = {} if target is None else {"depends": [[target, []]]}
    document = new_document(job, [{"OP_ID": "OP_X", **depends}], now=NOW, unique=unique)
    return Submitted(with_op(document, 0, status="success") if finished else document)


@given(
    st.lists(
        st.builds(
            new_job,
            st.integers(1, 6),
            st.booleans(),
            st.sampled_from([None, "u"]),
            st.sampled_from([None, 2, 3]),
        )
        | st.builds(
            lambda status: OpSet(2, 0, {"status": status}), st.sampled_from(["waiting", "running"])
        ),
        max_size=8,
    )
)
def test_new_jobs_made_at_once_are_those_made_one_by_one(changes):
    at_once, one_by_one = Layer(Queue(), 7), Layer(Queue(), 7)
    apply_all(at_once, changes)
    for change in changes:
        apply(one_by_one, change)
    assert values_of(at_once) == values_of(one_by_one)
    assert all(at_once.before[key] == one_by_one.before[key] for key in at_once.new)


def test_changing_every_opcode_copies_the_job_once(monkeypatch):
    # Changing the priority of a job of 4,000 opcodes held the mutex for nine seconds.
    judged = []
    monkeypatch.setattr("jqueue.job.state.live_status", judged.append)
    layer = Layer(Nothing(), 7)
    count = 500
    apply(layer, Submitted(new_document(1, [{"OP_ID": "OP_X"}] * count, now=NOW)))
    before = len(judged)
    apply_all(layer, [OpSet(1, at, {"priority": 5}) for at in range(count)])
    assert len(judged) - before == 2
    assert [op["priority"] for op in layer.job(1)["ops"]] == [5] * count


def test_a_job_that_comes_finished_is_not_waited_for_by_its_name():
    layer = Layer(Queue(), 7)
    apply(layer, new_job(5, True, "u", 2))
    assert set(layer.new) == {5, "serial", "count/success"}
