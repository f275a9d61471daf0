"""Ganeti's methods on the socket, in the words of its real client; faults of luxid are not ours."""

import json
import os
import resource
import shutil
import socket
import tarfile
import threading
from pathlib import Path

import pytest

from jqueue import JobQueue
from jqueue.job.query import GANETI

DATA = Path(__file__).parents[2] / "data"
SAMPLE = json.loads((DATA / "ganeti-queue.json").read_bytes())["jobs"]
LIVE = [job["id"] for job in SAMPLE if not job["archived"]]
EVERY = [job["id"] for job in SAMPLE]
RECOVERED = ("waiting", "running", "canceling")
"""What was so is queued again, or canceled."""
# As gnt-debug delay sends it.
DELAY = {
    "OP_ID": "OP_TEST_DELAY",
    "duration": 0.1,
    "on_master": True,
    "on_nodes": [],
    "on_node_uuids": None,
    "repeat": 0,
    "interruptible": False,
    "no_locks": True,
    "priority": 0,
    "depends": None,
    "reason": [["gnt:client:gnt-debug", "", 1795515150000000000]],
    "comment": None,
    "dry_run": None,
    "debug_level": 0,
}


class Luxi:
    """Speaks as Ganeti's luxi.Client."""

    def __init__(self, queue):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(20)
        self.stream.connect(os.path.join(queue.path, "socket"))
        self.rest = b""

    def send(self, method, *args, **more):
        request = {"method": method, "args": list(args), "version": 3000000, **more}
        self.stream.sendall(json.dumps(request).encode() + b"\n\x03")

    def answer(self):
        """Success and result, or None if the connection was closed."""
        while b"\x03" not in self.rest:
            data = self.stream.recv(65536)
            if not data:
                return None
            self.rest += data
        text, _, self.rest = self.rest.partition(b"\x03")
        assert text.isascii()
        found = json.loads(text)
        assert found.keys() == {"success", "result"}
        return found["success"], found["result"]

    def ask(self, method, *args, **more):
        self.send(method, *args, **more)
        return self.answer()

    def result(self, method, *args, **more):
        success, result = self.ask(method, *args, **more)
        assert success, result
        return result

    def rows(self, names, form):
        found = self.result("Query", "job", names, form)
        assert [field["name"] for field in found["fields"]] == names
        return found["data"]

    def ids(self, form, names=("id",)):
        return [row[0][1] for row in self.rows(list(names), form)]


@pytest.fixture(scope="module")
def sample_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("ganeti")
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as tar:
        tar.extractall(path, filter="data")
    return path / "queue"


@pytest.fixture
def sample(sample_directory, tmp_path):
    """The directory that Ganeti wrote, recovered and served, nothing run."""
    shutil.copytree(sample_directory, tmp_path / "queue")
    options = {"durability": "process", "files": "behind", "listen": True}
    with JobQueue.open(tmp_path / "queue", **options) as opened:
        yield opened


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "new", durability="process", listen=True) as opened:
        yield opened


@pytest.fixture
def luxi(queue):
    made = Luxi(queue)
    yield made
    made.stream.close()


@pytest.fixture
def old(sample):
    made = Luxi(sample)
    yield made
    made.stream.close()


# Query


def test_query_gives_every_field_as_ganeti_reports_it(old):
    names = list(GANETI)
    rows = old.rows(names, None)
    assert [row[0] for row in rows] == [[0, job] for job in EVERY]
    for row, job in zip(rows, SAMPLE, strict=True):
        if job["status"] in RECOVERED:
            continue
        for name, cell in zip(names, row, strict=True):
            if name in job:
                expected = [3, None] if job[name] is None else [0, job[name]]
                assert cell == expected, (job["id"], name)


def test_archived_jobs_are_listed_only_if_they_are_asked_for(old):
    assert old.ids(None) == LIVE
    assert old.ids(None, ("id", "archived")) == EVERY
    assert old.ids(["!", ["?", "archived"]]) == LIVE
    assert old.ids(["|", ["?", "archived"], ["=", "status", "none"]]) == EVERY[:11]
    assert old.ids(["=", "id", 12]) == [12]


def test_rows_for_ids_are_exactly_these_missing_ones_too(old):
    form = ["|", *[["==", "id", job] for job in (20071, 3, 12, 3)]]
    assert old.rows(["id", "status", "zzz"], form) == [
        [[0, 3], [3, None], [1, None]],
        [[0, 12], [0, "success"], [1, None]],
        [[0, 20071], [0, "queued"], [1, None]],
    ]


def test_filters_as_gnt_job_sends_them(old, sample):
    def listed(*statuses):
        found = [job.id for job in sample.jobs(statuses=statuses)]
        assert found
        return found

    pending = ["queued", "waiting", "canceling"]
    assert old.ids(["|", *[["==", "status", one] for one in pending]]) == listed(*pending)
    assert old.ids(["&", ["==", "status", "error"], [">", "id", 0]]) == listed("error")
    assert old.ids(["!", ["==", "status", "error"]]) == [
        job for job in LIVE if job not in listed("error")
    ]
    assert old.ids(["=[]", "opstatus", "error"]) == listed("error")
    assert old.ids(["=~", "status", "^(error|success)$"]) == listed("error", "success")


@pytest.mark.parametrize(
    ("form", "kind", "text"),
    [
        (["=", "zzz", 1], "ParameterError", "Can't find field named 'zzz'"),
        (["=", "key", "k"], "ParameterError", "Can't find field named 'key'"),
        (["=", "id", "7"], "ParameterError", "number"),
        (["=~", "status", "("], "ParameterError", "pattern"),
    ],
)
def test_a_filter_that_cannot_be_answered_is_an_error_and_the_connection_stays(
    luxi, form, kind, text
):
    success, (name, [message]) = luxi.ask("Query", "job", ["id"], form)
    assert (success, name, text in message) == (False, kind, True), message
    assert luxi.ids(None) == []


def test_fields_are_described(luxi):
    found = luxi.result("QueryFields", "job", None)["fields"]
    assert [field["name"] for field in found] == sorted(GANETI)
    assert luxi.result("QueryFields", "job", [])["fields"] == found
    found = luxi.result("QueryFields", "job", ["status", "zzz"])["fields"]
    assert [field.pop("doc") != "" for field in found] == [True, True]
    assert found == [
        {"name": "status", "title": "Status", "kind": "text"},
        {"name": "zzz", "title": "zzz", "kind": "unknown"},
    ]


def test_query_jobs_keeps_the_order_asked(old):
    names = ["id", "status"]
    assert old.result("QueryJobs", ["20012", 20010, 3, 20012, 12], names) == [
        [20012, "queued"],
        [20010, "queued"],
        [3, None],
        [12, "success"],
    ]
    for everything in (None, []):
        assert [row[0] for row in old.result("QueryJobs", everything, ["id"])] == LIVE
    assert old.ask("QueryJobs", [1], ["id", "x", "y"]) == (
        False,
        ["OpPrereqError", ["Unknown output fields selected: x, y", "wrong_input"]],
    )


def test_config_values(old):
    found = old.result("QueryConfigValues", ["drain_flag", "watcher_pause", "nonsense"])
    assert found == [True, None, None]


# Submitting


def test_submissions(luxi, queue):
    assert luxi.result("SubmitJob", [DELAY]) == 1
    child = {**DELAY, "depends": [[-1, ["success"]]]}
    found = luxi.result("SubmitManyJobs", [[DELAY], [child], [{"OP_ID": "bad"}]])
    assert found[:2] == [[True, 2], [True, 3]]
    assert (found[2][0], "OP_ID" in found[2][1]) == (False, True)
    assert luxi.result("SubmitManyJobs", []) == []
    assert queue.job(3).ops[0].input["depends"] == [[2, ["success"]]]
    given, ours = queue.job(1).ops[0].input["reason"]
    assert given == DELAY["reason"][0]
    assert ours[:2] == ["jqueue:opcode:test_delay", f"job=1;index=0;uid={os.getuid()}"]


def test_drained_queue_refuses_but_what_is_submitted_despite_it(luxi, queue):
    assert luxi.result("SetDrainFlag", True) is True
    for method, jobs in (("SubmitJob", [DELAY]), ("SubmitManyJobs", [[DELAY]])):
        success, (kind, [text]) = luxi.ask(method, jobs)
        assert (success, kind, "drained" in text) == (False, "GenericError", True)
    assert luxi.result("SubmitJobToDrainedQueue", [DELAY]) == 1
    assert ["jqueue:drain", "submitted despite"] in [
        entry[:2] for entry in queue.job(1).ops[0].input["reason"]
    ]
    # luxid never answers the second one.
    assert [luxi.result("SetDrainFlag", False) for _ in range(2)] == [True, True]
    assert luxi.result("SubmitJobToDrainedQueue", [DELAY]) == 2


def test_a_repeated_submission_with_a_key_is_made_once(queue):
    for method, jobs, answer in (
        ("SubmitJob", [DELAY], 1),
        ("SubmitManyJobs", [[DELAY], [DELAY]], [[True, 2], [True, 3]]),
    ):
        for _ in range(3):
            luxi = Luxi(queue)
            assert luxi.result(method, jobs, key=method) == answer
            luxi.stream.close()
    assert queue.count() == 3


def test_a_bad_submission_is_refused_and_the_connection_stays(luxi, queue):
    for ops in ([], [{}], [{**DELAY, "priority": -99}], [{**DELAY, "depends": [[99, []]]}]):
        success, (kind, arguments) = luxi.ask("SubmitJob", ops)
        assert (success, kind, arguments[1]) == (False, "OpPrereqError", "wrong_input"), ops
    assert queue.count() == 0


# Changing


def test_cancel_priority_archive(luxi, queue):
    for _ in range(3):
        queue.submit([DELAY])
    assert luxi.result("ChangeJobPriority", "1", -10)[0] is True
    assert queue.job(1).priority == -10
    # luxid takes that, and the job never runs.
    assert luxi.result("ChangeJobPriority", 1, -99)[0] is False
    assert queue.job(1).priority == -10
    assert luxi.result("ArchiveJob", 1) is False
    assert luxi.result("CancelJob", "1")[0] is True
    assert luxi.result("CancelJob", 1, False)[0] is False
    assert luxi.result("CancelJob", 99, True) == [False, "Job 99 not found in queue"]
    assert luxi.result("ChangeJobPriority", 99, 0) == [False, "Job 99 not found in queue"]
    # luxid refuses a job that was canceled while queued.
    assert [luxi.result("ArchiveJob", 1) for _ in range(2)] == [True, False]
    assert luxi.result("ArchiveJob", 99) is False
    luxi.result("CancelJob", 2)
    assert luxi.result("AutoArchiveJobs", 3600, 89) == [0, 0]
    # luxid archives nothing then.
    assert luxi.result("AutoArchiveJobs", -1, 89) == [1, 0]
    assert luxi.ask("AutoArchiveJobs", -7, 89)[0] is False
    assert [job.id for job in queue.jobs()] == [3]


def test_pickup_is_internal(luxi):
    success, (kind, [text]) = luxi.ask("PickupJob", 1)
    assert (success, kind, "internal use only" in text) == (False, "GenericError", True)


# Waiting


def test_waiting_for_a_job_that_is_nowhere_or_archived(old):
    for job in (3, "3", 12):
        answer = old.ask("WaitForJobChange", job, ["status"], None, None, 1)
        assert answer == (False, ["JobLost", ["Can't load job file"]])


def test_a_finished_job_is_answered_at_once_even_with_nothing_new(luxi, queue):
    queue.submit([DELAY])
    queue.cancel(1)
    for before, serial in ((None, None), (["canceled"], 99), (["queued"], 0)):
        assert luxi.result("WaitForJobChange", "1", ["status"], before, serial, 80) == [
            ["canceled"],
            [],
        ]


def test_values_that_differ_are_answered_at_once(luxi, queue):
    queue.submit([DELAY])
    ask = ("WaitForJobChange", 1, ["status", "priority"])
    assert luxi.result(*ask, None, None, 80) == [["queued", 0], []]
    assert luxi.result(*ask, ["queued", 5], None, 80) == [["queued", 0], []]


def test_nothing_new_is_answered_at_the_timeout(luxi, queue):
    queue.submit([DELAY])
    for timeout in (0, -1, 0.05):
        found = luxi.result("WaitForJobChange", 1, ["status"], ["queued"], None, timeout)
        assert found == [["queued"], []]


@pytest.mark.parametrize("method", ["Query", "QueryFields", "QueryJobs"])
def test_a_request_names_a_bounded_number_of_fields(luxi, method):
    names = ["id"] * 257
    args = {
        "Query": ["job", names, None],
        "QueryFields": ["job", names],
        "QueryJobs": [None, names],
    }
    luxi.send(method, *args[method])
    ok, text = luxi.answer()
    assert not ok
    assert "more than 256 fields" in text


def test_unknown_fields_make_all_values_null(luxi, queue):
    queue.submit([DELAY])
    found = luxi.result("WaitForJobChange", 1, ["status", "zzz"], None, None, 80)
    assert found == [[None, None], []]


def test_log_messages_are_answered_from_the_serial_on(old):
    logged = [job["id"] for job in SAMPLE if job["log_serial"] > 1 and not job["archived"]]
    assert logged
    for job in logged:
        values, entries = old.result("WaitForJobChange", job, ["status"], None, None, 80)
        last = len(entries)
        assert [entry[0] for entry in entries] == list(range(1, last + 1))
        _, entries = old.result("WaitForJobChange", job, ["status"], values, last - 1, 80)
        assert [entry[0] for entry in entries] == [last]


def test_a_change_wakes_who_waits(luxi, queue, until_seen):
    queue.submit([DELAY])
    luxi.send("WaitForJobChange", 1, ["status"], ["queued"], None, 80)
    until_seen(queue)
    queue.cancel(1)
    assert luxi.answer() == (True, [["canceled"], []])
    assert not queue._owner.server.verbs.watching._waiters


# The protocol


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("Nonsense", [1]),
        ("__init__", []),
        ("_cancel", [1]),
        ("CancelJob", []),
        ("CancelJob", [1, True, 3]),
        ("CancelJob", ["x"]),
        ("CancelJob", [1, 1]),
        ("SubmitJob", [DELAY]),
        ("SubmitJob", [[DELAY], 3]),
        ("SetDrainFlag", [1]),
        ("ChangeJobPriority", [1, "0"]),
        ("Query", ["job", ["id"]]),
        ("Query", ["job", "id", None]),
        ("Query", ["job", [1], None]),
        ("Query", ["job", ["id"], []]),
        ("Query", ["job", ["id"], ["~", "id", 1]]),
        ("QueryJobs", [["abc"], ["id"]]),
        ("WaitForJobChange", [1, ["id"], None, "x", 1]),
        ("WaitForJobChange", [1, ["id"], None, None, "x"]),
        ("AutoArchiveJobs", ["old", 89]),
        ("PickupJob", ["x"]),
    ],
)
def test_wrong_arguments_are_a_parse_error_that_closes_the_connection(luxi, queue, method, args):
    success, result = luxi.ask(method, *args)
    assert (success, result.startswith("Failed to parse request: ")) == (False, True)
    assert luxi.answer() is None
    assert queue.count() == 0


def test_requests_are_answered_in_their_order_whatever_takes_longer(luxi, queue):
    queue.submit([DELAY])
    luxi.send("WaitForJobChange", 1, ["status"], ["queued"], None, 0.2)
    luxi.send("Query", "job", ["id"], None)
    luxi.send("QueryJobs", [1], ["status"])
    luxi.send("Query", "job", ["status"], None)
    luxi.send("SetDrainFlag", False)
    answers = [luxi.answer()[1] for _ in range(5)]
    assert answers[0] == [["queued"], []]
    assert [answers[at]["data"] for at in (1, 3)] == [[[[0, 1]]], [[[0, "queued"]]]]
    assert (answers[2], answers[4]) == ([["queued"]], True)


def test_text_of_any_language_comes_back_as_it_was_sent(luxi, queue):
    op = {**DELAY, "comment": "über ✓ \U0001f600"}
    request = {"method": "SubmitJob", "args": [[op]]}
    luxi.stream.sendall(json.dumps(request, ensure_ascii=False).encode() + b"\x03")
    assert luxi.answer() == (True, 1)
    [[[_, [found]]]] = luxi.rows(["ops"], None)
    assert found["comment"] == op["comment"]


def test_a_long_answer_comes_whole_to_a_peer_that_reads_late(luxi, queue):
    queue.submit_many([[{**DELAY, "comment": "x" * 500}] for _ in range(5000)])
    luxi.send("Query", "job", ["id", "ops"], None)
    luxi.send("QueryConfigValues", ["drain_flag"])
    found = luxi.answer()[1]["data"]
    assert [row[0][1] for row in found] == list(range(1, 5001))
    assert luxi.answer() == (True, [False])


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_watchers_cost_no_thread_and_no_descriptor_but_their_own(queue, until_seen, count):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * count + 200:
        pytest.skip(f"no more than {soft} descriptors here")
    queue.submit([DELAY])
    threads = threading.active_count()
    before = len(os.listdir("/proc/self/fd"))
    peers = [Luxi(queue) for _ in range(count)]
    for peer in peers:
        peer.send("WaitForJobChange", 1, ["status"], ["queued"], None, 80)
    until_seen(queue, turns=2 + count // 64)
    assert len(queue._owner.server.verbs.watching._waiters[1]) == count
    assert threading.active_count() == threads
    # Both ends of each connection are in this process; a job's file may be open for a moment.
    assert len(os.listdir("/proc/self/fd")) <= before + 2 * count + 5
    queue.cancel(1)
    assert [peer.answer()[1] for peer in peers] == [[["canceled"], []]] * count
    for peer in peers:
        peer.stream.close()
