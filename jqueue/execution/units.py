"""Logical units: the functions that carry opcodes out, by OP_ID.

    @logical_unit(MigrateImage, locks=lambda op: {f"image/{op.image}": "exclusive"})
    def migrate_image(op: MigrateImage, context: Context) -> Any: ...

A unit says what its kind needs; what matters for recovery is written into the record of each start,
so that no later version of the code can change what a running opcode was promised.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from jqueue.errors import InvalidJob
from jqueue.execution.locks import EXCLUSIVE, SHARED
from jqueue.job.interruption import Interruption
from jqueue.job.opcode import OpCode

Function = TypeVar("Function", bound=Callable[..., Any])
Locks = Mapping[str, str] | Callable[[Any], Mapping[str, str]]

BUILTIN: Final = "jqueue.execution.builtin"
MAIN_ALIAS: Final = "__jqueue_main__"
"""The name under which a worker loads its owner's script, as `multiprocessing` does."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One kind of opcode and how it is carried out."""

    opcode: type[OpCode]
    function: Callable[..., Any]
    locks: Locks | None = None
    interruption: Interruption = Interruption.REQUEUE
    timeout_s: float | None = None
    retries: int = 0
    max_running: int | None = None

    def parse(self, op_input: Mapping[str, Any]) -> OpCode:
        """Return the typed opcode; raises `InvalidJob` naming the parameter that doesn't fit."""
        return self.opcode.from_input(op_input)

    def check(self, op_input: Mapping[str, Any]) -> None:
        """Raise as `parse`."""
        self.opcode.check_input(op_input)

    def wanted_locks(self, op: OpCode) -> dict[str, str]:
        """Return the locks that `op` needs, as `{name: "shared" or "exclusive"}`."""
        if self.locks is None:
            return {}
        wanted = dict(self.locks(op) if callable(self.locks) else self.locks)
        for name, mode in wanted.items():
            if not isinstance(name, str) or mode not in (SHARED, EXCLUSIVE):
                raise InvalidJob(f"lock {name!r:.80} can't have the mode {mode!r:.40}")
        return wanted


class Registry(dict[str, Unit]):
    """Units by OP_ID; its keys are the kinds that this process can carry out."""

    def add(self, unit: Unit) -> None:
        """Make the unit known; the same function again replaces it, another one is refused."""
        op_id = unit.opcode.OP_ID
        known = self.get(op_id)
        if known is not None and _place(known.function) != _place(unit.function):
            raise ValueError(
                f"{op_id} has the unit {known.function.__qualname__} already;"
                f" {unit.function.__qualname__} can't be another"
            )
        self[op_id] = unit

    def check(self, op_input: Mapping[str, Any]) -> None:
        """Raise `InvalidJob` if the kind is known and the parameters don't fit it."""
        unit = self.get(op_input["OP_ID"])
        if unit is not None:
            unit.check(op_input)


UNITS: Final = Registry()
"""The units of this process."""


def logical_unit(
    opcode: type[OpCode],
    *,
    locks: Locks | None = None,
    interruption: str = "requeue",
    timeout_s: float | None = None,
    retries: int = 0,
    max_running: int | None = None,
) -> Callable[[Function], Function]:
    """Declare the function that carries out opcodes of this class.

    `locks` are `{name: "shared" | "exclusive"}`, or a function of the opcode that returns them;
    `interruption` is "requeue", "fail" or "unknown"; `timeout_s` and `retries` are defaults that an
    opcode may override; `max_running` bounds how many of the kind run at once.
    """
    if not (isinstance(opcode, type) and issubclass(opcode, OpCode)):
        raise TypeError(f"a logical unit is for a subclass of OpCode, not {opcode!r:.80}")
    if max_running is not None and max_running < 1:
        raise ValueError(f"max_running must be at least 1, not {max_running}")
    if retries < 0:
        raise ValueError(f"retries can't be negative, as {retries} is")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s must be above 0, not {timeout_s}")

    def register(function: Function) -> Function:
        policy = Interruption(interruption)
        UNITS.add(Unit(opcode, function, locks, policy, timeout_s, retries, max_running))
        return function

    return register


class ResultWithJobs:
    """A unit's result that submits jobs, in one transaction with it.

    The opcode's result becomes `{"jobs": [[true, id] or [false, why], …], **others}`.  With
    `on_refusal="error"` one refused entry means no job at all and a failed opcode.
    """

    def __init__(self, jobs: Iterable[Any], on_refusal: str = "report", **others: Any) -> None:
        if on_refusal not in ("report", "error"):
            raise ValueError(f'on_refusal is "report" or "error", not {on_refusal!r:.40}')
        self.jobs = list(jobs)
        self.on_refusal = on_refusal
        self.others = others


def load(source: str) -> None:
    """Import the module of this name, or run the file of this path, for the units it declares.

    Raises ImportError, FileNotFoundError, or whatever the code itself raises.
    """
    if not source.endswith(".py") and os.sep not in source:
        importlib.import_module(source)
        return
    path = os.path.realpath(source)
    files = [getattr(known, "__file__", None) for known in list(sys.modules.values())]
    if path in [os.path.realpath(file) for file in files if file]:
        return
    name = f"{MAIN_ALIAS}{len([known for known in sys.modules if known.startswith(MAIN_ALIAS)])}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} can't be loaded as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def sources() -> list[str]:
    """Return what another process must `load` to know the same units.

    Raises ValueError for a unit that was declared where no other process can find it.
    """
    return sorted(set(_sources()))


def _sources() -> Iterator[str]:
    for op_id, unit in UNITS.items():
        name = unit.function.__module__
        if name == BUILTIN:
            continue
        if name != "__main__" and not name.startswith(MAIN_ALIAS):
            yield name
            continue
        module = sys.modules[name]
        spec = getattr(module, "__spec__", None)
        path = getattr(module, "__file__", None)
        if name == "__main__" and spec is not None:
            yield spec.name
        elif path is not None:
            yield os.path.realpath(path)
        else:
            raise ValueError(
                f"the unit of {op_id} was declared interactively, where worker processes can't find"
                ' it: put it in a file, or run with isolation="thread"'
            )


def _place(function: Callable[..., Any]) -> tuple[str, int]:
    code = getattr(function, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else (repr(function), 0)
