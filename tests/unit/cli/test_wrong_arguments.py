"""Wrong arguments to every command of both programs: one line, what to read, exit code 2."""

import click
import pytest
from click.testing import CliRunner

from archive_tools.cli import cli as archive_cli
from jqueue.cli.main import cli

PROGRAMS = {"jqueue": cli, "jqueue-archive": archive_cli}
ANYTHING = (click.types.StringParamType, click.Path, click.types.UnprocessedParamType)
"""Types that every text fits."""


def commands():
    for program, group in PROGRAMS.items():
        for name in group.list_commands(click.Context(group)):
            yield program, name, group.get_command(click.Context(group), name)


def wrong():
    """For each command what it can't understand: the words after its name."""
    for program, name, command in commands():
        yield program, name, ["--no-such-option"]
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        if any(one.required for one in arguments):
            yield program, name, []
        if all(one.nargs == 1 for one in arguments):
            yield program, name, ["1"] * (len(arguments) + 1)
        for one in command.params:
            fits = isinstance(one.type, ANYTHING)
            if isinstance(one, click.Option) and not one.is_flag:
                yield program, name, [one.opts[0]]
                if not fits:
                    yield program, name, [one.opts[0], "no such value"]


@pytest.mark.parametrize(
    ("program", "name", "words"),
    [pytest.param(*one, id=" ".join([*one[:2], *one[2]])) for one in wrong()],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(program, name, words, tmp_path):
    env = {"JQUEUE_DIR": str(tmp_path / "queue")}
    done = CliRunner().invoke(PROGRAMS[program], [name, *words], env=env, prog_name=program)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert f"(see {program}" in done.stderr
    assert not (tmp_path / "queue").exists()


# All the help stood in one line, as the text of an error.
@pytest.mark.parametrize("program", PROGRAMS)
def test_without_any_argument_the_help_is_shown(program):
    done = CliRunner().invoke(PROGRAMS[program], [], prog_name=program)
    assert done.exit_code == 2
    assert done.output.startswith(f"Usage: {program} [OPTIONS] COMMAND [ARGS]...\n\n  ")


@pytest.mark.parametrize(
    ("program", "words", "near"),
    [
        ("jqueue", ["lsit"], "did you mean list?"),
        ("jqueue-archive", ["lsit"], "Did you mean"),
        ("jqueue", ["list", "--statu", "error"], "--status"),
        ("jqueue-archive", ["list", "--statu", "error"], "--status"),
        ("jqueue", ["list", "-o", "statsu"], "did you mean 'status'?"),
    ],
)
def test_what_is_near_is_named(program, words, near):
    done = CliRunner().invoke(PROGRAMS[program], words, prog_name=program)
    assert (done.exit_code, near in done.stderr) == (2, True), done.stderr
