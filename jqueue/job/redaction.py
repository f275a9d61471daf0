"""Redaction: what looks like a secret is shown to nobody who didn't ask for it.

One piece for whatever shows arguments, results and logs to people.  It goes by names (`password`,
`api_key`, all of an environment) and by shapes (`https://user:pw@host`, `--token x`, `Bearer x`): a
guess that hides too much rather than too little, and that can't know a secret in plain prose.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

REDACTED: Final = "[redacted]"
MAX_KIND_CHARS: Final = 80
"""Of each kind of secret that was hidden: a parameter's name may be as long as a job is."""

_SECRET_WORDS: Final = frozenset(
    {"auth", "authorization", "cookie", "cred", "key", "pass", "passcode", "pin", "pw", "pwd"}
)
"""Names that have one of these as a word are secret: `ssh_key`, `dbPass`; not `monkey`."""
_SECRET_PARTS: Final = re.compile(
    r"passwo?r?d|passphrase|secret|token|credential|api-?_?key|private-?_?key|access-?_?key",
    re.IGNORECASE,
)
"""Names that have one of these anywhere are secret, too: `dbpassword`."""
_PLACES: Final = frozenset({"dir", "error", "exception", "file", "path", "warning"})
"""Names that end so say where a secret is, or what is wrong with it, and not what it is."""
_ENVIRONMENTS: Final = frozenset({"env", "environ", "environment"})
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

# Time is linear in the text, which may be hostile: a name is only looked for where a word begins,
# and what was matched is never given back (possessive quantifiers).
_VALUE: Final = re.compile(
    r"""(?s)"(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+'|(?!\[redacted)[^\s&]++"""
)
_NAMED: Final = re.compile(r"""(?<![\w.-])([\w.-]++)(["']?\s{0,3}+[=:]\s{0,3}+)(?=[^\s=])""")
_OPTION: Final = re.compile(r"(?<![\w.-])(--?[A-Za-z][\w.-]*+)(\s++)(?!--)")
_USERINFO: Final = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*+://)[^\s/?#\"'<>]*@")
_HEADER: Final = re.compile(
    r"(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]{0,40}?(?:key|token|auth)[\w-]{0,40}+)"
    r"(\s{0,3}+[:=]\s{0,3}+)(?!\[redacted)[^\r\n\"']++",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer\s{1,3}+)[\w.~+/=-]{8,}+", re.IGNORECASE)
_PEM: Final = re.compile(
    r"(?s)-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
)
_TOKEN: Final = re.compile(
    r"\b(?:eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]*+|(?:AKIA|ASIA)[0-9A-Z]{16}\b|gh[oprsu]_\w{20,}+"
    r"|github_pat_\w{20,}+|glpat-[\w-]{15,}+|xox[a-z]-[\w-]{10,}+|sk-[\w-]{20,}+|AIza[\w-]{30,}+)"
)
"""Tokens that say by their beginning what they are: of JWT, AWS, GitHub, GitLab, Slack, others."""


_SUSPECT: Final = re.compile(
    r"-u|auth|cookie|cred|key|pass|pin|pw|secret|token|bearer|://|eyJ|AKIA|ASIA|gh[oprsu]_|glpat|xox"
    r"|sk-|AIza",
    re.IGNORECASE,
)
"""What has none of these holds nothing that the patterns above, or names, would find."""


class Redaction:
    """Replaces what looks like a secret, and counts in `counts` what of which kind it was."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def value(self, value: Any, name: str = "") -> Any:
        """The JSON value of a parameter of this name, without its secrets; a copy where it has any.

        Of lists of texts it takes the options of a command line: `["--password", "x"]`.
        """
        if value is None or isinstance(value, bool):
            return value
        if is_secret_name(name):
            return self._hidden(f"parameter {_shown_name(name)}")
        if name.lower() in _ENVIRONMENTS:
            return self._environment(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self.value(found, key) for key, found in value.items()}
        if isinstance(value, Sequence):
            return self._list(value)
        return value

    def suspects(self, text: str, name: str = "") -> bool:
        """Whether there may be anything to hide in the text of a parameter: a quick look."""
        return bool(_SUSPECT.search(text)) or is_secret_name(name) or name.lower() in _ENVIRONMENTS

    def text(self, text: str) -> str:
        """The text, as of a log, without what looks like a secret."""
        if not _SUSPECT.search(text):
            return text
        text = _PEM.sub(lambda _: self._hidden("private key"), text)
        text = _USERINFO.sub(lambda m: f"{m[1]}{self._hidden('user and password in a URL')}@", text)
        text = _HEADER.sub(lambda m: f"{m[1]}{m[2]}{self._hidden(f'header {m[1]}')}", text)
        text = _BEARER.sub(lambda m: f"{m[1]}{self._hidden('bearer token')}", text)
        text = _TOKEN.sub(lambda _: self._hidden("token"), text)
        return self._without_values(_NAMED, self._without_values(_OPTION, text))

    def _without_values(self, names: re.Pattern[str], text: str) -> str:
        """The text without what follows a secret's name; what follows another may be a name."""
        parts = []
        shown = 0
        name = names.search(text)
        while name is not None:
            after = name.end()
            # In prose a colon follows much: `key: value` is shown, `password: value` is not.
            is_secret = _is_surely_secret if ":" in name[2] else is_secret_name
            value = _VALUE.match(text, after) if is_secret(name[1]) else None
            if value is not None:
                parts += [text[shown:after], self._hidden(f"value of {name[1]}")]
                shown = after = value.end()
            name = names.search(text, after)
        return "".join([*parts, text[shown:]])

    def _environment(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._hidden("environment value") for name in value}
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, Sequence):
            return self._hidden("environment value")
        names = [str(entry).partition("=")[0] for entry in value]
        return [f"{name}={self._hidden('environment value')}" for name in names]

    def _list(self, values: Sequence[Any]) -> list[Any]:
        shown = []
        option = ""
        for value in values:
            if option and isinstance(value, str) and not value.startswith("--"):
                shown.append(self._argument(option, value))
            else:
                shown.append(self.value(value))
            option = value if isinstance(value, str) and value.startswith("-") else ""
        return shown

    def _argument(self, option: str, value: str) -> str:
        if option in ("-u", "--user") and ":" in value:
            return f"{value.partition(':')[0]}:{self._hidden('password of an option')}"
        if is_secret_name(option) and "=" not in option:
            return self._hidden(f"value of {option}")
        return self.text(value)

    def _hidden(self, kind: str) -> str:
        self.counts[kind[:MAX_KIND_CHARS]] += 1
        return REDACTED


@functools.lru_cache(1024)
def is_secret_name(name: str) -> bool:
    """Say whether what has this name is probably a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _PLACES:
        return False
    return _is_surely_secret(name) or any(
        word in _SECRET_WORDS or word.removesuffix("s") in _SECRET_WORDS for word in words
    )


def _is_surely_secret(name: str) -> bool:
    words = _WORD.findall(name)
    return bool(words) and words[-1].lower() not in _PLACES and bool(_SECRET_PARTS.search(name))


@functools.lru_cache(maxsize=256)
def _shown_name(name: str) -> str:
    """A name of a parameter as it may be told: it is data, too, and may hold a secret itself."""
    return Redaction().text(name)
