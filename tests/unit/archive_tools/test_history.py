"""history, journal and diff: what happened, record by record, and what is different."""

import json
import os
import signal
import subprocess
import sys

import pytest

from archive_tools.journal import Damage
from archive_tools.journal_following import follow
from jqueue.errors import QueueCorrupt
from jqueue.job.change import Archived, Pruned
from jqueue.store.directory import DirectoryStore
from jqueue.store.protocol import Transaction
from jqueue.store.realdisk import QuietDisk
from jqueue.store.segment import segment_numbers, segment_path
from tests.crash.workload import TRANSACTIONS, submit
from tests.unit.archive_tools.test_at import invoke


@pytest.fixture
def path(tmp_path):
    """A closed queue of two openings: job 1 ran and is archived, job 2 failed."""
    for transactions in (TRANSACTIONS[:6], TRANSACTIONS[6:14]):
        store = DirectoryStore.open(tmp_path / "queue")
        for transaction in transactions:
            store.commit(transaction)
        store.close()
    return tmp_path / "queue"


def steps(path, job):
    result = invoke("history", "--json", path, job)
    return result, json.loads(result.stdout) if result.stdout else []


def lines(path, *args):
    result = invoke("journal", "--json", *args, path)
    return result, [json.loads(line) for line in result.stdout.splitlines()]


def change(step, key, op=None):
    (found,) = [c for c in step["changes"] if (c["key"], c["op"]) == (key, op)]
    return found["old"], found["new"]


def test_history_shows_every_transition_with_what_it_was_and_became(path):
    result, found = steps(path, 1)
    assert result.exit_code == 0
    assert [step["kinds"][0] for step in found] == ["submitted", "started", "log", "op", "archived"]
    assert [step["lsn"] for step in found] == sorted(step["lsn"] for step in found)
    assert change(found[1], "status") == ("queued", "running")
    assert change(found[1], "token", 0) == (None, found[1]["lsn"])
    assert change(found[2], "log", 0)[1][0][-1] == "half way"
    assert change(found[3], "status", 0) == ("running", "success")
    text = invoke("history", path, 1).stdout
    assert "status: queued -> running" in text
    assert "log: half way" in text
    assert text.splitlines()[-1].endswith("archived")


def test_history_of_a_pruned_job_is_there_as_long_as_the_journal_is(path):
    store = DirectoryStore.open(path)
    store.commit(Transaction("prune", (Pruned(1),)))
    store.close()
    _, found = steps(path, 1)
    assert found[0]["kinds"] == ["submitted"]
    assert found[-1]["kinds"] == ["pruned"]
    assert invoke("history", path, 999).exit_code == 1


def test_history_before_the_kept_journal_is_told_by_the_documents_times_and_says_so(path):
    first = min(p.name for p in (path / "journal").glob("0*"))
    (path / "journal" / first).unlink()
    result, found = steps(path, 2)
    assert next(step["lsn"] for step in found) is None
    assert found[0]["text"] == "submitted"
    assert change(found[-1], "status") == ("running", "error")
    assert "the journal goes back to LSN" in result.stderr
    _, told = steps(path, 3)
    assert {step["lsn"] for step in told} == {None}


def test_journal_shows_every_record_in_order_and_chooses(path):
    result, found = lines(path)
    assert result.exit_code == 0
    lsns = [line["lsn"] for line in found if line["kind"] != "segment"]
    assert sorted(set(lsns)) == list(range(1, max(lsns) + 1))
    assert lsns == sorted(lsns)
    assert {line["job"] for line in lines(path, "--job", 2)[1]} == {2}
    assert {line["kind"] for line in lines(path, "--kind", "log")[1]} == {"log"}
    chosen = lines(path, "--since", 3, "--until", 5)[1]
    assert {line["lsn"] for line in chosen} == {3, 4, 5}
    assert lines(path, "--since", "2035-01-01")[1] == []
    assert "job 1 opcode 0: started: status = running" in invoke("journal", path).stdout
    assert invoke("journal", "--kind", "nonsense", path).exit_code == 2


@pytest.mark.damages
def test_journal_shows_damage_where_it_is_and_all_records_around_it(path):
    _, whole = lines(path)
    victim = next(line for line in whole if line["lsn"] == 3 and line["kind"] != "segment")
    file = path / segment_path(victim["segment"])
    data = bytearray(file.read_bytes())
    data[victim["offset"] + 30] ^= 1
    file.write_bytes(data)
    result, found = lines(path)
    assert result.exit_code == 1
    damage = [line for line in found if line["kind"] == "damaged"]
    assert damage[0]["offset"] == victim["offset"]
    assert damage[1]["text"] == "LSN 3 missing"
    rest = [line for line in found if line["kind"] != "damaged"]
    assert rest == [line for line in whole if line["lsn"] != 3 or line["kind"] == "segment"]
    # A filter hides no damage.
    assert [line["kind"] for line in lines(path, "--job", 999)[1]] == ["damaged", "damaged"]
    assert steps(path, 2)[0].exit_code == 1


@pytest.mark.damages
def test_a_torn_tail_is_shown_and_a_damaged_header_hides_only_its_segment(path):
    first, last = sorted((path / "journal").glob("0*"))[
        :: len(list((path / "journal").glob("0*"))) - 1
    ]
    with last.open("ab") as file:
        file.write(b"half a rec")
    result, found = lines(path)
    assert (result.exit_code, found[-1]["text"]) == (1, "10 bytes are no whole record")
    first.write_bytes(b"x" + first.read_bytes()[1:])
    _, found = lines(path)
    assert found[0]["text"].startswith("the segment's header is damaged")
    assert found[1]["kind"] == "segment"


def test_a_directory_without_a_journal_is_refused_in_one_line(tmp_path):
    (tmp_path / "version").write_text("1\n")
    for args in (["journal"], ["diff", "--from", 1], ["list", "--at", 1]):
        result = invoke(args[0], *args[1:], tmp_path)
        assert result.exit_code in (1, 2)
        assert "there is no journal" in result.stderr


def test_diff_of_two_moments_and_of_two_directories(path, tmp_path):
    result = invoke("diff", "--json", "--from", 3, "--to", 6, path)
    assert result.exit_code == 1
    found = {(d["what"], d["job"]): d for d in json.loads(result.stdout)}
    assert change(found["changed", 1], "status") == ("queued", "success")
    assert ("right", 6) in found
    assert change(found["serial", None], "serial") == (5, 7)
    backwards = invoke("diff", "--json", "--from", 6, "--to", 3, path)
    assert ("left", 6) in {(d["what"], d["job"]) for d in json.loads(backwards.stdout)}
    assert invoke("diff", "--from", 6, "--to", 6, path).exit_code == 0

    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(path), str(copy)], check=True)
    assert invoke("diff", path, copy).exit_code == 0
    store = DirectoryStore.open(copy)
    store.commit(Transaction("more", tuple(submit(50))))
    store.commit(Transaction("away", (Archived(2, 1.0),)))
    store.close()
    result = invoke("diff", "--json", path, copy)
    found = {(d["what"], d["job"]): d for d in json.loads(result.stdout)}
    assert set(found) == {("serial", None), ("changed", 2), ("right", 50)}
    assert change(found["changed", 2], "archived") == (False, True)
    assert "+ job 50" in invoke("diff", path, copy).stdout
    assert invoke("diff", path).exit_code == 2
    assert invoke("diff", path, tmp_path / "none").exit_code == 2


def test_diff_of_moments_is_diff_of_whole_states(path, tmp_path):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(path), str(copy)], check=True)
    for begin in range(1, 14, 3):
        near = json.loads(invoke("diff", "--json", "--from", begin, "--to", 12, path).stdout)
        whole = json.loads(invoke("diff", "--json", "--from", begin, "--to", 12, path, copy).stdout)
        assert near == whole


def test_journal_follow_shows_what_becomes_durable_over_segments_and_ends_with_ctrl_c(tmp_path):
    store = DirectoryStore.open(tmp_path / "queue")
    store.journal.segment_bytes = store.journal._limit = 2000
    store.commit(Transaction("first", tuple(submit(1))))
    command = [sys.executable, "-c", "from archive_tools.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "journal", "--follow", "--json", str(tmp_path / "queue")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        seen = []
        for job in range(2, 12):
            store.commit(Transaction(f"tx-{job}", tuple(submit(job))))
            store.ledger.mark()
            while job not in seen:
                line = json.loads(process.stdout.readline())
                seen += [line["job"]] if line["kind"] == "submitted" else []
        assert seen == list(range(1, 12))
        assert len(segment_numbers(store.disk)) > 2
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.wait()
        store.close()


@pytest.mark.damages
def test_journal_follow_shows_a_torn_tail(path):
    last = max((path / "journal").glob("0*"))
    with last.open("ab") as file:
        file.write(b"half a rec")
    with QuietDisk(path) as disk:
        shown = next(part.what for part in follow(disk) if isinstance(part.what, Damage))
    assert shown.size == 10


def damage_second(store):
    """Damage the record of tx-2; returns its segment and where."""
    segment = store.disk.path / segment_path(1)
    at = segment.read_bytes().index(b'"tx":"tx-2"')
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(b"!")
    return segment, at


@pytest.mark.damages
def test_journal_follow_beside_an_owner_shows_damage_as_soon_as_a_later_record_claims_it(tmp_path):
    """It was shown only when the next segment was begun."""
    store = DirectoryStore.open(tmp_path / "queue")
    for job in (1, 2):
        store.commit(Transaction(f"tx-{job}", tuple(submit(job))))
    segment, at = damage_second(store)
    followed = follow(store.disk)
    assert next(followed).what.first_lsn == 1
    store.ledger.mark()  # it claims both
    assert next(followed).what.lsn == 1
    damage = next(part.what for part in followed if isinstance(part.what, Damage))
    assert damage.offset == segment.read_bytes().rindex(b"\n", 0, at) + 1
    with pytest.raises(QueueCorrupt, match="LSN 2 at offset"):
        next(followed)
    store.close()


@pytest.mark.damages
def test_journal_follow_in_process_mode_shows_damage_that_records_were_written_behind(tmp_path):
    """There no record claims another durable: it was shown only when the next segment was begun."""
    store = DirectoryStore.open(tmp_path / "queue", durability="process")
    for job in (1, 2, 3):
        store.commit(Transaction(f"tx-{job}", tuple(submit(job))))
    segment, at = damage_second(store)
    followed = follow(store.disk)
    assert next(followed).what.first_lsn == 1
    assert next(followed).what.lsn == 1
    damage = next(followed).what
    assert damage.offset == segment.read_bytes().rindex(b"\n", 0, at) + 1
    assert "there are some behind it" in damage.text
    store.close()
