"""`config.toml` in the queue's directory: the operator's settings, each checked, none guessed at.

What a command line says has the first word; what neither says has the default here.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from jqueue.daemon import logs
from jqueue.errors import QueueFailed
from jqueue.execution.executions import Options
from jqueue.execution.scheduler import AGE_S
from jqueue.queue.submission import MAX_LIVE_JOBS
from jqueue.store.checkpoint import HISTORY_BYTES, HISTORY_S
from jqueue.store.journal import RESERVE_BYTES

NAME: Final = "config.toml"
MAX_BYTES: Final = 1 << 20
"""A longer file is no list of settings."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings and their defaults; README.md has them as a table."""

    workers: int = 2
    max_running_jobs: int | None = None
    kill_grace_s: float = 5.0
    silence_s: float = 60.0
    load_limit_s: float = 60.0
    orphan_timeout_s: float = 3600.0
    stop_limit_s: float = 60.0
    load: tuple[str, ...] = ()
    durability: str = "full"
    files: str = "now"
    archive_after_s: float = 86_400.0
    max_live_jobs: int = MAX_LIVE_JOBS
    aging_s: float = AGE_S
    reserve_bytes: int = RESERVE_BYTES
    journal_retention_s: float = HISTORY_S
    journal_retention_bytes: int = HISTORY_BYTES
    metrics_port: int | None = None
    log_format: str = "text"
    log_level: str = "info"

    def options(self) -> Options:
        """Return what the runner needs."""
        return Options(
            workers=self.workers,
            max_running_jobs=self.max_running_jobs,
            kill_grace_s=self.kill_grace_s,
            silence_s=self.silence_s,
            load_limit_s=self.load_limit_s,
            orphan_timeout_s=self.orphan_timeout_s,
        )


def read(queue: str | os.PathLike[str]) -> Config:
    """Return the settings of a queue; the defaults where there is no file (or no queue yet).

    Raises QueueFailed, naming file, key and what was expected, for anything that isn't a setting.
    """
    path = os.path.join(os.fspath(queue), NAME)
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    if len(text) > MAX_BYTES:
        raise _refusal(path, f"longer than {MAX_BYTES} bytes")
    try:
        given = tomllib.loads(text.decode())
    except ValueError as error:
        raise _refusal(path, str(error)) from error
    return parse(given, path)


def parse(given: dict[str, Any], path: str) -> Config:
    """Return the settings that a parsed file means.  Raises QueueFailed."""
    known = {field.name for field in fields(Config)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"; is {near[0]} meant?" if near else f"; known are {', '.join(sorted(known))}"
            raise _refusal(path, f"unknown setting {key!r:.80}{meant}")
        expected, fits = _CHECKS[key]
        if not fits(value):
            raise _refusal(path, f"{key} must be {expected}, not {value!r:.80}")
        values[key] = tuple(value) if isinstance(value, list) else value
    return Config(**values)


def _refusal(path: str, why: str) -> QueueFailed:
    return QueueFailed(f"{path}: {why}; nothing was started", path=path)


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0


MAX_COUNT: Final = 10_000
MAX_PORT: Final = 65_535
MAX_JOBS: Final = 100_000_000
MIN_RESERVE_BYTES: Final = 1 << 20
"""It pays for a checkpoint and for the records that end what runs."""
MAX_RESERVE_BYTES: Final = 1 << 30


def _is_count(least: int, most: int = MAX_COUNT) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _one_of(*names: str) -> tuple[str, Callable[[Any], bool]]:
    return " or ".join(f'"{name}"' for name in names), lambda value: value in names


_SECONDS: Final = ("a number of seconds, 0 or more", _is_seconds)
_CHECKS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "workers": (f"an integer from 0 to {MAX_COUNT}", _is_count(0)),
    "max_running_jobs": (f"an integer from 1 to {MAX_COUNT}", _is_count(1)),
    "kill_grace_s": _SECONDS,
    "silence_s": _SECONDS,
    "load_limit_s": _SECONDS,
    "orphan_timeout_s": _SECONDS,
    "stop_limit_s": _SECONDS,
    "load": (
        "a list of modules and files",
        lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    ),
    "durability": _one_of("full", "process"),
    "archive_after_s": (
        "a number of seconds, or false",
        lambda value: value is False or _is_seconds(value),
    ),
    "max_live_jobs": (f"an integer from 1 to {MAX_JOBS}", _is_count(1, MAX_JOBS)),
    "aging_s": ("a number of seconds, more than 0", lambda value: _is_seconds(value) and value > 0),
    "reserve_bytes": (
        f"an integer from {MIN_RESERVE_BYTES} to {MAX_RESERVE_BYTES}",
        _is_count(MIN_RESERVE_BYTES, MAX_RESERVE_BYTES),
    ),
    "journal_retention_s": _SECONDS,
    "journal_retention_bytes": ("a number of bytes, 0 or more", _is_count(0, 1 << 50)),
    "metrics_port": (f"an integer from 1 to {MAX_PORT}", _is_count(1, MAX_PORT)),
    "files": _one_of("now", "behind"),
    "log_format": _one_of(*logs.FORMATS),
    "log_level": _one_of(*logs.LEVELS),
}
assert _CHECKS.keys() == asdict(Config()).keys()
