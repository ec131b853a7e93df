"""What a loader shows to those who expect torch's DataLoader: samplers.

Lightning tells the sampler which epoch begins. accelerate, and HF Trainer with it, builds a DataLoader of its own from
dataset, batch sampler and ``collate_fn`` when it skips batches. What is taken from a sampler moves the loader's place
as what its own iterators hand out does.

Not for: training (iterate the loader). Costs: a list of indices a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from foreword.windows.plan import my_places

if TYPE_CHECKING:
    from foreword.windows.loader import WindowLoader

__all__ = ["BatchSampler", "sampler"]


def sampler(loader: WindowLoader, batches: Callable[[], Iterator[list[int]]]) -> Any:
    """The windows of this rank, one by one: a torch ``Sampler``, or ``SequentialSampler`` where nothing is shuffled."""
    return _sampler_class(loader.shuffle)(loader, batches)


class BatchSampler:
    """Indices into ``loader.dataset``, a list for each of this rank's batches.

    Attributes:
        batch_size, drop_last: the loader's.
    """

    def __init__(self, loader: WindowLoader, batches: Callable[[], Iterator[list[int]]]) -> None:
        self._loader, self._batches = loader, batches
        self.batch_size, self.drop_last = loader.batch_size, loader.drop_last

    @property
    def sampler(self) -> Any:
        """The same windows one by one."""
        return self._loader.sampler

    def set_epoch(self, epoch: int) -> None:
        """``WindowLoader.set_epoch``."""
        self._loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        return self._batches()

    def __len__(self) -> int:
        return len(self._loader)


@functools.cache
def _sampler_class(shuffle: bool) -> type:
    from torch.utils import data

    base: Any = data.Sampler if shuffle else data.SequentialSampler

    class WindowSampler(base):  # type: ignore[misc]
        """Indices into ``loader.dataset``, one by one, of this rank's batches; a batch's are taken together."""

        def __init__(self, loader: WindowLoader, batches: Callable[[], Iterator[list[int]]]) -> None:
            self._loader, self._batches = loader, batches
            self.data_source = loader.dataset

        def set_epoch(self, epoch: int) -> None:
            """``WindowLoader.set_epoch``."""
            self._loader.set_epoch(epoch)

        def __iter__(self) -> Iterator[int]:
            for batch in self._batches():
                yield from batch

        def __len__(self) -> int:
            return my_windows(len(self.data_source), self._loader)

    return WindowSampler


def my_windows(samples: int, loader: WindowLoader) -> int:
    """How many windows of an epoch of ``samples`` are handed out on this rank."""
    B, rank, world_size = loader.batch_size, loader.rank, loader.world_size
    steps, rest = divmod(samples, B * world_size)
    return steps * B + (len(my_places(rest, B, rank, world_size)) if rest and not loader.drop_last else 0)
