"""Whatever comes over the socket, the queue stays as it was, and everybody gets an answer (P12)."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jqueue import JobQueue
from jqueue.daemon.ganeti import _METHODS
from jqueue.errors import InvalidJob
from jqueue.execution.wire import END, frame
from jqueue.job.ids import parse_job_id
from tests.unit.daemon.test_server import Peer


def names_no_job(text):
    """Whether it is not the ID of a job that is there: Ganeti's clients send IDs as texts."""
    try:
        return parse_job_id(text) >= 10**6
    except InvalidJob:
        return True


NOWHERE = st.integers(10**6, 10**7) | st.integers(-(10**6), -2)
JUNK = st.recursive(
    st.none()
    | NOWHERE
    | st.sampled_from(["../1", "", "x\0", "\u2028", "nan", 1e308, -0.5, 2**63, -(2**63)])
    | st.text(max_size=8).filter(names_no_job),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["jobs", "id", "OP_ID ", "0"]), inner, max_size=2)
    ),
    max_leaves=6,
)
MEANT_WITHOUT_ARGUMENTS = {"drain", "pause", "undrain", "resume", "wait_idle"}
SLOW = {"claim", "wait", "wait_change", "wait_idle"}


def requests(verbs):
    """Requests for every verb and method, none of which can be meant."""
    own = st.sampled_from(sorted(verbs)).flatmap(lambda name: own_request(name, verbs[name]))
    ganeti = st.builds(
        lambda method, args: {"method": method, "args": args},
        st.sampled_from(sorted(_METHODS)),
        st.lists(JUNK, max_size=5),
    )
    return own | ganeti


def own_request(name, verb):
    arguments = verb[1]
    known = sorted(arguments.known)
    names = st.sets(st.sampled_from(known), max_size=4) if known else st.just(set())
    if name in SLOW:
        # Without a time limit they would rightly wait for ever.
        names = names.map(lambda some: some - {"timeout_s"})
    more = {"nonsense"} if name in MEANT_WITHOUT_ARGUMENTS else set()
    return names.flatmap(
        lambda some: st.fixed_dictionaries(
            dict.fromkeys(some | arguments.required | more, JUNK)
        ).map(lambda args: {"method": name, "args": args})
    )


def everything(queue):
    return (
        [job.to_dict() for job in queue.jobs(archived=True)],
        queue.drain_state(),
        queue.pause_state(),
    )


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "queue"
    with JobQueue.open(path, durability="process", listen=True) as opened:
        opened.submit_many([[{"OP_ID": "OP_X"}] for _ in range(3)])
        yield opened


def check(queue, data):
    verbs = queue._owner.server.verbs._verbs
    before = everything(queue)
    messages = data.draw(st.lists(requests(verbs), min_size=5, max_size=25))
    for message in messages:
        with Peer(queue) as peer:
            peer.send(frame(message))
            answer = peer.answer()
            assert answer is not None, message
            assert isinstance(answer["success"], bool)
    assert everything(queue) == before


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_no_request_that_means_nothing_changes_the_queue(queue, data):
    check(queue, data)


@pytest.mark.torture
@pytest.mark.timeout(36_000)
@settings(
    max_examples=20_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_no_request_changes_the_queue_however_many_come(queue, data):
    check(queue, data)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([1, 7, 4000]), min_size=1, max_size=20),
    st.lists(st.integers(1, 500), min_size=1, max_size=20),
)
def test_requests_are_told_apart_however_their_bytes_arrive(queue, fillings, cuts):
    requests = [
        b" " * filling + b'{"method":"count","args":{}}' + b"\n" * (filling % 3) + END
        for filling in fillings
    ]
    data = b"".join(requests)
    with Peer(queue) as peer:
        for cut in cuts:
            peer.send(data[:cut])
            data = data[cut:]
        peer.send(data)
        assert [peer.answer()["result"] for _ in requests] == [3] * len(requests)


def test_a_claim_that_names_no_livelock_gets_nothing(queue):
    # None was the inode of a livelock that isn't there, and so matched a claim without one.
    before = everything(queue)
    for name in (None, "", "claim-nobody", 7, ["claim"]):
        with Peer(queue) as peer:
            args = {"livelock_name": name, "inode": None}
            peer.send(frame({"method": "claim", "args": args}))
            assert peer.answer()["success"] is False
    assert everything(queue) == before
