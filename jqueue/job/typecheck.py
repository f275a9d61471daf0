"""Whether a JSON value fits a type annotation."""

import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import chain
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jqueue.errors import InvalidJob

_SCALARS = (str, int, float, bool, type(None))
_LISTS = (list, Sequence, Iterable)
_OBJECTS = (dict, Mapping)


class _Misfit(Exception):
    """The value doesn't fit; `args` are the place inside it, and what was wanted there."""


def convert(value: Any, hint: Any, op_id: str, name: str) -> Any:
    """`value` as the annotation `hint` wants it: an int becomes a float, a list a tuple.

    Raises InvalidJob, with the parameter `name` as its field, if it doesn't fit.
    """
    try:
        return _fit(value, hint)
    except _Misfit as misfit:
        place, wanted = misfit.args
        message = f"{op_id}: {name}{place} must be {wanted}, not {value!r:.80}"
        raise InvalidJob(message, field=name) from None


def fitting_types(hint: Any) -> frozenset[type]:
    """Types whose values all fit the annotation as they are; others may fit, too."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Union or origin is types.UnionType:
        return frozenset(chain.from_iterable(map(fitting_types, args)))
    return frozenset(scalar for scalar in _SCALARS if scalar is hint)


def _fit(value: Any, hint: Any) -> Any:
    if hint is Any or hint is object:
        return value
    hint = getattr(hint, "__supertype__", hint)  # a NewType is what it is made of
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fit(value, args[0])
    if origin is Union or origin is types.UnionType:
        return _fit_union(value, args)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in args):
            return value
        raise _Misfit("", "one of " + ", ".join(map(repr, args)))
    made = origin or hint
    if made is tuple:
        return _fit_tuple(value, args)
    if made in _LISTS:
        _require(isinstance(value, list | tuple), "a list")
        of = args[0] if args else Any
        return [_fit_inside(item, of, f"[{at}]") for at, item in enumerate(value)]
    if made in _OBJECTS:
        _require(isinstance(value, Mapping), "an object")
        of = args[1] if args else Any
        return {key: _fit_inside(item, of, f".{key}") for key, item in value.items()}
    return _fit_plain(value, hint)


def _fit_plain(value: Any, hint: Any) -> Any:
    if hint is None or hint is type(None):
        _require(value is None, "null")
        return None
    if hint is float:
        _require(isinstance(value, int | float) and not isinstance(value, bool), "a number")
        return float(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            wanted = "one of " + ", ".join(repr(member.value) for member in hint)
            raise _Misfit("", wanted) from None
    if hint is int:
        _require(isinstance(value, int) and not isinstance(value, bool), "an integer")
        return value
    if not isinstance(hint, type):
        return value  # an annotation that we can't judge
    _require(isinstance(value, hint), _PLAIN_NAMES.get(hint, f"a {hint.__name__}"))
    return value


_PLAIN_NAMES = {str: "text", bool: "true or false"}


def _fit_union(value: Any, choices: tuple[Any, ...]) -> Any:
    wanted = []
    # A choice that leaves the value as it is comes before one that converts it: 1 fits
    # `float | int` as an int.
    if type(value) in choices:
        return value
    for choice in choices:
        try:
            return _fit(value, choice)
        except _Misfit as misfit:
            place, what = misfit.args
            wanted.append(f"{what} at {place}" if place else what)
    raise _Misfit("", " or ".join(wanted))


def _fit_tuple(value: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    _require(isinstance(value, list | tuple), "a list")
    if not args:
        return tuple(value)
    if args[-1] is Ellipsis:
        args = (args[0],) * len(value)
    _require(len(value) == len(args), f"a list of {len(args)}")
    pairs = enumerate(zip(value, args, strict=True))
    return tuple(_fit_inside(item, of, f"[{at}]") for at, (item, of) in pairs)


def _fit_inside(value: Any, hint: Any, place: str) -> Any:
    try:
        return _fit(value, hint)
    except _Misfit as misfit:
        inner, wanted = misfit.args
        raise _Misfit(place + inner, wanted) from None


def _require(fits: bool, wanted: str) -> None:
    if not fits:
        raise _Misfit("", wanted)
