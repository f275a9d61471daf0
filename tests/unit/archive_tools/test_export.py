"""Export and import: what came out goes in again, identical, or is refused as a whole."""

import gzip
import io
import itertools
import json
import random
import sqlite3
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_tools import export_file
from archive_tools.cli import cli
from archive_tools.contents import read_contents
from archive_tools.export_file import NotVerified, read_export, write_export
from archive_tools.export_ganeti import for_ganeti
from archive_tools.importing import build, import_queue
from jqueue import JobQueue
from jqueue.job import jsonio
from jqueue.job.change import Archived, DrainSet, KeySet, Logged, PauseSet
from jqueue.job.document import new_document
from jqueue.store.directory import DirectoryStore
from jqueue.store.offline import OfflineQueue
from jqueue.store.protocol import Transaction
from jqueue.store.realdisk import RealDisk
from tests.crash.workload import finish, open_store, start, state_of, submit
from tests.fakes import Crash, FakeDisk

DATA = Path(__file__).parents[2] / "data"


def run(*args):
    result = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="jqueue-archive")
    return result.exit_code, result.stdout, result.stderr


def exported(path):
    out = io.BytesIO()
    with OfflineQueue(path) as queue:
        write_export(read_contents(queue), out)
    return out.getvalue()


def imported(data, path):
    return import_queue(read_export(io.BytesIO(data), "file"), path)


def fill(path, rng=None, *, damage=True):
    """A queue with something of everything."""
    rng = rng or random.Random(1)
    store = DirectoryStore.open(path, durability="process")
    count = rng.randint(1, 30)
    jobs = range(1, count + 1)
    numbers = itertools.count()
    commit = lambda *changes: store.commit(Transaction(f"t{next(numbers)}", changes))  # noqa: E731
    commit(*submit(*jobs), KeySet("batch", list(jobs), "d1"))
    for job in jobs:
        dice = rng.random()
        if dice < 0.3:
            commit(*start(job), Logged(job, 0, [[1, [5, 6], "message", "é\u2028\x00"]]))
        elif dice < 0.9:
            commit(*finish(job, rng.choice(["success", "error"])))
            if dice > 0.5:
                commit(Archived(job, 1.7e9))
    if rng.random() < 0.5:
        commit(DrainSet({"reason": "disk swap", "by": "root", "since": 1.5}))
    if rng.random() < 0.5:
        commit(PauseSet({"reason": None, "by": "root", "since": 2.5}))
    commit(*submit(count + 5, key="k", unique="u", op={"depends": [[1, ["success"]]]}))
    if rng.random() < 0.5:
        store.checkpoint()
        store.pack(0)
    store.close()
    if damage and rng.random() < 0.5:
        (path / "job-1").write_bytes(b'{"id": 1, "o')
    return path


@pytest.mark.parametrize("seed", range(6))
def test_export_import_export_is_identical_and_the_queue_is_the_same(tmp_path, seed):
    fill(tmp_path / "a", random.Random(seed), damage=False)
    first = exported(tmp_path / "a")
    imported(first, tmp_path / "b")
    assert exported(tmp_path / "b") == first
    states = []
    for name in "ab":
        store = DirectoryStore.open(tmp_path / name, durability="process")
        state = state_of(store)
        # A scan notes how a target ended that had ended before anybody depended on it.
        states.append({key: state[key] for key in state if not str(key).startswith("fate/")})
        store.close()
    assert states[0] == states[1]


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_export_import_export_is_identical_for_any_queue(tmp_path_factory, rng):
    path = tmp_path_factory.mktemp("queues")
    first = exported(fill(path / "a", rng))
    imported(first, path / "b")
    assert exported(path / "b") == first


def test_what_the_new_queue_gives_out_next_is_new(tmp_path):
    imported(exported(fill(tmp_path / "a")), tmp_path / "b")
    with JobQueue.open(tmp_path / "b", durability="process") as queue:
        queue.undrain()
        serial = queue.status()["serial"]
        assert queue.submit([{"OP_ID": "OP_X"}], key="other") == serial + 1
        assert queue.submit([{"OP_ID": "OP_X"}], key="other") == serial + 1


def test_every_damaged_byte_of_an_export_is_refused_and_makes_nothing(tmp_path):
    data = exported(fill(tmp_path / "a"))
    for offset in [*range(20), *range(20, len(data), 13), *range(len(data) - 8, len(data))]:
        bad = bytearray(data)
        bad[offset] ^= 16
        target = tmp_path / "b"
        if offset in range(3, 10):
            continue  # gzip's flags, time and origin are no content of ours
        with pytest.raises((NotVerified, OSError)):
            imported(bytes(bad), target)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    for end in range(0, len(data), 17):
        with pytest.raises(NotVerified):
            imported(data[:end], tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def changed(data, change):
    lines = [json.loads(line) for line in gzip.decompress(data).splitlines()]
    change(lines)
    return gzip.compress(b"".join(jsonio.dumps(line) + b"\n" for line in lines))


def signed(data, change):
    """The same, with a manifest that fits."""
    lines = [json.loads(line) for line in gzip.decompress(data).splitlines()][:-1]
    change(lines)
    manifest = export_file.Manifest()
    text = b""
    for at, line in enumerate(lines):
        encoded = jsonio.dumps(line) + b"\n"
        manifest.add_line(encoded)
        text += encoded
        if at:
            manifest.files += "file" in line
            manifest.archived += line.get("archived", False)
            manifest.live += line.get("archived") is False
    return gzip.compress(text + jsonio.dumps({"manifest": manifest.to_dict()}) + b"\n")


@pytest.mark.damages
@pytest.mark.parametrize(
    ("make", "change", "said"),
    [
        (changed, lambda lines: lines.pop(2), "manifest says"),
        (changed, lambda lines: lines[1]["job"].update(id=77), "beyond the serial"),
        (changed, lambda lines: lines.append(lines[1]), "behind the manifest"),
        (changed, lambda lines: lines[0].update(jqueue_export=2), "version 1"),
        (changed, lambda lines: lines[0].pop("serial"), "serial"),
        (signed, lambda lines: lines.append(lines[1]), "twice"),
        (signed, lambda lines: lines[0].update(serial=1), "beyond the serial"),
        (signed, lambda lines: lines[0].update(lsn=1), "reflects LSN"),
        (signed, lambda lines: lines[0].update(keys=[]), "can't be understood"),
        (signed, lambda lines: lines[1]["job"].update(ops=3), "no job can be read"),
        (
            signed,
            lambda lines: lines.append({"file": "../x", "reason": "", "data": ""}),
            "no file of a queue",
        ),
        (
            signed,
            lambda lines: lines.append({"file": "job-1\n", "reason": "", "data": ""}),
            "no file of a queue",
        ),
    ],
)
def test_an_export_that_was_changed_is_refused_by_name(tmp_path, make, change, said):
    data = make(exported(fill(tmp_path / "a", random.Random(3))), change)
    with pytest.raises(NotVerified, match=said):
        imported(data, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_import_is_durable_when_it_says_so_and_nothing_before(tmp_path):
    data = exported(fill(tmp_path / "a", random.Random(2)))
    disk = FakeDisk()
    build(read_export(io.BytesIO(data), "file"), disk)
    states = [state_of(open_store(left)) for left in disk.crash_states(random.Random(1))]
    assert states == [state_of(open_store(disk.clone()))]
    with pytest.raises(Crash):
        build(read_export(io.BytesIO(data), "file"), crashing())


def test_an_import_is_whole_before_it_has_its_name_and_named_before_it_is_told(
    tmp_path, monkeypatch
):
    with JobQueue.open(tmp_path / "queue") as queue:
        queue.submit([{"OP_ID": "OP_COPY"}])
    data = exported(tmp_path / "queue")
    calls = []

    def note(name):
        real = getattr(RealDisk, name)

        def call(disk, *arguments):
            calls.append((name, disk.path.name))
            return real(disk, *arguments)

        monkeypatch.setattr(RealDisk, name, call)

    for name in ("create", "rename_new", "sync_all", "sync_dir"):
        note(name)
    imported(data, tmp_path / "new")
    last = len(calls) - 1 - [name for name, _ in reversed(calls)].index("create")
    there = tmp_path.name
    made = [call for call in calls[last + 1 :] if call[0] != "sync_dir" or call[1] == there]
    assert [name for name, _ in made] == ["sync_all", "rename_new", "sync_dir"]
    assert made[1][1] == made[2][1] == there


def crashing():
    disk = FakeDisk()

    def crash(name, path):
        if path.startswith("journal/"):
            raise Crash

    disk.on_call = crash
    return disk


@pytest.fixture
def ganeti_path(tmp_path):
    with tarfile.open(DATA / "ganeti-queue.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "queue"


def test_a_ganeti_directory_becomes_a_queue_of_ours_and_one_of_ganeti_s_again(
    ganeti_path, tmp_path
):
    facts = json.loads((DATA / "ganeti-queue.json").read_text())
    code, _, err = run("import", ganeti_path, tmp_path / "ours")
    assert code == 0
    assert f"imported {len(facts['jobs'])} jobs" in err
    listed = json.loads(run("list", "--archived", "--json", tmp_path / "ours")[1])
    assert [job["id"] for job in listed] == sorted(fact["id"] for fact in facts["jobs"])
    assert run("export", "--format", "ganeti", tmp_path / "ours", tmp_path / "theirs")[0] == 0
    for path in sorted(ganeti_path.rglob("job-*")):
        was = json.loads(path.read_text())
        now = json.loads((tmp_path / "theirs" / path.relative_to(ganeti_path)).read_text())
        assert set(now) <= {*was, "livelock", "process_id"}
        assert now["ops"] == was["ops"]
    assert (tmp_path / "theirs/drain").read_bytes() == b""
    assert (tmp_path / "theirs/serial").read_text() == f"{facts['serial']}\n"


def test_no_key_of_ours_is_in_an_export_for_ganeti(tmp_path):
    run("export", "--format", "ganeti", fill(tmp_path / "a"), tmp_path / "theirs")
    keys = set()
    for path in (tmp_path / "theirs").rglob("job-*"):
        job = json.loads(path.read_text())
        keys |= {*job, *(f"op.{key}" for op in job["ops"] for key in op)}
    assert not keys & {"lsn", "key", "unique", "submitter", "op.token", "op.attempts"}
    assert "op.exec_timestamp" in keys


def test_no_parameter_of_ours_is_in_an_export_for_ganeti():
    """Ganeti's Python code failed to load the opcode."""
    values = {"OP_ID": "OP_TEST_DELAY", "duration": 1, "retries": 2, "timeout_s": 5}
    document = new_document(1, [{**values, "not_before": 1}], now=0)
    [op] = for_ganeti(document)["ops"]
    assert op["input"].keys() == {"OP_ID", "duration", "reason"}


def test_the_database_answers_questions(tmp_path):
    code, _, err = run("export", "--format", "sqlite", fill(tmp_path / "a"), tmp_path / "db")
    listed = json.loads(run("list", "--archived", "--json", tmp_path / "a")[1])
    with sqlite3.connect(tmp_path / "db") as database:
        rows = database.execute("SELECT id, status, archived FROM jobs ORDER BY id").fetchall()
        assert rows == [(job["id"], job["status"], job["archived"]) for job in listed]
        running = database.execute(
            "SELECT count(*) FROM logs JOIN opcodes USING (job, op) WHERE status = 'running'"
        )
        assert running.fetchone()[0] == sum(job["status"] == "running" for job in listed) > 0
        (damaged,) = database.execute("SELECT count(*) FROM unreadable").fetchone()
    assert code == (1 if damaged else 0), err
    database.close()


def test_commands_refuse_in_one_line_and_overwrite_nothing(tmp_path):
    fill(tmp_path / "a", random.Random(4))
    file = tmp_path / "e.gz"
    assert run("export", tmp_path / "a", file)[0] in (0, 1)
    whole = file.read_bytes()
    for args in (
        ("export", tmp_path / "a", file),
        ("export", "--format", "sqlite", tmp_path / "a", file),
        ("export", "--format", "ganeti", tmp_path / "a", tmp_path / "a"),
        ("export", tmp_path / "none", tmp_path / "x"),
        ("import", file, tmp_path / "a"),
        ("import", tmp_path / "none", tmp_path / "x"),
        ("import", tmp_path / "a/serial", tmp_path / "x"),
        ("import", file, tmp_path / "no" / "where"),
    ):
        code, out, err = run(*args)
        assert (code, out, len(err.splitlines())) == (1, "", 1), (args, err)
    assert file.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "e.gz"]
    assert (file.stat().st_mode & 0o777) == 0o600


def test_an_export_beside_a_live_owner_is_whole(tmp_path):
    with JobQueue.open(tmp_path / "a") as queue:
        queue.submit_many([[{"OP_ID": "OP_X"}]] * 50)
        queue.checkpoint()
        imported(exported(tmp_path / "a"), tmp_path / "b")
    with JobQueue.open(tmp_path / "b", durability="process") as queue:
        assert queue.count() == 50
