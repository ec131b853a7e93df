"""A training run with rows in a folder, killed over and over, and resumed: the bits of one that was never killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).with_name("killed_ngrams.py")


@pytest.mark.parametrize(
    ("kills", "when"),
    [
        (4, "write"),
        (2, "time"),
        pytest.param(50, "write", marks=pytest.mark.slow),
        pytest.param(50, "time", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_has_the_bits_of_one_that_was_not(tmp_path, kills, when):
    command = [sys.executable, SCRIPT, tmp_path, str(kills), "1", when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] >= kills
    assert all(result["same"])
