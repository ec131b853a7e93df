"""The arithmetic of cosines that every search shares: what is exact, and how far float32 can be from it.

Not for: searching (``index``). Costs: ``cosines`` about 1 ns an element; memory for one block of rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ArgumentError

__all__ = [
    "BLOCK",
    "EPSILON",
    "Float64",
    "Rows",
    "cosines",
    "float32_below",
    "float_slack",
    "kth_largest",
    "rising",
    "unit_query",
    "unit_rows",
    "without",
]

Float64 = NDArray[np.float64]
Rows = NDArray[np.int64]

EPSILON = 2.0**-24
"""The largest relative error of rounding to float32."""

BLOCK = 1 << 17
"""Elements that numpy works on at once: ½ MB of float32, in the second-level cache."""

_STEEPEST = 1000  # the power of two that rows are scaled up by at most: 2¹⁰²⁴ would be infinity


def cosines(rows: NDArray[np.floating], units: Float64) -> Float64:
    """The cosine of each row, float [n, D], with a unit query, [D] or one a row, [n, D], in float64; 0 for a row of
    zeros.

    Sums run along each row in numpy's pairwise order, so a row's score doesn't depend on the rows beside it.
    """
    scores = np.empty(len(rows))
    step = max(1, BLOCK // max(rows.shape[1], 1))
    for i in range(0, len(rows), step):
        exact, norms = _measured(rows[i : i + step])
        exact *= units if units.ndim == 1 else units[i : i + step]
        scores[i : i + step] = np.divide(exact.sum(axis=1), norms, out=np.zeros(len(exact)), where=norms > 0)
    return np.clip(scores, -1.0, 1.0, out=scores)


def unit_rows(rows: NDArray[np.floating]) -> Float64:
    """Rows, float [n, D], scaled to length 1 in float64, whatever their size; rows of zeros stay so."""
    exact, norms = _measured(rows)
    exact /= np.where(norms > 0, norms, 1.0)[:, None]
    return exact


def _measured(rows: NDArray[np.floating]) -> tuple[Float64, Float64]:
    """A float64 copy of the rows, scaled by powers of two so that no square can over- or underflow; and their norms."""
    exact = np.array(rows, dtype=np.float64, order="C")
    largest = np.abs(exact).max(axis=1, initial=0.0)
    exact *= np.ldexp(1.0, np.minimum(-np.frexp(largest)[1], _STEEPEST))[:, None]
    return exact, np.asarray(np.sqrt((exact * exact).sum(axis=1)))


def unit_query(query: NDArray[np.floating], dim: int) -> Float64:
    """``query`` scaled to length 1 in float64; a query of zeros stays so.

    Raises:
        ArgumentError: it is not one vector of ``dim`` finite numbers.
    """
    vector = np.asarray(query, dtype=np.float64)
    if vector.shape != (dim,):
        raise ArgumentError("a query is one vector", got=f"shape {vector.shape}", expected=f"shape ({dim},)")
    largest = float(np.abs(vector).max(initial=0.0))
    if not np.isfinite(largest):
        raise ArgumentError("a query must be finite", got="NaN or infinity")
    if largest == 0.0:
        return vector
    vector = vector * np.ldexp(1.0, min(-int(np.frexp(largest)[1]), _STEEPEST))
    return np.asarray(vector / np.sqrt((vector * vector).sum()))


def float_slack(dim: int) -> float:
    """How far a float32 product of unit vectors of ``dim`` elements can be from their cosine.

    The sum errs by at most D·ε/(1 − D·ε) (Higham, Accuracy and Stability of Numerical Algorithms, 3.1) in any order;
    the query's rounding, the norm, its inverse, the product with that, and the slack's own sum by 7ε together.
    """
    return 1.01 * (dim + 8) * EPSILON


def float32_below(value: float) -> float:
    """The largest float32 that is not above ``value``: a bound that comparing in float32 must not raise.

    >>> float32_below(0.1) < 0.1, float32_below(0.5)
    (True, 0.5)
    """
    with np.errstate(over="ignore"):
        narrow = np.float32(value)
    return float(np.nextafter(narrow, np.float32(-np.inf)) if float(narrow) > value else narrow)


def kth_largest(values: NDArray[np.floating], k: int) -> float:
    """The k-th largest of ``values``; −∞ where there are fewer."""
    return float(np.partition(values, len(values) - k)[len(values) - k]) if len(values) >= k else -np.inf


def rising(rows: Rows) -> Rows:
    """``rows`` sorted, each once; as numpy's ``unique``, which loads numpy.ma, 5 ms of a first query."""
    rows = np.sort(rows)
    new = np.ones(len(rows), np.bool_)
    new[1:] = rows[1:] != rows[:-1]
    return rows[new]


def without(rows: Rows, left_out: Rows) -> Rows:
    """``rows`` less those in ``left_out``, which is sorted."""
    if len(left_out) == 0:
        return rows
    place = np.searchsorted(left_out, rows)
    left: Rows = rows[left_out[np.minimum(place, len(left_out) - 1)] != rows]
    return left
