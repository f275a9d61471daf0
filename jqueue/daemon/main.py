"""The daemon in the foreground: own a queue, serve its socket, run its jobs, until told to stop."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Final

from jqueue.daemon.config import NAME as CONFIG
from jqueue.daemon.config import Config
from jqueue.daemon.config import read as read_config
from jqueue.daemon.jobqueue import JobQueue
from jqueue.daemon.notify import Notifier
from jqueue.daemon.owner import Isolation, Owner
from jqueue.daemon.starting import ended_when_told, stopping_signals
from jqueue.errors import JQueueError, OutcomeUnknown, QueueFailed
from jqueue.execution.executions import Options
from jqueue.execution.units import load

_log = logging.getLogger(__name__)

LOCK_TIMEOUT_S: Final = 10.0
"""A starting daemon waits so long for whoever owns the queue for a moment."""
SWITCH_S: Final = 0.0005
"""The loop gets the interpreter back from a reader after so long.  Beside a Query of 20,000 jobs
the slowest commits of a busy machine took 109 ms, with Python's own 5 ms they took 292."""
COLLECTED: Final = (20_000, 20, 50)
"""When cycles are looked for.  A look at all memory holds everybody up, 40 to 240 ms with 10,000 to
100,000 jobs in it.  Jobs hold no cycles, so it comes after 20 million more containers, forty times
what the largest request holds; with Python's own numbers a batch of 10,000 jobs meets two."""


@ended_when_told()
def serve(
    path: str,
    *,
    sources: Iterable[str] = (),
    config: Config | None = None,
    options: Options | None = None,
    isolation: Isolation = "process",
    until_idle: bool = False,
    ready: Callable[[JobQueue], None] = lambda _queue: None,
) -> None:
    """Own the queue at `path` and run it in the foreground; returns after an orderly stop.

    `config` is what `config.toml` says, if it is None; `options` what that makes of workers.
    SIGTERM, or SIGHUP: start nothing, wait for what runs up to `stop_limit_s`, leave the rest to
    the next daemon; a second one, or one before it is up: at once.  SIGINT: end the workers; what
    ran is queued again.  After a failure of the disk the queue is opened anew, as often as that
    works; `ready` is called each time that it is open and listens.  A service manager is told of
    all this (see `notify`).

    Raises what `JobQueue.open` raises, ImportError and whatever else the sources raise.
    """
    config = config or read_config(path)
    _load_configured(path, config)
    for source in sources:
        load(source)
    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*COLLECTED)
    notifier = Notifier.take(os.environ)
    try:
        while True:
            with JobQueue.open(
                path,
                durability="process" if config.durability == "process" else "full",
                files="behind" if config.files == "behind" else "now",
                lock_timeout_s=LOCK_TIMEOUT_S,
            ) as queue:
                _configure(queue, config)
                owner = queue.prepare(options or config.options(), isolation, until_idle=until_idle)
                # `run` ends when all is done: who ran it wants to see what became of it.
                owner.archive_after_s = 0 if until_idle else config.archive_after_s
                owner.metrics_port = config.metrics_port
                _notify(notifier, owner)
                if threading.current_thread() is threading.main_thread():
                    handle_signals(owner, config.stop_limit_s)
                ready(queue)
                if _run(queue, owner):
                    return
            notifier.say("the disk has failed; opening the queue anew")
    finally:
        notifier.close()


def _run(queue: JobQueue, owner: Owner) -> bool:
    """Run until an orderly stop; false if the disk failed, and the queue must be opened anew."""
    try:
        queue.run_prepared(owner)
    except OutcomeUnknown as error:
        _log.error("%s; opening it anew", error)
        return False
    return True


def _configure(queue: JobQueue, config: Config) -> None:
    """Give the queue the operator's numbers, before it runs."""
    queue.max_live_jobs = config.max_live_jobs
    queue.aging_s = config.aging_s
    queue.keep(
        reserve_bytes=config.reserve_bytes,
        history_s=config.journal_retention_s,
        history_bytes=config.journal_retention_bytes,
    )


def _notify(notifier: Notifier, owner: Owner) -> None:
    """Let the service manager know of the owner's start and stop, and that it lives."""

    def started() -> None:
        notifier.ready(owner.summary())
        notifier.watch(owner.reactor, owner.summary)

    owner.started = started
    owner.stopping = lambda limit_s: notifier.stopping(owner.summary(), limit_s)


def _load_configured(queue: str, config: Config) -> None:
    """Load what `config.toml` names; files are found from the queue's directory."""
    for source in config.load:
        is_file = source.endswith(".py") or os.sep in source
        try:
            load(os.path.join(queue, source) if is_file else source)
        except Exception as error:
            # Whatever the user's code raises, it is the user's to mend.
            text = f"{os.path.join(queue, CONFIG)}: {source} can't be loaded"
            raise QueueFailed(f"{text}: {type(error).__name__}: {error}", path=queue) from error


def handle_signals(owner: Owner, stop_limit_s: float) -> None:
    """Let SIGTERM (SIGHUP too: its terminal is gone) and SIGINT stop the owner, in two ways."""

    def terminate() -> None:
        if owner.runner.crew.stopping:
            _log.info("stopping at once; what runs is left to the next daemon")
            owner.stop_now()
        else:
            _log.info("stopping: nothing more starts, what runs has %g s", stop_limit_s)
            owner.stop(stop_limit_s)

    def interrupt() -> None:
        _log.info("stopping: workers are ended, what ran is queued again")
        owner.end_workers()

    for signum in stopping_signals():
        owner.reactor.on_signal(signum, terminate)
    owner.reactor.on_signal(signal.SIGINT, interrupt)


def _raise_descriptor_limit() -> None:
    """Take as many descriptors as may be had: a connection needs one, a job none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_daemon(path: str, **settings: object) -> int:
    """Serve, and return an exit status: 0, or 1 with one line on stderr."""
    try:
        serve(path, **settings)  # type: ignore[arg-type]  # the caller's own names
    except (JQueueError, ImportError, OSError) as error:
        sys.stderr.write(f"jqueue: {error}\n")
        return 1
    return 0
