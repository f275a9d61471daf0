"""The queue floor: the rules by which jobs are submitted, run, canceled, archived."""

from jqueue.queue.answer import Answered, Reply, answer_of, ask, collect
from jqueue.queue.clock import Clock, SystemClock
from jqueue.queue.core import QueueCore
from jqueue.queue.protocol import ArchiveCount, Claim, Queue, Submission
from jqueue.queue.reading import Reader

__all__ = [
    "Answered",
    "ArchiveCount",
    "Claim",
    "Clock",
    "Queue",
    "QueueCore",
    "Reader",
    "Reply",
    "Submission",
    "SystemClock",
    "answer_of",
    "ask",
    "collect",
]
