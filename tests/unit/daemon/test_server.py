"""The door: hostile or clumsy peers get a clear answer, change nothing, hold nobody up (P12)."""

import contextlib
import os
import socket
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jqueue import JobNotFound, JobQueue, KeyConflict, QueueFailed, connect
from jqueue.daemon import luxi, server
from jqueue.daemon.watching import Watching
from jqueue.errors import InvalidJob, QueueDrained
from jqueue.execution.wire import END, HELLO, Splitter, frame
from jqueue.job import jsonio
from jqueue.store import livelock


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process", listen=True) as opened:
        yield opened


@pytest.fixture
def peer(queue):
    with Peer(queue) as made:
        yield made


class Peer:
    """A raw connection."""

    def __init__(self, queue):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(os.path.join(queue.path, "socket"))
        self.stream.settimeout(20)
        self.splitter, self.frames = Splitter(), []

    def send(self, data):
        self.stream.sendall(data)

    def ask(self, method, **args):
        self.send(frame({"method": method, "args": args}))
        return self.answer()

    def answer(self):
        """The next answer; None if the connection is closed."""
        while not self.frames:
            data = self.stream.recv(65536)
            if not data:
                return None
            self.frames += self.splitter.feed(data)
        return jsonio.loads(self.frames.pop(0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"submit"',
        b"{}",
        b'{"method": 7}',
        b'{"method": "submit"}',
        b'{"method": "submit", "args": "ops"}',
        b'{"method": "submit", "args": {"ops": [], "wrong": 1}}',
        b'{"method": "no_such_verb", "args": {}}',
        b'{"method": "__init__", "args": {}}',
        b'{"method": "handle", "args": {}}',
        b'{"method": "submit", "args": {"ops": NaN}}',
        b'{"method": "submit", "args": {"ops": 1e999}}',
        b'{"method": "submit", "method": "count", "args": {}}',
        b'{"method": "submit", "args": {"ops": ' + b"[" * 200 + b"]" * 200 + b"}}",
        b'{"method": "submit", "args": {"ops": "\\ud800"}}',
        b"\xff\xfe",
        b'{"method": "' + HELLO.encode() + b'", "args": []}',
        b'{"method": "' + HELLO.encode() + b'", "args": [{"pid": 1}]}',
    ],
)
def test_what_cannot_be_understood_is_said_so_and_the_connection_closed(queue, peer, text):
    peer.send(text + END)
    answer = peer.answer()
    assert answer["success"] is False
    assert answer["result"].startswith("Failed to parse request: ")
    assert peer.answer() is None
    assert queue.count() == 0


@pytest.mark.parametrize(
    ("method", "args", "kind"),
    [
        ("submit", {"ops": []}, "InvalidJob"),
        ("submit", {"ops": [{"OP_ID": "lower"}]}, "InvalidJob"),
        ("submit", {"ops": 7}, "InvalidJob"),
        ("submit", {"ops": [{"OP_ID": "OP_X"}], "key": ["list"]}, "InvalidJob"),
        ("submit_many", {"jobs": {"a": 1}}, "InvalidJob"),
        ("job", {"id": 77}, "JobNotFound"),
        ("job", {"id": "../1"}, "InvalidJob"),
        ("job", {"id": -1}, "InvalidJob"),
        ("job", {"id": 10**19}, "InvalidJob"),
        ("wait", {"id": 77}, "JobNotFound"),
        ("wait", {"id": [1]}, "InvalidJob"),
        ("wait_idle", {"timeout_s": "soon"}, "InvalidJob"),
        ("cancel", {"id": {}}, "InvalidJob"),
        ("count", {"statuses": ["sideways"]}, "InvalidJob"),
        ("count", {"statuses": 7}, "InvalidJob"),
        ("jobs", {"ids": "abc"}, "InvalidJob"),
        ("auto_archive", {"age_s": "old"}, "InvalidJob"),
        ("drain", {"reason": 7}, "InvalidJob"),
        ("claim", {"livelock_name": "../lock", "inode": 1}, "InvalidJob"),
        ("claim", {"livelock_name": "claim-1-" + "0" * 24, "inode": 1}, "InvalidJob"),
        ("claim_finish", {"job": 1, "op": 0, "token": 1, "ok": True}, "Refused"),
        ("claim_release", {"job": "x", "op": 0, "token": 1}, "InvalidJob"),
        ("claim_log", {"job": 1, "op": 0, "token": 1, "entries": 7}, "InvalidJob"),
        ("claim_log", {"job": 1, "op": 0, "token": 1, "entries": []}, "Refused"),
        ("retry", {"id": 5}, "JobNotFound"),
    ],
)
def test_bad_arguments_are_an_error_and_the_connection_goes_on(queue, peer, method, args, kind):
    answer = peer.ask(method, **args)
    assert answer["success"] is False
    assert answer["result"][0] == kind, answer
    assert peer.ask("count")["result"] == 0
    assert queue.drain_state() is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=200))
def test_no_bytes_harm_the_owner(queue, data):
    with Peer(queue) as peer:
        peer.send(data + END)
        peer.stream.shutdown(socket.SHUT_WR)
        while peer.answer() is not None:
            pass
    with connect(queue.path) as client:
        assert client.count() == 0


def test_answers_come_in_the_order_of_the_requests(queue, peer):
    requests = [{"method": "wait", "args": {"id": 1, "timeout_s": 0.1}}]
    requests += [{"method": "count", "args": {}}] * 5
    queue.submit([{"OP_ID": "OP_X"}])
    peer.send(b"".join(map(frame, requests)))
    answers = [peer.answer() for _ in requests]
    assert answers[0]["result"][0] == "WaitTimeout"
    assert [answer["result"] for answer in answers[1:]] == [1] * 5


def test_more_requests_than_are_read_at_once_are_all_answered(queue, peer):
    count = 5000
    sender = threading.Thread(
        target=peer.send, args=(frame({"method": "count", "args": {}}) * count,)
    )
    sender.start()
    assert [peer.answer()["result"] for _ in range(count)] == [0] * count
    sender.join()


def test_peer_that_never_reads_holds_up_nobody(queue):
    queue.submit_many([[{"OP_ID": "OP_X", "text": "x" * 2000}] for _ in range(2000)])
    with Peer(queue) as lazy, connect(queue.path) as client:
        lazy.send(frame({"method": "jobs", "args": {}}) * 20)
        for _ in range(20):
            assert client.count() == 2000


def test_peer_that_leaves_in_the_middle_harms_nobody(queue):
    queue.submit([{"OP_ID": "OP_X"}])
    for text in (b'{"method": "co', frame({"method": "wait", "args": {"id": 1}})):
        with Peer(queue) as peer:
            peer.send(text)
    with Peer(queue) as peer:
        assert peer.ask("count")["result"] == 1


def test_too_long_a_message_ends_its_connection(queue, peer, monkeypatch):
    monkeypatch.setattr("jqueue.daemon.connection.Splitter", lambda: Splitter(1000))
    with Peer(queue) as long:
        long.send(b"x" * 2000)
        assert "more than 1000 bytes" in long.answer()["result"]
        assert long.answer() is None
    assert peer.ask("count")["result"] == 0


def test_more_connections_than_allowed_wait_for_room(queue, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    first, second, third = Peer(queue), Peer(queue), Peer(queue)
    assert first.ask("count")["result"] == 0
    assert second.ask("count")["result"] == 0
    third.send(frame({"method": "count", "args": {}}))
    third.stream.settimeout(0.1)
    with pytest.raises(TimeoutError):
        third.answer()
    first.stream.close()
    third.stream.settimeout(20)
    assert third.answer()["result"] == 0
    second.stream.close()
    third.stream.close()


def test_idle_connections_make_room_when_there_is_none(queue, until_seen, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(server, "IDLE_S", 0.0)
    monkeypatch.setattr(server, "RETRY_S", 0.01)
    queue.submit([{"OP_ID": "OP_X"}])
    half, waiting = Peer(queue), Peer(queue)
    half.send(b'{"method": "cou')
    waiting.send(frame({"method": "wait", "args": {"id": 1}}))
    until_seen(queue)
    with Peer(queue) as third:
        assert third.ask("count")["result"] == 1
        with contextlib.suppress(ConnectionResetError):
            assert half.answer() is None
        queue.cancel(1)
        assert waiting.answer()["success"]
    half.stream.close()
    waiting.stream.close()


def test_a_peer_that_takes_no_answer_is_let_go_with_what_was_for_it(queue, until, monkeypatch):
    until_let_go = until(server.Server, "forget")
    monkeypatch.setattr("jqueue.daemon.connection.STALL_S", 0.05)
    queue.submit_many([[{"OP_ID": "OP_X", "text": "x" * 2000}] for _ in range(2000)])
    with Peer(queue) as lazy:
        lazy.send(frame({"method": "jobs", "args": {}}))
        until_let_go(lambda: not queue._owner.server._connections)
    with Peer(queue) as peer:
        assert peer.ask("count")["result"] == 2000


def test_a_long_request_is_parsed_beside_the_loop_and_answered_in_its_turn(queue, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    parse = luxi.parse_request

    def slowly(text):
        if b"long" in text:
            begun.set()
            assert may_end.wait(20)
        return parse(text)

    monkeypatch.setattr(luxi, "parse_request", slowly)
    long = frame(
        {"method": "submit", "args": {"ops": [{"OP_ID": "OP_X", "long": "x" * (1 << 20)}]}}
    )
    with Peer(queue) as slow, Peer(queue) as quick:
        slow.send(long + frame({"method": "pause_state", "args": {}}))
        assert begun.wait(20)
        assert quick.ask("submit", ops=[{"OP_ID": "OP_X"}])["result"] == 1
        may_end.set()
        assert slow.answer()["result"] == 2
        assert slow.answer()["result"] is None


def test_a_long_request_that_is_nonsense_is_refused_and_its_peer_may_vanish(queue):
    with Peer(queue) as peer:
        peer.send(b"[" + b'"x",' * 100_000 + END)
        assert "not JSON" in peer.answer()["result"]
        assert peer.answer() is None
    with Peer(queue) as gone:
        gone.send(frame({"method": "count", "args": {"x": "y" * (1 << 20)}}))
    with Peer(queue) as peer:
        assert peer.ask("count")["result"] == 0


def test_unfinished_messages_are_bounded_on_all_connections_together(
    queue, until, until_seen, monkeypatch
):
    until_let_go = until(server.Server, "forget")
    monkeypatch.setattr(server, "MAX_HELD_BYTES", 5 << 20)
    with Peer(queue) as first, Peer(queue) as second, Peer(queue) as third:
        first.send(b"x" * (3 << 20))
        until_seen(queue)
        assert queue._owner.server._held_bytes
        with contextlib.suppress(OSError):
            second.send(b"x" * (4 << 20))
        with contextlib.suppress(OSError):
            assert "too many large messages" in second.answer()["result"]
        assert third.ask("count")["result"] == 0
    until_let_go(lambda: not queue._owner.server._connections)
    assert not queue._owner.server._held_bytes


def test_listings_on_one_connection_take_turns(queue, peer):
    queue.submit_many([[{"OP_ID": "OP_X"}] for _ in range(1200)])
    queue.submit([{"OP_ID": "OP_X"}])
    peer.send(frame({"method": "wait", "args": {"id": 1, "timeout_s": 0.05}}))
    peer.send(frame({"method": "jobs", "args": {}}) * 2)
    assert peer.answer()["result"][0] == "WaitTimeout"
    for _ in range(2):
        found, more = 0, True
        while more:
            answer = peer.answer()
            found, more = found + len(answer["result"]), answer["more"]
        assert found == 1201


def test_an_error_of_our_own_is_answered_too(queue, peer, monkeypatch, caplog):
    def fail(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(queue._owner.core, "auto_archive", fail)
    kind, [text], _ = peer.ask("auto_archive", age_s=0)["result"]
    assert (kind, "a bug" in text) == ("QueueFailed", True)
    assert "a reading failed" in caplog.text


def test_peers_of_other_users_are_sent_away(queue, monkeypatch):
    monkeypatch.setattr(server, "peer_of", lambda stream: (1, 12345, 12345))
    with Peer(queue) as peer:
        assert peer.answer() is None


def test_something_else_under_the_name_of_the_socket_is_left_alone(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process") as queue:
        (tmp_path / "queue" / "socket").write_text("mine")
        with pytest.raises(QueueFailed, match="not a socket"):
            queue.listen()
        assert (tmp_path / "queue" / "socket").read_text() == "mine"


def test_stale_socket_is_replaced(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process") as queue:
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(tmp_path / "queue" / "socket"))
        stale.close()
        queue.listen()
        with connect(queue.path) as client:
            assert client.has_owner


def test_errors_arrive_as_they_were_raised_with_their_facts(queue):
    with connect(queue.path) as client:
        with pytest.raises(InvalidJob) as invalid:
            client._reach.ask("submit", {"ops": [{"OP_ID": "OP_X"}, {"OP_ID": "x"}]})
        assert (invalid.value.index, invalid.value.field) == (1, "OP_ID")
        with pytest.raises(JobNotFound) as missing:
            client.job(9)
        assert missing.value.job_id == 9
        client.submit([{"OP_ID": "OP_X"}], key="k")
        with pytest.raises(KeyConflict) as conflict:
            client.submit([{"OP_ID": "OP_Y"}], key="k")
        assert conflict.value.key == "k"
        client.drain("why not")
        with pytest.raises(QueueDrained) as drained:
            client.submit([{"OP_ID": "OP_X"}])
        assert drained.value.reason == "why not"


def test_every_verb_works_the_same_on_an_owner_and_on_a_client(queue):
    with connect(queue.path) as client:
        assert client.submit([{"OP_ID": "OP_X"}]) == 1
        assert client.submit([{"OP_ID": "OP_X"}], unique="u") == 2
        assert client.submit([{"OP_ID": "OP_X"}], unique="u") == 2
        assert client.submit_many([[{"OP_ID": "OP_X"}], [{"OP_ID": 1}]])[1].ok is False
        assert client.job(1) == queue.job(1)
        assert list(client.jobs(statuses="queued")) == list(queue.jobs(statuses="queued"))
        assert client.change_priority(1, -7) == (True, queue.change_priority(1, -7).text)
        assert client.job(1).priority == -7
        assert client.cancel(1).ok
        assert client.wait(1, 5).status == "canceled"
        assert client.retry(1) == 4
        assert client.archive(1) is True
        assert client.job(1).archived
        assert client.auto_archive(0) == (0, 0)
        assert client.pause_state() is None
        client.pause("p", by="me")
        assert client.pause_state()["by"] == "me"
        client.resume()
        assert client.resolve(2, happened=True).ok is False
        assert client.status()["counts"]["queued"] == queue.status()["counts"]["queued"]
        assert client.explain(2) == queue.explain(2)


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("wait_change", {"id": 1, "lsn": "x"}),
        ("wait_change", {"id": 1, "lsn": 10**9, "timeout_s": "x"}),
        ("wait", {"id": 1, "timeout_s": [1]}),
        ("wait_any", {"seen": [[1, 10**9, []]], "timeout_s": {}}),
        ("wait_any", {"seen": [[1, 10**9]]}),
        ("wait_any", {"seen": [[1, 10**9, ["x"]]]}),
        ("wait_any", {"seen": []}),
        ("wait_any", {"seen": [[1, 10**9, []]] * 101}),
        ("top", {"rows": "x"}),
    ],
)
def test_a_wait_that_makes_no_sense_is_refused_and_forgotten(queue, peer, method, args):
    queue.submit([{"OP_ID": "OP_X"}])
    assert not peer.ask(method, **args)["success"]
    # Its condition was asked again at each change, and ended the owner.
    queue.change_priority(1, 5)
    assert peer.ask("count") == {"success": True, "result": 1}
    assert queue._owner.server.verbs.watching._waiters == {}


def test_a_claim_whose_limit_is_no_number_is_refused(queue, peer):
    directory = os.open(queue.path, os.O_RDONLY)
    held = livelock.take(directory, "claim")
    asked = {"livelock_name": held.name, "inode": held.inode, "timeout_s": "x"}
    assert peer.ask("claim", **asked)["result"][0] == "InvalidJob"
    # It ended the owner when the limit was armed.
    assert peer.ask("claim", **{**asked, "timeout_s": 0}) == {"success": True, "result": None}
    livelock.release(directory, held)
    os.close(directory)


def test_one_of_many_jobs_is_told_and_only_what_is_new_of_its_log(queue, peer):
    for _ in range(3):
        queue.submit([{"OP_ID": "OP_X"}])
    claim = queue.claim(["OP_X"])
    claim.feedback("one")
    claim.feedback("two")
    lsn = queue.job(1).lsn
    seen = [[1, lsn - 1, [1]], [2, 10**9, []], [3, 10**9, []]]
    answer = peer.ask("wait_any", seen=seen)["result"]["document"]
    assert answer["id"] == 1
    assert [entry[3] for entry in answer["ops"][0]["log"]] == ["two"]
    peer.send(frame({"method": "wait_any", "args": {"seen": [[2, 10**9, []], [3, 10**9, []]]}}))
    queue.cancel(3)
    assert peer.answer()["result"]["document"]["id"] == 3
    claim.finish(None)


def test_wait_change_tells_of_each_change(queue):
    with connect(queue.path) as client:
        job = client.job(client.submit([{"OP_ID": "OP_X"}]))
        found = []
        thread = threading.Thread(target=lambda: found.append(client.wait_change(1, job.lsn, 20)))
        thread.start()
        queue.change_priority(1, 5)
        thread.join(20)
        assert found[0].priority == 5
        assert queue.wait_change(1, job.lsn, 5).priority == 5


def test_waiting_costs_no_time_once_the_job_ends(queue, until):
    until_waiting = until(Watching, "wait")
    with connect(queue.path) as client:
        client.submit([{"OP_ID": "OP_X"}])
        ended = []
        thread = threading.Thread(target=lambda: ended.append((client.wait(1, 20), time.time())))
        thread.start()
        until_waiting(lambda: queue._owner.server.verbs.watching._waiters)
        queue.cancel(1)
        begin = time.time()
        thread.join(20)
        assert ended[0][1] - begin < 1


def test_answers_that_make_no_sense_are_an_error_of_the_queue():
    for answer in (None, 7, {}, {"success": False}, {"success": False, "result": ["x"]}):
        with pytest.raises(QueueFailed):
            luxi.unwrap(answer)
