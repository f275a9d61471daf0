"""The daemon's log, on stderr: a line a record, as text for people or as JSON for collectors.

Whoever logs what concerns a job passes `extra={"job": …, "op": …}` (or `Execution.named`): the text
says it in words, JSON as fields.  docs/logs.md is the contract, and a test holds it to this.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

from jqueue.job import jsonio

FORMATS: Final = ("text", "json")
LEVELS: Final = ("debug", "info", "warning", "error")
FIELDS: Final = ("job", "op", "kind", "pid")
"""What a record may say beside its message."""

_BREAKS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_PRIORITIES: Final = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
}
"""What journald understands at the beginning of a line: sd-daemon(3)."""


def configure(form: str, level: str) -> None:
    """Let this process log to stderr in this form; what is ours from this level on."""
    handler = logging.StreamHandler()
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter(for_journal=_is_journal(sys.stderr.fileno())))
    # Of the libraries below us nobody wants to read each lock that they take.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("jqueue").setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """Time, level, message; for journald, which has a time of its own, its priority instead."""

    def __init__(self, *, for_journal: bool = False) -> None:
        super().__init__()
        self._for_journal = for_journal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line; what could pass for another line is written out."""
        text = record.message.translate(_BREAKS)
        if self._for_journal:
            return f"{_PRIORITIES.get(record.levelno, '')}{text}"
        moment = datetime.fromtimestamp(record.created).astimezone()
        return f"{moment:%Y-%m-%d %H:%M:%S}.{int(record.msecs):03} {record.levelname} {text}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _valid(record.getMessage()),
        }
        for name in FIELDS:
            value = record.__dict__.get(name)
            if value is not None:
                said[name] = value
        if record.exc_info:
            said["exception"] = _valid(self.formatException(record.exc_info))
        return jsonio.dumps(said).decode()


def _valid(text: str) -> str:
    """The text, with what is no Unicode (a path's odd bytes) written out."""
    return text.encode(errors="backslashreplace").decode()


def _is_journal(fd: int) -> bool:
    """Whether a descriptor leads to journald, as $JOURNAL_STREAM says: systemd.exec(5)."""
    with contextlib.suppress(OSError):
        status = os.fstat(fd)
        return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False
