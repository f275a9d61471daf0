"""Distributions, timelines and tallies: bounded, mergeable, and as right as they say."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_tools.distribution import MAX_BINS, Distribution, Tally, Timeline

VALUES = st.lists(st.floats(0, 1e9), min_size=1, max_size=200)


def distribution_of(values):
    found = Distribution()
    for value in values:
        found.add(value)
    return found


def plain(found):
    """As plain data, but for the mean: a sum of floats depends on their order."""
    return {name: value for name, value in found.to_dict().items() if name != "mean"}


@given(VALUES, st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent_of_the_exact_one(values, part):
    exact = sorted(values)[int(part * (len(values) - 1))]
    assert distribution_of(values).quantile(part) == pytest.approx(exact, rel=0.01, abs=2e-6)


@given(VALUES, VALUES)
def test_merged_halves_are_what_all_values_come_to(some, others):
    halves = distribution_of(some)
    halves.merge(distribution_of(others))
    whole = distribution_of(some + others)
    assert plain(halves) == plain(whole)
    assert halves.total == pytest.approx(whole.total)


def test_times_from_a_microsecond_to_thirty_thousand_years_need_2100_buckets_at_most():
    rng = random.Random(1)
    found = distribution_of(10 ** rng.uniform(-9, 12) for _ in range(50_000))
    assert len(found.buckets()) <= 2100
    assert sum(count for *_, count in found.buckets()) == 50_000


def test_of_nothing_nothing_is_said():
    found = Distribution().to_dict()
    assert (found["count"], found["mean"], found["p50"], found["max"]) == (0, None, None, None)
    assert Timeline().drawn(10)[1] == []


@given(st.lists(st.integers(0, 253_402_300_799), max_size=50), st.integers(1, 40))
def test_a_timeline_is_drawn_in_at_most_so_many_bins_and_loses_no_event(seconds, at_most):
    found = Timeline()
    for second in seconds:
        found.add(second)
    width_s, bins = found.drawn(at_most)
    assert len(bins) <= at_most
    assert sum(each.events for each in bins) == len(seconds)
    for each in bins:
        assert each.events == sum(each.start_s <= s < each.start_s + width_s for s in seconds)


def test_a_timeline_of_any_span_holds_a_bounded_number_of_bins_in_any_order_of_merging():
    rng = random.Random(2)
    seconds = [rng.randrange(10**9, 2 * 10**9) for _ in range(20_000)]
    whole, parts = Timeline(), [Timeline() for _ in range(3)]
    for at, second in enumerate(seconds):
        whole.add(second)
        parts[at % 3].add(second)
    merged = Timeline()
    for part in parts:
        merged.merge(part)
    assert merged.to_dict() == whole.to_dict()
    assert len(whole.bins()) <= MAX_BINS


def test_a_tally_counts_the_first_names_one_by_one_and_later_ones_together():
    found, other = Tally(2), Tally(2)
    for name in ("a", "b", "b", "c", "d"):
        found.add(name)
    assert (found.ranked(), found.others) == ([("b", 2), ("a", 1)], 2)
    other.add("d")
    found.merge(other)
    assert (found.ranked(1), found.others) == ([("b", 2)], 3)
