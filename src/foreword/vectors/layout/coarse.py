"""The coarse view of many rows: clusters, and principal components. Nothing here is compiled.

Not for: a map of a few words, whose share of the variance is wanted too (``projection.pca``). Costs: a few products
N × D × clusters; N × D² for components, 0.2 s for 400,000 × 50.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clusters", "components"]

Floats = NDArray[np.float32]


def clusters(rows: Floats, count: int, *, rounds: int = 12, seed: int = 0) -> tuple[NDArray[np.int64], Floats]:
    """The cluster of each unit row of [N, D], int64 [N], and the centres [count, D], by spherical k-means.

    Clusters are numbered by size, the largest first; there are no more than rows.

    Dhillon and Modha, Concept Decompositions for Large Sparse Text Data (2001).
    """
    count = max(1, min(count, len(rows)))
    rng = np.random.default_rng(seed)
    centres = rows[rng.choice(len(rows), count, replace=False)]
    nearest = np.zeros(len(rows), np.int64)
    for _ in range(rounds if count > 1 else 0):
        scores = rows @ centres.T
        nearest = scores.argmax(axis=1)
        for k in range(count):
            members = rows[nearest == k]
            # An empty cluster starts anew from the point that its own centre fits worst.
            centres[k] = members.mean(axis=0) if len(members) else rows[scores.max(axis=1).argmin()]
        norms = np.linalg.norm(centres, axis=1, keepdims=True)
        centres = (centres / np.where(norms == 0, 1, norms)).astype(np.float32)
    order = np.argsort(-np.bincount(nearest, minlength=count), kind="stable")
    return np.argsort(order, kind="stable")[nearest], centres[order]


def components(rows: Floats, count: int = 2) -> Floats:
    """Rows [N, D] along their first ``count`` principal components: [N, count], zeros where there are fewer.

    Each component's sign is such that its largest loading is positive.
    """
    centred = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    first = directions[:, ::-1][:, :count]
    signs = np.sign(first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])])
    places = np.zeros((len(rows), count), np.float32)
    places[:, : first.shape[1]] = centred @ (first * np.where(signs == 0, 1, signs)).astype(np.float32)
    return places
