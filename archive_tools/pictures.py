"""Drawing with matplotlib, which the extra `pictures` installs: the style, and files as bytes.

The same input gives the same bytes: no time and no chance is in a file.  Colors are those of Okabe
and Ito, which people with any color vision can tell apart, and each has a hatch beside it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from archive_tools.timeline import Phase
from jqueue.errors import JQueueError, QueueFailed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INSTALL: Final = "pip install 'jqueue[pictures]'"
DPI: Final = 110


class PicturesMissing(JQueueError):
    """The library that draws is not installed."""


class Look(NamedTuple):
    """How a phase is drawn; the marker stands on what is too short for its hatch to be seen."""

    name: str
    color: str
    hatch: str = ""
    marker: str = ""
    edge: str = "#333333"


LOOKS: Final = {
    Phase.QUEUED: Look("queued", "#e4e4e4", edge="#ffffff"),
    Phase.WAITING: Look("waiting", "#d0d0d0", "||||", edge="#999999"),
    Phase.RUNNING: Look("running", "#56b4e9", edge="#ffffff"),
    Phase.SUCCESS: Look("success", "#009e73", edge="#ffffff"),
    Phase.ERROR: Look("error", "#d55e00", "xxxx", "X"),
    Phase.CANCELED: Look("canceled", "#cc79a7", "\\\\\\\\", "s"),
    Phase.INTERRUPTED: Look("interrupted", "#e69f00", "////", "v"),
    Phase.REPEATED: Look("failed, tried again", "#f0e442", "----", "D"),
}

_STYLE: Final[Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    # Names of jobs come from anybody, and a $ in them is a dollar.
    "text.parse_math": False,
    "text.usetex": False,
    # Text stays text: it can be searched, copied and read aloud.
    "svg.fonttype": "none",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
}


@contextlib.contextmanager
def drawing() -> Iterator[type[Figure]]:
    """Give what makes figures, in our style, whatever the user's own is.

    Raises PicturesMissing, naming the command that installs what is missing.
    """
    try:
        # Here, not above: it is large, and only pictures need it.
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise PicturesMissing(f"pictures need matplotlib, which is not here: {INSTALL}") from error
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        # A glyph that the font lacks is drawn as a box, and is none of the user's concern.
        warnings.filterwarnings("ignore", message="Glyph")
        yield Figure


def encoded(figure: Figure, kind: str, *, salt: str = "") -> bytes:
    """Return the figure as a file of this kind; `salt` keeps the ids of two in one page apart.

    To be called while `drawing`.
    """
    import matplotlib as mpl  # noqa: PLC0415 - as above

    buffer = io.BytesIO()
    if kind == "svg":
        mpl.rcParams["svg.hashsalt"] = f"jqueue{salt}"
        metadata = {"Creator": None, "Date": None, "Format": None, "Type": None}
    else:
        metadata = {"Software": None}
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def write_private(target: Path, data: bytes, *, queue: Path) -> None:
    """Write a file that only its owner can read, whole or not at all; `-` is the standard output.

    Raises QueueFailed for one within the queue's directory, where nothing is to be changed.
    """
    if str(target) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    target = target.absolute()
    if target.parent.resolve().is_relative_to(queue.resolve()):
        raise QueueFailed(f"{target}: within the queue nothing is written; name another place")
    descriptor, aside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(aside, target)
    except BaseException:
        os.unlink(aside)
        raise


_UNSEEN: Final = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")
} | {
    code: f"\\u{code:04x}"
    for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFFFE, 0xFFFF)
}
"""What XML and HTML can't hold, nobody sees, or what turns text round; a terminal is not asked."""


def visible(text: str) -> str:
    """Return the line of text as a picture or a page can hold it."""
    return text.translate(_UNSEEN).encode("utf-8", "backslashreplace").decode()


def shown(text: str, at_most: int = 200) -> str:
    """Return a text from outside on one line, cut where it is too long."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= at_most else text[: at_most - 1] + "…"
