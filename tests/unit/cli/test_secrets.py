"""Arguments that look like secrets are on no screen, unless that is asked for; JSON is whole."""

import pytest
from click.testing import CliRunner

from archive_tools.cli import cli
from jqueue.console.secrets import SHOW_SECRETS
from jqueue.job.redaction import Redaction
from jqueue.job.summary import op_summary
from jqueue.queue.core import QueueCore
from jqueue.store.directory import DirectoryStore
from tests.unit.archive_tools.test_pictures import RealClock

SECRET = "hunter2hunter2"


@pytest.fixture
def queue_dir(tmp_path):
    path = tmp_path / "queue"
    store = DirectoryStore.open(path)
    queue = QueueCore(store, RealClock(), user="alice")
    command = ["curl", "-u", f"bob:{SECRET}", f"https://bob:{SECRET}@host/"]
    queue.submit([{"OP_ID": "OP_EXEC", "argv": command, "env": {"TOKEN": SECRET}}])
    store.close()
    return path


def run(*args, **environment):
    result = CliRunner(env=environment).invoke(cli, list(map(str, args)))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    "command", [["list"], ["list", "-o", "id,ops"], ["info"], ["tree"], ["timeline"], ["history"]]
)
def test_what_looks_like_a_secret_is_not_shown_to_a_person(queue_dir, command):
    name, *options = command
    text = run(name, queue_dir, "1", *options)
    assert SECRET not in text
    assert "curl" in text


@pytest.mark.parametrize("command", [["list"], ["list", "-o", "id,ops"], ["info"], ["tree"]])
def test_it_is_shown_where_it_is_asked_for_and_only_there(queue_dir, command):
    name, *options = command
    assert SECRET in run(name, queue_dir, "1", *options, "--show-secrets")
    assert SECRET in run(name, queue_dir, "1", *options, **{SHOW_SECRETS: "1"})
    assert SECRET not in run(name, queue_dir, "1", *options)


def test_programs_read_everything(queue_dir):
    assert SECRET in run("info", queue_dir, "1", "--json")
    assert SECRET in run("list", queue_dir, "--json")


@pytest.mark.parametrize(
    "op",
    [
        {"OP_ID": "OP_EXEC", "argv": ["curl", "-u", f"bob:{SECRET}"]},
        {"OP_ID": "OP_EXEC", "argv": ["tool", "--password", SECRET, "x" * 500]},
        {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": f"https://{SECRET}@host"},
    ],
)
def test_a_summary_with_a_redaction_has_no_secret(op):
    assert SECRET in op_summary(op)
    assert SECRET not in op_summary(op, Redaction())
    plain = {"OP_ID": "OP_EXEC", "argv": ["rsync", "-a", "/home"]}
    assert op_summary(plain, Redaction()) == op_summary(plain) == "EXEC(rsync -a /home)"
