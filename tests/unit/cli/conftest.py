"""The command line in this process, on a queue that nobody owns."""

import json

import pytest
from click.testing import CliRunner

from archive_tools.verify import is_clean, verify
from jqueue import JobQueue
from jqueue.cli.main import cli


class Shell:
    """Runs commands; each is checked for never showing a traceback."""

    def __init__(self, queue):
        self.queue = queue

    def __call__(self, *arguments, code=0, **settings):
        words = [str(one) for one in arguments]
        env = {"JQUEUE_DIR": str(self.queue)}
        result = CliRunner().invoke(cli, words, env=env, prog_name="jqueue", **settings)
        assert "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments, code=0):
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def submit(self, *arguments):
        return int(self("submit", *arguments, "--", "true").stdout)

    def started(self, op_id="OP_X", **parameters):
        """A job in the hands of a claimant that holds its livelock."""
        queue = JobQueue.open(self.queue)
        queue.submit([{"OP_ID": op_id, **parameters}])
        return queue, queue.claim([op_id])


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path / "queue")
    yield made
    if made.queue.exists():
        assert is_clean(verify(made.queue))
