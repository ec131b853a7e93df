"""An epoch's order and the copying of windows as machine code, once so many windows have come that it pays.

To import llvmlite and to compile takes a process some 0.1 s and 40 MB. So numpy orders the first ``PATIENCE`` windows;
then the thread that asks for the next ones compiles, once. Windows and ids are the same, bit for bit, before and after.
Where llvmlite can't run, or with ``FOREWORD_KERNELS=0``, numpy goes on; with ``FOREWORD_KERNELS=1`` it never begins.

    order      places of an epoch → windows: the Feistel network of ``order``, 16 places at once
    gather     windows of a stream, copied one after the other, while those that come next are fetched into the cache

Not for: which windows come (``order`` has the rule), and what may be read (``source``). Costs: 3 ns a window's order,
where numpy takes 40. The functions release the interpreter's lock, and use no threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword._base import system
from foreword.windows import assembly

__all__ = ["PATIENCE", "Kernels", "compiled", "gathered", "ordered", "seen"]

PATIENCE = 1 << 19  # windows, which take numpy some 20 ms to order
_AHEAD = 1 << 13  # bytes of windows that are on their way; eight windows at most


class Kernels(NamedTuple):
    """The compiled functions, whose arguments ``assembly`` names, and what gives them the address of an array."""

    order: Callable[..., int]
    gather: Callable[..., int]
    address: Callable[[NDArray[Any]], int]


_loaded: Kernels | None = None
_failed = False
_windows = 0
_guard = threading.Lock()


def seen(windows: int) -> None:
    """So many windows are to be ordered: compile now, if it is time."""
    global _windows, _loaded, _failed
    if _loaded is not None or _failed:
        return
    _windows += windows
    wanted = os.environ.get("FOREWORD_KERNELS")
    if wanted == "0" or (wanted != "1" and _windows < PATIENCE) or not _guard.acquire(blocking=False):
        return
    try:
        if _loaded is None:
            _loaded = compiled()
    except Exception:  # LLVM can't work here, for whatever reason: numpy gives the same
        _failed = True
    finally:
        _guard.release()


def compiled(*, cpu: str = "") -> Kernels:
    """The kernels, compiled anew; ``cpu`` as for ``MachineCode``, for tests.

    Raises:
        ImportError: llvmlite is not there, or can't run here.
    """
    from foreword._base.machine_code import MachineCode, address

    code = MachineCode(assembly.order() + assembly.GATHER, cpu=cpu)
    return Kernels(code.function("order", "pppnnnnnn"), code.function("gather", "pnpnpnnn"), address)


def ordered(
    places: NDArray[np.integer[Any]], keys: NDArray[np.uint64], *numbers: np.uint64 | int
) -> NDArray[np.int64] | None:
    """The windows at ``places`` of an order that ``Permutation`` knows; None where numpy is to find them.

    Args:
        places: of any shape.
        keys: of the rounds, uint64.
        numbers: n, below how many the halves are, and what hashes are multiplied by.
    """
    kernels = _loaded
    if kernels is None or places.size < assembly.LANES:
        return None
    places = np.ascontiguousarray(places, np.int64)
    windows = np.empty(places.shape, np.int64)
    found, by = kernels.address(windows), kernels.address(keys)
    kernels.order(places.ctypes.data, found, by, places.size, *map(int, numbers))
    return windows


def gathered(stream: int, last: int, starts: NDArray[np.int64], ids: NDArray[Any]) -> bool:
    """Fill ``ids`` [n, length] with windows of a contiguous stream of such ids; False where numpy is to do it.

    So it is, too, where a start is below 0 or beyond ``last``: numpy counts from the end, or refuses.

    Args:
        stream: the address of its first id.
        last: where the last whole window starts.
        starts: where each window does, contiguous int64 [n], in memory of its own.
        ids: a new array.
    """
    kernels, (n, length) = _loaded, ids.shape
    size = length * ids.itemsize
    if kernels is None or size < assembly.VECTOR or not n:
        return False
    ahead = min(8, max(1, _AHEAD // size))
    into = kernels.address(ids)
    copied = kernels.gather(stream, last, kernels.address(starts), n, into, size, ids.itemsize, ahead)
    return bool(copied == n)


def _forget() -> None:
    """In a forked child: what another thread of the parent held of LLVM while it compiled is held for ever."""
    global _guard, _failed
    _failed = _failed or _guard.locked()
    _guard = threading.Lock()


system.after_fork(_forget)
