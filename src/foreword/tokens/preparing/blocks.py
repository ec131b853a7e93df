"""Blocks: pieces of documents gathered to about a MiB, encoded by workers, given back in order.

    pieces ── BlockEncoder.add ──▶ block ── a worker: ids, end-of-text, dtype ──▶ Encoded, in the order of adding

What a block holds changes no bytes of a store, so neither does the number of workers.

Not for: reading or writing. Costs: 4 · workers + 2 blocks in memory.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword.tokens.preparing.contents import Contents
from foreword.tokens.tokenizers.tokenizer import Tokenizer

__all__ = ["Block", "BlockEncoder", "Encoded", "Framing", "Task", "Threads", "Workers", "encode_block"]

BLOCK_BYTES = 1 << 20
# Blocks that may wait, for each worker.
AHEAD = 4
# Seconds that a run's calling thread waits, in all, before it encodes too. An encoder of its own takes 0.06 s to build,
# in which gigatoken lets no other thread run, and as long to warm. As reading and writing take nearly a thread, it
# gains a fifteenth from then on: a run of less than some 300 MB does not pay for it.
PATIENCE = 0.25


@dataclasses.dataclass(frozen=True)
class Framing:
    """What is put around each document's ids."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Encoded:
    """For each output, token ids [n], after how many of them each document ends [documents], and ``Tokens.loss``."""

    parts: list[tuple[NDArray[Any], NDArray[np.int64], NDArray[np.uint8] | None]]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is done to every block, wherever it is done; can be pickled."""

    tokenizer: Tokenizer
    framing: Framing
    dtype: np.dtype[Any]
    outputs: int
    contents: Contents


class Workers(Protocol):
    """Who encodes blocks: threads (``Threads``), or a cluster (``ray_engine``)."""

    count: int

    def submit(self, block: Block) -> Future[Encoded]:
        """Encode a block some time; its ids are the future's result."""

    def close(self) -> None:
        """End them; what has not begun is dropped."""


class Threads:
    """``count`` threads of this process, the calling one among them where there are several; the tokenizer lets go of
    the GIL.

    The calling thread reads and writes, and encodes only what would wait: two threads on two processors, not three.
    """

    def __init__(self, task: Task, count: int) -> None:
        self.count = count
        self._task = task
        self._others = max(1, count - 1)
        self._pool = ThreadPoolExecutor(self._others, thread_name_prefix="foreword-encode")
        self._given: collections.deque[Future[Encoded]] = collections.deque()
        self._patience = PATIENCE

    def submit(self, block: Block) -> Future[Encoded]:
        """Encode a block on another thread, or here where those have enough to do."""
        while self._given and self._given[0].done():
            self._given.popleft()
        if self.count > 1 and len(self._given) > AHEAD * self.count and not self._waited_for(self._given[0]):
            here: Future[Encoded] = Future()
            here.set_result(encode_block(self._task, block))
            return here
        self._given.append(self._pool.submit(encode_block, self._task, block))
        return self._given[-1]

    def _waited_for(self, due: Future[Encoded]) -> bool:
        """Whether a block is done within what is left of the calling thread's patience."""
        began = time.monotonic()
        done = wait([due], max(0.0, self._patience)).done
        self._patience -= time.monotonic() - began
        return bool(done)

    def close(self) -> None:
        """Wait for the blocks that are being encoded, and end."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclasses.dataclass
class Block:
    """Pieces of documents: their payloads, whether a document begins and ends with each, and whose output it is."""

    texts: list[bytes] = dataclasses.field(default_factory=list)
    begins: list[bool] = dataclasses.field(default_factory=list)
    ends: list[bool] = dataclasses.field(default_factory=list)
    outputs: list[int] = dataclasses.field(default_factory=list)
    size: int = 0


class BlockEncoder:
    """Gathers pieces into blocks and has ``workers`` encode them; a context manager that ends them."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._limit = AHEAD * workers.count + 1
        self._pending: collections.deque[Future[Encoded]] = collections.deque()
        self._block = Block()
        self.begins = True  # whether the next piece begins a document

    def __enter__(self) -> BlockEncoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()

    def add(self, text: bytes, *, ends: bool, output: int) -> Iterator[Encoded]:
        """Add a piece of a document; gives the blocks that are done and due."""
        block = self._block
        block.texts.append(text)
        block.begins.append(self.begins)
        block.ends.append(ends)
        block.outputs.append(output)
        block.size += len(text)
        self.begins = ends
        if block.size >= BLOCK_BYTES or len(block.texts) >= BLOCK_BYTES // 16:
            self._submit()
            while len(self._pending) > self._limit or (self._pending and self._pending[0].done()):
                yield self._pending.popleft().result()

    def _submit(self) -> None:
        if self._block.texts:
            self._pending.append(self._workers.submit(self._block))
            self._block = Block()

    def drain(self) -> Iterator[Encoded]:
        """All that has been added and not yet been given back."""
        self._submit()
        while self._pending:
            yield self._pending.popleft().result()


def encode_block(task: Task, block: Block) -> Encoded:
    """The ids of a block, with what is put around documents, told apart by output."""
    ids, lengths, loss = task.contents.encode(task.tokenizer, block.texts)
    begins, ends = np.array(block.begins), np.array(block.ends)
    before, after = task.framing.before, task.framing.after
    if before or after:
        stops = np.cumsum(lengths)
        places = np.concatenate([np.repeat((stops - lengths)[begins], len(before)), np.repeat(stops[ends], len(after))])
        values = np.concatenate([np.tile(before, begins.sum()), np.tile(after, ends.sum())]).astype(np.uint32)
        # by place, and by document where an empty piece leaves several places equal
        order = np.concatenate(
            [
                np.repeat(2 * np.flatnonzero(begins), len(before)),
                np.repeat(2 * np.flatnonzero(ends) + 1, len(after)),
            ]
        )
        ranked = np.argsort(order, kind="stable")
        if loss is not None:  # what ends a document is trained on where its last token is
            last = np.append(loss, 0)[stops[ends] - 1]
            trained = np.concatenate([np.zeros(begins.sum() * len(before)), np.repeat(last, len(after))])
            loss = np.insert(loss, places[ranked], trained[ranked].astype(np.uint8))
        ids = np.insert(ids, places[ranked], values[ranked])
        lengths = lengths + len(before) * begins + len(after) * ends
    ids = ids.astype(task.dtype)
    if task.outputs == 1:
        return Encoded([(ids, np.cumsum(lengths)[ends], loss)])
    outputs = np.array(block.outputs)
    owner = np.repeat(outputs, lengths)
    return Encoded(
        [
            (
                ids[owner == output],
                np.cumsum(lengths[outputs == output])[ends[outputs == output]],
                None if loss is None else loss[owner == output],
            )
            for output in range(task.outputs)
        ]
    )
