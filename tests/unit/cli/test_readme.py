"""The README's table of commands and the program say the same."""

import re
import shlex
from pathlib import Path

import click
import pytest

from jqueue.cli.main import COMMANDS, cli

README = Path(__file__).parents[3].joinpath("README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`.*`) \| .* \| `(jqueue [^|]*)` \|$", README, re.MULTILINE)


def test_every_command_is_in_the_readme_and_no_other():
    named = [name for names, _ in ROWS for name in re.findall(r"`([\w-]+)`", names)]
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize("example", [example for _, example in ROWS])
def test_every_example_is_understood(example):
    _, name, *words = shlex.split(example)
    program = click.Context(cli, **cli.context_settings)
    command = cli.get_command(program, name)
    assert command is not None
    command.make_context(name, words, parent=program)
