"""How far a long command is: a bar on stderr, if that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


def unseen(done: int) -> None:
    """Show nothing."""
    del done


@contextlib.contextmanager
def progress(what: str, total: int | None, *, printing: bool = False) -> Iterator[Advance]:
    """Show a bar while the block runs; it gets a function to say how many more are done.

    `total` may be too large (it is a guess); None is not known.  A block that is `printing` has no
    bar where its lines go to the terminal too.
    """
    if not sys.stderr.isatty() or (printing and sys.stdout.isatty()):
        yield unseen
        return
    # Here, not above: only a person at a terminal pays for the import.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.advance(task, done)
