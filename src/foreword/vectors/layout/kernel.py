"""The compiled inner loops of a layout: choosing neighbours, pulling along edges, reading and writing a grid.

Values between the nodes of a grid come from the four nodes around on each axis, by Lagrange's cubic through them.

Not for: calling directly. Costs: importing it loads numba, and compiles for some seconds the first time on a machine.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from foreword._base.compiling import compiled

__all__ = ["gather", "keep_best", "pull", "scatter"]

Floats = NDArray[np.float32]


def _keep_best(
    scores: Floats, rows: NDArray[np.int32], own: NDArray[np.int32], best: NDArray[np.int32], score: Floats
) -> None:
    """Take candidates, ``rows`` [C] of ``scores`` [Q, C], among each query's best k: ``best`` and ``score`` [Q, k].

    A query is not its own neighbour: ``own`` [Q] is its row. What is kept falls; of two alike the first stays first.
    """
    k = best.shape[1]
    for q in range(scores.shape[0]):
        least = score[q, k - 1]
        for c in range(scores.shape[1]):
            if scores[q, c] <= least or rows[c] == own[q]:
                continue
            at = k - 1
            while at > 0 and score[q, at - 1] < scores[q, c]:
                score[q, at] = score[q, at - 1]
                best[q, at] = best[q, at - 1]
                at -= 1
            score[q, at] = scores[q, c]
            best[q, at] = rows[c]
            least = score[q, k - 1]


def _pull(
    places: Floats,
    starts: NDArray[np.int64],
    others: NDArray[np.int32],
    weights: Floats,
    into: Floats,
    first: int,
    stop: int,
) -> None:
    """The pull of their neighbours on points first…stop−1: Σ w (y − y') / (1 + |y − y'|²), into ``into`` [N, 2]."""
    for i in range(first, stop):
        x = y = np.float32(0)
        for edge in range(starts[i], starts[i + 1]):
            j = others[edge]
            dx, dy = places[i, 0] - places[j, 0], places[i, 1] - places[j, 1]
            w = weights[edge] / (np.float32(1) + dx * dx + dy * dy)
            x += w * dx
            y += w * dy
        into[i, 0] = x
        into[i, 1] = y


def _cubic(t: float, weights: Floats) -> None:
    """The weights of the nodes −1, 0, 1, 2 at ``t`` of 0…1."""
    weights[0] = -t * (t - 1) * (t - 2) / 6
    weights[1] = (t + 1) * (t - 1) * (t - 2) / 2
    weights[2] = -(t + 1) * t * (t - 2) / 2
    weights[3] = (t + 1) * t * (t - 1) / 6


_cubic_inside = numba.njit(_cubic)


def _scatter(places: Floats, grid: Floats) -> None:
    """Add a charge of 1 at each of ``places`` [N, 2], in steps of the grid, to the nodes around it."""
    across, down = np.empty(4, np.float32), np.empty(4, np.float32)
    for i in range(places.shape[0]):
        a, b = int(np.floor(places[i, 0])), int(np.floor(places[i, 1]))
        _cubic_inside(places[i, 0] - a, across)
        _cubic_inside(places[i, 1] - b, down)
        for m in range(4):
            for n in range(4):
                grid[a - 1 + m, b - 1 + n] += across[m] * down[n]


def _gather(places: Floats, fields: Floats, into: Floats, first: int, stop: int) -> None:
    """The values of ``fields`` [F, H, W] at places first…stop−1, in steps of the grid: into ``into`` [N, F]."""
    across, down = np.empty(4, np.float32), np.empty(4, np.float32)
    for i in range(first, stop):
        a, b = int(np.floor(places[i, 0])), int(np.floor(places[i, 1]))
        _cubic_inside(places[i, 0] - a, across)
        _cubic_inside(places[i, 1] - b, down)
        for f in range(fields.shape[0]):
            total = np.float32(0)
            for m in range(4):
                for n in range(4):
                    total += across[m] * down[n] * fields[f, a - 1 + m, b - 1 + n]
            into[i, f] = total


_matrix, _ids = numba.float32[:, ::1], numba.int32[::1]
_int, _floats = numba.int64, numba.float32[::1]
keep_best = compiled(numba.void(_matrix, _ids, _ids, numba.int32[:, ::1], _matrix), _keep_best)
pull = compiled(numba.void(_matrix, numba.int64[::1], _ids, _floats, _matrix, _int, _int), _pull)
scatter = compiled(numba.void(_matrix, _matrix), _scatter)
gather = compiled(numba.void(_matrix, numba.float32[:, :, ::1], _matrix, _int, _int), _gather)
