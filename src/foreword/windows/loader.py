"""Batches in an epoch's order, with a place that is never lost.

A step takes the next batch_size × world_size places of the epoch's order; rank r gets the r-th batch_size of them. The
state is a few integers, and holds under another batch_size or world_size.

Costs: windows are gathered a block of batches at a time, so that numpy's cost a call is shared by many batches; a block
is at most about a megabyte, or one batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from foreword.errors import ArgumentError, StoreError
from foreword.tokens.store import TokenStore
from foreword.windows.arithmetic import positive
from foreword.windows.dataset import WindowDataset
from foreword.windows.order import Permutation

if TYPE_CHECKING:
    import torch

__all__ = ["WindowLoader"]

STATE_VERSION = 1
BLOCK_TOKENS = 1 << 16


class WindowLoader:
    """Batches of windows: iterating gives (inputs, targets), two int64 tensors [B, T], until the epoch ends.

    Each completed iteration advances ``epoch``, and with ``shuffle`` each epoch has its own order. An iteration that is
    broken off does not: the next one starts the same epoch anew, unless ``load_state_dict`` was called.

    Args:
        data: the windows.
        batch_size: B, windows a batch and rank.
        shuffle: draw each epoch's order from (seed, epoch); otherwise windows come in their order.
        seed: any integer.
        drop_last: leave out a last step that is not full; otherwise it is shared out among the ranks.
        rank, world_size: which part of each step this process takes, and how many processes there are.

    >>> data = WindowDataset(np.arange(100), context_length=4)
    >>> loader = WindowLoader(data, batch_size=8)
    >>> inputs, targets = next(iter(loader))
    >>> inputs.shape, targets[0]
    (torch.Size([8, 4]), tensor([1, 2, 3, 4]))
    """

    def __init__(
        self,
        data: WindowDataset,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.data = data
        self.batch_size = positive("batch_size", batch_size)
        self.shuffle = shuffle
        self.seed = int(seed)
        self.drop_last = drop_last
        self.world_size = positive("world_size", world_size)
        if not 0 <= rank < world_size:
            raise ArgumentError("rank must be from 0 to world_size − 1", got=f"rank {rank} of {world_size}")
        self.rank = rank
        self.epoch = 0
        self._cursor = 0  # windows handed out in this epoch, by all ranks together
        self._resume_at: int | None = None
        if not len(self):
            warnings.warn(
                f"the loader gives no batch: {len(data):,} windows are fewer than one step of "
                f"{self._step_size:,}, and drop_last=True leaves it out",
                stacklevel=2,
            )

    @property
    def _step_size(self) -> int:
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        """Batches a whole epoch."""
        whole, rest = divmod(len(self.data), self._step_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        start, self._resume_at = self._resume_at or 0, None
        self._cursor = start
        return self._batches(start)

    def _batches(self, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        windows, step, rank, size = len(self.data), self._step_size, self.rank, self.batch_size
        order = Permutation(windows, seed=self.seed, epoch=self.epoch) if self.shuffle else None
        steps = (windows - start) // step
        block_steps = max(1, BLOCK_TOKENS // (size * self.data.context_length))
        for first in range(0, steps, block_steps):
            count = min(block_steps, steps - first)
            # The places of this rank in each step of the block, [count · size]
            step_starts = start + step * np.arange(first, first + count) + rank * size
            places = (step_starts[:, None] + np.arange(size)).reshape(-1)
            inputs, targets = self.data.tensors(places if order is None else order(places)).values()
            # Whole batches are views of the block: contiguous, and no two overlap.
            for batch in zip(inputs.split(size), targets.split(size), strict=True):
                self._cursor += step
                yield batch
        rest = windows - start - steps * step
        if rest and not self.drop_last:
            low, high = (start + steps * step + rest * r // self.world_size for r in (rank, rank + 1))
            places = np.arange(low, high)
            self._cursor = windows
            yield tuple(self.data.tensors(places if order is None else order(places)).values())
        self.epoch += 1
        self._cursor = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: a few integers and the data's fingerprint, ready for JSON or torch.save.

        Equal on every rank after equally many batches.
        """
        return {
            "version": STATE_VERSION,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "fingerprint": self._fingerprint(),
            "epoch": self.epoch,
            "cursor": self._cursor if self._resume_at is None else self._resume_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken: the next iteration begins with the window after the last handed out.

        The batch_size and world_size may differ from then.

        Raises:
            StoreError: the state belongs to other data, another order, or another version; says which.
        """
        ours = self.state_dict()
        for field in ("version", "seed", "shuffle", "fingerprint"):
            if state.get(field) != ours[field]:
                raise StoreError(
                    f"the state does not fit this loader: its {field} differs",
                    got=state.get(field),
                    expected=ours[field],
                    fix="use the data and options with which the state was saved",
                )
        epoch, cursor = state.get("epoch"), state.get("cursor")
        if type(epoch) is not int or type(cursor) is not int or epoch < 0 or not 0 <= cursor <= len(self.data):
            raise StoreError(
                "the state has no such place",
                got=f"epoch {epoch!r}, cursor {cursor!r}",
                expected=f"an epoch from 0, a cursor from 0 to {len(self.data)}",
            )
        self.epoch, self._resume_at = epoch, cursor

    def _fingerprint(self) -> str:
        """A hash of what decides the windows: the data and their cut."""
        return self.data.fingerprint

    def __repr__(self) -> str:
        return (
            f"WindowLoader({self.data!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, seed={self.seed}, "
            f"drop_last={self.drop_last}, rank={self.rank}, world_size={self.world_size})"
        )
