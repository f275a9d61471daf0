"""What a verb takes: the names and types of its arguments, from the method that serves it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from jqueue.errors import InvalidJob

_NAMES: Final = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    type(None): "null",
}


class Arguments:
    """The arguments of one verb.  JSON has exact types: `true` is no number here, `1` no flag."""

    def __init__(self, method: Callable[..., None]) -> None:
        hints = get_type_hints(method)
        parameters = [
            parameter
            for name, parameter in inspect.signature(method).parameters.items()
            if name not in ("self", "call")
        ]
        self.known = frozenset(parameter.name for parameter in parameters)
        self.required = frozenset(
            parameter.name for parameter in parameters if parameter.default is parameter.empty
        )
        self._types: dict[str, frozenset[type]] = {}
        self._items: dict[str, type] = {}
        for name in self.known:
            if hints[name] is not Any:
                self._learn(name, hints[name])

    def _learn(self, name: str, hint: Any) -> None:
        taken: set[type] = set()
        for choice in _choices(hint):
            taken.add(get_origin(choice) or choice)
            if get_origin(choice) is list and get_args(choice)[0] is not Any:
                self._items[name] = get_args(choice)[0]
        self._types[name] = frozenset(taken | {int} if float in taken else taken)

    def misnamed(self, given: Mapping[str, Any]) -> list[str]:
        """Return the names of those that are missing, or not known; most often none."""
        names = given.keys()
        if self.required <= names <= self.known:
            return []
        return sorted((names - self.known) | (self.required - names))

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise InvalidJob if one has another type than it may have."""
        for name, value in given.items():
            taken = self._types.get(name)
            if taken is not None and type(value) not in taken:
                raise InvalidJob(f"{name} must be {_named(taken)}, not {value!r:.80}", field=name)
            item = self._items.get(name)
            if item is not None and value is not None:
                for one in value:
                    if type(one) is not item:
                        text = f"{name} holds {_NAMES[item]}, not {one!r:.80}"
                        raise InvalidJob(text, field=name)


def _choices(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        yield from get_args(hint)
    else:
        yield hint


def _named(taken: frozenset[type]) -> str:
    shown = taken - {int} if float in taken else taken
    return " or ".join(sorted(_NAMES[one] for one in shown))
