from jqueue.job.reason import MAX_ENTRIES, extend


def test_a_trail_grows_by_one_entry_and_leaves_the_old_one():
    old = [["gnt:user", "why", 1]]
    assert extend(old, "jqueue:retry", "job=3", 2) == [*old, ["jqueue:retry", "job=3", 2]]
    assert extend(None, "a", "b", 3) == [["a", "b", 3]]
    assert old == [["gnt:user", "why", 1]]


def test_a_trail_that_is_inherited_for_ever_keeps_its_origin_and_its_latest_hops():
    trail = []
    for hop in range(1000):
        trail = extend(trail, "s", str(hop), hop)
    assert len(trail) == MAX_ENTRIES
    assert [entry[2] for entry in trail[:16]] == list(range(16))
    assert [entry[2] for entry in trail[16:]] == list(range(760, 1000))
