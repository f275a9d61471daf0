"""Completion in the shells themselves, where they are installed: what Tab would offer."""

import os
import shutil
import subprocess
import sys

import pytest

from jqueue import JobQueue

SHELLS = {
    # bash has no command that completes: its function is called as Readline would.
    "bash": """
eval "$({program} completion bash)"
COMP_WORDS=({program} {words}); COMP_CWORD={at}
$(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "fish": """
{program} completion fish | source
complete --do-complete '{program} {words}'
""",
    # zsh completes only in its line editor: the function is called, what it would add is printed.
    "zsh": """
autoload -U compinit && compinit -u -d $HOME/dump
_describe() {{ print -l -- ${{completions_with_descriptions%%:*}} ; return 0 }}
compadd() {{ print -l -- $completions ${{completions_partial}} ; return 0 }}
eval "$({program} completion zsh)"
words=({program} {words}); CURRENT={at}+1
_{function}_completion
""",
}


@pytest.fixture
def programs(tmp_path):
    """Both commands, found by their names."""
    for name, module in (("jqueue", "jqueue.cli.main"), ("jqueue-archive", "archive_tools.cli")):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nfrom {module} import main\nmain()\n")
        path.chmod(0o755)
    with JobQueue.open(tmp_path / "queue", durability="process") as queue:
        queue.submit_many([[{"OP_ID": "OP_X"}]] * 12)
    return tmp_path


def offered(shell, at, program, words):
    script = SHELLS[shell].format(
        program=program,
        function=program.replace("-", "_"),
        words=" ".join(words),
        at=len(words),
    )
    env = {
        **os.environ,
        "PATH": f"{at / 'bin'}:{os.environ['PATH']}",
        "HOME": str(at),
        "JQUEUE_DIR": str(at / "queue"),
    }
    flags = {"zsh": ["-f"], "fish": ["--no-config"], "bash": ["--norc"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", script],
        env=env,
        cwd=at,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("program", "words", "found"),
    [
        ("jqueue", ["change-"], ["change-priority"]),
        ("jqueue", ["info", "1"], ["1", "10", "11", "12"]),
        ("jqueue", ["list", "--status", "can"], ["canceling", "canceled"]),
        ("jqueue-archive", ["verif"], ["verify"]),
        ("jqueue-archive", ["list", "queue", "--arch"], ["--archived"]),
        ("jqueue-archive", ["info", "queue", "1"], ["1", "10", "11", "12"]),
    ],
)
def test_a_shell_offers_what_fits(programs, shell, program, words, found):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert sorted(offered(shell, programs, program, words)) == sorted(found)
