"""Real processes in other people's loops: one is killed, all go on from the last checkpoint, and every window is the
one that it is in the run that was not stopped.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by fork")

SCRIPT = Path(__file__).with_name("killed_clients.py")
STEPS = 17  # 11 are an epoch of four processes


def run(client, folder, name, world_size, *arguments):
    """The exit codes of a run's processes, and what each trained on: a list of windows a step."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE_", "MASTER_", "PL_"))}
    command = [sys.executable, SCRIPT, client, folder, name, *map(str, (world_size, *arguments))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout.splitlines()[-1])
    if len(arguments) == 1:
        assert codes == [0] * world_size, done.stderr
    noted = [(folder / f"{name}-{rank}").read_text().splitlines() for rank in range(world_size)]
    return codes, [[json.loads(line) for line in lines] for lines in noted]


@pytest.mark.parametrize("client", ["torch", "accelerate", "lightning"])
def test_one_of_four_is_killed_and_all_go_on(client, tmp_path):
    pytest.importorskip("torch.distributed")
    if client != "torch":
        pytest.importorskip(client)
    for folder in ("whole", "stopped"):
        (tmp_path / folder).mkdir()
    _, whole = run(client, tmp_path / "whole", "whole", 4, STEPS)
    assert all(len(steps) == STEPS for steps in whole)
    epoch = sorted(window for steps in whole for batch in steps[:11] for window in batch)
    assert epoch == list(range(176))
    codes, before = run(client, tmp_path / "stopped", "run", 4, STEPS, 2, 15)  # in the second epoch
    assert codes[2] == -signal.SIGKILL
    assert all(code != 0 for code in codes)  # none goes on alone
    _, after = run(client, tmp_path / "stopped", "again", 4, STEPS)
    for rank in range(4):
        assert before[rank][:14] == whole[rank][:14]
        assert after[rank] == whole[rank][12:]  # from the last checkpoint on


@pytest.mark.parametrize("world_size", [1, 4])
def test_a_distributed_checkpoint_loads_under_another_number_of_ranks(world_size, tmp_path):
    """Saved by two, which are killed afterwards."""
    pytest.importorskip("torch.distributed.checkpoint")
    (tmp_path / "whole").mkdir()
    _, whole = run("torch", tmp_path / "whole", "whole", 1, 60)  # four windows a step: an epoch, and some of the next
    order = [window for batch in whole[0] for window in batch]
    (tmp_path / "two").mkdir()
    codes, before = run("torch", tmp_path / "two", "run", 2, 100, 0, 8)  # checkpoints after steps 3 and 6
    assert codes[0] == -signal.SIGKILL
    together = [window for step in zip(*(steps[:6] for steps in before), strict=True) for b in step for window in b]
    assert together == order[:48]
    more = {1: 20, 4: 5}[world_size]
    _, after = run("torch", tmp_path / "two", "again", world_size, 6 + more)
    together = [window for step in zip(*after, strict=True) for batch in step for window in batch]
    assert together == order[48 : 48 + 80]
