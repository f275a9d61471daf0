"""Filters: Ganeti's list form, compiled to a predicate over a job's document.

    ["&", F, …]  ["|", F, …]  ["!", F]     ["?", FIELD]                    true, set, not empty
    ["=", FIELD, VALUE] or "==", "!="      ["<", FIELD, VALUE], ">", "<=", ">="
    ["=~", FIELD, PATTERN]                 RE2, found anywhere
    ["=[]", FIELD, VALUE]                  the list contains the value

Of a field that is a list (`summary`, `opstatus`, `opend` …) a comparison holds if it does for any
element; `!=` is the opposite of `==`.  What is not set compares with nothing.  Times are compared
with what `moments` understands.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from jqueue.errors import InvalidQuery, MalformedQuery
from jqueue.job.ids import MAX_JOB_ID
from jqueue.job.query.fields import ALL, Field, field_named
from jqueue.job.query.moments import moment_us
from jqueue.job.query.pattern import compile_pattern

if TYPE_CHECKING:
    # The changes cost more to define than all else here.
    from jqueue.job.change import Document

MAX_DEPTH: Final = 32
MAX_TERMS: Final = 1000
"""Comparisons made for each job; equalities on one field that are or-ed are one."""
MAX_PATTERNS: Final = 16

Predicate: TypeAlias = "Callable[[Document, bool], bool]"
_Test = Callable[[Any], bool]


class Filter(NamedTuple):
    """A compiled filter."""

    matches: Predicate
    """Whether a job is meant, by its document and whether it is archived."""
    ids: tuple[int, ...] | None
    """The IDs that are asked for if the filter is only a choice of IDs, else None."""
    fields: frozenset[str]
    """The names of the fields that it looks at."""
    form: Any = None
    """The list form that it was made of."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the form: whoever gets it compiles it anew."""
        return compile_filter, (self.form,)

    @property
    def names_archived(self) -> bool:
        """Whether it asks for archived jobs, by naming the field."""
        return "archived" in self.fields


def compile_filter(
    form: Any, *, fields: Mapping[str, Field] = ALL, now: datetime | None = None
) -> Filter:
    """Return the filter that the list form means; None matches every job.

    `now` is what ages (`"2h ago"`) count from.  Raises InvalidQuery for an unknown field and a
    value that the field can't have, MalformedQuery for what isn't a filter at all.
    """
    if form is None:
        return Filter(lambda _job, _archived: True, None, frozenset())
    compiler = _Compiler(fields, now)
    matches = compiler.compile(form, 1)
    return Filter(matches, _exact_ids(form), frozenset(compiler.names), form)


class _Compiler:
    """One filter in the making, and what it has cost so far."""

    def __init__(self, fields: Mapping[str, Field], now: datetime | None) -> None:
        self.names: set[str] = set()
        self._fields = fields
        self._now = now
        self._terms = 0
        self._patterns = 0

    def compile(self, form: Any, depth: int) -> Predicate:
        if depth > MAX_DEPTH:
            raise MalformedQuery(f"a filter is nested at most {MAX_DEPTH} deep")
        name, arguments = _parts(form)
        if name == "&":
            return _all([self.compile(part, depth + 1) for part in arguments])
        if name == "|":
            return self._any(arguments, depth)
        if name == "!":
            [part] = arguments
            inner = self.compile(part, depth + 1)
            return lambda job, archived: not inner(job, archived)
        self._count_term()
        field = self._field(arguments[0])
        get, test = field.get, self._test(name, field, arguments[1:])
        return lambda job, archived: test(get(job, archived))

    def _any(self, parts: list[Any], depth: int) -> Predicate:
        choices: dict[str, set[Any]] = {}
        others = []
        for part in parts:
            name, arguments = _parts(part)
            if name in _EQUAL and _is_scalar(self._fields.get(arguments[0])):
                field = self._field(arguments[0])
                choices.setdefault(field.name, set()).add(self._literal(field, arguments[1]))
            else:
                others.append(self.compile(part, depth + 1))
        for field_name, values in choices.items():
            self._count_term()
            others.append(_is_one_of(self._fields[field_name].get, frozenset(values)))
        if len(others) == 1:
            return others[0]
        return lambda job, archived: any(matches(job, archived) for matches in others)

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise InvalidQuery(f"a filter has at most {MAX_TERMS} comparisons")

    def _field(self, name: str) -> Field:
        self.names.add(name)
        return field_named(name, self._fields)

    def _test(self, name: str, field: Field, arguments: list[Any]) -> _Test:
        """Return the test of a field's value that one comparison is."""
        if name == "?":
            return _is_true
        value = arguments[0]
        if name == "=~":
            return self._pattern(field, value)
        if name == "=[]":
            if field.kind != "other" or field.is_time:
                raise InvalidQuery(f"{field.name} is no list: =[] needs one", field=field.name)
            _check_scalar(field, value)
            return lambda found: (
                isinstance(found, list) and any(_same(part, value) for part in found)
            )
        literal = self._literal(field, value)
        if name in _EQUAL:
            return _equals(field, literal)
        if name == "!=":
            equal = _equals(field, literal)
            return lambda found: not equal(found)
        return _ordered(field, _ORDER[name], literal)

    def _pattern(self, field: Field, pattern: Any) -> _Test:
        if field.kind in ("number", "bool") or field.is_time:
            raise InvalidQuery(f"{field.name} is no text: =~ needs one", field=field.name)
        if not isinstance(pattern, str):
            raise MalformedQuery("a pattern is text")
        self._patterns += 1
        if self._patterns > MAX_PATTERNS:
            raise InvalidQuery(f"a filter has at most {MAX_PATTERNS} patterns")
        search = compile_pattern(pattern)
        return lambda found: any(search(text) is not None for text in _texts(found))

    def _literal(self, field: Field, value: Any) -> Any:
        """Return what a field is compared with.  Raises InvalidQuery if it can't be."""
        if field.is_time:
            return moment_us(value, self._now)
        _check_scalar(field, value)
        wanted = _KINDS.get(field.kind)
        if wanted is not None and (
            not isinstance(value, wanted) or (field.kind == "number" and isinstance(value, bool))
        ):
            article = "true or false" if field.kind == "bool" else f"a {field.kind}"
            raise InvalidQuery(
                f"{field.name} is {article}, it can't be compared with {value!r:.80}",
                field=field.name,
            )
        return value


_EQUAL: Final = frozenset({"=", "=="})
_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_BINARY: Final = frozenset({*_EQUAL, *_ORDER, "!=", "=~", "=[]"})
_KINDS: Final[Mapping[str, Any]] = {"number": int | float, "text": str, "bool": bool}


def _parts(form: Any) -> tuple[str, list[Any]]:
    """Return operator and arguments of a filter, of the right number.  Raises MalformedQuery."""
    if not isinstance(form, list) or not form or not isinstance(form[0], str):
        raise MalformedQuery(f"a filter is a list that begins with an operator, not {form!r:.80}")
    name, arguments = form[0], form[1:]
    if name in ("&", "|"):
        return name, arguments
    if name == "!":
        right = len(arguments) == 1
    elif name == "?":
        right = len(arguments) == 1 and isinstance(arguments[0], str)
    elif name in _BINARY:
        right = len(arguments) == 2 and isinstance(arguments[0], str)  # noqa: PLR2004 - binary
    else:
        raise MalformedQuery(f"unknown operator {name!r:.80}")
    if not right:
        raise MalformedQuery(f"wrong arguments of the operator {name!r}")
    return name, arguments


def _exact_ids(form: Any) -> tuple[int, ...] | None:
    """Return the IDs that a filter chooses among if it does nothing else; it compiled before."""
    if form[0] in _EQUAL:
        value = form[2]
        exact = form[1] == "id" and type(value) is int and 0 <= value <= MAX_JOB_ID
        return (value,) if exact else None
    if form[0] != "|":
        return None
    found: list[int] = []
    for part in form[1:]:
        ids = _exact_ids(part)
        if ids is None:
            return None
        found.extend(ids)
    return tuple(dict.fromkeys(found))


def _is_scalar(field: Field | None) -> bool:
    return field is not None and field.kind in ("number", "text")


def _is_one_of(get: Callable[[Document, bool], Any], values: frozenset[Any]) -> Predicate:
    return lambda job, archived: get(job, archived) in values


def _all(parts: list[Predicate]) -> Predicate:
    return lambda job, archived: all(matches(job, archived) for matches in parts)


def _check_scalar(field: Field, value: Any) -> None:
    if not isinstance(value, str | int | float):
        raise InvalidQuery(f"{field.name} can't be compared with {value!r:.80}", field=field.name)


def _is_true(found: Any) -> bool:
    return any(found) if isinstance(found, list) else bool(found)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _equals(field: Field, literal: Any) -> _Test:
    if field.is_time:
        return lambda found: any(time_us == literal for time_us in _times_us(found))
    return lambda found: any(_same(part, literal) for part in _elements(found))


def _ordered(field: Field, holds: Callable[[Any, Any], bool], literal: Any) -> _Test:
    if field.is_time:
        return lambda found: any(holds(time_us, literal) for time_us in _times_us(found))
    kind = str if isinstance(literal, str) else (int, float)
    return lambda found: any(
        holds(part, literal) for part in _elements(found) if isinstance(part, kind)
    )


def _elements(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def _times_us(found: Any) -> Iterator[int]:
    """Yield the times in a value: one, or one for each opcode, as far as they are set."""
    if not found:
        return
    for part in found if isinstance(found[0], list | None) else [found]:
        if part is not None:
            yield part[0] * 1_000_000 + part[1]


def _texts(found: Any) -> Iterator[str]:
    """Yield all texts in a value, however deep."""
    left = [found]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.values())
