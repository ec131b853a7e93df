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

from foreword._base import system
from foreword._base.compiling import compiled

__all__ = ["STRIP", "Kernels", "hasten", "load", "missed", "ready"]

_PATIENCE = 0.25
STRIP = 256
"""Rows that the scan works on at once; it keeps any only where there is room for so many."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled functions; each is documented at its Python source below."""

    scan: Callable[..., int]
    analogies: Callable[..., None]


_loaded: Kernels | None = None
_failed = False
_spent = 0.0
_thread: threading.Thread | None = None
_guard, _load_guard = threading.Lock(), threading.Lock()
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
        if _thread is None and _spent >= _PATIENCE and os.environ.get("FOREWORD_KERNELS") != "0":
            _thread = threading.Thread(target=load, name="foreword-kernels", daemon=True)
            _thread.start()
            # Leaving while LLVM is at work could crash: wait, for one kernel at most.
            atexit.register(_leave, _thread)


def hasten() -> None:
    """Long work begins: load the kernels meanwhile."""
    missed(_PATIENCE)


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


def _forget() -> None:
    """In a forked child: the thread that loads is not there, and its locks may be taken."""
    global _guard, _load_guard, _thread
    _guard, _load_guard, _thread = threading.Lock(), threading.Lock(), None


system.after_fork(_forget)


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
    scan = size(codes, column, column, query, real, real, size, size, real, out, ids, ids, out, out)
    strip, pairs = types.Array(types.int16, 2, "C"), types.Array(types.int64, 2, "C")
    analogies = types.void(strip, pairs, ids, ids, types.Array(types.int16, 1, "C"))
    # Sums may be taken in any order and a·b + c fused: the bounds allow for both. No NaN: all input is finite.
    fast = {"reassoc", "nsz", "contract", "nnan"}
    functions: list[Any] = []
    for function, signature in ((_scan, scan), (_analogies, analogies)):
        if _leaving.is_set():
            return None
        functions.append(compiled(signature, function, fastmath=fast))
    return Kernels(*functions)


# Below: Python that numba compiles. It runs as Python too, slowly, and the tests compare both.


def _scan(  # type: ignore[no-untyped-def]
    codes, scales, errors, query, scale, error, start, stop, floor, best, kept, rows, lower, upper
):  # pragma: no cover
    """Keep the rows start…stop−1 whose cosine may be among the best k = len(best) seen so far and reach ``floor``.

    Adds them to the ``kept[0]`` that ``rows`` holds, with the ends of their intervals in ``lower`` and ``upper``.
    ``best`` is a heap of the k largest lower ends so far, its smallest first, −∞ where there are fewer: a row whose
    upper end is below that can't be among the best k. Returns the row to go on from: ``stop``, or one before it when
    ``rows`` is full.
    """
    k, width, n = len(best), codes.shape[1], kept[0]
    bound = max(np.float32(floor), best[0])
    scale, error, wider = np.float32(scale), np.float32(error), np.float32(1.0 + error)
    dots = np.empty(STRIP, dtype=np.int32)
    for first in range(start, stop, STRIP):
        # A strip of rows at a time: each loop without branches, so that it compiles to vector instructions.
        m = min(STRIP, stop - first)
        if n + m > len(rows):
            kept[0] = n
            return first
        for i in range(m):
            dot = np.int32(0)
            for j in range(width):
                dot += np.int32(codes[first + i, j]) * np.int32(query[j])
            dots[i] = dot
        top = np.float32(-np.inf)
        for i in range(m):
            top = max(top, np.float32(dots[i]) * scales[first + i] * scale + errors[first + i] * wider)
        if top + error < bound:
            continue
        for i in range(m):
            score = np.float32(dots[i]) * scales[first + i] * scale
            slack = errors[first + i] * wider + error
            if score + slack < bound:
                continue
            low = score - slack
            rows[n], lower[n], upper[n] = first + i, low, score + slack
            n += 1
            if low > best[0]:
                place = 0
                while True:  # sift down from the root, whose value leaves the heap
                    child = 2 * place + 1
                    if child >= k:
                        break
                    if child + 1 < k and best[child + 1] < best[child]:
                        child += 1
                    if best[child] >= low:
                        break
                    best[place] = best[child]
                    place = child
                best[place] = low
                bound = max(np.float32(floor), best[0])
    kept[0] = n
    return stop


def _analogies(strip, pairs, pair, third, tops):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The largest sum b + c − a of every question over a strip of products int16 [words, rows], to ``tops`` [Q].

    Questions are sorted by their pair (a, b), whose difference is taken once.
    """
    n = strip.shape[1]
    turned = np.empty(n, dtype=np.int16)
    last = -1
    for question in range(len(pair)):
        if pair[question] != last:
            last = pair[question]
            a, b = pairs[last, 0], pairs[last, 1]
            for i in range(n):
                turned[i] = np.int16(strip[b, i] - strip[a, i])
        c = third[question]
        top = np.int16(-32768)
        for i in range(n):
            total = np.int16(turned[i] + strip[c, i])  # casts keep it in 16 bits: 32 sums an instruction
            top = total if total > top else top
        tops[question] = top
