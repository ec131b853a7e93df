"""Building a store: blocks of words and rows → the folder that ``store`` opens.

Rows and codes go to disk as they come, from several threads; what is small (keys, hashes, norms) is kept until the end,
when keys are sorted and words that came twice are dropped, the first staying as in gensim.

Not for: reading (``formats``), the folder's name and lock (``convert``). Costs: memory for the keys, 28 bytes a row,
and the blocks in flight.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_write
from foreword.errors import ArgumentError, FormatError
from foreword.vectors.search.codes import padded, quantise
from foreword.vectors.store.blocks import Block
from foreword.vectors.store.encoder import TOKENIZER, TextEncoder, encoder_fields
from foreword.vectors.store.keys import INTEGER, hash_keys
from foreword.vectors.store.store import FORMAT, HEADER, VERSION, npy_header
from foreword.vectors.store.subwords import Subwords

__all__ = ["StoreBuilder", "Workers"]

_MOVED = 1 << 16  # rows moved at a time where duplicates are dropped
_SYNCED = 32 << 20  # bytes of rows after which the disk is asked to take them


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is kept in memory of a block until the end; its rows and codes are on disk by then."""

    blob: bytes
    lengths: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    scales: NDArray[np.float32]
    errors: NDArray[np.float32]
    norms: NDArray[np.float32]
    counts: NDArray[np.int64] | None


class Workers(ThreadPoolExecutor):
    """Threads that make and write blocks. Where their ``with`` block ends by an exception, as of Ctrl-C, what they have
    not begun with is not done. It stands within that of the builder, which closes the files: nobody writes then.
    """

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=kind is not None)


class StoreBuilder:
    """Fills the empty folder ``folder`` with a store of rows [·, dim]; a context manager, for the files it holds."""

    def __init__(self, folder: Path, dim: int, dtype: np.dtype[Any]) -> None:
        self._folder, self._dim, self._dtype = folder, dim, dtype
        self._n = 0
        self._futures: list[Future[_Piece]] = []
        self._unsynced = 0
        self._syncing: Future[None] | None = None
        self._one_writer = threading.Lock()  # of the files, which have one position each
        self._closing = contextlib.ExitStack()
        self._vectors = self._closing.enter_context(open(folder / "vectors.npy", "w+b", buffering=0))  # noqa: SIM115
        self._codes = self._closing.enter_context(open(folder / "codes.npy", "w+b", buffering=0))  # noqa: SIM115
        self._syncer = self._closing.enter_context(ThreadPoolExecutor(1, thread_name_prefix="foreword-sync"))

    def __enter__(self) -> StoreBuilder:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def append(self, count: int, make: Callable[[], Block], pool: Executor) -> Future[_Piece]:
        """Have a thread of ``pool`` make and write a block of ``count`` rows, which follow those appended before.

        The result raises what ``make`` raises, and FormatError where a row is not finite.
        """
        future = pool.submit(self._write, make, self._n)
        self._n += count
        self._futures.append(future)
        self._unsynced += count * self._dim * self._dtype.itemsize
        if self._unsynced >= _SYNCED and (self._syncing is None or self._syncing.done()):
            self._wait_for_sync()
            self._unsynced, self._syncing = 0, self._syncer.submit(self._sync)
        return future

    def _sync(self) -> None:
        """Have the disk take what is written while more is made, so that the end waits for little."""
        os.fsync(self._vectors.fileno())
        os.fsync(self._codes.fileno())

    def _wait_for_sync(self) -> None:
        if self._syncing is not None:
            self._syncing.result()  # the system tells of a failure to write once only

    def _write(self, make: Callable[[], Block], start: int) -> _Piece:
        block = make()
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(block.rows, dtype=self._dtype)
        try:
            codes = quantise(rows)
        except ArgumentError:
            raise self._not_finite(block, rows) from None
        with self._one_writer:
            _write_at(self._vectors, rows, HEADER + start * self._dim * self._dtype.itemsize)
            _write_at(self._codes, codes.codes, HEADER + start * codes.codes.shape[1])
        hashes = hash_keys(np.frombuffer(block.blob, dtype=np.uint8), _offsets(block.lengths))
        return _Piece(block.blob, block.lengths, hashes, codes.scales, codes.errors, codes.norms, block.counts)

    def _not_finite(self, block: Block, rows: NDArray[Any]) -> FormatError:
        row = int(np.argmin(np.isfinite(rows).all(axis=1)))
        value = block.rows[row][~np.isfinite(rows[row])][0]
        return FormatError(
            "a vector holds a value that is not a finite number",
            got=f"{value}, too large for {self._dtype}" if np.isfinite(value) else value,
            where=block.where(row),
            fix="remove or repair the word's vector",
        )

    def finish(
        self,
        *,
        subwords: Subwords | None,
        source: Mapping[str, Any],
        encoder: TextEncoder | None = None,
        word_ngrams: int | None = None,
    ) -> int:
        """Write what is left: the small columns, the key table, the headers, the manifest. Gives N."""
        pieces = [future.result() for future in self._futures]
        self._futures.clear()
        self._wait_for_sync()

        def joined(name: str, dtype: str) -> NDArray[Any]:
            return np.concatenate([np.empty(0, dtype), *(getattr(piece, name) for piece in pieces)])

        columns = {name: joined(name, "float32") for name in ("scales", "errors", "norms")}
        if pieces and pieces[0].counts is not None:
            columns["counts"] = joined("counts", "int64")
        integer_keys = any(INTEGER in piece.blob for piece in pieces)
        words = np.frombuffer(b"".join(piece.blob for piece in pieces), dtype=np.uint8)
        lengths, hashes = joined("lengths", "int64"), joined("hashes", "uint64")
        order = np.argsort(hashes, kind="stable")
        second = _repeated(words, _offsets(lengths), hashes, order)
        if len(second):
            kept = np.ones(len(hashes), dtype=bool)
            kept[second] = False
            words = words[np.repeat(kept, lengths)]
            lengths, hashes = lengths[kept], hashes[kept]
            columns = {name: column[kept] for name, column in columns.items()}
            order = np.argsort(hashes, kind="stable")
            rows = np.flatnonzero(kept)
            _compact(self._vectors, self._dim * self._dtype.itemsize, rows)
            _compact(self._codes, padded(self._dim), rows)
        n = len(hashes)
        columns |= {
            "blob": words,
            "offsets": _offsets(lengths),
            "hashes": hashes[order],
            "rows": order.astype(np.uint32),
        }
        if subwords is not None:
            columns["subwords"] = np.ascontiguousarray(subwords.vectors, dtype=np.float32)
            if subwords.numbers is not None and subwords.rows_of is not None:
                columns |= {"ngrams": subwords.numbers, "ngram_rows": subwords.rows_of}
        for name, column in columns.items():
            with open(self._folder / f"{name}.npy", "wb") as small:
                small.write(npy_header(column.dtype, column.shape))
                small.write(column.data)
        for large, dtype, width in (
            (self._vectors, self._dtype, self._dim),
            (self._codes, np.dtype(np.int8), padded(self._dim)),
        ):
            large.seek(0)
            large.write(npy_header(dtype, (n, width)))
            large.truncate(HEADER + n * width * dtype.itemsize)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "rows": n,
            "dim": self._dim,
            "dtype": self._dtype.name,
            "key_bytes": len(words),
            "counts": "counts" in columns,
            "subwords": subwords and _subword_fields(subwords),
            "source": dict(source),
        } | ({"integer_keys": True} if integer_keys else {})
        if word_ngrams is not None:
            manifest["word_ngrams"] = word_ngrams
        if encoder is not None:
            tokenizer = encoder.json()
            (self._folder / TOKENIZER).write_bytes(tokenizer)
            manifest["encoder"] = encoder_fields(encoder, len(tokenizer))
        with atomic_write(self._folder / "manifest.json") as file:
            file.write(json.dumps(manifest, indent=1).encode())
        return n


def _subword_fields(subwords: Subwords) -> dict[str, Any]:
    """What the manifest says of subwords; of fastText's own way only what it always did."""
    fields: dict[str, Any] = {"minn": subwords.minn, "maxn": subwords.maxn, "bucket": len(subwords.vectors)}
    if not subwords.as_in_fasttext:
        listed = None if subwords.numbers is None else len(subwords.numbers)
        fields |= {"hashing": subwords.hashing, "buckets": subwords.buckets, "listed": listed}
    return fields


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of pieces of these lengths starts, and the end."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def _repeated(
    words: NDArray[np.uint8], offsets: NDArray[np.int64], hashes: NDArray[np.uint64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The rows whose key an earlier row has. Only rows with equal hashes are looked at; ``order`` sorts hashes,
    stably.
    """
    equal = np.flatnonzero(np.diff(hashes[order].view(np.int64)) == 0)
    repeated, seen = [], set()
    for row in order[np.union1d(equal, equal + 1)].tolist():
        word = words[offsets[row] : offsets[row + 1]].tobytes()
        if word in seen:
            repeated.append(row)
        seen.add(word)
    return np.array(repeated, dtype=np.int64)


def _compact(file: IO[bytes], row_bytes: int, kept: NDArray[np.int64]) -> None:
    """Move the ``kept`` rows (rising) of a file to its front. A row never moves back, so none is overwritten unread."""
    mapped = np.memmap(file, dtype=np.uint8, mode="r+", offset=HEADER)
    table = mapped.reshape(-1, row_bytes)
    for start in range(0, len(kept), _MOVED):
        part = kept[start : start + _MOVED]
        table[start : start + len(part)] = table[part]
    mapped.flush()


def _write_at(file: IO[bytes], array: NDArray[Any], position: int) -> None:
    """Write a contiguous array at a byte position of an unbuffered file."""
    data = array.data.cast("B")
    file.seek(position)
    while data:
        data = data[file.write(data) :]
