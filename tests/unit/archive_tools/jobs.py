"""Documents of jobs with a known past, made by the rules that really change jobs."""

from jqueue.job.document import new_document
from jqueue.job.interruption import interruption_updates
from jqueue.job.state import updated
from jqueue.job.transitions import finish_updates, start_updates, wait_updates

BEGIN_S = 1_790_000_000
"""2026-09-21 14:13:20 UTC."""


def ns(seconds):
    return round((BEGIN_S + seconds) * 10**9)


class Past:
    """A job; times are in seconds after BEGIN_S."""

    def __init__(self, job, *ops, at=0, **more):
        inputs = [op if isinstance(op, dict) else {"OP_ID": op} for op in ops or ("OP_COPY",)]
        self.document = new_document(job, inputs, now=ns(at), **more)

    def _apply(self, updates):
        ops = list(self.document["ops"])
        for index, values in updates:
            if index is None:
                self.document = updated(values, self.document)
            else:
                ops[index] = updated(values, ops[index])
        self.document = {**self.document, "ops": ops}
        return self

    def wait(self, at, op=0):
        return self._apply(wait_updates(self.document, op, ns(at)))

    def start(self, at, op=0, worker=100, policy="requeue"):
        self._apply(start_updates(self.document, op, ns(at), livelock="w", interruption=policy))
        return self._apply([(op, {"worker": {"pid": worker}})])

    def end(self, at, op=0, status="success", result=None):
        return self._apply(finish_updates(self.document, op, status, result, ns(at)))

    def interrupt(self, at, op=0):
        return self._apply(interruption_updates(self.document, op, ns(at)))


def ended(job, *, at, took=1.0, status="success", worker=100, op="OP_COPY"):
    """The document of a job that was received, executed and ended."""
    return Past(job, op, at=at).start(at, worker=worker).end(at + took, status=status).document
