"""What a client can hold up: no large or long request does in the loop what a reader can do."""

import socket
import threading
from contextlib import contextmanager
from unittest import mock

import pytest

from jqueue import InvalidJob, JobQueue, QueueFailed, TooLarge, connect
from jqueue.daemon import connection, luxi, reactor, verbs
from jqueue.daemon.calls import Wire
from jqueue.daemon.reactor import Reactor
from jqueue.daemon.watching import Watching
from jqueue.errors import KeyConflict
from jqueue.execution.wire import END, Splitter, frame
from jqueue.job import jsonio, parameters
from jqueue.job.jsontext import has_more_values
from jqueue.queue import entries
from jqueue.store.snapshot import DirectorySnapshot

LARGE = "x" * (connection.PARSED_APART_BYTES + 1)


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process", listen=True) as opened:
        yield opened


@pytest.fixture
def client(queue):
    with connect(queue.path, timeout_s=20) as made:
        yield made


@pytest.fixture
def wire(queue):
    made = Wire(str(queue.path))
    yield made
    made.close()


@contextmanager
def threads_of(owner, name):
    """Collect the names of the threads that call it."""
    seen = set()
    call = getattr(owner, name)

    def noted(*args, **kwargs):
        seen.add(threading.current_thread().name.partition("_")[0])
        return call(*args, **kwargs)

    with mock.patch.object(owner, name, noted):
        yield seen


def test_who_lists_all_jobs_holds_up_nobody_while_their_ids_are_found(queue, client):
    queue.submit_many([[{"OP_ID": "OP_X"}]] * 3)
    with threads_of(DirectorySnapshot, "job_ids") as threads:
        assert [job.id for job in client.jobs()] == [1, 2, 3]
    assert threads == {"reader"}


def test_a_large_submission_is_parsed_checked_and_digested_beside_the_loop(wire):
    given = [{"OP_ID": "OP_X", "text": LARGE}]
    with (
        threads_of(jsonio, "loads_strict") as parsing,
        threads_of(parameters, "normalize_op") as checking,
        threads_of(entries, "digest_of") as digesting,
    ):
        assert wire.call("submit", {"ops": given, "key": "one"}) == 1
        assert wire.call("submit_many", {"jobs": [given, given], "key": "two"}) == [
            [True, 2],
            [True, 3],
        ]
        assert wire.call("SubmitJob", [given]) == 4
        assert wire.call("SubmitManyJobs", [[given]]) == [[True, 5]]
    assert parsing == checking == digesting == {"parser"}


def test_a_large_submission_waits_for_no_reading_of_others(queue, wire, monkeypatch):
    begun, may_end = threading.Semaphore(0), threading.Event()
    status = queue._owner.core.status

    def slowly():
        begun.release()
        assert may_end.wait(20)
        return status()

    monkeypatch.setattr(queue._owner.core, "status", slowly)
    with socket.socket(socket.AF_UNIX) as greedy:
        greedy.connect(f"{queue.path}/socket")
        greedy.sendall(frame({"method": "status", "args": {}}) * 100)
        for _ in range(verbs.READERS):
            assert begun.acquire(timeout=20)
        try:
            assert wire.call("submit", {"ops": [{"OP_ID": "OP_X", "text": LARGE}]}) == 1
        finally:
            may_end.set()


def test_many_who_wait_for_one_job_are_told_in_turns(queue, until, monkeypatch):
    turns, told_in = [], set()
    run_timers, answer = Reactor._run_timers, Watching._answer
    until_waiting = until(Watching, "wait")
    monkeypatch.setattr(reactor, "LONG_TURN_S", -1.0)
    monkeypatch.setattr(
        Reactor, "_run_timers", lambda loop: (turns.append(None), run_timers(loop))[1]
    )
    monkeypatch.setattr(
        Watching, "_answer", lambda *given: (told_in.add(len(turns)), answer(*given))[1]
    )
    job = queue.submit([{"OP_ID": "OP_X"}])
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(f"{queue.path}/socket")
        stream.settimeout(20)
        stream.sendall(frame({"method": "wait", "args": {"id": job}}) * 20)
        waiters = queue._owner.server.verbs.watching._waiters
        until_waiting(lambda: len(waiters.get(job, ())) == 20)
        queue.cancel(job)
        splitter, answers = Splitter(), []
        while len(answers) < 20:
            answers += splitter.feed(stream.recv(1 << 16))
    # A document of 60 MiB takes 60 ms for each of them.
    assert len(told_in) == 20


def test_a_large_submission_means_what_a_small_one_does(queue, wire):
    deep = []
    for _ in range(jsonio.MAX_DEPTH):
        deep = [deep]
    for text in ("", LARGE):
        with pytest.raises(InvalidJob, match="lower") as refused:
            wire.call("submit", {"ops": [{"OP_ID": "lower", "text": text}]})
        assert (refused.value.index, refused.value.field) == (0, "OP_ID")
        with pytest.raises(InvalidJob, match="nested too deeply"):
            wire.call("submit", {"ops": [{"OP_ID": "OP_X", "text": text, "deep": deep}]})
        good, bad = [{"OP_ID": "OP_X", "text": text}], [{"OP_ID": "OP_X", "priority": text or "?"}]
        (first, one), (second, _) = wire.call("submit_many", {"jobs": [good, bad]})
        assert (first, second) == (True, False)
        assert queue.job(one).ops[0].input["text"] == text
        key = f"key {len(text)}"
        known = wire.call("submit", {"ops": good, "key": key})
        assert wire.call("submit", {"ops": good, "key": key}) == known
        with pytest.raises(KeyConflict):
            wire.call("submit", {"ops": [{"OP_ID": "OP_Y", "text": text}], "key": key})
        with pytest.raises(InvalidJob):
            wire.call("submit", {"ops": {"text": text}})


def test_requests_behind_a_large_one_keep_their_order(queue):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(f"{queue.path}/socket")
        stream.settimeout(20)
        texts = (LARGE, "", LARGE, "")
        for text in texts:
            ops = [{"OP_ID": "OP_X", "text": text}]
            stream.sendall(frame({"method": "submit", "args": {"ops": ops}}))
        splitter, answers = Splitter(), []
        while len(answers) < len(texts):
            answers += map(jsonio.loads, splitter.feed(stream.recv(1 << 16)))
    assert [answer["result"] for answer in answers] == [1, 2, 3, 4]
    assert [job.ops[0].input["text"] for job in queue.jobs()] == list(texts)


DENSE = [{} for _ in range(luxi.MAX_VALUES // 2)]


@pytest.mark.parametrize(
    ("method", "args", "kind"),
    [
        ("submit", {"ops": [{"OP_ID": "OP_X", "dense": DENSE}], "key": "one"}, TooLarge),
        ("claim_finish", {"job": 1, "op": 0, "token": 1, "ok": True, "result": DENSE}, TooLarge),
        ("SubmitJob", [[{"OP_ID": "OP_X", "dense": DENSE}]], QueueFailed),
    ],
)
def test_a_request_of_too_many_values_is_not_parsed_and_its_connection_goes_on(
    queue, wire, method, args, kind
):
    # orjson held the interpreter for three seconds, and so everybody else's commits.
    with threads_of(jsonio, "loads_strict") as parsing, pytest.raises(kind) as refused:
        wire.call(method, args)
    assert not parsing
    assert str(luxi.MAX_VALUES) in str(refused.value)
    [kept] = wire._kept
    assert wire.call("count", {}) == 0
    assert wire._kept == [kept]


def test_as_many_values_as_allowed_are_taken_whatever_is_in_the_texts(queue, wire):
    values = luxi.MAX_VALUES - 20
    many = [{"OP_ID": "OP_X", "many": [0] * values, "text": ",[{:" * luxi.MAX_VALUES}]
    assert wire.call("submit", {"ops": many}) == 1
    assert len(queue.job(1).ops[0].input["many"]) == values


def test_a_hundred_thousand_small_jobs_are_not_too_many_for_a_request():
    op = {"OP_ID": "OP_X", "duration": 10, "text": "x", "priority": 5}
    jobs = frame({"method": "submit_many", "args": {"jobs": [[op]] * 100_000}})
    assert not has_more_values(jobs, luxi.MAX_VALUES)


def test_a_large_message_is_handed_over_without_a_copy():
    splitter = Splitter()
    assert not splitter.feed(b"x" * 10)
    rest = splitter._rest
    [frame] = splitter.feed(b"y" + END)
    assert frame is rest
    assert frame == b"x" * 10 + b"y"
    assert splitter.feed(b"z" + END) == [b"z"]
