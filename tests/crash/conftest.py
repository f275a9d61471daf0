import pytest

from jqueue.store import journal


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch):
    """Disks in memory are copied by the thousand."""
    monkeypatch.setattr(journal, "RESERVE_BYTES", 512)
