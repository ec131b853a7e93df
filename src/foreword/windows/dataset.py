"""Windows as indexed examples: ``data[i]`` → (inputs, targets).

Not for: batches and epochs (``WindowLoader``, or torch's own DataLoader). Costs: a few hundred bytes at any number of
windows; the tokens stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword.errors import ArgumentError, TooShortError
from foreword.tokens.store import TokenStore
from foreword.windows.arithmetic import TokenAccount, account, count_windows, positive

if TYPE_CHECKING:
    import torch

__all__ = ["WindowDataset"]


class WindowDataset:
    """Sliding windows over token ids, each with its targets shifted by one.

    Args:
        source: a ``TokenStore``, or token ids as a 1-D array of integers.
        context_length: T, the tokens of a window's inputs.
        stride: how far the next window starts from the last; T where it is None, so that none overlap.

    ``len(data)`` is the number of windows; ``data[i]`` gives (inputs, targets), two int64 tensors [T].
    It is a map-style dataset for torch's DataLoader, with ``__getitems__``.

    Raises:
        ArgumentError: context_length or stride below 1; ids that are not 1-D integers.
        TooShortError: fewer tokens than one window needs, T + 1.

    >>> data = WindowDataset(np.arange(10), context_length=4, stride=2)
    >>> len(data)
    3
    >>> data[1]
    (tensor([2, 3, 4, 5]), tensor([3, 4, 5, 6]))
    """

    def __init__(self, source: TokenStore | ArrayLike, *, context_length: int, stride: int | None = None) -> None:
        self.context_length = positive("context_length", context_length)
        self.stride = positive("stride", context_length if stride is None else stride)
        self.source = source if isinstance(source, TokenStore) else _checked(source)
        self._shards = self.source.shards if isinstance(self.source, TokenStore) else [self.source]
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        tokens = len(self.source)
        self._length = count_windows(tokens, self.context_length, self.stride)
        if not self._length:
            raise TooShortError(
                "too few tokens for one window",
                got=f"{tokens:,} tokens",
                expected=f"at least {self.context_length + 1:,} (context_length + 1, for the shifted targets)",
                fix=f"give more text, or a context_length of at most {tokens - 1:,}"
                if tokens > 1
                else "give more text",
            )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not -self._length <= index < self._length:
            raise IndexError(f"window {index} of {self._length:,}")
        inputs, targets = self.tensors(np.array([index % self._length]))
        return inputs[0], targets[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The windows ``indices``, fetched at once; torch's DataLoader calls this for a batch."""
        inputs, targets = self.tensors(np.asarray(indices))
        return list(zip(inputs, targets, strict=True))

    def tensors(self, windows: NDArray[np.integer[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        """``gather`` as torch tensors that share its memory."""
        import torch

        inputs, targets = self.gather(windows)
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def gather(self, windows: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets of the given windows, two new int64 arrays [n, T].

        ``windows`` are indices from 0 to len(data) − 1, [n]; they are not checked.
        """
        starts = windows * self.stride
        inputs = np.empty((len(starts), self.context_length), np.int64)
        targets = np.empty_like(inputs)
        if len(self._shards) == 1:
            _cut(self._shards[0], starts, inputs, targets)
            return inputs, targets
        first = np.searchsorted(self._ends, starts, side="right")
        last = np.searchsorted(self._ends, starts + self.context_length, side="right")
        for shard in np.unique(first[first == last]):
            rows = np.flatnonzero((first == shard) & (last == shard))
            shard_inputs, shard_targets = np.empty((2, len(rows), self.context_length), np.int64)
            _cut(
                self._shards[shard],
                starts[rows] - (self._ends[shard] - len(self._shards[shard])),
                shard_inputs,
                shard_targets,
            )
            inputs[rows], targets[rows] = shard_inputs, shard_targets
        for row in np.flatnonzero(first != last):  # the few that cross from one shard into the next
            window = self.source[starts[row] : starts[row] + self.context_length + 1]
            inputs[row], targets[row] = window[:-1], window[1:]
        return inputs, targets

    def account(self) -> TokenAccount:
        """What becomes of every token of the source in one epoch, over inputs."""
        return account(len(self.source), self.context_length, self.stride)

    def __repr__(self) -> str:
        return (
            f"WindowDataset(windows={len(self):,}, context_length={self.context_length}, stride={self.stride}, "
            f"tokens={len(self.source):,})"
        )


def _checked(ids: ArrayLike) -> NDArray[Any]:
    array = np.asarray(ids)
    if array.ndim != 1 or (array.dtype.kind not in "ui" and array.size):
        raise ArgumentError(
            "token ids must be a 1-D array of integers",
            got=f"shape {array.shape}, dtype {array.dtype}",
            fix="encode text first, tokenizer.encode(text), or open a store",
        )
    return array


def _cut(
    tokens: NDArray[Any], starts: NDArray[np.integer[Any]], inputs: NDArray[np.int64], targets: NDArray[np.int64]
) -> None:
    """Fill inputs and targets [n, T] with the windows of ``tokens`` that begin at ``starts`` [n]."""
    windows = np.lib.stride_tricks.sliding_window_view(tokens, inputs.shape[1] + 1)[starts]
    inputs[:] = windows[:, :-1]
    targets[:] = windows[:, 1:]
