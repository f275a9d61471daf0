"""Regular expressions from outside: matched in time linear in the text, whatever the pattern.

RE2 has no backtracking, so no pattern can hold up the process; it lacks backreferences and
look-around, and says so.  https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from jqueue.errors import InvalidQuery

MAX_PATTERN_CHARS: Final = 1000
"""RE2's time grows with the pattern's size too."""
MAX_PATTERN_BYTES: Final = 1 << 20
"""Memory of one compiled pattern: `(x{1000}){1000}` is refused."""

Search = Callable[[str], Any]


def compile_pattern(pattern: str) -> Search:
    """Return a function that says whether a text has a match anywhere.  Raises InvalidQuery."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise InvalidQuery(f"a pattern has at most {MAX_PATTERN_CHARS} characters")
    try:
        # Here, not above: a platform without RE2 has all the rest of the queue.
        import re2  # noqa: PLC0415
    except ImportError as error:
        raise InvalidQuery("patterns need the package google-re2 (pip install google-re2)") from (
            error
        )
    options = re2.Options()
    options.max_mem = MAX_PATTERN_BYTES
    options.log_errors = False
    try:
        search: Search = re2.compile(pattern, options).search
    except re2.error as error:
        why = error.args[0] if error.args else error
        why = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise InvalidQuery(f"the pattern {pattern!r:.80} can't be used: {why:.200}") from None
    return search


def glob_pattern(glob: str) -> str:
    """Return the pattern that matches whole texts as a shell's `*` and `?` do."""
    parts = (_GLOB.get(char) or re.escape(char) for char in glob)
    return f"(?s)^{''.join(parts)}$"


_GLOB: Final = {"*": ".*", "?": "."}
