"""Work on many files with all processors, in order and in bounded memory.

What helps are new Python processes that import this module and nothing of the caller's: a call
works in any script, whether its main module can be imported or not, and in a program with threads.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK: Final = 1_000
SMALL_CHUNK: Final = 250
"""While there is no help, so that a few large files don't put it off."""
ALONE_S = 0.3
"""So long nobody helps: the work may be over before a new process has imported anything."""
COLLECTED_EVERY: Final = 50_000
"""New containers between two looks for cycles: jobs have none, and looking costs a tenth."""


def in_chunks(
    work: Callable[[list[Item]], list[Result]], items: Iterable[Item]
) -> Iterator[Result]:
    """Yield the results of `work`, called with up to `CHUNK` items at a time, in their order.

    If there is much to do it is called in other processes, which may be killed: it changes nothing,
    and `work`, what it is given and what it returns or raises can be pickled.
    """
    source = iter(items)
    processors = len(os.sched_getaffinity(0))
    end = time.monotonic() + ALONE_S
    while processors == 1 or time.monotonic() < end:
        chunk = list(islice(source, SMALL_CHUNK))
        if not chunk:
            return
        yield from work(chunk)
    first = list(islice(source, CHUNK))
    if first:
        with _Crew(work, processors) as crew:
            yield from crew.results(first, source)


class _Crew(Generic[Item, Result]):
    """Processes that help, and for each a thread that waits for it."""

    def __init__(self, work: Callable[[list[Item]], list[Result]], processors: int) -> None:
        self._work = work
        self._most = 2 * processors
        self._helpers = [_Helper() for _ in range(processors)]
        self._free: SimpleQueue[_Helper] = SimpleQueue()
        for helper in self._helpers:
            self._free.put(helper)
        self._threads = ThreadPoolExecutor(processors)
        self._over = False
        self._here = threading.Lock()

    def results(self, first: list[Item], source: Iterator[Item]) -> Iterator[Result]:
        begun: deque[Future[list[Result]]] = deque()
        chunk = first
        while chunk:
            begun.append(self._threads.submit(self._call, chunk))
            if len(begun) > self._most:
                yield from begun.popleft().result()
            chunk = list(islice(source, CHUNK))
        while begun:
            yield from begun.popleft().result()

    def _call(self, chunk: list[Item]) -> list[Result]:
        helper = self._free.get()
        try:
            outcome = helper.ask((self._work, chunk))
        finally:
            self._free.put(helper)
        if isinstance(outcome, _Gone):
            if self._over:
                return []
            # It could not be started, or was killed, for want of memory perhaps: done here.
            with self._here:
                return self._work(chunk)
        if isinstance(outcome, Exception):
            raise outcome
        found: list[Result] = outcome
        return found

    def __enter__(self) -> _Crew[Item, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for helper in self._helpers:
            helper.end()
        self._threads.shutdown(cancel_futures=True)


class _Gone(Exception):  # an answer, never raised
    """The helper is not there, or not any more."""


class _Helper:
    """A process that does one chunk at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        code = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as it; it.serve()"
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, this module
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # an interrupt from the terminal is for the caller alone
            )

    def ask(self, said: object) -> Any:
        """Return the answer, which may be an exception; `_Gone` if there is none."""
        if self._process is None:
            return _Gone()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(said, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)  # noqa: S301  # our own process
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return _Gone()

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            # What was not written yet goes nowhere.
            with contextlib.suppress(BrokenPipeError), self._process:
                pass


def serve() -> None:
    """Do what stdin says until it ends; answer on stdout."""
    gc.freeze()
    gc.set_threshold(COLLECTED_EVERY)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            work, chunk = pickle.load(source)  # noqa: S301  # the process that started this one
            try:
                outcome: Any = work(chunk)
            except Exception as error:  # noqa: BLE001  # raised by whoever asked
                outcome = error
            pickle.dump(outcome, target)
            target.flush()
