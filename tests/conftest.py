"""What every test shares: Hypothesis's settings, and a look at every queue that a test touched."""

from pathlib import Path

import pytest
from hypothesis import settings

from archive_tools.verify import verify
from jqueue.store import journal

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch):
    """Disks in memory are copied by the thousand, and whole runs of them wait to be collected."""
    monkeypatch.setattr(journal, "RESERVE_BYTES", 512)


@pytest.fixture(autouse=True)
def verified(request):
    """Verify every queue that stands in the test's folder when it is over.

    Tests that damage one on purpose, or that make what no queue would, say so: `@damages`.
    """
    if "tmp_path" not in request.fixturenames or request.node.get_closest_marker("damages"):
        yield
        return
    path = request.getfixturevalue("tmp_path")
    yield
    findings = [finding for queue in queues_in(path) for finding in verify(queue)]
    assert [finding for finding in findings if finding.level == "error"] == []


def queues_in(path: Path):
    return [found.parent for found in path.rglob("journal") if any(found.glob("0*"))]
