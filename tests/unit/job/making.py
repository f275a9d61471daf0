"""Documents for tests, and updates carried out on them."""

from jqueue.job.document import new_document, with_job, with_op

NOW = 1_700_000_000_123_456_789
LATER = NOW + 5_000_000_000


def delay(**more):
    return {"OP_ID": "OP_TEST_DELAY", "duration": 0.5, **more}


def fresh(*inputs, job_id=7, **facts):
    return new_document(job_id, inputs or [delay()], now=NOW, **facts)


def with_statuses(*statuses, priorities=None):
    document = fresh(*[delay() for _ in statuses])
    for at, status in enumerate(statuses):
        document = with_op(document, at, status=status)
    for at, priority in enumerate(priorities or ()):
        document = with_op(document, at, priority=priority)
    return document


def applied(document, updates):
    for at, values in updates:
        document = with_job(document, **values) if at is None else with_op(document, at, **values)
    return document


def statuses(document):
    return [op["status"] for op in document["ops"]]
