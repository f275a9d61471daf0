"""HTML that needs nothing but itself: no script, nothing from a network, and all text escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from archive_tools.pictures import visible


class Html(str):
    """Text that is HTML already; all other text is escaped when it gets into a page."""

    __slots__ = ()


_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Should anything get past the escaping, a browser neither runs nor fetches it."""

_STYLE: Final = """
body { font: 14px/1.45 sans-serif; color: #222; max-width: 1300px }
body { margin: 1.5em auto; padding: 0 1em }
h1 { font-size: 1.5em }
h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ccc }
table { border-collapse: collapse }
td, th { text-align: left; vertical-align: top; padding: .2em .8em .2em 0 }
tr { border-bottom: 1px solid #eee }
pre { background: #f6f6f6; padding: .6em; margin: .3em 0 }
pre { white-space: pre-wrap; overflow-wrap: anywhere }
summary { cursor: pointer }
svg { max-width: 100%; height: auto }
.note { color: #555 }
.bad { color: #b00020; font-weight: 600 }
"""


def element(name: str, *content: object, **attributes: str) -> Html:
    """Return an element; content that is no `Html` is text."""
    said = "".join(
        f' {key.rstrip("_")}="{html.escape(_visible_lines(value))}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{said}>{''.join(map(escaped, content))}</{name}>")


def escaped(content: object) -> Html:
    """Return the content as HTML."""
    if isinstance(content, Html):
        return content
    return Html(html.escape(_visible_lines(str(content))))


def _visible_lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def table(rows: Iterable[Iterable[object]], head: Iterable[str] = ()) -> Html:
    """Return a table; without a head the first cell of each row names it."""
    named = list(head)
    lines = [element("tr", *(element("th", cell) for cell in named))] if named else []
    for first, *rest in rows:
        cells = (element("td", cell) for cell in rest)
        lines.append(element("tr", element("td" if named else "th", first), *cells))
    return element("table", *lines)


def page(title: str, content: Iterable[Html]) -> bytes:
    """Return a whole page, in UTF-8."""
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", title),
        Html(f"<style>{_STYLE}</style>"),
    )
    body = element("body", element("h1", title), *content)
    return f'<!DOCTYPE html>\n<html lang="en">{head}\n{body}</html>\n'.encode()


_PROLOG: Final = re.compile(r"(?s)\A<\?xml.*?\?>\s*<!DOCTYPE.*?>\s*")
_NAMESPACES: Final = re.compile(r' xmlns(?::\w+)?="[^"]*"')


def inline_svg(picture: bytes) -> Html:
    """Return an SVG file as part of a page: what names it as a file of its own is left out."""
    root, rest = _PROLOG.sub("", picture.decode()).split(">", 1)
    return Html(f"{_NAMESPACES.sub('', root)}>{rest.replace(' xlink:href=', ' href=')}")
