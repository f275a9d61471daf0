"""What `info` and `tree` make of a job: in words, and in the width that there is."""

import pytest
from rich.cells import cell_len

from jqueue import JobQueue, ResultWithJobs
from jqueue.console.parameters import texts_of
from tests.unit.cli.terminal import JQUEUE, Terminal

NS = 10**9
FUTURE_S = 4_000_000_000


def test_what_every_opcode_has_is_said_in_words():
    assert list(texts_of("depends", [[7, ["success", "error"]], [8, []]])) == [
        "job 7: success or error",
        "job 8: any end but canceled",
    ]
    assert list(texts_of("argv", ["echo", "a b"])) == ["echo 'a b'"]
    [moment] = texts_of("not_before", FUTURE_S)
    assert moment.startswith("2096-10-02")
    assert "(in " in moment


def test_a_long_reason_trail_shows_its_beginning_and_its_end():
    trail = [[f"source {at}", "" if at else "wanted", at * NS] for at in range(9)]
    texts = list(texts_of("reason", trail))
    assert texts[0].startswith("source 0: wanted (")
    assert texts[1] == "(5 more, all with --json)"
    assert [text.split(" (")[0] for text in texts[2:]] == ["source 6", "source 7", "source 8"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reason", [["only one"]]),
        ("reason", 5),
        ("reason", [["a", "b", "c"]]),
        ("depends", [[1]]),
        ("not_before", "soon"),
        ("not_before", float("inf")),
        ("argv", [1]),
    ],
)
def test_what_does_not_fit_is_shown_as_it_is(name, value):
    [text] = texts_of(name, value)
    assert text


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_of_info_or_tree_is_longer_than_the_terminal_is_wide(tmp_path, columns):
    path = str(tmp_path / "queue")
    with JobQueue.open(path) as queue:
        queue.submit([{"OP_ID": "OP_X", "text": "many words " * 30, "argv": ["é"] * 200}])
        child = {"OP_ID": "OP_EXEC", "argv": ["true", "x" * 190]}
        queue.claim(["OP_X"]).finish(ResultWithJobs([[child]]))
    for command in ("info", "tree"):
        with Terminal(*JQUEUE, command, "1", columns=columns, rows=60, JQUEUE_DIR=path) as terminal:
            assert terminal.ended() == 0
            lines = terminal.raw.decode().split("\r\n")
            assert len(lines) > 2
            assert [line for line in lines if cell_len(unpainted(line)) > columns] == []


def unpainted(line):
    for code in ("\x1b[2m", "\x1b[0m", "\x1b[32m", "\x1b[34m", "\x1b[36m"):
        line = line.replace(code, "")
    return line
