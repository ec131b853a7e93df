"""Real processes: the parts of an epoch are disjoint and complete, also when one is killed and all resume."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by fork")

SCRIPT = Path(__file__).with_name("distributed.py")
WINDOWS = 1000


def run(folder, *arguments):
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def seen(folder, rank, number, steps=None):
    batches = json.loads((folder / f"rank{rank}-run{number}").read_text())
    return [window for batch in batches[:steps] for window in batch]


def test_four_processes_see_disjoint_complete_parts_and_resume_after_a_kill(tmp_path):
    pytest.importorskip("torch.distributed")
    codes = run(tmp_path, 4, 8, 10**6, 2, 8)  # the third process dies in its eighth step
    assert codes[2] == -signal.SIGKILL
    assert all(code != 0 for code in codes)  # none goes on alone
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["cursor"] == 6 * 4 * 8  # the last checkpoint: after six steps
    before = [window for rank in range(4) for window in seen(tmp_path, rank, 0, steps=6)]
    assert len(set(before)) == len(before) == state["cursor"]
    # Resumed by three processes with another batch size, for the rest of the epoch.
    assert run(tmp_path, 3, 5, 10**6) == [0, 0, 0]
    after = [window for rank in range(3) for window in seen(tmp_path, rank, 1)]
    assert sorted(before + after) == list(range(WINDOWS))
