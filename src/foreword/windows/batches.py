"""A block of windows as batches: read, widened, moved where they are wanted.

A block's ids are read together as they are stored, [n, T + 1], two bytes a token. Batches are widened to int64 only as
they are handed out: large ones one by one, so that they stay in the processor's cache, small ones many at a time, so
that numpy's and torch's cost a call is shared. Compact, batches are not widened: each is a part [B, T + 1] of the
block, with inputs and targets as two views of that.

Not for: which windows come next (``plan``). Costs: the stored ids of a block, and 16 bytes a token of a batch; of all
its batches where they are moved, padded or have segments or n-grams (8 bytes more for each row).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import first_line
from foreword.errors import ArgumentError
from foreword.windows.dataset import WindowDataset, shifted, trimmed
from foreword.windows.joined import JoinedDataset, Owners

if TYPE_CHECKING:
    import torch

__all__ = ["Batches"]

BLOCK_TOKENS = 1 << 17  # read together, where they are widened later
COMPACT_TOKENS = 1 << 20  # where they never are (of two bytes): with fewer, what a block costs besides shows
COMPACT_BATCHES = 1 << 10  # at most: of small ones a block would have more than the processor's cache has room for
WHOLE_TOKENS = 1 << 15  # where they are widened, too, and what comes of them should stay in the processor's cache
WIDENED_TOKENS = 1 << 13  # at a time: as int64, inputs and targets, 128 KB


class Batches:
    """How windows become batches.

    Args:
        sources: the datasets that they are of, of one shape.
        batch_size: windows a batch.
        device: where batches go; None leaves them in ordinary memory.
        pin_memory: whether they go to pinned memory, where there is an accelerator.
        compact: whether the ids of a batch are one block [B, T + 1]: in their own dtype, or on a device int64.

    Attributes:
        joined: the datasets, one after another.
        block_rows: how many windows to give to ``of`` at a time, some whole batches.

    Raises:
        ArgumentError: ``compact`` with what the ids alone don't say.
    """

    def __init__(
        self,
        sources: Sequence[WindowDataset],
        *,
        batch_size: int,
        device: str | torch.device | None,
        pin_memory: bool,
        compact: bool,
    ) -> None:
        self.joined = JoinedDataset(sources)
        self.batch_size, self.device, self.pin_memory, self.compact = batch_size, device, pin_memory, compact
        self._first = sources[0]
        self._keep, self._segments = self._first.tail == "keep", self._first.segments
        self._ngrams = self._first.ngrams is not None
        self._moves = device is not None or pin_memory
        self._lazy = not self._moves and all(
            data.tail == "drop" and not (data.segments or data.supervised or data.ngrams) for data in sources
        )
        self._widened_rows = self._rows(WIDENED_TOKENS)
        if compact and all(data.far is None for data in sources):
            rows = self._rows(2 * COMPACT_TOKENS // self._first.dtype.itemsize)
            self.block_rows = min(rows, COMPACT_BATCHES * batch_size)
        else:  # of a store far away, the windows of a block may need one of its blocks each
            self.block_rows = self._rows(BLOCK_TOKENS if self._lazy or compact else WHOLE_TOKENS)
        if compact:
            _check_compact(sources)
            _keep_freed_memory()

    def _rows(self, tokens: int) -> int:
        """The windows of as many batches as have so many tokens, one batch at least."""
        return self.batch_size * max(1, tokens // (self.batch_size * self._first.context_length))

    def of(self, windows: NDArray[np.int64], owners: Owners) -> Iterator[Any]:
        """The batches of a block, in order; fewer windows than ``batch_size`` are one."""
        if self.compact:
            return self._compact(self.joined.ids(windows, owners))
        if self._keep or self._segments or self._ngrams:
            return self._named(windows, owners)
        if self._lazy:
            return self._one_by_one(self.joined.ids(windows, owners), owners)
        return self._of_pairs(self.joined.pairs(windows, owners))

    def _compact(self, ids: NDArray[Any]) -> Iterator[Any]:
        """Batches of ids [n, T + 1], each two views of its part."""
        n = len(ids)
        if self._moves:
            block = self._moved(_tensor(ids))
            block = block if self.device is None else block.long()
            inputs, targets = block[:, :-1], block[:, 1:]
        else:
            inputs, targets = _tensor(shifted(ids)).unbind()
        sizes = [min(self.batch_size, n)] * max(1, n // self.batch_size)  # n are whole batches, or a short one
        # Of torch's ways to take a tensor apart, the one that costs the least for each part.
        return zip(inputs.split_with_sizes(sizes), targets.split_with_sizes(sizes), strict=True)

    def _one_by_one(self, ids: NDArray[Any], owners: Owners) -> Iterator[Any]:
        """Batches of ids [n, T + 1], widened as they are wanted."""
        from torch import from_numpy

        both, rows, masked = shifted(ids), self._widened_rows, self.joined.mask_end_of_text
        for row in range(0, len(ids), rows):
            pairs = both[:, row : row + rows].astype(np.int64, "C")
            if masked:
                self.joined.mask(pairs, None if owners is None else owners[row : row + rows])
            if rows == self.batch_size:
                yield from_numpy(pairs[0]), from_numpy(pairs[1])
            else:
                yield from self._of_pairs(pairs)

    def _of_pairs(self, pairs: NDArray[np.int64]) -> Iterator[Any]:
        """Batches of inputs and targets [2, n, T]."""
        _, n, length = pairs.shape
        parts = self._moved(_tensor(pairs.reshape(-1, min(self.batch_size, n), length))).unbind()
        half = len(parts) // 2
        return zip(parts[:half], parts[half:], strict=True)

    def _named(self, windows: NDArray[np.int64], owners: Owners) -> Iterator[Any]:
        """Batches where short windows are kept, that have n-grams, or that have segments: dicts then."""
        size = min(self.batch_size, len(windows))
        tensors = {
            name: self._moved(_tensor(array.reshape(-1, size, *array.shape[1:]))).unbind()
            for name, array in self.joined.gather(windows, owners).items()
        }
        lengths = self.joined.lengths(windows, owners).reshape(-1, size).max(axis=1).tolist() if self._keep else None
        for i, parts in enumerate(zip(*tensors.values(), strict=True)):
            batch = dict(zip(tensors, parts, strict=True))
            if lengths is not None:
                batch = trimmed(batch, lengths[i])
            yield batch if self._segments else tuple(batch.values())

    def collate(self, samples: Sequence[Any]) -> Any:
        """Samples of ``joined``, of one shape each, as the batch that ``of`` gives."""
        import torch

        if self._segments:
            return {name: self._moved(torch.stack([sample[name] for sample in samples])) for name in samples[0]}
        stacked = [torch.stack(parts) for parts in zip(*samples, strict=True)]
        if not self.compact:
            return tuple(map(self._moved, stacked))
        inputs, targets = stacked
        ids = torch.cat((inputs, targets[:, -1:]), 1).numpy().astype(self._first.dtype)
        (batch,) = self._compact(ids)
        return batch

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor in pinned memory or on the device, as wished."""
        if not self._moves:
            return tensor
        import torch

        target = self._target
        to_accelerator = target is not None and target.type not in ("cpu", "meta")
        if (self.pin_memory or to_accelerator) and torch.accelerator.is_available():
            tensor = tensor.pin_memory()
        return tensor if target is None else tensor.to(target, non_blocking=True)

    @functools.cached_property
    def _target(self) -> torch.device | None:
        """The device where batches go, once something could be put there."""
        import torch

        if self.device is None:
            return None
        try:
            target = torch.device(self.device)
            torch.empty(0, device=target)
        except (RuntimeError, AssertionError, TypeError, NotImplementedError) as cause:
            raise ArgumentError(
                "batches can't go to this device",
                got=f"device={self.device!r}: {first_line(cause)}",
                expected='a device that torch has here: "cpu", "cuda", "cuda:0", "mps", …',
            ) from cause
        return target


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor that shares its memory."""
    import torch

    return torch.from_numpy(array)


@functools.cache
def _keep_freed_memory() -> None:
    """Have glibc keep what was freed for the next block, as it does once something larger was freed.

    Else it gives a block back to the system, now and then each one, and mapping its pages anew takes twice the reading.
    """
    np.empty(1 << 24, np.uint8)


def _check_compact(sources: Sequence[WindowDataset]) -> None:
    """Refuse what a block of ids can't say: padding, targets that are left out, segments, rows of n-grams.

    Raises:
        ArgumentError: there is such; or the sources have ids of several dtypes.
    """
    for data in sources:
        said = (
            f"tail={data.tail!r}",
            f"segments={data.segments}",
            f"mask_end_of_text={data.mask_end_of_text}",
            *(("a loss",) if data.supervised else ()),
            *(("ngrams",) if data.ngrams is not None else ()),
        )
        needed = ("tail='drop'", "segments=False", "mask_end_of_text=False")
        if said != needed:
            raise ArgumentError(
                "compact batches are the stored ids alone: no padding, segments, n-grams, no target that is left out",
                got=", ".join(said),
                expected=", ".join(needed),
                fix="leave out compact=True, or that of the WindowDataset",
            )
    dtypes = sorted({str(data.dtype) for data in sources})
    if len(dtypes) > 1:
        raise ArgumentError(
            "compact batches need ids of one dtype",
            got=", ".join(dtypes),
            fix="leave out compact=True, or give all sources in one dtype",
        )
