"""Wrong values in requests about jobs that exist, and change: they change nothing (P12).

`tests/unit/daemon/test_fuzz.py` sends what means nothing at all.  Here each request would be right
but for one argument: of another type, out of its range, or about another execution.
"""

import inspect
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from archive_tools.verify import is_clean, verify
from jqueue import JobQueue, connect
from jqueue.daemon.arguments import Arguments
from jqueue.daemon.ganeti import _METHODS, Methods
from jqueue.daemon.verbs import Verbs
from jqueue.execution.wire import frame
from jqueue.job import jsonio
from tests.unit.daemon.test_server import Peer

OP = {"OP_ID": "OP_X"}
JSON = {
    "null": [None],
    "bool": [True, False],
    "int": [0, 1, 3, -1, 10**18 + 1, 2**63, -(2**63)],
    "float": [0.0, 1.0, 0.5, -0.5, 1e308],
    "text": ["", "1", "3", "x", "success", "\0", "\u0663", "2" * 600, "1" * 5000],
    "list": [[], [1], [[]], [None], [{}], ["x"], [[1, 2, 3]], [True]],
    "object": [{}, {"id": 1}, {"0": []}],
}


def but(*kinds, more=()):
    """Values of all types but these, and others that are wrong."""
    return [value for kind, some in JSON.items() if kind not in kinds for value in some] + [*more]


class Wrong(NamedTuple):
    """Wrong by itself; and what makes a right value wrong."""

    values: list
    spoil: tuple = ()


NOT_IDS = ["", " 1", "1 ", "1.0", "-1", "+1", "007", "0x1", "1e0", "\u0661", "success", "\0"]
AS_ID = [
    bool,
    float,
    lambda job: [job],
    lambda job: f"{job} ",
    lambda job: -int(job),
    lambda job: {"id": job},
]
ID = Wrong([*but("int", "text", "list"), -1, 10**18 + 1, 2**63, *NOT_IDS], AS_ID)
BOOL = Wrong(but("bool"))
LIMIT = Wrong(but("null", "int", "float"))
NAME = Wrong(but("null", "text", more=["", "x" * 501]))
LONG = "x" * 1001
DEEP: list = []
for _ in range(104):
    DEEP = [DEEP]
BAD_OPS = [
    *([], [None], ["x"], [1], [{}], [[OP]], {"0": OP}, "OP_X", OP, [OP, None]),
    *([{"OP_ID": bad}] for bad in (None, 5, "", "x", "OP_", "OP_\0", "OP_" + "X" * 200, [])),
    *([{**OP, "priority": bad}] for bad in (1, "0", True, 0.0, -11, 2**63)),
    *([{**OP, "retries": bad}] for bad in (-1, "1", True, 1.0, 1001, 2**63)),
    *([{**OP, "timeout_s": bad}] for bad in (-1, 0, "1", True, 1e300, 2**63)),
    *([{**OP, "not_before": bad}] for bad in (-1, "now", True, 1e300, 2**63)),
    [{**OP, "given": DEEP}],
    *([{**OP, "comment": bad}] for bad in (5, [], True)),
    *([{**OP, "reason": bad}] for bad in ("x", [1], [[]], [["a", "b"]], [["a", "b", -1]], {})),
    *([{**OP, "depends": bad}] for bad in (1, "x", [1], [[1]], [[1, "success"]], [[1, ["x"]]])),
    *([{**OP, "depends": [[bad, []]]}] for bad in (0, True, 1.0, None, -1, 10**17, "-1", [])),
]
OPS = Wrong([*but("list"), *BAD_OPS])
JOBS = Wrong([*but("list"), *([bad] for bad in BAD_OPS)])
LOGS = [[1], [[]], [["x"]], [[[1, 2], "message"]], [[[1], "m", "x"]], [[None, "m", "x"]], [None]]
LOGS += [
    [[[1, 2], 5, "x"]],
    [[["1", 2], "m", "x"]],
    [[[-1, 2], "m", "x"]],
    [[[1, 10**6], "m", "x"]],
]
SEEN = [[], [1], [[1]], [[1, 2]], [[1, 0, 7]], [["x", 0, []]], [None], [[0, 0, []]] * 101]
SPOIL_SEEN = [
    lambda seen: [[True, *seen[0][1:]]],
    lambda seen: [[seen[0][0], "0", []]],
    lambda seen: [[seen[0][0], 0.5, []]],
    lambda seen: [[seen[0][0], 0, ["0"]]],
    lambda seen: [[seen[0][0], 0, [None]]],
]
IDS = [["x"], [None], [True], [1.0], [-1], [[1]], [1, "x"]]
TOKEN = Wrong(but("int", more=[0, -1, 2**63]), [float, str, lambda token: token + 1])
OF_CLAIM = Wrong(but("int", more=[-1, 2**63]), [bool, float, str])

OWN = {
    "id": ID,
    "ops": OPS,
    "jobs": JOBS,
    "key": NAME,
    "unique": NAME,
    **dict.fromkeys(("despite_drain", "atomic", "from_failed", "archived", "kill"), BOOL),
    **dict.fromkeys(("happened", "ok", "again"), BOOL),
    "timeout_s": LIMIT,
    "lsn": Wrong(but("int")),
    "seen": Wrong([*but("list"), *SEEN], SPOIL_SEEN),
    "statuses": Wrong([*but("null", "list"), ["x"], [None], [1], ["success", "x"]]),
    "priority": Wrong([*but("int"), -21, 20, 2**63]),
    "age_s": Wrong([*but("int", "float"), -1, -0.5, -(2**63)]),
    "number": Wrong([*but("int"), -1, -(2**63)]),
    "rows": Wrong(but("int")),
    "reason": Wrong(but("null", "text", more=[LONG])),
    "by": NAME,
    "livelock_name": Wrong([*but("text"), "", "x", "../lock", "claim-nobody", "1"]),
    "inode": Wrong([*but("int"), 0, -1]),
    "op_ids": Wrong([*but("null", "list"), "OP_X", [None], [5], [[]], ["OP_X", {}]]),
    "job": OF_CLAIM,
    "op": OF_CLAIM,
    "token": TOKEN,
    "entries": Wrong([*but("list"), *LOGS]),
    "name": Wrong(but("text", more=["", "x" * 501])),
    "children": Wrong(but("null", "list")),
    "on_refusal": Wrong([*but("text"), "", "x", "Report"]),
    "value": Wrong([DEEP]),
    "result": Wrong([DEEP]),
}
OWN_BY_VERB = {
    # Entries that are refused are remembered with the opcode, and so are a change.
    ("claim_submit", "jobs"): Wrong(but("list")),
    ("jobs", "ids"): Wrong([*but("null", "list"), *IDS]),
    ("prune", "ids"): Wrong([*but("list"), *IDS]),
}
FIELDS = Wrong([*but("list"), [None], [1], ["id"] * 257])
NO_FILTER = [[], ["x"], ["=", "id"], ["|", 1], ["=", "id", "x"], ["=", "nothing", 1], ["=~", "id"]]
GANETI = {
    "SubmitJob": [OPS],
    "SubmitJobToDrainedQueue": [OPS],
    "SubmitManyJobs": [JOBS],
    "WaitForJobChange": [
        ID,
        FIELDS,
        Wrong([]),
        Wrong(but("null", "int")),
        Wrong(but("int", "float")),
    ],
    "CancelJob": [ID, BOOL],
    "ChangeJobPriority": [ID, Wrong([*but("int"), -21, 20, 2**63])],
    "ArchiveJob": [ID],
    "AutoArchiveJobs": [Wrong([*but("int", "float"), -2, -0.5]), Wrong(but("int", "float"))],
    "Query": [Wrong([*but("text"), "node"]), FIELDS, Wrong([*but("null", "list"), *NO_FILTER])],
    "QueryFields": [Wrong([*but("text"), "node"]), Wrong([True, 1, "x", {"id": 1}, [None]])],
    "QueryJobs": [Wrong([*but("null", "list"), *IDS]), Wrong([*FIELDS.values, ["zzz"]])],
    "QueryConfigValues": [FIELDS],
    "SetDrainFlag": [BOOL],
    "PickupJob": [ID],
}
SLOW = ("claim", "wait", "wait_change", "wait_any", "wait_idle")
WITH_KEY = ("SubmitJob", "SubmitJobToDrainedQueue", "SubmitManyJobs")
OUTCOMES = ("change_priority", "ChangeJobPriority")
BY_ENTRY = ("submit_many", "claim_submit", "SubmitManyJobs")
"""They say of each entry why it is refused."""
RIGHT = {
    "lsn": 10**9,
    "priority": -5,
    "happened": True,
    "age_s": 0,
    "number": 0,
    "livelock_name": "claim-nobody",
    "inode": 1,
    "entries": [[[1, 2], "message", "said"]],
    "value": 1,
    "name": "first",
    "ok": True,
}
RIGHT_GANETI = {
    "SubmitJob": [[OP]],
    "SubmitJobToDrainedQueue": [[OP]],
    "SubmitManyJobs": [[[OP]]],
    "AutoArchiveJobs": [0, 30],
    "QueryFields": ["job", ["id"]],
    "QueryConfigValues": [["drain_flag"]],
    "SetDrainFlag": [True],
}
VERBS = {
    name.removeprefix("do_"): Arguments(method)
    for name, method in vars(Verbs).items()
    if name.startswith("do_")
}
OWN_ARGUMENTS = [
    (verb, name)
    for verb, arguments in sorted(VERBS.items())
    for name in sorted(arguments.known)
    if (OWN_BY_VERB.get((verb, name)) or OWN[name]).values
]
GANETI_ARGUMENTS = [
    (method, place)
    for method, kinds in sorted(GANETI.items())
    for place, wrong in enumerate(kinds)
    if wrong.values
]


class World:
    """A queue of which the jobs stand in every status, and go on."""

    STEPS = ("submit", "cancel", "claim", "finish", "archive")

    def __init__(self, path):
        self.queue = JobQueue.open(path, durability="process", listen=True)
        self.client = connect(path, timeout_s=0)
        self.claimed = None
        self.jobs = []
        self.changes = []
        self.queue.store.subscribe(lambda batch: self.changes.extend(batch.changes))
        for step in ("submit", "submit", "submit", "claim", "finish", "claim", "cancel", "submit"):
            getattr(self, step)(1)

    def hear_all(self):
        """Let the owner tell of what it has answered: it does before its next turn."""
        self.client.count()

    def submit(self, _):
        self.jobs = [*self.jobs, self.client.submit([OP, OP])][-8:]

    def cancel(self, at):
        self.client.cancel(self.some(at))

    def claim(self, _):
        if self.claimed is None:
            self.claimed = self.client.claim(["OP_X"])

    def finish(self, at):
        if self.claimed is not None:
            claim, self.claimed = self.claimed, None
            claim.finish(at) if at % 2 else claim.fail("no")

    def archive(self, at):
        self.client.archive(self.some(at))

    def some(self, at):
        return self.jobs[at % len(self.jobs)]

    def right(self, name, at):
        """A value that this argument of one of our verbs can have."""
        if name in ("job", "op", "token"):
            claim = self.claimed
            if claim is None:
                return 1
            return {"job": claim.job.id, "op": claim.op.index, "token": claim.token}[name]
        job = self.some(at)
        seen = [[job, 10**9, []]]
        return {"id": job, "ids": [job], "seen": seen, "jobs": [[OP]], "ops": [OP]}.get(
            name, RIGHT.get(name)
        )

    def right_ganeti(self, method, at):
        """Arguments that this method of Ganeti's can have."""
        job = self.some(at)
        about_one = {
            "WaitForJobChange": [job, ["status"], None, None, 0],
            "CancelJob": [str(job), False],
            "ChangeJobPriority": [job, 10],
            "Query": ["job", ["id"], ["=", "id", job]],
            "QueryJobs": [[job], ["id"]],
        }
        return about_one.get(method) or RIGHT_GANETI.get(method, [job])

    def state(self):
        jobs = [jsonio.dumps(job.to_dict()) for job in self.queue.jobs(archived=True)]
        return jobs, self.queue.drain_state(), self.queue.pause_state()

    def close(self):
        if self.claimed is not None:
            self.claimed.release()
        self.client.close()
        self.queue.close()
        assert is_clean(verify(Path(self.queue.path)))


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "queue")
    yield made
    made.close()


def cases():
    """Each wrong value of each argument: who is asked, which argument, what it is made."""
    for verb, name in OWN_ARGUMENTS:
        wrong = OWN_BY_VERB.get((verb, name)) or OWN[name]
        yield from ((verb, name, value) for value in (*wrong.values, *wrong.spoil))
    for method, place in GANETI_ARGUMENTS:
        wrong = GANETI[method][place]
        yield from ((method, place, value) for value in (*wrong.values, *wrong.spoil))
    for method in WITH_KEY:
        yield from ((method, "key", value) for value in NAME.values if value is not None)


def request(world, case, at):
    """A request that is right but for one argument."""
    asked, name, value = case
    if asked in GANETI:
        args = [*world.right_ganeti(asked, at)]
        if name == "key":
            return {"method": asked, "args": args, "key": value}
    else:
        args = {one: world.right(one, at) for one in VERBS[asked].required}
        if asked in SLOW:
            args["timeout_s"] = 0
    args[name] = value(args[name]) if callable(value) else value
    return {"method": asked, "args": args}


def is_refusal(method, answer):
    if answer is None:
        return False
    if answer["success"] and method in BY_ENTRY:
        return all(not ok for ok, _ in answer["result"])
    if answer["success"] and method == "claim_release":
        return answer["result"] is None  # what is not claimed is given back already
    if answer["success"] and method in OUTCOMES:
        return answer["result"][0] is False
    return answer["success"] is False


def check(world, some, random):
    """Send wrong requests, and right ones now and then."""
    before = world.state()
    for number, case in enumerate(some):
        if number % 20 == 19:
            assert world.state() == before
            getattr(world, random.choice(World.STEPS))(random.randrange(8))
            before = world.state()
        world.hear_all()
        world.changes.clear()
        wrong = request(world, case, random.randrange(8))
        with Peer(world.queue) as peer:
            peer.send(frame(wrong))
            answer = peer.answer()
        assert is_refusal(wrong["method"], answer), (wrong, answer)
        world.hear_all()
        assert not world.changes, (wrong, answer)
    assert world.state() == before


def test_every_argument_of_every_verb_and_method_has_wrong_values():
    for verb, arguments in VERBS.items():
        for name in arguments.known:
            assert (verb, name) in OWN_BY_VERB or name in OWN, (verb, name)
    assert GANETI.keys() == _METHODS.keys()
    for method, name in _METHODS.items():
        parameters = list(inspect.signature(getattr(Methods, name)).parameters)
        assert len(GANETI[method]) == len([one for one in parameters[2:] if one != "key"])


def test_a_wrong_value_is_refused_and_changes_no_job(world):
    random = Random(1)
    some = list(cases())
    random.shuffle(some)
    check(world, some, random)


@pytest.mark.torture
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("seed", range(100))
def test_a_wrong_value_changes_no_job_in_whatever_order_they_come(world, seed):
    random = Random(seed)
    some = list(cases())
    random.shuffle(some)
    check(world, some, random)
