"""docs/json.md and the program agree: every command, every key, every type, both ways."""

import json
import os
import re
import shutil
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from archive_tools.cli import cli as archive_cli
from jqueue import JobQueue, OpCode, ResultWithJobs, logical_unit
from jqueue.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
NO_JSON = {"metrics", "daemon", "run", "completion", "demo"}
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \|", re.MULTILINE)


class ContractParent(OpCode):
    """Submits a child."""


@logical_unit(ContractParent)
def parent(_op, _context):
    return ResultWithJobs([[{"OP_ID": "OP_EXEC", "argv": ["true"]}]])


def read_page():
    """The commands and what each prints; the objects and the types of their keys."""
    text = PAGE.read_text()
    commands = {name.strip("`"): kind for name, kind in rows(text.split("## Commands")[1], "##")}
    objects = {
        part.split("\n", 1)[0]: dict(rows(part, "\n### "))
        for part in text.split("## Objects")[1].split("\n### ")[1:]
    }
    return commands, objects


def rows(text, end):
    return [row for row in ROW.findall(text.split(end)[0]) if row[1] not in ("type", "prints")]


COMMANDS, OBJECTS = read_page()


def is_time(value):
    return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None


def is_int(value):
    return type(value) is int


def is_number(value):
    return type(value) in (int, float)


PLAIN = {
    "int": is_int,
    "number": is_number,
    "seconds": is_number,
    "text": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "time": is_time,
    "any": lambda _: True,
}


def check(value, kind, seen, where):
    """Raise AssertionError unless the value is of this kind; notes each key that it has."""
    if kind.endswith(" or null"):
        if value is None:
            return
        kind = kind.removesuffix(" or null")
    if kind.startswith("list of "):
        assert isinstance(value, list), (where, value)
        for each in value:
            check(each, kind.removeprefix("list of "), seen, where)
    elif kind in PLAIN:
        assert PLAIN[kind](value), (where, kind, value)
    else:
        assert isinstance(value, dict), (where, value)
        keys = {key.rstrip("?"): type_ for key, type_ in OBJECTS[kind].items()}
        needed = {key for key in OBJECTS[kind] if not key.endswith("?")} - {"…"}
        assert needed <= value.keys(), (where, "missing", needed - value.keys())
        if "…" not in keys:
            assert value.keys() <= keys.keys(), (where, "unknown", value.keys() - keys.keys())
        for key in value.keys() & keys.keys():
            seen.add((kind, key))
            check(value[key], keys[key], seen, f"{where}: {kind}.{key}")


class Runs:
    """Runs commands, and keeps what each printed under the command's name on the page."""

    def __init__(self, queue):
        self.queue = queue
        self.outputs = {}

    def jqueue(self, name, *arguments):
        command = name.split()[0]
        words = ["--json", "--queue", str(self.queue), command, *map(str, arguments)]
        return self._keep(f"jqueue {name}", cli, words)

    def archive(self, name, *arguments):
        words = [name, str(self.queue), *map(str, arguments), "--json"]
        self._keep(f"jqueue-archive {name}", archive_cli, words)

    def _keep(self, name, program, words):
        result = CliRunner().invoke(program, words)
        assert isinstance(result.exception, SystemExit | None), (words, result.exception)
        assert result.exit_code in (0, 1), (words, result.output)
        kind = COMMANDS[name]
        lines = kind.startswith("lines of ")
        read = [json.loads(line) for line in result.stdout.splitlines()] if lines else None
        value = read if lines else json.loads(result.stdout)
        self.outputs.setdefault(name, []).append(value)
        return value


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Every command on a queue with jobs that ended in each way, with an owner and without."""
    path = tmp_path_factory.mktemp("json") / "queue"
    runs = Runs(path)
    run = runs.jqueue
    run("submit", "--key", "k", "--", "echo", "hello")
    run("submit", "--", "false")
    run("submit", "--op", '{"OP_ID": "OP_CONTRACT_PARENT"}')
    with JobQueue.open(path) as queue:
        queue.run(isolation="thread", until_idle=True)
    run("submit", "--unique", "u", "--", "true")
    run("status"), run("top")
    run("list"), run("list -o", "-o", "id,status,end_ts"), run("info", 1), run("tree", 3)
    run("log", 1), run("watch", 1), run("watch", 3), run("explain", 5)
    run("wait", 1, 2)
    run("retry", 2), run("cancel --dry-run", "--status", "queued", "--dry-run"), run("cancel", 6)
    run("change-priority", "--priority", 3, 5), run("archive", 1), run("autoarchive", "7d")
    run("drain", "--reason", "r"), run("status"), run("undrain")
    run("pause", "--reason", "r"), run("status"), run("resume"), run("resolve", "--happened", 5)
    with JobQueue.open(path, listen=True) as queue:
        claimed = queue.claim()
        run("status"), run("top"), run("explain", 5)
        left = path.with_name("left")
        shutil.copytree(path, left, ignore=shutil.ignore_patterns("socket"))
        claimed.finish()
        run("wait --idle", "--idle", "--timeout", 5)
    runs.archive("list"), runs.archive("info", 2), runs.archive("tree"), runs.archive("stats")
    runs.archive("timeline", 1), runs.archive("history", 2), runs.archive("journal")
    runs.archive("diff", left)
    runs.queue = left
    run("recover", "--plan"), run("recover")
    broken = runs.queue = path.with_name("broken")
    shutil.copytree(path, broken)
    os.truncate(broken / "job-2", 5)
    runs.archive("verify")
    return runs.outputs


@pytest.mark.damages
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_the_page_says(outputs, name):
    kind = COMMANDS[name].replace("lines of", "list of").replace("array of", "list of")
    for value in outputs[name]:
        check(value, kind, set(), name)
    if kind.startswith("list of "):
        assert any(outputs[name]), f"{name}: nothing was compared"


@pytest.mark.damages
def test_every_key_on_the_page_was_printed(outputs):
    seen = set()
    for name, values in outputs.items():
        kind = COMMANDS[name].replace("lines of", "list of").replace("array of", "list of")
        for value in values:
            check(value, kind, seen, name)
    named = {(kind, key.rstrip("?")) for kind, keys in OBJECTS.items() for key in keys}
    assert {one for one in named if one[1] != "…"} - seen == set()


def test_every_command_is_on_the_page():
    context = click.Context(cli)
    ours = {f"jqueue {name}" for name in set(cli.list_commands(context)) - NO_JSON}
    with_json = {
        f"jqueue-archive {name}"
        for name, command in archive_cli.commands.items()
        if any("--json" in option.opts for option in command.params)
    }
    assert {name.split(" -")[0] for name in COMMANDS} == ours | with_json
