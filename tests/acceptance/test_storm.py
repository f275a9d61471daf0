"""Storms of kill -9, SIGSTOP, cancel and restarts: nothing is lost or doubled (P1, P2, P4, P6)."""

import sys

import pytest

from tests.acceptance.storm import Storm


def storm(machine, rounds, seed):
    blowing = Storm(machine, seed)
    for _ in range(rounds):
        blowing.round()
    return blowing, blowing.finish()


def test_a_short_storm_loses_and_doubles_nothing(machine):
    storm(machine, 5, seed=1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_a_long_storm_loses_and_doubles_nothing(machine, seed, capsys):
    blown, jobs = storm(machine, 60, seed)
    with capsys.disabled():
        sys.stdout.write(f"\n{seed}: {blown.rounds} rounds, {len(jobs)} jobs, {blown.struck}\n")
