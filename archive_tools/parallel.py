"""Work on many files with all processors, in order and in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK: Final = 1_000
FEW: Final = 4 * CHUNK
"""Below this, starting processes costs more than they save."""


def in_chunks(
    work: Callable[[list[Item]], list[Result]], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield the results of `work`, called with up to `CHUNK` items at a time, in their order.

    `work` and what it is given must be picklable: with many items it is called in processes.
    """
    source = iter(items)
    first = list(islice(source, FEW))
    processors = len(os.sched_getaffinity(0))
    if len(first) < FEW or processors == 1:
        for chunk in _chunks(chain(first, source)):
            yield from work(chunk)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(processors, context) as pool:
        begun: deque[Future[list[Result]]] = deque()
        for chunk in _chunks(chain(first, source)):
            begun.append(pool.submit(work, chunk))
            if len(begun) > 2 * processors:
                yield from begun.popleft().result()
        while begun:
            yield from begun.popleft().result()


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, CHUNK)):
        yield chunk
