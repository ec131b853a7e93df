"""Damaged files of every format: only our errors, never a crash, a hang or a blow-up. The long campaign is slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vectors import fuzz


@pytest.mark.parametrize("format_", fuzz.SEEDS)
def test_damaged_files_are_read_or_refused(format_, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done, accepted = fuzz.fuzz(format_, rounds=300)
    assert done == 300
    assert accepted < done


@pytest.mark.slow
@pytest.mark.parametrize("format_", fuzz.SEEDS)
def test_the_long_campaign(format_, tmp_path):
    seconds = os.environ.get("FOREWORD_FUZZ_SECONDS", "600")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "vectors.fuzz", format_, seconds, "long"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-4000:]
