"""Being told of a set clock by the kernel."""

import select
import time

import pytest

from jqueue.execution.clockstep import ClockSteps


@pytest.fixture
def steps():
    made = ClockSteps()
    yield made
    made.close()


def is_told(steps, within_s):
    return bool(select.select([steps.fd], [], [], within_s)[0])


def test_a_clock_that_runs_on_is_no_step(steps):
    steps.note()
    assert not is_told(steps, 0)


def test_a_set_clock_is_told_at_once_and_once(steps):
    try:
        # To the time that it is: a step for the kernel, harmless for everybody else.
        time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns())
    except PermissionError:
        pytest.skip("only root may set the clock")
    assert is_told(steps, 5)
    steps.note()
    assert not is_told(steps, 0)
