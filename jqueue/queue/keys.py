"""Idempotency keys: a repeated request gets the first one's answer.

The state's `key/K` is `{"jobs": [id or refusal, …], "digest", "until"?}`; `until` is set when a job
of that key is archived (`jqueue.job.state`).
"""

from typing import Any

from jqueue.errors import KeyConflict
from jqueue.job.change import KeySet
from jqueue.job.state import Entry, Layer
from jqueue.queue.clock import NS_PER_S
from jqueue.queue.protocol import Submission


def known_answer(
    layer: Layer, key: str, digest: str, count: int, now: int
) -> list[Submission] | None:
    """What was answered to this key before, one `Submission` for each of `count` entries, or None.

    Raises KeyConflict if that request had other content, or if only a part of its answer is known
    any more (rebuilt from job files, without the journal).
    """
    named = layer.find(f"key/{key}")
    if named is None or _has_expired(layer, named, now):
        return None
    if named["digest"] != digest or len(named["jobs"]) != count:
        job = next((job for job in named["jobs"] if isinstance(job, int)), None)
        raise KeyConflict(
            f"key {key!r:.80} was used for another submission, job {job}; nothing was submitted",
            key=key,
            job_id=job,
        )
    return [Submission(isinstance(job, int), job) for job in named["jobs"]]


def key_change(key: str, digest: str, answers: list[Submission]) -> KeySet:
    """Remember the answer to a request."""
    return KeySet(key, [answer.value for answer in answers], digest)


def _has_expired(layer: Layer, named: dict[str, Any], now: int) -> bool:
    """Whether 24 h have passed since all jobs of the key were archived.

    A key that got the job of a unique name, not submitted under this key, has no `until`: it lasts
    as long as that job is live.
    """
    if named.get("until", 0) * NS_PER_S > now:
        return False
    return not any(isinstance(job, int) and _is_live(layer, job) for job in named["jobs"])


def _is_live(layer: Layer, job: int) -> bool:
    entry: Entry | None = layer.find(job)
    return entry is not None and entry.live
