"""The vectors that the benchmarks of this folder work on: made once, clustered as words are, kept in Foreword's cache.

Rows lie around a thousand centres, at distances that leave each row a few near neighbours and many far ones; the words
are w0, w1, …. Files are written in a round, so that every benchmark and every rival reads the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_write, cache_folder

_AT_ONCE = 10_000


def blocks(n: int, dim: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(first row, rows float32 [≤ 10,000, dim]) of n clustered rows, always the same."""
    centres = np.random.default_rng(1).normal(size=(1000, dim)).astype(np.float32)
    for start in range(0, n, _AT_ONCE):
        rng = np.random.default_rng([2, start])
        size = min(_AT_ONCE, n - start)
        yield start, 0.25 * (centres[rng.integers(0, 1000, size)] + rng.normal(size=(size, dim)).astype(np.float32))


def binary_file(n: int, dim: int) -> Path:
    """The rows as a word2vec binary file."""
    path = cache_folder("benchmarks") / f"{n}x{dim}.bin"
    if not path.exists():
        with atomic_write(path) as file:
            file.write(b"%d %d\n" % (n, dim))
            for start, rows in blocks(n, dim):
                data, size = rows.tobytes(), 4 * dim
                file.write(
                    b"".join(b"w%d %b\n" % (start + i, data[i * size : i * size + size]) for i in range(len(rows)))
                )
    return path


def text_file(n: int, dim: int) -> Path:
    """The rows as a word2vec text file, each number with eight decimals as many such files have it."""
    path = cache_folder("benchmarks") / f"{n}x{dim}.txt"
    if not path.exists():
        with atomic_write(path) as file:
            file.write(b"%d %d\n" % (n, dim))
            for start, rows in blocks(n, dim):
                file.writelines(
                    b"w%d %b\n" % (start + i, " ".join([f"{x:.8f}" for x in row]).encode())
                    for i, row in enumerate(rows.tolist())
                )
    return path


def native_file(n: int, dim: int) -> Path:
    """The rows as gensim saves them, for it to map."""
    path = cache_folder("benchmarks") / f"{n}x{dim}.kv"
    if not path.exists():
        from gensim.models import KeyedVectors

        KeyedVectors.load_word2vec_format(os.fspath(binary_file(n, dim)), binary=True).save(os.fspath(path))
    return path


def warm(path: Path) -> Path:
    """Have the system read the files of ``path`` into its cache of pages."""
    for part in path.parent.glob(f"{path.name}*"):
        with open(part, "rb") as file:
            while file.read(1 << 24):
                pass
    return path
