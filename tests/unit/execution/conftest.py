"""Owners for the tests of the worker protocol."""

import signal

import pytest

from tests.unit.execution.house import House


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


@pytest.fixture
def stubborn_house(tmp_path):
    """Its process heeds no SIGTERM: a mask of signals is inherited."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    made = House(tmp_path)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    yield made
    made.close()
