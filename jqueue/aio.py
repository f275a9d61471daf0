"""The same queue for asyncio: each verb runs on a thread, and is awaited.

async with aio.connect("/var/lib/jqueue") as queue:
    job_id = await queue.submit([Exec(["true"])])
    job = await queue.wait(job_id)
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Final, Self

from jqueue.daemon.client import Client
from jqueue.daemon.client import connect as _connect
from jqueue.daemon.jobqueue import JobQueue
from jqueue.job.snapshot import Job

_END: Final = object()


class Queue:
    """Any queue, with awaitable verbs.  `sync` is the queue itself."""

    def __init__(self, sync: JobQueue | Client) -> None:
        self.sync = sync

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.sync, name)
        if not callable(verb):
            return verb

        @functools.wraps(verb)
        async def call(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(verb, *arguments, **named)

        return call

    async def jobs(self, **wanted: Any) -> AsyncIterator[Job]:
        """Yield the jobs of this moment, ascending."""
        found: Iterator[Job] = self.sync.jobs(**wanted)
        while True:
            job = await asyncio.to_thread(next, found, _END)
            if job is _END:
                return
            assert isinstance(job, Job)
            yield job

    async def close(self) -> None:
        """Let go of the queue."""
        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def connect(path: str | os.PathLike[str] | None = None, *, timeout_s: float = 10) -> Queue:
    """Return a client of the queue at `path`."""
    return Queue(_connect(path, timeout_s=timeout_s))


async def open(path: str | os.PathLike[str], **options: Any) -> Queue:  # noqa: A001 - as JobQueue.open
    """Own the queue at `path`."""
    return Queue(await asyncio.to_thread(functools.partial(JobQueue.open, path, **options)))
