"""A queue's owner at full speed, for readers beside it: `python busy_writer.py PATH DURABILITY`.

Families of a parent and two children: the parent's end and its children are one transaction, and so
is a family's removal.  Ends when its input does.
"""

import sys
import threading
from functools import partial
from itertools import count

from jqueue.job.change import Archived, Pruned
from jqueue.store.directory import DirectoryStore
from jqueue.store.protocol import Transaction, new_transaction_id
from tests.crash.workload import finish, logged, start, submit

KEPT = 30
"""So many families of each thread wait in the archive for their removal."""


def transaction(*changes):
    return Transaction(new_transaction_id(), changes)


def born(found, layer):
    """Submit a parent, whose ID is put into `found`."""
    found[:] = [(layer.find("serial") or 0) + 1]
    return transaction(*submit(*found))


def parted(found, layer):
    """End the parent and submit its children in one transaction."""
    parent = found[0]
    serial = layer.find("serial")
    found[1:] = [serial + 1, serial + 2]
    children = submit(*found[1:], submitter={"job": parent, "op": 0})
    return transaction(*finish(parent, jobs=[[True, child] for child in found[1:]]), *children)


def live(store, ended):
    archived = []
    while not ended.is_set():
        family = []
        store.transact(partial(born, family))
        store.commit(transaction(*start(family[0])))
        store.commit(transaction(*logged(family[0], "x" * 300)))
        store.transact(partial(parted, family))
        store.commit(transaction(*finish(family[1]), *finish(family[2], "error")))
        store.commit(transaction(*(Archived(job, 1.0) for job in family)))
        archived.append(family)
        if len(archived) > KEPT:
            store.commit(transaction(*map(Pruned, archived.pop(0))))


def move_files(store, ended):
    """Let files follow without rest, into a pack and out of it, too."""
    for turn in count():
        store.checkpoint()
        if turn % 50 == 20:
            store.pack(0)
        elif turn % 50 == 40:
            store.unpack(0)
        if ended.is_set():
            return


def main(path, durability):
    store = DirectoryStore.open(path, durability=durability)
    store.journal.segment_bytes = store.journal._limit = 32 << 10
    ended = threading.Event()
    threads = [
        threading.Thread(target=work, args=(store, ended)) for work in (live, live, move_files)
    ]
    for thread in threads:
        thread.start()
    print("busy", flush=True)  # noqa: T201 - the test waits for it
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
