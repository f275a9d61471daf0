import copy
import pickle

import pytest

from jqueue import errors

FACTS = {
    errors.InvalidJob: {"index": 2, "field": "priority"},
    errors.InvalidQuery: {"field": "stat", "position": 3},
    errors.MalformedQuery: {"field": None, "position": 0},
    errors.TooLarge: {"size_bytes": 9, "limit_bytes": 8},
    errors.JobNotFound: {"job_id": 4},
    errors.KeyConflict: {"key": "k", "job_id": 4},
    errors.SubmissionMismatch: {"job_id": 4, "op_index": 1, "call": "0"},
    errors.Refused: {"precondition": ["queued", 4]},
    errors.QueueDrained: {"reason": "upgrade"},
    errors.QueueFull: {"limit": 10},
    errors.DiskFull: {"path": "q"},
    errors.QueueLocked: {"path": "q", "holder": {"pid": 3}},
    errors.WaitTimeout: {"timeout_s": 1.5},
    errors.OutcomeUnknown: {"path": "q"},
    errors.QueueFailed: {"path": "q"},
    errors.ForkedQueue: {"opened_pid": 3},
    errors.FormatTooNew: {"path": "q", "found": 2, "supported": 1},
    errors.QueueCorrupt: {"path": "q", "offset": 17, "lsn": 5},
}


def test_every_public_error_is_in_the_tree_and_in_its_drawing():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.JQueueError)
        assert name in errors.__doc__
    assert {kind.__name__ for kind in FACTS} | {"JQueueError"} == set(errors.__all__)


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_facts_when_pickled_or_copied(kind):
    error = kind("what failed", **FACTS[kind])
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert {name: getattr(twin, name) for name in FACTS[kind]} == FACTS[kind]


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.__name__)
def test_a_fact_that_is_not_known_is_none(kind):
    error = kind("what failed")
    assert str(error) == "what failed"
    assert all(getattr(error, name) is None for name in FACTS[kind])


def test_errors_can_be_caught_by_what_python_calls_them():
    assert issubclass(errors.WaitTimeout, TimeoutError)
    assert issubclass(errors.InvalidJob, ValueError)
    assert issubclass(errors.JobNotFound, LookupError)


def test_an_invalid_job_names_the_opcode():
    error = errors.InvalidJob("priority is wrong", field="priority").at(3)
    assert (str(error), error.index, error.field) == ("opcode 3: priority is wrong", 3, "priority")
