"""The table of locks and places: order among those who wait, told without a scheduler."""

from jqueue.execution.locks import Blocked, HeldLock, LockTable


def test_nothing_passes_an_earlier_waiter_in_a_conflicting_mode_on_any_of_its_names():
    table = LockTable()
    table.grant(1, {"x": "exclusive"})
    table.wait((0, 2), {"x": "exclusive", "d": "shared", "rate-limit:2:n": 2})
    assert table.blocked((0, 3), {"d": "exclusive"}) == Blocked("d", (2,))
    assert table.blocked((0, 3), {"d": "shared"}) is None
    assert table.blocked((-1, 3), {"d": "exclusive"}) is None
    table.grant(4, {"rate-limit:2:n": 2})
    assert table.blocked((0, 5), {"rate-limit:2:n": 2}) == Blocked("rate-limit:2:n", (4, 2))
    assert table.blocked((-1, 5), {"rate-limit:2:n": 2}) is None


def test_a_release_names_those_who_can_have_all_they_want_and_leaves_them_in_their_places():
    table = LockTable()
    table.grant(1, {"d": "exclusive"})
    for job, mode in ((2, "shared"), (3, "shared"), (4, "exclusive"), (5, "shared")):
        table.wait((0, job), {"d": mode})
    assert table.release(1) == [(0, 2), (0, 3)]
    assert table.waits(2)
    assert table.waits_for(4) == Blocked("d", (2,))
    table.grant(2, {"d": "shared"})
    table.grant(3, {"d": "shared"})
    assert table.release(2) == []
    assert table.release(3) == [(0, 4)]


def test_places_are_given_out_only_as_far_as_there_are_any():
    table = LockTable()
    table.grant(1, {"n": 2})
    table.grant(2, {"n": 2})
    for job in (3, 4, 5):
        table.wait((0, job), {"n": 2})
    assert table.release(1) == [(0, 3)]
    assert table.release(2) == [(0, 3), (0, 4)]


def test_the_most_wanted_names_are_told_first_with_who_has_them_and_who_waits():
    table = LockTable()
    table.grant(1, {"a": "exclusive", "b": "shared"})
    table.grant(2, {"b": "shared"})
    for job in (3, 4, 5):
        table.wait((0, job), {"b": "exclusive"})
    assert table.most_wanted(1, 2) == [HeldLock("b", "shared", (1, 2), 3, (3, 4))]
    assert [lock.name for lock in table.most_wanted(9, 2)] == ["b", "a"]
