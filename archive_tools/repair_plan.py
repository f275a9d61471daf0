"""A repair plan: plain data that a person can read, judge and keep, and that says all it will do.

It is one JSON object.  `lost` and `left` come first: what no evidence can bring back, and what a
person has to decide.  Then the steps, each with what it does, why, from what evidence, which
findings of `verify` it answers, and the fingerprints of the files that it rests on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from archive_tools.findings import Finding
from jqueue.errors import JQueueError
from jqueue.store.disk import Disk

FORMAT: Final = 1
PIECE_BYTES: Final = 1 << 20
"""So much of a file is held at once for its fingerprint."""

Action = Literal["set-aside", "move", "write", "mode", "journal"]

WORDS: Final[dict[str, str]] = {
    "set-aside": "moved to quarantine",
    "move": "moved to their right places",
    "write": "written",
    "mode": "made private again",
    "journal": "new journal segment begun",
}


class BadPlan(JQueueError):
    """The plan can't be used; nothing was changed."""


@dataclass(slots=True)
class Step:
    """One thing to do.

    `set-aside` moves `path` to quarantine; `move` moves it to `to`; `write` makes it new, with
    `data`; `mode` takes rights away; `journal` begins the segment `path`.
    """

    do: Action
    path: str
    why: str
    evidence: str = ""
    to: str | None = None
    job: int | None = None
    mode: int | None = None
    answers: list[str] = field(default_factory=list)
    rests_on: dict[str, str] = field(default_factory=dict)
    data: bytes | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what the plan's file says of it: of the data only its fingerprint."""
        value = {name: held for name, held in asdict(self).items() if held}
        if self.data is not None:
            value["data"] = fingerprint(self.data)
        return value


@dataclass(slots=True)
class Plan:
    """What is to be done to a directory, in this order, and what can't be done."""

    directory: str
    steps: list[Step] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """What no evidence can bring back."""
    left: dict[str, str] = field(default_factory=dict)
    """What `verify` will find afterwards, since only a person can decide it, and its code."""
    journal: dict[str, Any] = field(default_factory=dict)
    """Of the segment that is begun: its LSN and values."""
    keys: dict[str, Any] = field(default_factory=dict)
    transactions: list[Any] = field(default_factory=list)

    def leave(self, finding: Finding) -> None:
        """Say once that `verify` will find this afterwards."""
        self.left[f"{finding.code}: {finding.text}"] = finding.code

    def leaves(self, finding: Finding) -> bool:
        """Say whether `verify` will find this afterwards too."""
        return f"{finding.code}: {finding.text}" in self.left

    @property
    def id(self) -> str:
        """Return the plan's fingerprint: equal for equal steps on equal files, anywhere."""
        value = [self.journal, self.keys, [step.as_json() for step in self.steps]]
        return fingerprint(json.dumps(value, sort_keys=True).encode())[7:23]

    def as_json(self) -> dict[str, Any]:
        """Return the content of the plan's file."""
        return {
            "jqueue_repair_plan": FORMAT,
            "id": self.id,
            "directory": self.directory,
            "lost": self.lost,
            "left": list(self.left),
            "journal": self.journal,
            "steps": [step.as_json() for step in self.steps],
        }


def fingerprint(data: bytes) -> str:
    """Return what tells one content from another."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def rests_on(disk: Disk, path: str) -> dict[str, str]:
    """Return the fingerprint of whatever stands at `path`, by its path."""
    if disk.is_dir(path):
        return {path: "directory"}
    try:
        digest, at = hashlib.sha256(), 0
        while piece := disk.read_range(path, at, PIECE_BYTES):
            digest.update(piece)
            at += len(piece)
        return {path: f"sha256:{digest.hexdigest()}"}
    except OSError as error:
        return {path: f"unreadable: {error.strerror}"}


def dump_plan(plan: Plan) -> bytes:
    """Return the plan's file."""
    return json.dumps(plan.as_json(), indent=2, ensure_ascii=False).encode() + b"\n"


def load_plan(data: bytes, name: str) -> dict[str, Any]:
    """Return what a plan's file says; raises BadPlan for anything that is none."""
    try:
        value = json.loads(data)
        known = value["jqueue_repair_plan"] == FORMAT
        steps = {(step["do"], step["path"]) for step in value["steps"]}
        plan = {"id": str(value["id"]), "steps": value["steps"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadPlan(f"{name}: this is no repair plan; nothing was changed") from error
    if not known or not steps:
        raise BadPlan(f"{name}: a plan of another version, or an empty one; nothing was changed")
    return plan


def difference(asked: dict[str, Any], now: Plan) -> str:
    """Return what has changed since the plan was made, in words."""
    before = {(step["do"], step["path"]): step for step in asked["steps"]}
    after = {(step.do, step.path): step.as_json() for step in now.steps}
    for key in [*before, *after]:
        if before.get(key) != after.get(key):
            verb = "is new" if key not in before else "no longer fits"
            return f"the step {key[0]} {key[1]} {verb}"
    return "the journal has gone on"


def shown(plan: Plan, *, most: int = 20) -> Iterable[str]:
    """Yield the plan as lines for a person: what will happen, what is lost, what is left."""
    for do, words in WORDS.items():
        steps = [step for step in plan.steps if step.do == do]
        if not steps:
            continue
        yield f"{len(steps)} {words}:" if do != "journal" else f"{words}:"
        for step in steps[:most]:
            target = f" -> {step.to}" if step.to else ""
            yield f"  {step.path}{target}: {step.why}"
            if step.evidence:
                yield f"      evidence: {step.evidence}"
        if len(steps) > most:
            yield f"  … and {len(steps) - most} more, in the plan"
    for title, lines in (
        ("What is lost, or not certain", plan.lost),
        ("Left as it is, for a person to decide", list(plan.left)),
    ):
        if lines:
            yield f"{title}:"
            yield from (f"  {line}" for line in lines[:most])
            if len(lines) > most:
                yield f"  … and {len(lines) - most} more, in the plan"
