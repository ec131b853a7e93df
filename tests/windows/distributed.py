"""Four processes under torch.distributed (gloo): each writes down the windows it got. Run by test_distributed.

    python distributed.py FOLDER WORLD_SIZE BATCH_SIZE STEPS [VICTIM STEP]

Every process saves what it saw after each step, and rank 0 the loader's state after every third step; at STEP, the
process VICTIM kills itself without a word.
"""

import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import foreword as fw


def train(folder, rank, world_size, batch_size, steps, victim, fatal_step):
    data = fw.WindowDataset(np.arange(2003, dtype=np.uint16), context_length=3, stride=2)
    loader = fw.WindowLoader(
        data, batch_size=batch_size, shuffle=True, seed=4, drop_last=False, rank=rank, world_size=world_size
    )
    checkpoint, run = folder / "state.json", len(list(folder.glob(f"rank{rank}-run*")))
    if checkpoint.exists():
        loader.load_state_dict(json.loads(checkpoint.read_text()))
    store = f"file://{folder}/meet-{os.environ['RUN']}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size, timeout=timedelta(seconds=20))
    seen = []
    for step, (inputs, _) in enumerate(loader, 1):
        if rank == victim and step == fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        total = torch.tensor([len(inputs)])
        dist.all_reduce(total)  # a step of training: it takes every process
        seen.append((inputs[:, 0] // 2).tolist())
        (folder / f"rank{rank}-run{run}").write_text(json.dumps(seen))
        if rank == 0 and step % 3 == 0:
            (folder / "state.new").write_text(json.dumps(loader.state_dict() | {"steps_of_run": step}))
            os.replace(folder / "state.new", checkpoint)
        if step == steps:
            break
    dist.barrier()
    dist.destroy_process_group()


def main():
    folder, (world_size, batch_size, steps) = Path(sys.argv[1]), map(int, sys.argv[2:5])
    victim, fatal_step = map(int, sys.argv[5:7]) if len(sys.argv) > 5 else (None, None)
    os.environ["RUN"] = str(len(list(folder.glob("meet-*"))))
    torch.set_num_threads(1)
    children = []
    for rank in range(world_size):
        if not (child := os.fork()):
            try:
                train(folder, rank, world_size, batch_size, steps, victim, fatal_step)
            except BaseException as error:  # the others' collective fails when one is gone
                print(f"rank {rank}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    print(json.dumps([os.waitstatus_to_exitcode(code) for code in codes]))


if __name__ == "__main__":
    main()
