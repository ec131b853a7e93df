"""The rivals of the loader benchmarks: each as a function that gives the batches of one shuffled epoch.

Every one reads the same token ids, from a headerless uint16 file, and gives inputs and targets as int64, [B, T] each,
in this process, without workers (on the machines we measured, workers made every one slower). What a rival is known to
need for its best speed is done: HF datasets iterates by batches, grain reads without threads.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

Epoch = Callable[[], Iterator[Any]]

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class GPTDatasetV1(Dataset):
    """The notebook's dataset, from token ids on: two tensors a window, made up front."""

    def __init__(self, ids: list[int], context_length: int, stride: int) -> None:
        self.input_ids, self.target_ids = [], []
        for i in range(0, len(ids) - context_length, stride):
            self.input_ids.append(torch.tensor(ids[i : i + context_length]))
            self.target_ids.append(torch.tensor(ids[i + 1 : i + context_length + 1]))

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.input_ids[index], self.target_ids[index]


def notebook(path: Path, B: int, T: int) -> Epoch:
    """The notebook's dataset and torch's DataLoader; its lists are built before the clock starts."""
    data = GPTDatasetV1(np.fromfile(path, np.uint16).tolist(), T, T)
    loader = DataLoader(data, batch_size=B, shuffle=True, drop_last=True)
    return lambda: iter(loader)


class LazyWindows(Dataset):
    """What one writes by hand: a map-style dataset over a memmap."""

    def __init__(self, path: Path, T: int) -> None:
        self.ids, self.T = np.memmap(path, np.uint16, "r"), T

    def __len__(self) -> int:
        return (len(self.ids) - 1) // self.T

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        window = torch.from_numpy(self.ids[i * self.T : (i + 1) * self.T + 1].astype(np.int64))
        return window[:-1], window[1:]


def lazy_dataloader(path: Path, B: int, T: int) -> Epoch:
    loader = DataLoader(LazyWindows(path, T), batch_size=B, shuffle=True, drop_last=True)
    return lambda: iter(loader)


def nanogpt(path: Path, B: int, T: int) -> Epoch:
    """nanoGPT's get_batch: random places, with replacement; as many batches as an epoch has."""

    def epoch() -> Iterator[Any]:
        for _ in range((_ids(path) - 1) // T // B):
            data = np.memmap(path, dtype=np.uint16, mode="r")
            ix = torch.randint(len(data) - T, (B,))
            x = torch.stack([torch.from_numpy((data[i : i + T]).astype(np.int64)) for i in ix])
            y = torch.stack([torch.from_numpy((data[i + 1 : i + 1 + T]).astype(np.int64)) for i in ix])
            yield x, y

    return epoch


def grain(path: Path, B: int, T: int) -> Epoch:
    import grain.python as pygrain

    class Windows:
        ids = np.memmap(path, np.uint16, "r")

        def __len__(self) -> int:
            return (len(self.ids) - 1) // T

        def __getitem__(self, i: int) -> dict[str, np.ndarray]:
            window = self.ids[i * T : (i + 1) * T + 1].astype(np.int64)
            return {"inputs": window[:-1], "targets": window[1:]}

    data = pygrain.MapDataset.source(Windows()).shuffle(seed=0).batch(B, drop_remainder=True)
    return lambda: iter(data.to_iter_dataset(pygrain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))


def hf_datasets(path: Path, B: int, T: int) -> Epoch:
    import datasets

    datasets.disable_progress_bars()
    ids = np.fromfile(path, np.uint16).astype(np.int32)
    windows = np.lib.stride_tricks.sliding_window_view(ids, T + 1)[::T]
    feature = datasets.Features({"ids": datasets.Sequence(datasets.Value("int32"), length=T + 1)})
    data = datasets.Dataset.from_dict({"ids": list(windows)}, features=feature).with_format("torch")

    def epoch() -> Iterator[Any]:
        for batch in data.shuffle(seed=0).iter(batch_size=B, drop_last_batch=True):
            window = batch["ids"].long()
            yield window[:, :-1].contiguous(), window[:, 1:].contiguous()

    return epoch


def _tokens_of(item: Any) -> Iterator[torch.Tensor]:
    path, start, stop = item
    yield torch.from_numpy(np.fromfile(path, np.uint16)[start:stop])


def litdata(path: Path, B: int, T: int) -> Epoch:
    """Its own chunks, of windows of T + 1 that do not share their ends, so it reads one token more a window."""
    from litdata import StreamingDataLoader, StreamingDataset, optimize
    from litdata.streaming.item_loader import TokensLoader

    folder = path.parent / f"litdata-{path.stem}-{T}"
    if not folder.exists():
        count = _ids(path)
        step = 1_000_000
        optimize(
            fn=_tokens_of,
            inputs=[(str(path), i, min(i + step, count)) for i in range(0, count, step)],
            output_dir=str(folder),
            chunk_size=(T + 1) * 8192,
            item_loader=TokensLoader(),
            num_workers=1,
        )
    data = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=T + 1), shuffle=True, drop_last=True)
    loader = StreamingDataLoader(data, batch_size=B, num_workers=0, drop_last=True)

    def epoch() -> Iterator[Any]:
        for ids in loader:
            window = ids.long()
            yield window[:, :-1].contiguous(), window[:, 1:].contiguous()

    return epoch


def plain_copy(path: Path, B: int, T: int) -> Epoch:
    """Not a loader: a copy of the output bytes from memory to memory, a batch at a time. The limit."""
    source = torch.zeros(2, B, T, dtype=torch.int64)

    def epoch() -> Iterator[Any]:
        for _ in range((_ids(path) - 1) // T // B):
            yield source[0].clone(), source[1].clone()

    return epoch


def compact_copy(path: Path, B: int, T: int) -> Epoch:
    """The same limit for compact batches: a copy of [B, T + 1] ids of two bytes, a batch at a time.

    As int16: torch copies uint16, which has the same bytes, at half the speed.
    """
    source = torch.zeros(B, T + 1, dtype=torch.int16)

    def epoch() -> Iterator[Any]:
        for _ in range((_ids(path) - 1) // T // B):
            yield source.clone()

    return epoch


def _ids(path: Path) -> int:
    return path.stat().st_size // 2
