"""Which queue a command is about, and the one way in."""

from jqueue.daemon.client import Client, connect
from jqueue.daemon.place import default_path

TIMEOUT_S = 10.0
"""How long a command tries to get to the queue, while another process owns it."""

__all__ = ["Client", "default_path", "open_queue"]


def open_queue(path: str) -> Client:
    """Return the queue at `path`, whoever owns it; a context manager.  Nothing is made yet."""
    return connect(path, timeout_s=TIMEOUT_S)
