import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.job.jsonio import dumps, loads
from jqueue.job.log import Log


@given(st.lists(st.lists(st.integers(-(2**63), 2**64 - 1), max_size=3), max_size=8))
def test_every_older_log_keeps_its_view(batches):
    logs, expected = [Log()], [[]]
    for batch in batches:
        logs.append(logs[-1].append(batch))
        expected.append(expected[-1] + batch)
    assert [log.flatten() for log in logs] == expected
    assert [list(log) for log in logs] == expected
    assert [len(log) for log in logs] == [len(view) for view in expected]


def test_a_log_that_was_overtaken_copies_before_it_appends():
    base = Log([1])
    lost = base.append([2])
    kept = base.append([3])
    assert (base, lost, kept) == ([1], [1, 2], [1, 3])


def test_the_ten_thousandth_line_copies_nothing():
    log = Log()
    for line in range(10_000):
        longer = log.append([line])
        assert longer._entries is log._entries
        log = longer
    assert log == list(range(10_000))


def test_a_log_reads_like_a_list():
    log = Log([1, 2]).append([3])
    Log.of(log).append([4])
    assert (log[0], log[-1], log[1:], log[::-1], log[5:]) == (1, 3, [2, 3], [3, 2, 1], [])
    assert 2 in log
    assert 4 not in log
    assert log != [1, 2]
    assert log == Log([1, 2, 3])
    assert log != (1, 2, 3)
    for outside in (3, -4):
        with pytest.raises(IndexError):
            log[outside]


def test_a_log_is_made_of_what_a_document_has():
    log = Log([1])
    assert Log.of(log) is log
    assert Log.of(None) == []
    entries = [1]
    Log.of(entries).append([2])
    assert entries == [1]


def test_a_log_is_written_as_the_list_it_is_and_pickled_without_its_longer_kin():
    log = Log([[1, [2, 3], "message", "a"]])
    log.append([[2, [2, 3], "message", "b"]])
    assert loads(dumps({"log": log})) == {"log": [[1, [2, 3], "message", "a"]]}
    assert pickle.loads(pickle.dumps(log)) == log
    assert pickle.loads(pickle.dumps(log))._entries == [[1, [2, 3], "message", "a"]]


def test_size_is_that_of_the_entries_however_the_log_came_to_be():
    entries = [[1, "a"], [2, ["b", 1]], [3, "ü\n"]]
    size_bytes = sum(len(dumps(entry)) for entry in entries)
    grown = Log()
    for entry in entries:
        grown = grown.append([entry])
    assert grown.size_bytes == Log(entries).size_bytes == size_bytes
    shorter = Log(entries[:1])
    first = shorter.size_bytes
    longer, other = shorter.append(entries[1:]), shorter.append(entries[:1])
    assert (longer.size_bytes, other.size_bytes) == (size_bytes, 2 * first)
