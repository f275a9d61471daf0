"""The entries of a submission: checked and normalized before any lock is taken."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from jqueue.errors import InvalidJob, JQueueError
from jqueue.job.jsonio import check_parsed, check_storable
from jqueue.job.parameters import normalize_job
from jqueue.queue.protocol import AnyOp

MAX_NAME_CHARS = 500
"""A key or unique name is a key of the state, and stays in memory."""

Check = Callable[[Mapping[str, Any]], None]
"""Raises InvalidJob for the input of a known kind whose parameters don't fit it."""


class Entry(NamedTuple):
    """One job to be: the inputs of its opcodes, or why it is refused."""

    inputs: list[dict[str, Any]]
    depends: bool
    """Whether an opcode of it depends on other jobs."""
    refusal: JQueueError | None = None


class Prepared:
    """The entries of a submission, checked by whoever had the time for it."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries

    @cached_property
    def digest(self) -> str:
        """What tells whether two submissions have the same content."""
        return digest_of(self.entries)


def prepared_one(ops: list[Any], check: Check | None) -> Prepared:
    """One job out of a parsed request, checked; an error is found in its `refusal`."""
    return Prepared([_judged(ops, check, check_parsed)])


def prepared_many(jobs: list[Any], check: Check | None) -> Prepared:
    """The jobs out of a parsed request, checked."""
    return Prepared(prepare_many(jobs, check, check_parsed))


def prepare(
    ops: Iterable[AnyOp],
    check: Check | None = None,
    storable: Callable[[Any], Any] = check_storable,
) -> Entry:
    """The entry that these opcodes make.  Raises InvalidJob with the opcode's index."""
    inputs = normalize_job(ops, storable)
    depends = False
    for at, given in enumerate(inputs):
        if given.get("depends"):
            depends = True
        if check is not None:
            try:
                check(given)
            except InvalidJob as error:
                raise error.at(at) from error
    return Entry(inputs, depends)


def prepare_many(
    jobs: Iterable[Iterable[AnyOp]],
    check: Check | None = None,
    storable: Callable[[Any], Any] = check_storable,
) -> list[Entry]:
    """The entries of a submission; what is wrong with one is found in its `refusal`.

    An entry `{"refused": text}`, as a worker sends it, is one that was refused already.
    """
    if isinstance(jobs, Mapping | str | bytes) or not isinstance(jobs, Iterable):
        raise InvalidJob("a submission is a list of jobs, each a list of opcodes")
    entries = []
    for ops in jobs:
        if type(ops) is dict and isinstance(ops.get("refused"), str):
            entries.append(Entry([], False, InvalidJob(ops["refused"])))
        else:
            entries.append(_judged(ops, check, storable))
    return entries


def _judged(ops: Iterable[AnyOp], check: Check | None, storable: Callable[[Any], Any]) -> Entry:
    try:
        return prepare(ops, check, storable)
    except InvalidJob as refusal:
        return Entry([], False, refusal)


def digest_of(entries: Iterable[Entry]) -> str:
    """What tells whether two submissions have the same content: SHA-256 of canonical JSON."""
    content = [
        entry.inputs if entry.refusal is None else {"refused": str(entry.refusal)}
        for entry in entries
    ]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def check_name(name: Any, field: str) -> str | None:
    """The key or unique name, None if there is none.  Raises InvalidJob."""
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        wanted = f"a text of 1 to {MAX_NAME_CHARS} characters"
        raise InvalidJob(f"{field} must be {wanted}, not {name!r:.80}", field=field)
    return str(check_storable(name))
