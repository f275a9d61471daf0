"""A claim from outside the owner: a livelock held here, its messages over the socket."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jqueue.daemon.calls import Lost, NoOwner
from jqueue.daemon.reaching import NOTHING_MORE, RETRY_FIRST_S, Reach
from jqueue.errors import QueueFailed
from jqueue.execution.claim import OpClaim
from jqueue.store import livelock


def claim(reach: Reach, op_ids: Sequence[str] | None, timeout_s: float) -> OpClaim | None:
    """Take one opcode of the owner's, or return None if none comes in time."""
    queue_fd = os.open(reach.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    held = livelock.take(queue_fd, "claim")

    def let_go() -> None:
        livelock.release(queue_fd, held)
        os.close(queue_fd)

    try:
        answer = _ask(reach, held, op_ids, timeout_s)
    except BaseException:
        let_go()
        raise
    if answer is None:
        let_go()
        return None
    return OpClaim(
        _Hand(reach),
        answer["document"],
        answer["op_index"],
        answer["token"],
        answer["attempt"],
        let_go,
    )


def _ask(
    reach: Reach, held: livelock.Livelock, op_ids: Sequence[str] | None, timeout_s: float
) -> dict[str, Any] | None:
    """Ask, again under the same livelock if the answer was lost: it is the same opcode then."""
    end_s = time.monotonic() + timeout_s
    reach_s = time.monotonic() + reach.timeout_s
    while True:
        args = {
            "livelock_name": held.name,
            "inode": held.inode,
            "op_ids": None if op_ids is None else list(op_ids),
            "timeout_s": max(end_s - time.monotonic(), 0.0),
        }
        try:
            answer: dict[str, Any] | None = reach.ask("claim", args)
        except (NoOwner, Lost) as error:
            if time.monotonic() >= reach_s:
                raise QueueFailed(
                    f"{reach.path}: nobody serves this queue; start jqueue daemon, or open it",
                    path=reach.path,
                ) from error
            time.sleep(RETRY_FIRST_S)
        else:
            return answer


class _Hand:
    """A claim's messages: repeated until an owner answers, for the token tells them apart."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def claim_log(self, job: int, op: int, token: int, entries: list[Any]) -> None:
        said = {"job": job, "op": op, "token": token, "entries": entries}
        self._say("claim_log", repeated={"again": True}, **said)

    def claim_progress(self, job: int, op: int, token: int, value: Any) -> None:
        self._say("claim_progress", job=job, op=op, token=token, value=value)

    def claim_finish(
        self,
        job: int,
        op: int,
        token: int,
        ok: bool,
        result: Any,
        children: list[Any] | None,
        on_refusal: str,
    ) -> None:
        said = {"ok": ok, "result": result, "children": children, "on_refusal": on_refusal}
        self._say("claim_finish", job=job, op=op, token=token, **said)

    def claim_release(self, job: int, op: int, token: int) -> None:
        self._say("claim_release", job=job, op=op, token=token)

    def _say(self, method: str, *, repeated: Mapping[str, Any] = NOTHING_MORE, **args: Any) -> None:
        self._reach.write(method, _nothing, repeatable=True, repeated=repeated, **args)


def _nothing(_answer: Any) -> None:
    """What there is to say is durable: that is all."""
