"""Arguments as a person sees them: without what looks like a secret, unless that is asked for.

What a program reads (`--json`, `--csv`) is whole.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import click

from jqueue.job.redaction import Redaction
from jqueue.job.snapshot import Job, Op
from jqueue.job.summary import op_summary

SHOW_SECRETS = "JQUEUE_SHOW_SECRETS"
"""In the environment, so that the processes that help a command know it, too."""


def shown_summary(op: Op) -> str:
    """One line about an opcode."""
    return op_summary(op.input, _redaction())


def shown_summaries(job: Job) -> str:
    """One line about each of a job's opcodes."""
    return summaries_of(job.document["ops"])


def summaries_of(ops: Iterable[Mapping[str, Any]]) -> str:
    """One line about each of these raw opcodes."""
    redaction = _redaction()
    return ", ".join(op_summary(op.get("input"), redaction) for op in ops)


def shown_argument(value: Any, name: str = "") -> Any:
    """The value of an opcode's parameter."""
    redaction = _redaction()
    return value if redaction is None else redaction.value(value, name)


def _redaction() -> Redaction | None:
    return None if os.environ.get(SHOW_SECRETS, "") not in ("", "0") else Redaction()


def show_secrets_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command show arguments as they are."""
    return click.option(
        "--show-secrets",
        is_flag=True,
        expose_value=False,
        callback=_on_option,
        help="Show arguments that look like secrets, too.",
    )(function)


def _on_option(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and SHOW_SECRETS not in os.environ:
        os.environ[SHOW_SECRETS] = "1"
        context.call_on_close(partial(os.environ.pop, SHOW_SECRETS, None))
