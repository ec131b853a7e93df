"""Which share of each step this process takes: its rank, among how many.

What is not given is looked up when a length or a batch is wanted: in torch.distributed, once it is initialised, else in
the variables RANK and WORLD_SIZE that torchrun and accelerate set; one process where there is neither.

Not for: tensor parallelism, where several processes take the same batches: there, give both. Costs: a microsecond.
"""

from __future__ import annotations

import os
import sys
import warnings

from foreword._base.words import counted
from foreword.errors import ArgumentError

__all__ = ["resolve", "warn_of_workers"]


def resolve(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """The rank and the number of processes; those given hold.

    Raises:
        ArgumentError: the rank is not one of so many processes; a variable is no integer.
    """
    if rank is None or world_size is None:
        here = _process_group() or _environment() or (0, 1)
        rank = here[0] if rank is None else rank
        world_size = here[1] if world_size is None else world_size
    if not 0 <= rank < world_size:
        raise ArgumentError(
            "rank must be from 0 to world_size − 1",
            got=f"rank {rank} of {world_size}",
            fix="give both rank and world_size, or neither",
        )
    return rank, world_size


def warn_of_workers(stacklevel: int) -> None:
    """Warn in one of several worker processes of a DataLoader: each would hand out all batches of this rank."""
    data = sys.modules.get("torch.utils.data")
    worker = None if data is None else data.get_worker_info()
    if worker is not None and worker.num_workers > 1:
        warnings.warn(
            f"a loader is iterated in each of {worker.num_workers} workers of a DataLoader, so every batch comes "
            f"{counted(worker.num_workers, 'time')}; give the DataLoader loader.dataset and loader.batch_sampler, "
            "or iterate the loader itself, with prefetch=1",
            stacklevel=stacklevel + 1,
        )


def _process_group() -> tuple[int, int] | None:
    distributed = sys.modules.get("torch.distributed")  # who has not imported torch has no process group
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _environment() -> tuple[int, int] | None:
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if not rank or not world_size:
        return None
    try:
        return int(rank), int(world_size)
    except ValueError:
        raise ArgumentError(
            "the environment does not say which process this is",
            got=f"RANK={rank!r}, WORLD_SIZE={world_size!r}",
            expected="two integers, as torchrun sets them",
            fix="unset them, or give rank= and world_size=",
        ) from None
