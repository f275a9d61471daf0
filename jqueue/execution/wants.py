"""What an opcode needs to start: its kind's unit, its locks, its places under rate limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jqueue.errors import InvalidJob
from jqueue.execution.units import Unit

_RATE_LIMIT = re.compile(r"rate-limit:([1-9][0-9]{0,8}):.*", re.ASCII | re.DOTALL)
"""In a reason: at most N opcodes at once under `N:label`; another N is another limit."""


def wanted(unit: Unit | None, op: Mapping[str, Any]) -> dict[str, str | int]:
    """Return the locks and places that an opcode needs.

    Raises InvalidJob if its parameters don't fit the unit, or if the unit's own rule fails on them.
    """
    wants: dict[str, str | int] = {}
    given = op["input"]
    if unit is not None and unit.locks is None:
        unit.check(given)
    elif unit is not None:
        parsed = unit.parse(given)
        try:
            wants.update(unit.wanted_locks(parsed))
        except InvalidJob:
            raise
        except Exception as error:
            raise InvalidJob(f"its locks can't be told: {type(error).__name__}: {error}") from error
    reasons = given.get("reason") if isinstance(given, dict) else None
    for entry in reasons or ():
        why = entry[1]
        if isinstance(why, str) and why.startswith("rate-limit:"):
            found = _RATE_LIMIT.fullmatch(why)
            if found is not None:
                wants[why] = int(found[1])
    return wants


def kind_of(op: Mapping[str, Any]) -> str:
    """Return the OP_ID of an opcode, or an empty text if it has none."""
    given = op["input"]
    kind = given.get("OP_ID") if isinstance(given, dict) else None
    return kind if isinstance(kind, str) else ""
