"""Which queue is meant when none is named."""

from __future__ import annotations

import os
from typing import Final

QUEUE_VARIABLE: Final = "JQUEUE_DIR"


def default_path() -> str:
    """Return the queue that is meant: the variable's, root's, or the user's own."""
    named = os.environ.get(QUEUE_VARIABLE)
    if named:
        return named
    if os.geteuid() == 0:
        return "/var/lib/jqueue"
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "jqueue")
