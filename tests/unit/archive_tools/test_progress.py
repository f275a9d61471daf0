"""A bar on a terminal: how far a long command is, beside nothing that is printed meanwhile."""

import sys

import pytest

from jqueue import JobQueue
from tests.unit.cli.terminal import Terminal

ARCHIVE = [sys.executable, "-c", "from archive_tools.cli import main; main()"]


@pytest.fixture
def path(tmp_path):
    with JobQueue.open(tmp_path / "queue") as queue:
        queue.submit([{"OP_ID": "OP_COPY"}])
    return tmp_path / "queue"


@pytest.mark.parametrize(
    ("command", "bar"), [("verify", "verifying"), ("stats", "counting"), ("timeline", "reading")]
)
def test_what_prints_at_its_end_has_a_bar_until_then(path, command, bar):
    with Terminal(*ARCHIVE, command, str(path)) as terminal:
        assert terminal.ended() == 0
        assert bar.encode() in terminal.raw
        assert bar not in terminal.text


def test_a_list_has_a_bar_only_where_its_lines_go_elsewhere(path, tmp_path):
    to_file = f'exec "$@" > {tmp_path}/out'
    with Terminal("sh", "-c", to_file, "sh", *ARCHIVE, "list", str(path)) as terminal:
        assert terminal.ended() == 0
        assert b"listing" in terminal.raw
    with Terminal(*ARCHIVE, "list", str(path)) as terminal:
        assert terminal.ended() == 0
        assert b"listing" not in terminal.raw
        assert "COPY" in terminal.text
