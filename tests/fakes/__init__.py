"""Stand-ins for the disk: one that loses what was not synced, and one that fails on demand."""

from tests.fakes.disk import Crash, FakeDisk
from tests.fakes.faults import Faulty, every_crash, every_failure

__all__ = ["Crash", "FakeDisk", "Faulty", "every_crash", "every_failure"]
