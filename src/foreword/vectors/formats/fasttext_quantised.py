"""The quantised input matrix of a fastText model (``.ftz``): product codes → rows.

A row is cut into parts of ``dsub`` elements, the last of ``lastdsub``; of each part the matrix keeps a byte, the number
of one of 256 centroids. With ``qnorm`` rows of length 1 are kept so, and the lengths by a quantiser of their own.

Layout: qnorm (a byte), rows and dim (i64), the number of codes (i32), the codes; the quantiser; with qnorm a byte for
each row, and a second quantiser. A quantiser: dim, parts, dsub, lastdsub (i32), dim × 256 float32, part by part, and in
a part centroid by centroid. Source: the program fastText (quantmatrix.cc, productquantizer.cc).

Not for: the rest of the file (``fasttext``). Costs: the decoded rows go to a temporary file, which is mapped.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import explained
from foreword._base.words import counted
from foreword.vectors.store.blocks import BLOCK_BYTES

__all__ = ["read_quantised"]

_CENTROIDS = 256


class Taking(Protocol):
    """What gives the bytes of a file, one after another."""

    def take(self, n: int) -> bytes: ...

    def unpack(self, layout: str) -> tuple[Any, ...]: ...


@dataclass(frozen=True, slots=True)
class _Quantiser:
    """Centroids: one array float32 [256, d] for each part."""

    parts: list[NDArray[np.float32]]

    @classmethod
    def read(cls, data: Taking, dim: int) -> _Quantiser:
        """The next quantiser, of vectors of ``dim`` elements. ValueError where it is damaged."""
        own, count, dsub, last = data.unpack("4i")
        if own != dim or dsub < 1 or not 1 <= last <= dsub or count < 1 or (count - 1) * dsub + last != dim:
            raise ValueError(
                f"a quantiser of {counted(own, 'element')} in {counted(count, 'part')} of {dsub:,}, "
                f"the last of {last:,}"
            )
        flat = np.frombuffer(data.take(4 * _CENTROIDS * dim), "<f4")
        edges = [_CENTROIDS * dsub * i for i in range(1, count)]
        return cls([part.reshape(_CENTROIDS, -1) for part in np.split(flat, edges)])

    def rows(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Codes [n, parts] → float32 [n, dim]."""
        return np.concatenate([part[codes[:, i]] for i, part in enumerate(self.parts)], axis=1)


def read_quantised(data: Taking, rows: int, dim: int) -> NDArray[np.float32]:
    """The matrix that comes next, of ``rows`` × ``dim``: float32, mapped from a temporary file.

    Raises:
        ValueError: it is damaged, or of another shape; says how.
        FormatError: it is cut short.
        FileError: the temporary file can't be written.
    """
    qnorm, own_rows, own_dim, size = data.unpack("Bqqi")
    if qnorm > 1 or (own_rows, own_dim) != (rows, dim) or size < 0 or size % max(rows, 1):
        raise ValueError(f"a matrix {own_rows:,} × {own_dim:,} of {counted(size, 'code')}")
    codes = np.frombuffer(data.take(size), np.uint8).reshape(rows, -1) if rows else np.empty((0, 1), np.uint8)
    quantiser = _Quantiser.read(data, dim)
    if rows and codes.shape[1] != len(quantiser.parts):
        raise ValueError(f"{counted(codes.shape[1], 'code')} a row for {counted(len(quantiser.parts), 'part')}")
    lengths = None
    if qnorm:
        of_lengths = np.frombuffer(data.take(rows), np.uint8)
        lengths = _Quantiser.read(data, 1).rows(of_lengths[:, None])
    if not rows:
        return np.empty((0, dim), np.float32)
    at_once = max(1, BLOCK_BYTES // (4 * dim))
    with explained("unpack the vectors to a temporary file", tempfile.gettempdir()), tempfile.TemporaryFile() as file:
        for start in range(0, rows, at_once):
            part = quantiser.rows(codes[start : start + at_once])
            if lengths is not None:
                with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is refused when it is written
                    part *= lengths[start : start + at_once]
            file.write(part.data)
        file.flush()
        return np.asarray(np.memmap(file, np.float32, "r", 0, (rows, dim)))
