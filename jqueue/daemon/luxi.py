"""Requests and answers on the socket: LUXI's, with our own verbs beside Ganeti's methods.

    request   {"method": "SubmitJob", "args": [...]}         Ganeti's: CamelCase, a list
              {"method": "submit", "args": {"ops": [...]}}   ours: named arguments
    answer    {"success": true, "result": X}
              {"success": false, "result": ["InvalidJob", ["text"], {"index": 0}]}

An error of our verbs has Ganeti's two members and a third, its facts; to one of Ganeti's methods it
is a class that Ganeti's clients know.  A request that can't be understood is answered with a text,
and the connection closed, as luxid does.  Answers to Ganeti's methods are ASCII.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from jqueue import errors
from jqueue.errors import InvalidJob, JQueueError, TooLarge
from jqueue.execution.wire import END, Frame, frame
from jqueue.job import jsonio
from jqueue.job.jsontext import has_more_values
from jqueue.job.snapshot import Job

MAX_DEPTH: Final = jsonio.MAX_DEPTH + 10
"""A request holds jobs some levels down."""
MAX_VALUES: Final = 1 << 20
"""Values and keys of one request: 100,000 small jobs.  The interpreter is held while they are made,
which takes as long as for the largest text: 0.1 to 0.3 s."""
_NAMED_BYTES: Final = 4096
_GANETI: Final = re.compile(rb'"args"\s*:\s*\[')
"""What tells Ganeti's methods from ours in what is not parsed."""


class Request(NamedTuple):
    """One request as it came."""

    method: str
    args: Any
    key: Any = None
    """A submission's, so that it isn't made twice: for Ganeti's methods, beside their arguments."""


def parse_request(text: Frame) -> Request:
    """Return the request that a frame holds; raises InvalidJob, or TooLarge before it is parsed."""
    if len(text) > MAX_VALUES and has_more_values(text, MAX_VALUES):
        raise TooLarge(
            f"a request of {len(text)} bytes has more than {MAX_VALUES} values and keys, which"
            " would hold up others; nothing was changed; send it in parts",
            size_bytes=len(text),
        )
    value = jsonio.loads_strict(text, max_depth=MAX_DEPTH)
    if not isinstance(value, dict):
        raise InvalidJob("a request is an object with method and args")
    method, args = value.get("method"), value.get("args", [])
    if not isinstance(method, str) or not isinstance(args, list | dict):
        raise InvalidJob("a request is an object with method and args")
    return Request(method, args, value.get("key"))


def success(result: Any) -> dict[str, Any]:
    """Return the answer that is a result."""
    return {"success": True, "result": result}


def failure(error: BaseException) -> dict[str, Any]:
    """Return the answer that is an error of ours, with its facts."""
    kind = type(error).__name__ if isinstance(error, JQueueError) else "QueueFailed"
    text = str(error.args[0]) if error.args else str(error)
    facts = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return {"success": False, "result": [kind, [text], facts]}


def ganeti_failure(error: BaseException) -> dict[str, Any]:
    """Return the answer that is an error as Ganeti's clients know it."""
    text = str(error)
    arguments = [text, "wrong_input"] if isinstance(error, InvalidJob) else [text]
    return {"success": False, "result": [_ganeti_class(error), arguments]}


def refusal(text: Frame, error: TooLarge) -> bytes:
    """Return the answer to a request that is not parsed, in the encoding of whom it is from."""
    if _GANETI.search(text, 0, _NAMED_BYTES):
        return ascii_frame(ganeti_failure(error))
    return frame(failure(error))


def _ganeti_class(error: BaseException) -> str:
    for kind, name in _GANETI_CLASSES:
        if isinstance(error, kind):
            return name
    return "GenericError"


_GANETI_CLASSES: Final[tuple[tuple[type[JQueueError], str], ...]] = (
    (errors.InvalidJob, "OpPrereqError"),
    (errors.InvalidQuery, "ParameterError"),
    (errors.JobNotFound, "JobLost"),
    (errors.QueueDrained, "GenericError"),
    (errors.QueueFull, "JobQueueFull"),
    (JQueueError, "JobQueueError"),
)


def ascii_json(value: Any) -> bytes:
    """Return JSON without a byte beyond ASCII."""
    data = jsonio.dumps(value)
    if data.isascii():
        return data
    text = json.dumps(jsonio.loads(data), ensure_ascii=True, separators=(",", ":"))
    return text.encode("ascii")


def ascii_frame(message: Any) -> bytes:
    """Return a message to a client of Ganeti's as it goes over the socket."""
    return ascii_json(message) + END


def job_to_wire(job: Job) -> dict[str, Any]:
    """Return a job as it goes over the socket."""
    return {"document": job.to_dict(), "archived": job.archived}


def parse_error(text: str) -> dict[str, Any]:
    """Return the answer to what can't be understood."""
    return {"success": False, "result": f"Failed to parse request: {text}"}


def unwrap(answer: Any) -> Any:
    """Return the result that an answer holds, or raise the error that it is."""
    if not isinstance(answer, dict) or "success" not in answer:
        raise errors.QueueFailed("the queue's owner answered what can't be understood")
    result = answer.get("result")
    if answer["success"]:
        return result
    raise to_error(result)


def to_error(result: Any) -> JQueueError:
    """Return the error that a failed answer tells of."""
    if not isinstance(result, list) or len(result) < 2:  # noqa: PLR2004 - class and arguments
        return errors.QueueFailed(str(result))
    name, arguments = result[0], result[1]
    facts = result[2] if len(result) > 2 and isinstance(result[2], dict) else {}  # noqa: PLR2004
    kind = getattr(errors, str(name), errors.QueueFailed)
    if not (isinstance(kind, type) and issubclass(kind, JQueueError)):
        kind = errors.QueueFailed
    text = str(arguments[0]) if isinstance(arguments, list) and arguments else str(name)
    error = kind.__new__(kind)
    error.args = (text,)
    error.__dict__.update({"path": None, **facts})
    return error


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | dict | list)


__all__ = [
    "END",
    "MAX_DEPTH",
    "Request",
    "ascii_frame",
    "ascii_json",
    "failure",
    "frame",
    "ganeti_failure",
    "job_to_wire",
    "parse_error",
    "parse_request",
    "refusal",
    "success",
    "to_error",
    "unwrap",
]
