"""Planes and clusters: what a picture of vectors needs.

Not for: search (``foreword.vectors``). Costs: a plane of N × D takes one product D × D and its eigenvectors; clusters
take a few products N × D × K.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Rows", "clusters", "parallelogram", "plane", "unit"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def unit(rows: NDArray[np.floating]) -> Floats:
    """The rows [N, D], each of length 1; a row of zeros stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms == 0, 1, norms)).astype(np.float32)


def plane(points: Floats) -> tuple[Floats, float]:
    """Points [N, D] on the plane of their two principal components, [N, 2], and the share of variance it keeps.

    Pearson's principal component analysis (1901). The sign of each axis is set so that the point farthest out along it
    is positive, so that the picture doesn't depend on the machine.
    """
    centred = points.astype(np.float64) - points.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    flat = centred @ axes
    farthest = flat[np.abs(flat).argmax(axis=0), np.arange(flat.shape[1])]
    flat *= np.where(farthest < 0, -1, 1)
    if flat.shape[1] < 2:
        flat = np.column_stack([flat, np.zeros(len(flat))])
    total = values.sum()
    return flat.astype(np.float32), float(values[::-1][:2].sum() / total) if total > 0 else 1.0


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
