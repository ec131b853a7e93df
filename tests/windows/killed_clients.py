"""Processes under gloo in other people's loops, of which one may be killed. Run by test_killed_clients.

    python killed_clients.py CLIENT FOLDER RUN WORLD_SIZE STEPS [VICTIM STEP]

Each process notes the windows of every step in FOLDER/RUN-rank; a checkpoint is left after every third step, but by the
run "whole". At STEP, the process VICTIM kills itself without a word. Where there is a checkpoint, the run goes on from
the newest. A process per rank is forked once everything is imported.
"""

import json
import logging
import os
import shutil
import signal
import socket
import sys
import time
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

import foreword as fw

WINDOWS, BATCH_SIZE, EVERY = 176, 4, 3
TIMEOUT = timedelta(seconds=30)


def make_loader():
    """11 steps an epoch of four processes."""
    data = fw.WindowDataset(np.arange(2 * WINDOWS + 1), context_length=2)
    return fw.WindowLoader(data, batch_size=BATCH_SIZE, shuffle=True, seed=5)


class Notes:
    """What this process trains on, and its death."""

    def __init__(self, folder, run, victim, fatal_step):
        self._rank = int(os.environ["RANK"])
        self._path, self._victim, self._fatal_step = folder / f"{run}-{self._rank}", victim, fatal_step
        self._steps = 0
        self.saves = run != "whole"

    def step(self, inputs):
        self._steps += 1
        if self._rank == self._victim and self._steps == self._fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps((inputs[:, 0] // 2).tolist()) + "\n")

    def wait_for_all(self, world_size):
        """Wait for the others without gloo: where one leaves first, another may hang in taking the group down."""
        self._path.with_suffix(".done").touch()
        while len(list(self._path.parent.glob(f"{self._path.name.rpartition('-')[0]}-*.done"))) < world_size:
            time.sleep(0.01)


def newest(folder):
    """The newest checkpoint, or None; each is FOLDER/step=N, or that with a suffix."""
    found = sorted(folder.glob("step=*"), key=lambda path: int(path.stem.partition("=")[2]))
    return found[-1] if found else None


def torch_alone(folder, steps, notes):
    """A plain loop under DistributedDataParallel; torch's distributed checkpoint keeps the loader, a Stateful."""
    dist.init_process_group("gloo", timeout=TIMEOUT)
    loader = make_loader()
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
    parts, done = {"model": model.module.state_dict(), "loader": loader}, 0
    if checkpoint := newest(folder):
        dcp.load(parts, checkpoint_id=checkpoint)
        done = int(checkpoint.name.partition("=")[2])
    while done < steps:
        for inputs, _ in loader:
            notes.step(inputs)
            model(inputs.float()).mean().backward()
            done += 1
            if notes.saves and done % EVERY == 0:
                dcp.save(parts, checkpoint_id=folder / "new")
                if dist.get_rank() == 0:
                    (folder / "new").rename(folder / f"step={done}")
                dist.barrier()
            if done == steps:
                break
    notes.wait_for_all(dist.get_world_size())


def accelerate(folder, steps, notes):
    import accelerate

    accelerator = accelerate.Accelerator(
        cpu=True, kwargs_handlers=[accelerate.utils.InitProcessGroupKwargs(backend="gloo", timeout=TIMEOUT)]
    )
    model = torch.nn.Linear(2, 1)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters()), make_loader())
    accelerator.register_for_checkpointing(loader)
    done = 0
    if checkpoint := newest(folder):
        accelerator.load_state(checkpoint)
        done = int(checkpoint.name.partition("=")[2])
    while done < steps:
        for inputs, _ in loader:
            notes.step(inputs)
            accelerator.backward(model(inputs.float()).mean())
            optimizer.step()
            done += 1
            if notes.saves and done % EVERY == 0:
                accelerator.save_state(folder / "new")
                accelerator.wait_for_everyone()
                if accelerator.is_main_process:
                    (folder / "new").rename(folder / f"step={done}")
                accelerator.wait_for_everyone()
            if done == steps:
                break
    accelerator.wait_for_everyone()
    accelerator.end_training()


def lightning(folder, steps, notes):
    import lightning as pl
    from lightning.pytorch.plugins.environments import TorchElasticEnvironment

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            notes.step(batch[0])
            return self.layer(batch[0].float()).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    save = pl.pytorch.callbacks.ModelCheckpoint(folder, filename="{step}", every_n_train_steps=EVERY, save_top_k=-1)
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=int(os.environ["WORLD_SIZE"]),
        strategy=pl.pytorch.strategies.DDPStrategy(process_group_backend="gloo", timeout=TIMEOUT),
        plugins=[TorchElasticEnvironment()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=notes.saves,
        callbacks=[save] if notes.saves else [],
    )
    trainer.fit(Model(), make_loader(), ckpt_path=newest(folder))


CLIENTS = {"torch": torch_alone, "accelerate": accelerate, "lightning": lightning}


def main():
    client, folder, run, world_size, steps = sys.argv[1], Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:6])
    victim, fatal_step = map(int, sys.argv[6:8]) if len(sys.argv) > 6 else (None, None)
    if client != "torch":
        __import__(client)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    shutil.rmtree(folder / "new", ignore_errors=True)  # a checkpoint that was not finished
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(world_size), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    children = []
    for rank in range(world_size):
        if not (child := os.fork()):
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            try:
                CLIENTS[client](folder, steps, Notes(folder, run, victim, fatal_step))
            except BaseException as error:  # the others' collective fails when one is gone
                print(f"rank {rank}: {error}", file=sys.stderr, flush=True)
                if victim is None:
                    traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    print(json.dumps([os.waitstatus_to_exitcode(code) for code in codes]))


if __name__ == "__main__":
    main()
