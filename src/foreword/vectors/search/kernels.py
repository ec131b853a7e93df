"""Kernels: the searches' inner loops as machine code, there a moment after the first search that could use them.

Compiling them takes a process about 0.1 s, most of it the import of llvmlite, and 40 MB. So numpy answers the first
search, and a thread compiles meanwhile, once searches have spent ``_PATIENCE`` seconds without. From then on searches
use the kernels; the answers are the same. ``assembly`` has the code, for each kind of instructions.

Where llvmlite can't run, or ``FOREWORD_KERNELS=0``, numpy keeps answering. ``FOREWORD_KERNELS=1`` compiles at the first
search and waits.

Not for: results (the kernels only bound scores). They release the interpreter's lock and use no threads of their own.
"""

from __future__ import annotations

import atexit
import os
import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import system
from foreword._base.machine_code import MachineCode, compiling
from foreword.vectors.search.assembly import text
from foreword.vectors.search.instructions import GENERIC, SDOT, VNNI_256, VNNI_512, Instructions

__all__ = ["Kernels", "address", "available", "compiled", "hasten", "load", "missed", "ready"]

_PATIENCE = 0.01
_ARGUMENTS = {"scan": "pnpppifffnnpnpnppp", "pairs": "pnpppppppnnnnpnppp", "analogies": "pnpppnpp"}


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """The compiled functions, whose arguments ``assembly`` names; arrays are given by their ``address``.

    Attributes:
        how: the instructions that they use.
        scan: one query.
        pairs: a tile of ``how.tile`` queries; where that is 0 there is none.
        analogies: the best sums of a strip.
    """

    how: Instructions
    scan: Callable[..., int]
    pairs: Callable[..., int]
    analogies: Callable[..., int]

    def query(self, code: NDArray[np.int16]) -> tuple[NDArray[np.integer[Any]], int]:
        """A query's integers, int16 [P], as ``scan`` takes them, and what its sums are too large by."""
        if not self.how.lanes:
            return code, 0
        lower = ((code + 128) & 255) - 128
        parts = np.concatenate([(code - lower) >> 8, lower]).astype(np.int8)
        return parts, 128 * int(code.sum(dtype=np.int64)) if self.how.biased else 0

    def tiles(self, codes: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        """Queries' integers, int8 [Q, P], as ``pairs`` takes them.

        Returns:
            Tiles, int8 [n, P / 4, tile, 4], with zeros where queries end, and what each query's sums start from,
            int32 [n · tile].
        """
        count, width = codes.shape
        whole = np.zeros((-(-count // self.how.tile) * self.how.tile, width), np.int8)
        whole[:count] = codes
        tiles = whole.reshape(-1, self.how.tile, width // 4, 4).transpose(0, 2, 1, 3)
        bias = 128 if self.how.biased else 0
        return np.ascontiguousarray(tiles), (-bias * whole.sum(axis=1, dtype=np.int64)).astype(np.int32)


_loaded: Kernels | None = None
_failed = False
_spent = 0.0
_thread: threading.Thread | None = None
_guard, _load_guard = threading.Lock(), threading.Lock()


def ready() -> Kernels | None:
    """The kernels if they are compiled, else None; never waits unless ``FOREWORD_KERNELS=1``."""
    if _loaded is None and not _failed and os.environ.get("FOREWORD_KERNELS") == "1":
        return load()
    return _loaded


def missed(seconds: float) -> None:
    """A search spent ``seconds`` for want of kernels; enough of them start the compiling."""
    global _spent, _thread
    with _guard:
        _spent += seconds
        if _thread is None and _spent >= _PATIENCE and os.environ.get("FOREWORD_KERNELS") != "0":
            _thread = threading.Thread(target=load, name="foreword-kernels", daemon=True)
            _thread.start()
            atexit.register(_thread.join)  # leaving while LLVM is at work could crash


def hasten() -> None:
    """Long work begins: compile the kernels meanwhile."""
    missed(_PATIENCE)


def load() -> Kernels | None:
    """Compile the kernels now, and wait; None where that can't be done."""
    global _loaded, _failed
    with _load_guard:
        if _loaded is None and not _failed:
            try:
                _loaded = compiled(available()[0])
            except Exception:  # LLVM can't work here, for whatever reason: numpy gives the same answers
                _failed = True
        return _loaded


def available() -> list[Instructions]:
    """The instructions that this processor has, the fastest first.

    Raises:
        ImportError: llvmlite is not there, or can't run here.
    """
    with compiling():
        from llvmlite import binding

        try:
            has = {name for name, there in binding.get_host_cpu_features().items() if there}
        except RuntimeError:  # LLVM can't tell on this system
            has = set()
    if platform.machine() == "arm64" and platform.system() == "Darwin":
        has |= set(SDOT.features)  # every processor of Apple's own that runs macOS
    kinds = (VNNI_512, VNNI_256) if platform.machine() in ("x86_64", "AMD64") else (SDOT,)
    return [how for how in kinds if has.issuperset(how.features)] + [GENERIC]


def compiled(how: Instructions) -> Kernels:
    """The kernels for instructions that this processor has; compiled anew at each call.

    Raises:
        ImportError: llvmlite is not there, or can't run here.
    """
    code = MachineCode(text(how), features=",".join(f"+{feature}" for feature in how.features))
    functions: dict[str, Any] = dict.fromkeys(_ARGUMENTS)
    for name, arguments in _ARGUMENTS.items():
        if code.address(name):
            functions[name] = code.function(name, arguments)
    return Kernels(how, **functions)


def address(array: NDArray[Any], dtype: type[np.generic]) -> int:
    """Where the items of an array lie, for a kernel; the array must outlive the call.

    Raises:
        ValueError: they are of another type, or don't lie one after the other.
    """
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(f"a kernel takes contiguous {dtype.__name__}, not {array.dtype} of strides {array.strides}")
    place: int = array.ctypes.data
    return place


def _forget() -> None:
    """In a forked child: the thread that compiles is not there, and its locks may be taken."""
    global _guard, _load_guard, _thread
    _guard, _load_guard, _thread = threading.Lock(), threading.Lock(), None


system.after_fork(_forget)
