"""The queue in a directory that is killed, cut from power and reopened, against plain dicts."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jqueue.errors import KeyConflict
from jqueue.store.directory import DirectoryStore
from tests.fakes.disk import FakeDisk
from tests.model.test_queue_model import QueueMachine
from tests.unit.queue.making import delay

SEGMENT_BYTES = 20_000
"""Small, so that segments are followed by others and retired."""


class DirectoryMachine(QueueMachine):
    """Each answer was durable: so whatever happens to the machine between two, nothing is lost."""

    def open_store(self):
        if not hasattr(self, "disk"):
            self.disk = FakeDisk()
        return DirectoryStore(self.disk, background=False, segment_bytes=SEGMENT_BYTES)

    # A seed, not drawn chance: drawing thousands of garbage bytes one test at a time takes minutes.
    @rule(seed=st.integers(0, 1 << 32))
    def power_cut(self, seed):
        chance = random.Random(seed)
        states = list(self.disk.crash_states(chance, limit=6))
        self.disk = chance.choice(states)
        self.reopen()

    @rule()
    def kill(self):
        self.disk = self.disk.kill_state()
        self.reopen()

    @rule()
    def close_and_reopen(self):
        self.core.close()
        self.reopen()

    @rule()
    def checkpoint(self):
        self.core.store.checkpoint()

    # A key of archived jobs, or of a batch, is nowhere else.
    @precondition(lambda self: not self.model.keys)
    @rule()
    def the_index_is_lost(self):
        self.core.close()
        if self.disk.exists("journal/index"):
            self.disk.unlink("journal/index")
        self.reopen()


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_key_survives_kills_before_and_after_the_first_checkpoint(checkpointed):
    machine = DirectoryMachine()
    machine.begin()
    core = machine.core
    assert core.submit([delay()], unique="u") == 1
    assert core.submit([delay()], unique="u", key="k") == 1
    batch = core.submit_many([[delay()], [], [delay()]], key="b")
    if checkpointed:
        core.store.checkpoint()
    for _ in range(3):
        machine.kill()
    assert machine.core.submit([delay()], unique="u", key="k") == 1
    assert machine.core.submit_many([[delay()], [], [delay()]], key="b") == batch
    with pytest.raises(KeyConflict):
        machine.core.submit([delay(9)], key="k")
    machine.teardown()


TestDirectoryModel = DirectoryMachine.TestCase
TestDirectoryModel.settings = settings(max_examples=25, stateful_step_count=40)
