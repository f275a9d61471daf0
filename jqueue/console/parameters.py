"""Parameters of an opcode as a person reads them: those that every opcode has, in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from jqueue.console.times import ago, local, now
from jqueue.job import jsonio

LAST_HOPS: Final = 3
"""Of a reason trail the first hop says who wanted it, the last ones how it came here."""


def texts_of(name: str, value: Any) -> Iterator[str]:
    """Yield what there is to say of a parameter, a text a line; what doesn't fit comes as JSON."""
    say = _SAY.get(name)
    if say is not None:
        try:
            yield from list(say(value))
        except (TypeError, ValueError, AttributeError, OverflowError):
            pass
        else:
            return
    yield value if isinstance(value, str) else jsonio.dumps(value).decode()


def _reason(trail: Any) -> Iterator[str]:
    """A reason trail: where each hop came from, what it said, when."""
    hops = [(str(source), str(text), int(moment_ns)) for source, text, moment_ns in trail]
    for at, (source, text, moment_ns) in enumerate(hops):
        if at == 1 and len(hops) > 1 + LAST_HOPS:
            yield f"({len(hops) - 1 - LAST_HOPS} more, all with --json)"
        if at == 0 or at >= len(hops) - LAST_HOPS:
            moment = datetime.fromtimestamp(moment_ns / 10**9, UTC)
            yield f"{source}{': ' if text else ''}{text} ({ago(moment, now())})"


def _depends(targets: Any) -> Iterator[str]:
    """Dependencies: the job, and the ends of it that are wanted."""
    for job, statuses in targets:
        wanted = " or ".join(map(str, statuses)) or "any end but canceled"
        yield f"job {job}: {wanted}"


def _moment(seconds: Any) -> Iterator[str]:
    if seconds:
        moment = datetime.fromtimestamp(float(seconds), UTC)
        yield f"{local(moment)} ({ago(moment, now())})"


def _command(argv: Any) -> Iterator[str]:
    yield shlex.join(argv)


_SAY: Final = {"reason": _reason, "depends": _depends, "not_before": _moment, "argv": _command}
