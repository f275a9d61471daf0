"""Export for questions in SQL: a SQLite database.

    jobs      id, status, priority, archived, received, started, ended, retry_of, parent_job,
              parent_op, key, unique_name, lsn, document (the whole JSON)
    opcodes   job, op (0, 1, …), op_id, summary, status, priority, started, executed, ended,
              attempts, interruptions, input, result (JSON)
    logs      job, op, serial, time, type, message
    queue     one row: lsn, serial, drain, pause (JSON or NULL)
    unreadable   file, reason

Times are Unix seconds (`datetime(received, 'unixepoch')`).  The tables' columns are a contract.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from archive_tools.contents import Contents, Exported, Unreadable
from archive_tools.export_file import Manifest
from jqueue.errors import QueueFailed
from jqueue.job import jsonio
from jqueue.job.snapshot import Job, Op

SCHEMA: Final = """
CREATE TABLE queue (lsn INTEGER, serial INTEGER, drain TEXT, pause TEXT);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, status TEXT NOT NULL, priority INTEGER NOT NULL,
    archived INTEGER NOT NULL, received REAL, started REAL, ended REAL, retry_of INTEGER,
    parent_job INTEGER, parent_op INTEGER, key TEXT, unique_name TEXT, lsn INTEGER,
    document TEXT NOT NULL
);
CREATE TABLE opcodes (
    job INTEGER NOT NULL REFERENCES jobs, op INTEGER NOT NULL, op_id TEXT, summary TEXT,
    status TEXT NOT NULL, priority INTEGER NOT NULL, started REAL, executed REAL, ended REAL,
    attempts INTEGER, interruptions INTEGER, input TEXT, result TEXT, PRIMARY KEY (job, op)
) WITHOUT ROWID;
CREATE TABLE logs (
    job INTEGER NOT NULL, op INTEGER NOT NULL, serial INTEGER, time REAL, type TEXT, message TEXT
);
CREATE TABLE unreadable (file TEXT, reason TEXT);
"""
INDEXES: Final = """
CREATE INDEX jobs_by_status ON jobs (status);
CREATE INDEX opcodes_by_kind ON opcodes (op_id, status);
CREATE INDEX logs_by_job ON logs (job, op);
"""


def export_sqlite(contents: Contents, target: Path) -> Manifest:
    """Write the database `target`, which must not be there.  Raises QueueFailed if it is."""
    if os.path.lexists(target):
        raise QueueFailed(f"{target}: exists already; nothing was exported")
    manifest = Manifest()
    aside = target.with_name(f".{target.name}-{os.urandom(8).hex()}")
    try:
        with contextlib.closing(sqlite3.connect(aside)) as database:
            database.executescript(SCHEMA)
            state = contents.state
            flags = [_json(state.drain), _json(state.pause)]
            database.execute(
                "INSERT INTO queue VALUES (?,?,?,?)", (state.lsn, state.serial, *flags)
            )
            for item in contents.items:
                manifest.count(item)
                _insert(database, item)
            database.executescript(INDEXES)
            database.commit()
        aside.rename(target)
    except sqlite3.Error as error:
        raise QueueFailed(f"{target}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return manifest


def _insert(database: sqlite3.Connection, item: Exported | Unreadable) -> None:
    if isinstance(item, Unreadable):
        database.execute("INSERT INTO unreadable VALUES (?,?)", (item.file, item.reason))
        return
    job = Job(item.document, archived=item.archived)
    parent = job.submitter or {}
    row = (
        job.id,
        str(job.status),
        job.priority,
        int(job.archived),
        *map(_seconds, (job.received, job.started, job.ended)),
        job.retry_of,
        parent.get("job"),
        parent.get("op"),
        job.key,
        job.unique,
        job.lsn,
        _json(item.document),
    )
    database.execute(f"INSERT INTO jobs VALUES ({_marks(row)})", row)  # noqa: S608  # question marks
    for op in job.ops:
        values = _op_row(job.id, op)
        database.execute(f"INSERT INTO opcodes VALUES ({_marks(values)})", values)  # noqa: S608
        logged = [
            (job.id, op.index, serial, time[0] + time[1] / 1e6, kind, _text(message))
            for serial, time, kind, message in op.log
        ]
        database.executemany("INSERT INTO logs VALUES (?,?,?,?,?,?)", logged)


def _op_row(job: int, op: Op) -> tuple[Any, ...]:
    return (
        job,
        op.index,
        op.op_id,
        op.summary,
        str(op.status),
        op.priority,
        *map(_seconds, (op.started, op.executed, op.ended)),
        op.attempts,
        op.interruptions,
        _json(op.input),
        _json(op.result),
    )


def _marks(row: tuple[Any, ...]) -> str:
    return ",".join("?" * len(row))


def _seconds(moment: Any) -> float | None:
    return None if moment is None else moment.timestamp()


def _json(value: Any) -> str | None:
    return None if value is None else jsonio.dumps(value).decode()


def _text(message: Any) -> str:
    return message if isinstance(message, str) else jsonio.dumps(message).decode()
