"""P14: start-up follows what is open; what had begun is found without reading what is queued."""

import pytest

from jqueue.execution.dispatch import unsettled
from jqueue.queue.core import QueueCore
from tests.crash.workload import open_store
from tests.fakes import FakeDisk
from tests.unit.queue.making import FrozenClock, begin, delay


class CountingDisk(FakeDisk):
    """Remembers whose files were read."""

    def read(self, path, limit):
        self.reads = [*getattr(self, "reads", []), path]
        return super().read(path, limit)


@pytest.mark.parametrize("index", [True, False])
def test_p14_recovery_reads_the_jobs_that_had_begun_not_those_that_are_queued(index):
    disk = CountingDisk()
    queue = QueueCore(open_store(disk), FrozenClock())
    queue.submit_many([[delay()]] * 50)
    begin(queue, 7)
    queue.close()
    if not index:
        disk.unlink("journal/index")
    # Twice: the first opening hands on what it has not read.
    for _ in range(2):
        store = open_store(disk)
        disk.reads = []
        with store.snapshot() as moment:
            assert [(job, op["status"]) for job, _, op in unsettled(moment)] == [(7, "running")]
        running = QueueCore(store, FrozenClock()).jobs(statuses=["running"])
        assert [job.id for job in running] == [7]
        assert set(disk.reads) <= {"job-7"}
        store.close()
