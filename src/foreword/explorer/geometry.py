"""Parallelograms and clusters: what the page's pictures of vectors need beyond ``vectors.word_map``.

Not for: search. Costs: clusters take a few products N × D × K.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Rows", "clusters", "parallelogram", "unit"]

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


def clusters(points: Floats, count: int, *, rounds: int = 12, seed: int = 0) -> NDArray[np.int64]:
    """The cluster of each unit row of [N, D], int64 [N], by spherical k-means (Dhillon and Modha 2001).

    Clusters are numbered by size, the largest first.
    """
    count = min(count, len(points))
    if count < 2:
        return np.zeros(len(points), np.int64)
    rng = np.random.default_rng(seed)
    centres = points[rng.choice(len(points), count, replace=False)]
    nearest = np.zeros(len(points), np.int64)
    for _ in range(rounds):
        scores = points @ centres.T
        nearest = scores.argmax(axis=1)
        for k in range(count):
            members = points[nearest == k]
            # An empty cluster starts anew from the point that its own centre fits worst.
            centres[k] = members.mean(axis=0) if len(members) else points[scores.max(axis=1).argmin()]
        centres = unit(centres)
    order = np.argsort(-np.bincount(nearest, minlength=count), kind="stable")
    return np.argsort(order, kind="stable")[nearest]
