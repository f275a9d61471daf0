"""The daemon's log: fields as documented, one line a record whatever a job says."""

import json
import logging
import re
from pathlib import Path

import pytest

from jqueue import JobQueue
from jqueue.daemon import logs

DOCUMENT = Path(__file__).parents[3] / "docs" / "logs.md"


def made(message, level=logging.INFO, error=None, **named):
    info = None if error is None else (type(error), error, None)
    record = logging.LogRecord("jqueue.x", level, "x.py", 1, message, (), info)
    record.__dict__.update(named)
    return record


class Lines(logging.Handler):
    """What would be written as JSON."""

    def __init__(self):
        super().__init__()
        self.setFormatter(logs.JsonFormatter())
        self.said = []

    def emit(self, record):
        self.said.append(json.loads(self.format(record)))

    def about(self, job, op=0):
        return [(one["level"], one["message"]) for one in self.said if one.get("job") == job
                and one.get("op") == op]  # fmt: skip


@pytest.fixture
def lines():
    handler, root = Lines(), logging.getLogger("jqueue")
    root.addHandler(handler)
    before = root.level
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(before)
    root.removeHandler(handler)


def test_json_has_exactly_the_documented_fields():
    line = logs.JsonFormatter().format(
        made("said", error=ValueError("bad"), job=7, op=0, kind="OP_X", pid=12, other=1)
    )
    fields = json.loads(line)
    assert list(fields) == re.findall(r"^\| `(\w+)`", DOCUMENT.read_text(), re.MULTILINE)
    assert (fields["job"], fields["op"], fields["level"]) == (7, 0, "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", fields["time"])


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "bell\x07", "odd \udcff byte"])
def test_a_record_is_one_line_of_text_and_of_json(text):
    plain = logs.TextFormatter().format(made(text))
    assert not re.search(r"[\x00-\x1f\x7f]", plain)
    assert "\n" not in logs.JsonFormatter().format(made(text))


def test_journald_gets_its_priority_and_no_second_time():
    formatter = logs.TextFormatter(for_journal=True)
    assert formatter.format(made("said")) == "<6>said"
    assert formatter.format(made("said", logging.ERROR)) == "<3>said"
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO said$",
                    logs.TextFormatter().format(made("said")))  # fmt: skip


def test_each_line_about_a_job_names_it_and_its_opcode(tmp_path, lines):
    with JobQueue.open(tmp_path / "queue") as queue:
        queue.listen()
        for _ in range(3):
            queue.submit([{"OP_ID": "OP_X"}, {"OP_ID": "OP_X"}])
        with queue.claim() as claim:
            claim.finish(None)
        with queue.claim() as claim:
            claim.fail("as\nasked")
        queue.cancel(3)
        queue.pause("a look at the disk", by="ann")
        queue.resume()
        queue.drain(by="ann")
    assert lines.about(1) == [
        ("debug", "opcode 0 of job 1 (OP_X) begins"),
        ("debug", "opcode 0 of job 1 (OP_X) succeeded"),
    ]
    assert lines.about(1, 1) == [
        ("debug", "opcode 1 of job 1 (OP_X) begins"),
        ("info", "opcode 1 of job 1 (OP_X) failed: as\nasked"),
    ]
    assert lines.about(3) == [("info", "opcode 0 of job 3 (OP_X) is canceled")]
    assert {one.get("kind") for one in lines.said if "job" in one} == {"OP_X"}
    messages = [one["message"] for one in lines.said]
    assert "paused: nothing is started, by ann (a look at the disk)" in messages
    assert "resumed" in messages
    assert "drained: no new jobs are accepted, by ann" in messages
    assert any(one.startswith("serving ") for one in messages)
    assert messages[-1] == "stopped; opcodes left to the next owner: 0"
