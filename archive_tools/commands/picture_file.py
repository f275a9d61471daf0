"""The file of a picture as an option: what it is to be follows from its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class PictureFile(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """A path that ends in one of the given kinds; `-`, the standard output, is of the first."""

    name = "file"

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        path = Path(value)
        if value != "-" and self.kind_of(path) not in self.kinds:
            wanted = ", ".join(f".{kind}" for kind in self.kinds)
            self.fail(f"{value!r:.80} ends in none of {wanted}", param, ctx)
        return path

    def kind_of(self, path: Path) -> str:
        """Return the kind of picture that the path asks for."""
        return self.kinds[0] if str(path) == "-" else path.suffix.lower().removeprefix(".")
