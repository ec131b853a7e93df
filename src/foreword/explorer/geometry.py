"""Parallelograms and axes: what the page's pictures of vectors need beyond ``vectors.word_map``.

Not for: search. Costs: a product or two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Rows", "along", "parallelogram", "unit"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def unit(rows: NDArray[np.floating]) -> Floats:
    """The rows [N, D], each of length 1; a row of zeros stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms == 0, 1, norms)).astype(np.float32)


def parallelogram(a: Floats, b: Floats, c: Floats, others: Floats) -> tuple[Floats, Floats]:
    """The corners b, a, c, a − b + c and other points, on the plane that the corners lie in: [4, 2], [N, 2].

    Four corners of a parallelogram span a plane, so nothing of them is lost; other points are dropped onto it. The
    step from b to a points to the right.

    >>> corners, _ = parallelogram(*np.eye(3, dtype=np.float32), np.zeros((0, 3), np.float32))
    >>> bool(np.allclose(corners[1] - corners[0], corners[3] - corners[2], atol=1e-6))
    True
    """
    along, across = (a - b).astype(np.float64), (c - b).astype(np.float64)
    x = along / (np.linalg.norm(along) or 1)
    rest = across - (across @ x) * x
    y = rest / (np.linalg.norm(rest) or 1)
    axes = np.stack([x, y], axis=1)
    corners = np.stack([b, a, c, a - b + c])
    return ((corners - b) @ axes).astype(np.float32), ((others - b) @ axes).astype(np.float32)


def along(low: Floats, high: Floats, rows: Floats) -> NDArray[np.float64]:
    """Where unit rows [N, D] lie along the direction from one unit vector to another: −1 at ``low``, 1 at ``high``.

    >>> x, y = np.eye(2, dtype=np.float32)
    >>> along(x, y, np.stack([x, y, (x + y) / 2])).tolist()
    [-1.0, 1.0, 0.0]
    """
    step = high.astype(np.float64) - low
    middle = (low.astype(np.float64) + high) / 2
    return np.asarray((rows - middle) @ step * 2 / (step @ step))
