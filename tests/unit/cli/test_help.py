"""Help and completion: each example is a command that this program understands."""

import re
import shlex

import click
import pytest
from click.shell_completion import ShellComplete

from archive_tools.cli import cli as archive_cli
from jqueue import JobQueue
from jqueue.cli.main import cli

PROGRAMS = {"jqueue": cli, "jqueue-archive": archive_cli}
CALL = re.compile(r"\b(jqueue(?:-archive)?) ((?:'[^']*'|\"[^\"]*\"|[^|>)'\"])+)")


def commands():
    for program, group in PROGRAMS.items():
        for name in group.list_commands(click.Context(group)):
            yield program, name


def examples(program, name):
    """The calls of the programs in the help's example, as words."""
    command = PROGRAMS[program].get_command(click.Context(PROGRAMS[program]), name)
    _, _, example = (command.help or "").partition("Example")
    lines = [line.strip() for line in example.splitlines()[1:]]
    found = [CALL.search(line) for line in lines if not line.startswith("#")]
    return [[match[1], *shlex.split(match[2])] for match in found if match is not None]


def parse(words):
    """Parse as the program would, and run nothing; a directory need not be there."""
    group = PROGRAMS[words[0]]
    with group.make_context(words[0], list(words[1:])) as context:
        given = [*context._protected_args, *context.args]
        name, command, rest = group.resolve_command(context, given)
        try:
            command.make_context(name, rest, parent=context).close()
        except click.BadParameter as error:
            if "does not exist" not in str(error):
                raise


@pytest.mark.parametrize(("program", "name"), [*commands()])
def test_every_commands_help_has_an_example_that_parses(program, name):
    found = [words for words in examples(program, name) if words[0] == program]
    assert any(name in words for words in found)
    for words in found:
        parse(words)


def test_an_example_with_a_mistake_would_be_found():
    with pytest.raises(click.UsageError):
        parse(["jqueue", "list", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parse(["jqueue", "list", "--filter", "status =="])


def complete(words, incomplete):
    found = ShellComplete(cli, {}, "jqueue", "_X").get_completions(words, incomplete)
    return [item.value for item in found]


def test_a_shell_completes_the_newest_jobs_that_fit(tmp_path):
    where = ["--queue", str(tmp_path / "queue")]
    assert complete([*where, "info"], "") == []
    with JobQueue.open(tmp_path / "queue") as queue:
        queue.submit_many([[{"OP_ID": "OP_X"}] for _ in range(120)])
        queue.cancel(112)
        queue.archive(112)
    assert complete([*where, "info"], "11") == ["11", *map(str, range(110, 120))]
    assert complete([*where, "cancel"], "") == list(map(str, range(71, 121)))
    assert complete([*where, "cancel"], "x") == []


def test_a_shell_completes_the_fields_of_filters_and_lists():
    assert complete(["list", "--filter"], "stat") == ["status"]
    assert complete(["list", "--filter"], 'status == "error" and (summ') == [
        'status == "error" and (summary'
    ]
    assert complete(["list", "-o"], "+stat") == ["+status"]
    assert "id,end_ts" in complete(["list", "-o"], "id,end")
    assert complete(["list", "--sort"], "prio") == ["priority"]
