"""How far a long command is, on stderr, if there is a terminal to see it and nothing else on it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    """Show a bar while the block runs; it gets a function to say how many more are done.

    `total` may be too large (it is a guess); None is not known.
    """
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda _: None
        return
    # Here, not above: only a person at a terminal pays for the import.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.advance(task, done)
