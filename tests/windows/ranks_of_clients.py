"""Two processes under accelerate (gloo): each writes down the windows it got. Run by test_clients.

    python ranks_of_clients.py FOLDER

A process per rank is forked once everything is imported.
"""

import itertools
import json
import os
import socket
import sys
import traceback
from pathlib import Path

import accelerate
import numpy as np
import torch

import foreword as fw

WORLD_SIZE = 2


def make_loader(windows=400, **options):
    data = fw.WindowDataset(np.arange(4 * windows + 1), context_length=4)
    return fw.WindowLoader(data, **{"batch_size": 4, "shuffle": True, **options})


def windows(batches):
    return [(batch[0][:, 0] // 4).tolist() for batch in batches]


def train(folder, rank):
    before = make_loader()  # made before there is a process group
    accelerator = accelerate.Accelerator(cpu=True)
    assert accelerator.num_processes == WORLD_SIZE
    model = torch.nn.Linear(1, 1)
    loader, _ = accelerator.prepare(before, model)
    assert (len(loader), loader.rank, loader.world_size) == (50, rank, WORLD_SIZE)
    seen = {"prepared": [windows(loader) for _ in range(2)]}

    seen["skipped"] = windows(accelerate.skip_first_batches(accelerator.prepare(make_loader()), 20))
    direct = accelerator.prepare_data_loader(make_loader())  # not only by way of prepare
    iterator = iter(direct)
    seen["before"] = windows(itertools.islice(iterator, 7))
    accelerator.save_state(folder / "state")
    accelerator.wait_for_everyone()
    del iterator
    direct.set_epoch(5)
    accelerator.load_state(folder / "state")
    seen["after"] = windows(direct)

    loader = make_loader(windows=33, drop_last=False)
    seen["short"] = [windows(loader) for _ in range(2)]
    assert loader.state_dict()["epoch"] == 2
    given = make_loader(rank=1 - rank, world_size=2)
    seen["given"] = windows(given)
    (folder / f"{rank}.json").write_text(json.dumps(seen))
    accelerator.end_training()


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(WORLD_SIZE)}
    children = []
    for rank in range(WORLD_SIZE):
        if not (child := os.fork()):
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            try:
                train(folder, rank)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))


if __name__ == "__main__":
    main()
