"""The grammar of the filters' text form, and what its parts become in the list form.

Parsing is LALR(1) by Lark, and the tree is walked without recursion: no text is too deep for it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from lark import Lark, Token, Transformer_NonRecursive, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from jqueue.errors import MalformedQuery
from jqueue.job.query.pattern import glob_pattern

_GRAMMAR: Final = r"""
?start: either
?either: both (_OR both)*
?both: negation (_AND negation)*
?negation: _NOT negation -> negated
    | atom
?atom: "(" either ")"
    | FIELD -> truth
    | FIELD COMPARISON value -> comparison
    | FIELD MATCH (STRING | PATTERN) -> match
    | FIELD GLOB STRING -> match
    | value _IN FIELD -> contains
    | value _NOT _IN FIELD -> lacks
value: STRING | NUMBER | TRUTH

_OR.2: /or\b|\|\|/i
_AND.2: /and\b|&&/i
_NOT.2: /not\b|!/i
_IN.2: /in\b/i
TRUTH.2: /(true|false)\b/i
COMPARISON: /==|!=|<=|>=|<|>|=(?![~*])/
MATCH: "=~" | "!~"
GLOB: "=*" | "!*"
PATTERN: /m\/(\\.|[^\/\\])*\/[is]*/
    | /m#[^#]*#[is]*/
    | /m\|[^|]*\|[is]*/
    | /m\^[^^]*\^[is]*/
FIELD: /[A-Za-z_][A-Za-z0-9_.\/]*/
STRING: /"(\\.|[^"\\])*"/s | /'(\\.|[^'\\])*'/s
NUMBER: /[-+]?\d{1,40}(\.\d{1,40})?(?![A-Za-z0-9_.])/
%ignore /\s+/
"""

_SPOKEN: Final = {
    "FIELD": "a field",
    "COMPARISON": "a comparison (== != < > <= >=)",
    "MATCH": "=~",
    "GLOB": "=*",
    "STRING": 'text ("…")',
    "NUMBER": "a number",
    "TRUTH": "true or false",
    "PATTERN": "m/…/",
    "_OR": "or",
    "_AND": "and",
    "_NOT": "not",
    "_IN": "in",
    "LPAR": "(",
    "RPAR": ")",
    "$END": "the end",
}

Place = tuple[str, int]
"""A field's name and its position in the text."""


class Forms(Transformer_NonRecursive[Token, list[Any]]):
    """Builds the list form; `fields` gathers the places where fields are named."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Place] = []

    def either(self, parts: list[Any]) -> list[Any]:
        """F or F …"""
        return ["|", *parts]

    def both(self, parts: list[Any]) -> list[Any]:
        """F and F …"""
        return ["&", *parts]

    def negated(self, parts: list[Any]) -> list[Any]:
        """Not F."""
        return ["!", *parts]

    def truth(self, parts: list[Any]) -> list[Any]:
        """FIELD alone."""
        return ["?", self._field(parts[0])]

    def comparison(self, parts: list[Any]) -> list[Any]:
        """FIELD == VALUE."""
        sign = "==" if parts[1] == "=" else str(parts[1])
        return [sign, self._field(parts[0]), parts[2]]

    def match(self, parts: list[Any]) -> list[Any]:
        """FIELD =~ PATTERN, FIELD =* GLOB."""
        field, sign, token = parts
        if token.type == "PATTERN":
            pattern = _pattern(token)
        else:
            pattern = glob_pattern(_unquoted(token)) if sign.type == "GLOB" else _unquoted(token)
        form = ["=~", self._field(field), pattern]
        return form if sign.startswith("=") else ["!", form]

    def contains(self, parts: list[Any]) -> list[Any]:
        """VALUE in FIELD."""
        return ["=[]", self._field(parts[1]), parts[0]]

    def lacks(self, parts: list[Any]) -> list[Any]:
        """VALUE not in FIELD."""
        return ["!", self.contains(parts)]

    def value(self, parts: list[Any]) -> Any:
        """A literal."""
        token = parts[0]
        if token.type == "STRING":
            return _unquoted(token)
        if token.type == "TRUTH":
            return token.lower() == "true"
        return float(token) if "." in token else int(token)

    def _field(self, token: Token) -> str:
        self.places.append((str(token), token.start_pos or 0))
        return str(token)


def parse(text: str) -> tuple[list[Any], list[Place]]:
    """Return the list form and the fields it names.  Raises MalformedQuery, with the position."""
    try:
        tree: Tree[Token] = _parser().parse(text)
    except UnexpectedInput as error:
        raise _explained(text, error) from None
    forms = Forms()
    return forms.transform(tree), forms.places


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=False)


def _explained(text: str, error: UnexpectedInput) -> MalformedQuery:
    at = len(text)
    expected: set[str] = set()
    bare = False
    if isinstance(error, UnexpectedToken):
        expected = set(error.accepts or error.expected)
        bare = error.token.type == "FIELD"
        if error.token.type != "$END":
            at = error.token.start_pos or 0
    elif isinstance(error, UnexpectedCharacters):
        expected = set(error.allowed or ())
        at = error.pos_in_stream or 0
    found = repr(text[at : at + 20]) if text[at:].strip() else "the end"
    wanted = ", ".join(spoken for name, spoken in _SPOKEN.items() if name in expected)
    hint = "; text goes in quotes" if bare and "STRING" in expected else ""
    return MalformedQuery(
        f"can't understand the filter at {found} (column {at + 1}): expected {wanted}{hint}",
        position=at,
    )


def _unquoted(token: Token) -> str:
    return re.sub(r"\\([\"'\\])", r"\1", str(token)[1:-1], flags=re.DOTALL)


def _pattern(token: Token) -> str:
    """Return the pattern that `m/…/flags` is, its flags inside."""
    delimiter = token[1]
    body, _, flags = token[2:].rpartition(delimiter)
    body = body.replace(f"\\{delimiter}", delimiter) if delimiter == "/" else body
    return f"(?{flags}){body}" if flags else body
