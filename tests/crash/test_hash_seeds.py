"""The sweeps over all calls, under several seeds of `hash`: sets are gone through in other orders.

So are the calls of the disk, and with them what a crash between two of them leaves.  A seed repeats
a failure: `PYTHONHASHSEED=3 pytest tests/crash`.  `make test` has seed 0.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SWEEPS = ("power_loss", "failing_calls", "full_disk", "packing", "repair", "start_up")


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1, 6))
def test_the_sweeps_hold_in_another_order_of_calls(seed):
    files = [str(HERE / f"test_{sweep}.py") for sweep in SWEEPS]
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=1200", *files]
    env = {**os.environ, "PYTHONHASHSEED": str(seed)}
    found = subprocess.run(command, env=env, cwd=HERE.parents[1], stdout=-1, text=True, check=False)
    assert found.returncode == 0, f"PYTHONHASHSEED={seed}\n{found.stdout}"
