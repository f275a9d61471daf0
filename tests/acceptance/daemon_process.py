"""The daemon as tests run it: `python daemon_process.py SETTINGS`, a JSON object.

`options` are those of `Options`, `sources` the units to load.  It can be told to die in a gap that
no test could hit from outside: `dies_sending` is the first word of the message to a worker, or the
method of an answer, at which it kills itself instead.  `worker` is a script to be launched in place
of our own worker.
"""

import json
import logging
import os
import signal
import subprocess
import sys

from jqueue.daemon import connection, owner
from jqueue.daemon.main import run_daemon
from jqueue.execution.executions import Options, Worker
from jqueue.store.processes import Identity


def die_sending(word):
    """Kill this process when it is about to send such a message to a worker."""
    send = connection.Connection.send

    def send_or_die(self, message):
        if message[0] == word:
            os.kill(os.getpid(), signal.SIGKILL)
        send(self, message)

    connection.Connection.send = send_or_die


def launch_instead(script):
    """Launch this script as the worker."""

    def launcher(queue, _sources, **_options):
        def launch():
            process = subprocess.Popen([sys.executable, script, queue], start_new_session=True)
            return Worker(Identity.of(process.pid), process=process)

        return launch

    owner.process_launcher = launcher


def main(settings):
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if "dies_sending" in settings:
        die_sending(settings["dies_sending"])
    if "worker" in settings:
        launch_instead(settings["worker"])
    options = Options(**settings["options"])
    return run_daemon(settings["queue"], sources=settings["sources"], options=options)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
