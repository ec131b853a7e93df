"""``lay_out``: a place in the plane for every word, computed once and kept in the cache.

What is kept is named by a digest of the rows and of this way to place them, so that other vectors, or another way,
never find it. Of several processes one computes and the others wait. The layouts that were used last are kept, a few
megabytes each.

Not for: maps of a few words, where principal components are exact and immediate (``word_map``). Costs: 400,000 × 50
take about a minute of two cores the first time, then the time to hash the rows, 0.1 s.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword._base.files import DAMAGED_ARRAY, atomic_write, cache_folder, explained, lock
from foreword._base.progress import progress
from foreword.errors import ArgumentError, ForewordError, MissingPackageError
from foreword.vectors.layout.coarse import components
from foreword.vectors.search.cosines import unit_rows

if TYPE_CHECKING:
    from foreword.vectors.keyed_vectors import KeyedVectors

__all__ = ["lay_out", "leading_rows"]

Floats = NDArray[np.float32]

_METHOD = b"foreword layout 1"  # another number, and nothing that was kept is found any more
_KEPT = 16  # layouts
_DIMENSIONS = 64  # rows of more are first reduced to so many principal components


def lay_out(vectors: KeyedVectors, *, count: int = 400_000, tick: Callable[[str, float], None] | None = None) -> Floats:
    """A place in the plane for each of the first ``count`` words, so that words used alike lie side by side.

    Places come from t-SNE, for the first 50,000 words among one another, for the others where their neighbours are.
    Distances and directions between far places mean little. The same vectors give the same places on one machine.

    Args:
        vectors: the word vectors.
        count: how many words, the most frequent; fewer where there are fewer.
        tick: called with what is being done and the share of the work that is done, 0…1; a bar is shown where it is
            None and standard error is a terminal. What it raises ends the work.

    Returns:
        float32 [N, 2], in the order of ``vectors.index_to_key``.

    Raises:
        ArgumentError: there is no word.
        MissingPackageError: numba can't compile on this machine.
        FileError: the cache can't be written.
    """
    count = integer("count", count, at_least=1)
    rows = leading_rows(vectors, count)
    if not len(rows):
        raise ArgumentError("a layout needs words", got="none")
    digest = hashlib.sha256(_METHOD + repr(rows.shape).encode())
    digest.update(rows.data)
    folder = cache_folder("layouts")
    file = folder / f"{digest.hexdigest()[:40]}.npy"
    with lock(folder / ".lock"):
        places = _read(file, len(rows))
        if places is None:
            places = _place(rows, tick)
            _write(file, places)
    return places


def leading_rows(vectors: KeyedVectors, count: int) -> Floats:
    """The first ``count`` rows, each of length 1 but for rounding: float32 [N, D]; rows of zeros stay so."""
    count = min(count, len(vectors))
    rows = np.zeros((count, vectors.vector_size), np.float32)
    for part, block, inverse in vectors._search().blocks(0, count):
        np.multiply(block, inverse[:, None], out=rows[part], where=np.isfinite(inverse)[:, None])
    return rows


def _place(rows: Floats, tick: Callable[[str, float], None] | None) -> Floats:
    try:
        from foreword.vectors.layout import placing
    except ImportError as cause:
        raise MissingPackageError(f"a layout needs compiled code: {cause}", fix="unset FOREWORD_KERNELS") from None
    if rows.shape[1] > _DIMENSIONS:
        rows = unit_rows(components(rows, _DIMENSIONS)).astype(np.float32)
    if tick is not None:
        return placing.place(rows, tick)
    with progress("Laying out words", 100, unit="%") as bar:
        shown = 0.0

        def advance(_: str, share: float) -> None:
            nonlocal shown
            bar.advance(100 * share - shown)
            shown = 100 * share

        return placing.place(rows, advance)


def _read(file: Path, count: int) -> Floats | None:
    """What was kept; None where nothing was, or it is damaged."""
    try:
        places = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    except (OSError, *DAMAGED_ARRAY):
        return None
    if places.dtype != np.float32 or places.shape != (count, 2) or not np.isfinite(places).all():
        return None
    with contextlib.suppress(OSError):  # a cache that can only be read
        file.touch()
    return np.asarray(places)


def _write(file: Path, places: Floats) -> None:
    buffer = io.BytesIO()
    np.save(buffer, places)
    with atomic_write(file) as out:
        out.write(buffer.getbuffer())
    with contextlib.suppress(ForewordError), explained("list the cache", file.parent):
        kept = sorted(file.parent.glob("*.npy"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in kept[_KEPT:]:
            old.unlink(missing_ok=True)
