"""Jobs in a report: a line each, folded below it all that may be told, redacted and bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from archive_tools.report_html import Html, element, table
from archive_tools.stats import iso
from jqueue.job.change import Document
from jqueue.job.failure import error_text
from jqueue.job.redaction import Redaction
from jqueue.job.status import JobStatus, calc_status
from jqueue.job.summary import op_summary

MAX_OPS: Final = 20
MAX_LOG_LINES: Final = 50
MAX_CHARS: Final = 8_000
MAX_LINE_CHARS: Final = 500
MAX_DETAILS_CHARS: Final = 4 << 20
"""Of all jobs together; beyond it they have only a line."""

_FACTS: Final = (
    "attempts", "interruptions", "interruption", "max_interruptions", "retries", "timeout_s",
    "parked", "retry_at", "priority", "livelock", "worker", "locks", "dependencies", "token",
)  # fmt: skip
_JOB_FACTS: Final = ("retry_of", "submitter", "unique", "livelock", "process_id", "lsn")


class JobTeller:
    """Tells about jobs, until enough is told."""

    def __init__(self, redaction: Redaction, *, logs: bool) -> None:
        self.redaction = redaction
        self.logs = logs
        self.left = MAX_DETAILS_CHARS
        self.cut = 0
        """Jobs without details, since there was too much already."""

    def tell(self, documents: Sequence[Document]) -> Html:
        """Return these jobs as a list, each to be unfolded."""
        return Html("".join(self._job(document) for document in documents))

    def _job(self, document: Document) -> Html:
        status = calc_status(document["ops"])
        names = ", ".join(self._name(op) for op in document["ops"][:MAX_OPS])
        why = next((op for op in document["ops"] if op["status"] == JobStatus.ERROR), None)
        said = "" if why is None else f": {self._short(error_text(why['result']))}"
        line = element("summary", f"{document['id']}  {status}  {names[:MAX_LINE_CHARS]}{said}")
        if self.left <= 0:
            self.cut += 1
            return element("p", Html(line.replace("summary", "span")))
        details = element("details", line, *self._details(document))
        self.left -= len(details)
        return details

    def _details(self, document: Document) -> Iterator[Html]:
        facts = [
            ("received", iso(document["received_timestamp"])),
            ("started", iso(document["start_timestamp"])),
            ("ended", iso(document["end_timestamp"])),
            *((name, document.get(name)) for name in _JOB_FACTS),
        ]
        yield self._facts(facts)
        for index, op in enumerate(document["ops"][:MAX_OPS]):
            yield element("h4", f"opcode {index}: {self._name(op)}: {op['status']}")
            times = [
                (name.removesuffix("_timestamp"), iso(op[name]))
                for name in ("start_timestamp", "exec_timestamp", "end_timestamp")
            ]
            yield self._facts([*times, *((name, op.get(name)) for name in _FACTS)])
            yield self._value("parameters", op["input"])
            if op["result"] is not None:
                yield self._value("result", op["result"])
            if self.logs:
                yield from self._log(op)
        if len(document["ops"]) > MAX_OPS:
            yield element("p", f"{len(document['ops']) - MAX_OPS} more opcodes", class_="note")

    def _name(self, op: Mapping[str, Any]) -> str:
        # Each name is shown twice, and told in full below: its secrets are counted there.
        return op_summary(op["input"], Redaction())

    def _short(self, text: str) -> str:
        return _cut(" ".join(self.redaction.text(_start_of(text)).split()), MAX_LINE_CHARS)

    def _facts(self, facts: Sequence[tuple[str, Any]]) -> Html:
        """Return facts as a table; names of locks and jobs are made of parameters."""
        said = [(name, _start_of(value)) for name, value in facts if value is not None]
        texts = [(name, v if isinstance(v, str) else json.dumps(v)) for name, v in said]
        return table((name, self.redaction.text(text)) for name, text in texts)

    def _value(self, name: str, value: Any) -> Html:
        text = json.dumps(self.redaction.value(_start_of(value)), indent=1, ensure_ascii=False)
        return element("div", f"{name}:", element("pre", _cut(text, MAX_CHARS)))

    def _log(self, op: Mapping[str, Any]) -> Iterator[Html]:
        entries = list(op["log"])[-MAX_LOG_LINES:]
        if not entries:
            return
        left_out = len(op["log"]) - len(entries)
        lines = [f"{iso(moment)} {_message(message)}" for _, moment, _, message in entries]
        # As one text: a key may be spread over many lines.
        text = self.redaction.text("\n".join(lines))
        before = f"log, without the first {left_out} entries:" if left_out else "log:"
        yield element("div", before, element("pre", _cut(text, MAX_CHARS)))


def _message(message: Any) -> str:
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return str(_start_of(text))


def _start_of(value: Any) -> Any:
    """Return the value with long texts cut, between words: half a secret is not recognised."""
    if isinstance(value, dict):
        return {_start_of(name): _start_of(found) for name, found in value.items()}
    if isinstance(value, list):
        return [_start_of(found) for found in value]
    if isinstance(value, str) and len(value) > MAX_CHARS:
        start = value[:MAX_CHARS].rsplit(maxsplit=1)[0]
        return f"{start} … ({len(value) - len(start):,} characters more)"
    return value


def _cut(text: str, at_most: int) -> str:
    if len(text) <= at_most:
        return text
    return f"{text[:at_most]}… ({len(text) - at_most:,} characters more)"
