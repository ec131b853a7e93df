"""Codes: unit vectors as int8, with a proven bound on what the rounding can cost a cosine.

``quantise`` turns a row x into integers c in −127…127 with one scale s, so that s·c is close to the unit vector
u = x/|x|, and into an error e with |u − s·c| ≤ e. A search scans the codes, a quarter of the rows' bytes.

The certificate. Let v be a unit query, and w = t·d the same query rounded to integers d of at most 16 bits with scale
t, f ≥ |v − w|. Then, by the triangle and the Cauchy–Schwarz inequality,

    |⟨u, v⟩ − s·t·⟨c, d⟩|  =  |⟨u − s·c, v⟩ + ⟨s·c, v − w⟩|  ≤  e + (1 + e)·f

since |v| = 1 and |s·c| ≤ |u| + e. ⟨c, d⟩ is a sum of integers, exact in int32. So every row has an interval that its
cosine lies in; a row whose interval ends below the k-th best lower end can't be among the best k. Rounding in
float32 is allowed for inside e and f (see ``_ALLOWANCE``), so the bound holds for what is computed, not only on paper.

A row of zeros has no direction: its cosine with anything is 0 here, its codes, scale, error and norm are 0.

Not for: ranking by itself (``search.py`` scores what the bounds leave over, exactly), or other metrics than cosine.
Costs: about 1.5 ns an element in one thread (numpy only; give it blocks from several threads).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError

__all__ = ["PAD", "Codes", "QueryCode", "padded", "quantise", "quantise_query", "row_norms"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PAD = 64
"""Rows of codes are padded with zeros to a multiple of this many bytes: one cache line, one AVX-512 register."""

_LEVELS = 127
_QUERY_LEVELS = 127 * 257  # 16 bits, whose upper and lower byte can both be signed
_BLOCK = 1 << 16  # elements worked on at once: a few float32 copies of them stay in a core's second-level cache

# What float32 rounding can add to |u − s·c|, on top of the measured error. With ε = 2⁻²⁴: u as computed differs from u
# by ≤ 3ε|u| (norm, its inverse, the product), s·c by ≤ ε|s·c|, their difference by ≤ ε|u − s·c|; the score
# s·t·⟨c, d⟩ as computed by ≤ 4ε. Together below 10ε = 6e-7. The sum of D squares errs by a factor ≤ 1 + Dε, see below.
_ALLOWANCE = 1e-6
_EPSILON = 2.0**-24

# Where squares of float32 neither overflow nor lose bits; rows outside are first scaled by their largest element.
_TINY, _HUGE = 1e-12, 1e15


@dataclass(frozen=True, slots=True)
class Codes:
    """Rows as ``quantise`` gives them; N rows of D elements, padded to P = padded(D).

    Attributes:
        codes: int8 [N, P], zeros beyond D.
        scales: float32 [N], s: the unit row is about s·code.
        errors: float32 [N], e ≥ |unit row − s·code|.
        norms: float32 [N], the Euclidean norm of the row (inf where that exceeds float32).
    """

    codes: NDArray[np.int8]
    scales: Float32
    errors: Float32
    norms: Float32


@dataclass(frozen=True, slots=True)
class QueryCode:
    """A unit query v rounded to integers: ``v ≈ scale·code`` within ``error``.

    Attributes:
        code: int16 [P], zeros beyond D; so small that its product with any row of codes fits int32.
        scale: t.
        error: f ≥ |v − t·code|.
    """

    code: NDArray[np.int16]
    scale: float
    error: float


def padded(dim: int) -> int:
    """The length of a row of codes for rows of ``dim`` elements.

    >>> padded(50), padded(64), padded(300)
    (64, 64, 320)
    """
    return -(-dim // PAD) * PAD


def quantise(rows: NDArray[np.floating], *, out: Codes | None = None) -> Codes:
    """The int8 codes of ``rows`` with scales, error bounds and norms; see the module for what they promise.

    Args:
        rows: float [n, D], finite. Give the values as they are stored: where a store keeps float16, the rounded
            ones, for the bounds hold for these rows and no others. Float32 is fastest.
        out: where to write: arrays of the right shapes, such as slices of mapped files. The padding is written too.

    Raises:
        ArgumentError: a row holds NaN or infinity; names the first such row.

    >>> coded = quantise(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    >>> coded.norms, coded.codes[:, :2]
    (array([5., 0.], dtype=float32), array([[ 95, 127], [  0,   0]], dtype=int8))
    """
    n, dim = rows.shape
    if out is None:
        out = Codes(
            codes=np.empty((n, padded(dim)), dtype=np.int8),
            scales=np.empty(n, dtype=np.float32),
            errors=np.empty(n, dtype=np.float32),
            norms=np.empty(n, dtype=np.float32),
        )
    for part, unit, other in _blocks(rows):
        views = Codes(out.codes[part], out.scales[part], out.errors[part], out.norms[part])
        _quantise_block(unit, other, views, first=part.start)
    return out


def row_norms(rows: NDArray[np.floating]) -> Float32:
    """The Euclidean norm of each row of float [n, D], float32 [n]; inf where it exceeds float32.

    Raises:
        ArgumentError: a row holds NaN or infinity, or numbers beyond float32; names the first such row.
    """
    norms = np.empty(len(rows), dtype=np.float32)
    for part, unit, other in _blocks(rows):
        _, scaled, factor = _measure(unit, other, first=part.start)
        with np.errstate(over="ignore"):
            norms[part] = scaled / factor
    return norms


def _blocks(rows: NDArray[np.floating]) -> Iterator[tuple[slice, Float32, Float32]]:
    """Blocks of ``rows`` copied to float32, and an array of the same shape to work in; both are used again."""
    n, dim = rows.shape
    step = max(1, _BLOCK // max(dim, 1))
    work = np.empty((2, min(step, n), dim), dtype=np.float32)
    for start in range(0, n, step):
        stop = min(start + step, n)
        unit, other = work[:, : stop - start]
        with np.errstate(over="ignore"):  # float64 beyond float32: infinity, and refused as such
            np.copyto(unit, rows[start:stop], casting="same_kind")
        yield slice(start, stop), unit, other


def _measure(unit: Float32, other: Float32, *, first: int) -> tuple[Float32, Float64, Float64]:
    """The largest element and the norm of each row, after rows of extreme size are scaled, in place, by a factor."""
    largest: Float32 = np.abs(unit, out=other).max(axis=1, initial=0.0)
    if not np.isfinite(largest).all():
        row = int(np.argmin(np.isfinite(largest)))
        raise ArgumentError(
            "vectors must be finite",
            got=f"NaN or infinity in row {first + row:,}",
            where=f"element {int(np.argmin(np.isfinite(unit[row])))}",
            fix="remove or repair the row",
        )
    factor = np.ones(len(unit))  # a power of two, so the scaling is exact
    extreme = (largest > _HUGE) | ((largest < _TINY) & (largest > 0))
    if extreme.any():
        exponent = -np.frexp(largest[extreme])[1]
        factor[extreme] = np.ldexp(1.0, exponent)
        unit[extreme] = np.ldexp(unit[extreme], exponent[:, None])
        largest[extreme] = np.ldexp(largest[extreme], exponent)
    return largest, np.sqrt(np.einsum("ij,ij->i", unit, unit, dtype=np.float64)), factor


def _quantise_block(unit: Float32, other: Float32, out: Codes, *, first: int) -> None:
    n, dim = unit.shape
    largest, norms, factor = _measure(unit, other, first=first)
    with np.errstate(over="ignore"):
        out.norms[:] = norms / factor
    inverse = np.divide(1.0, norms, out=np.zeros(n), where=norms > 0)
    out.scales[:] = largest * inverse / _LEVELS
    levels = np.divide(_LEVELS, largest, out=np.zeros(n, dtype=np.float32), where=largest > 0)

    np.multiply(unit, levels[:, None], out=other)
    np.rint(other, out=other)  # at most 127: |x|·127/largest rounds to 127·(1 + 2ε) at most
    out.codes[:, :dim] = other
    out.codes[:, dim:] = 0
    unit *= inverse.astype(np.float32)[:, None]
    other *= out.scales[:, None]
    unit -= other
    squares = np.einsum("ij,ij->i", unit, unit).astype(np.float64)
    bound = np.sqrt(squares) * (1 + (dim + 2) * _EPSILON) + _ALLOWANCE
    bound[norms == 0] = 0.0
    out.errors[:] = bound
    np.nextafter(out.errors, np.float32(np.inf), out=out.errors, where=bound > 0)


def quantise_query(query: NDArray[np.floating], *, levels: int = _QUERY_LEVELS) -> QueryCode:
    """A unit query, float [D], as integers of at most ``levels``; all zeros stay zeros.

    The largest integer is chosen so that Σ|c·d| < 2³¹ for every row of codes: by Cauchy–Schwarz |⟨c, d⟩| is at most
    127·√D·|d|, but partial sums may be summed in any order, so 127·Σ|d| is what is kept below.
    """
    v = np.asarray(query, dtype=np.float64)
    code = np.zeros(padded(len(v)), dtype=np.int16)
    largest, total = float(np.abs(v).max(initial=0.0)), float(np.abs(v).sum())
    if largest == 0.0:
        return QueryCode(code, 0.0, 0.0)
    room = (2**31 - 1) / _LEVELS - len(v)  # rounding may add ½ to each |d|
    scale = float(np.float32(largest / min(levels, room * largest / total)))
    code[: len(v)] = np.clip(np.rint(v / scale), -levels, levels)
    error = float(np.linalg.norm(v - scale * code[: len(v)])) + _ALLOWANCE
    return QueryCode(code, scale, error)
