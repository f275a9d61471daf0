"""A kill between the writes of two files leaves nothing that verify calls an error.

The journal implies both; so whatever files of one record are of before, and whichever of after, an
opening brings all up to date, and what they say of one another is judged by the journal.
"""

import shutil
from itertools import chain, combinations

import pytest

from archive_tools.repair import make_plan
from archive_tools.verify import verify
from jqueue.job.change import Archived, Pruned, Submitted
from jqueue.job.document import new_document
from jqueue.store.directory import DirectoryStore
from jqueue.store.protocol import Transaction
from tests.crash.workload import finish, start, submit


def parted():
    """End a parent, and submit its child."""
    return (*finish(1, jobs=[[True, 2]]), *submit(2, submitter={"job": 1, "op": 0}))


def named(job):
    return submit(job, unique="nightly")


def chained():
    """Submit a job, and one that depends on it."""
    document = new_document(3, [{"OP_ID": "OP_TEST_DELAY", "depends": [[2, []]]}], now=10**18)
    return [*submit(2), Submitted(document)]


RECORDS = {
    "a job and what depends on it": [[submit(1)], [chained()]],
    "a parent's end and its child": [[submit(1), start(1)], [parted()]],
    "a family that is removed": [
        [submit(1), start(1), parted(), finish(2), (Archived(1, 1.0), Archived(2, 1.0))],
        [(Pruned(1), Pruned(2))],
    ],
    "a name that another job takes": [[named(1)], [finish(1), named(2)]],
}


def files_of(path):
    found = {}
    for file in path.rglob("job-*"):
        if file.is_file():
            found[str(file.relative_to(path))] = file.read_bytes()
    return found


@pytest.mark.damages
@pytest.mark.parametrize(("before", "after"), RECORDS.values(), ids=RECORDS)
def test_files_of_one_record_may_be_of_before_and_of_after_it(tmp_path, before, after):
    path = tmp_path / "queue"
    store = DirectoryStore.open(path, files="behind")
    try:
        for at, changes in enumerate(before):
            store.commit(Transaction(f"before-{at}", tuple(changes)))
        store.checkpoint()
        old = files_of(path)
        for at, changes in enumerate(after):
            store.commit(Transaction(f"after-{at}", tuple(changes)))
        store.files.write_all()
        store.ledger.mark()
        new = files_of(path)
        shutil.copytree(path, tmp_path / "killed")
    finally:
        store.close()
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    assert changed
    killed = tmp_path / "killed"
    for late in chain.from_iterable(combinations(changed, n) for n in range(len(changed) + 1)):
        for name in changed:
            data = (old if name in late else new).get(name)
            target = killed / name
            target.unlink(missing_ok=True)
            if data is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                target.chmod(0o600)
        errors = [one.text for one in verify(killed, owned=False) if one.level == "error"]
        assert errors == [], late
        assert make_plan(killed).steps == [], late
