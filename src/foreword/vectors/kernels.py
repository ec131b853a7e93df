"""Kernels: the loops over codes compiled by numba, loaded in the background once they pay.

Loading a cached kernel costs a process about half a second and 170 MB, compiling it for the first time on a machine
some seconds. So numpy answers first, and a thread loads the kernels only once searches have spent ``_PATIENCE`` seconds
without them; a short script never loads numba. From then on searches use them; the answers are the same.

Where no folder takes numba's cache the kernels are compiled for this process alone. Where numba can't run at all, or
``FOREWORD_KERNELS=0``, numpy keeps answering. ``FOREWORD_KERNELS=1`` loads them at the first search and waits.

Not for: results (the kernels only bound scores). They release the interpreter's lock and use no threads of their own:
numba's ``parallel=True`` aborts the process when two threads enter at once.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Kernels", "load", "missed", "ready"]

_PATIENCE = 0.25


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled functions; each is documented at its Python source below."""

    scan: Callable[..., int]


_loaded: Kernels | None = None
_failed = False
_spent = 0.0
_thread: threading.Thread | None = None
_guard = threading.Lock()
_leaving = threading.Event()


def ready() -> Kernels | None:
    """The kernels if they are loaded, else None; never waits unless ``FOREWORD_KERNELS=1``."""
    if _loaded is None and not _failed and os.environ.get("FOREWORD_KERNELS") == "1":
        return load()
    return _loaded


def missed(seconds: float) -> None:
    """A search spent ``seconds`` for want of kernels; enough of them start the loading."""
    global _spent, _thread
    with _guard:
        _spent += seconds
        if _thread is None and _spent > _PATIENCE and os.environ.get("FOREWORD_KERNELS") != "0":
            _thread = threading.Thread(target=load, name="foreword-kernels", daemon=True)
            _thread.start()
            # Leaving while LLVM is at work could crash: wait, for one kernel at most.
            atexit.register(_leave, _thread)


_load_guard = threading.Lock()


def load() -> Kernels | None:
    """Load (or compile) the kernels now, and wait; None where that can't be done."""
    global _loaded, _failed
    with _load_guard:
        if _loaded is None and not _failed:
            try:
                _loaded = _compile()
            except Exception:  # numba or LLVM can't work here, for whatever reason: numpy gives the same answers
                _failed = True
        return _loaded


def _leave(thread: threading.Thread) -> None:
    _leaving.set()
    thread.join()


def _compile() -> Kernels | None:
    from numba import types

    codes = types.Array(types.int8, 2, "C", readonly=True)
    column = types.Array(types.float32, 1, "C", readonly=True)
    query = types.Array(types.int16, 1, "C", readonly=True)
    out, ids = types.Array(types.float32, 1, "C"), types.Array(types.int64, 1, "C")
    real, size = types.float64, types.int64
    scan = size(codes, column, column, query, real, real, size, size, real, out, ids, out, out)
    made: list[Any] = []
    for function, signature in ((_scan, scan),):
        if _leaving.is_set():
            return None
        made.append(_njit(function, signature))
    return Kernels(*made)


def _njit(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    import numba

    try:
        return numba.njit([signature], nogil=True, cache=True, fastmath={"reassoc", "nsz", "contract"})(function)
    except (RuntimeError, OSError):  # nowhere to write the cache, or one that can't be read
        return numba.njit([signature], nogil=True, fastmath={"reassoc", "nsz", "contract"})(function)


# Below: Python that numba compiles. It runs as Python too, slowly, and the tests compare both.


def _scan(  # type: ignore[no-untyped-def]
    codes, scales, errors, query, scale, error, start, stop, floor, best, rows, lower, upper
):  # pragma: no cover
    """Keep the rows start…stop−1 whose cosine may be among the best k = len(best) of them and reach ``floor``.

    Writes them to ``rows`` with the ends of their intervals to ``lower`` and ``upper``, returns how many. ``best`` is a
    heap of the k largest lower ends so far, its smallest first: a row whose upper end is below that can't be among the
    best k.
    """
    k, width, n = len(best), codes.shape[1], 0
    for i in range(k):
        best[i] = -2.0
    bound = max(floor, -2.0)
    for row in range(start, stop):
        code = codes[row]
        dot = 0
        for j in range(width):
            dot += np.int32(code[j]) * np.int32(query[j])
        score = scale * scales[row] * dot
        slack = errors[row] + (1.0 + errors[row]) * error
        if score + slack < bound:
            continue
        rows[n], lower[n], upper[n] = row, score - slack, score + slack
        n += 1
        if score - slack > best[0]:
            low = np.float32(score - slack)
            i = 0
            while True:  # sift down
                child = 2 * i + 1
                if child >= k:
                    break
                if child + 1 < k and best[child + 1] < best[child]:
                    child += 1
                if best[child] >= low:
                    break
                best[i] = best[child]
                i = child
            best[i] = low
            bound = max(floor, best[0])
    return n
