"""Changes made at once are the changes made one by one, and cost what one does."""

from hypothesis import given
from hypothesis import strategies as st

from jqueue.job.change import JobSet, OpSet, Submitted
from jqueue.job.document import new_document
from jqueue.job.state import Layer, apply, apply_all
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
    return {key: value for key, value in layer.new.items() if value is not None}


@given(st.lists(st.builds(change, st.integers(0, 3), st.sampled_from(STATUSES)), max_size=12))
def test_changes_made_at_once_are_the_changes_made_one_by_one(changes):
    def one_by_one(layer, changes):
        for one in changes:
            apply(layer, one)

    assert new_values(apply_all, changes) == new_values(one_by_one, changes)


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
