"""The demo is the README's first command: it must end well, on made and on given files."""

import subprocess
import sys

import pytest


def play(*words):
    return subprocess.run(
        [sys.executable, "-m", "jqueue", "demo", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize("given", [False, True])
def test_the_demo_moves_every_image_once_over_a_kill_of_its_daemon(tmp_path, given):
    for number in range(9):
        (tmp_path / f"{number}.img").write_bytes(bytes([number]) * 1000)
    done = play("--images", str(tmp_path)) if given else play()
    assert done.returncode == 0, done.stderr
    assert "kill -9 of the daemon" in done.stdout
    assert "recovery: job " in done.stdout
    assert f"all {9 if given else 12} images were moved exactly once" in done.stdout
    assert len(list(tmp_path.iterdir())) == 9


def test_the_demo_refuses_a_folder_that_is_not_there(tmp_path):
    done = play("--images", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
