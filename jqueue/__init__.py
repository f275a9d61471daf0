"""jqueue: a durable job queue that lives in a directory."""

from jqueue._version import __version__

__all__ = ["__version__"]
