"""LLVM's assembly language → functions, by llvmlite.

Not for: what loops do, and whether compiling pays. Costs: importing llvmlite, 80 ms and 40 MB; compiling, some 10 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from ctypes import c_float, c_int32, c_int64, c_void_p
from typing import Any

from numpy.typing import NDArray

from foreword._base import system

__all__ = ["MachineCode", "address", "compiling"]

_TYPES = {"p": c_void_p, "i": c_int32, "n": c_int64, "f": c_float}


class MachineCode:
    """A module of LLVM, compiled for this processor; what is taken from it must not outlive it.

    Args:
        text: in LLVM's assembly language.
        cpu: LLVM's name of another processor to compile for; its code must run here.
        features: as LLVM names them, in one text: "+avx512f,+avx512bw". None: those that this processor has, or none
            where it is another.

    Raises:
        ImportError: llvmlite is not there, or can't run here.
    """

    def __init__(self, text: str, *, cpu: str = "", features: str | None = None) -> None:
        with compiling():
            from llvmlite import binding

            binding.initialize_native_target()
            binding.initialize_native_asmprinter()
            module = binding.parse_assembly(text)
            module.verify()
            if features is None:
                features = "" if cpu else binding.get_host_cpu_features().flatten()
            machine = binding.Target.from_default_triple().create_target_machine(
                cpu=cpu or binding.get_host_cpu_name(), features=features, opt=3, jit=True
            )
            self._code = binding.create_mcjit_compiler(module, machine)
            self._code.finalize_object()

    def address(self, name: str) -> int:
        """Where a function begins; 0 where there is none of that name."""
        place: int = self._code.get_function_address(name)
        return place

    def function(self, name: str, arguments: str) -> Callable[..., int]:
        """A function that gives an int64; calling it releases the interpreter's lock.

        ``arguments`` has a letter for each: p, an address; n, an int64; i, an int32; f, a float.

        Raises:
            LookupError: there is none of that name.
        """
        if not (place := self.address(name)):
            raise LookupError(f"no function {name!r} was compiled")
        function: Any = ctypes.CFUNCTYPE(c_int64, *(_TYPES[letter] for letter in arguments))(place)
        function.code = self  # holds its memory
        return function  # type: ignore[no-any-return]


def address(array: NDArray[Any]) -> int:
    """Where a contiguous array begins, which must outlive its use: in a quarter of the time of ``array.ctypes.data``.

    Raises:
        TypeError: it may not be written, or its items don't lie one after the other.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]


_compiling = threading.RLock()
_at_work = 0  # calls of LLVM that this process is in the midst of
_lost = False


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """LLVM compiles inside the block.

    Raises:
        ImportError: this process was forked while it did so in another thread: what that held of LLVM is held for ever.
    """
    global _at_work
    if _lost:
        raise ImportError("the process was forked while LLVM was compiling: no compiled kernels")
    with _compiling:
        _at_work += 1
        try:
            yield
        finally:
            _at_work -= 1


def _forget() -> None:
    global _compiling, _at_work, _lost
    _lost, _at_work = _lost or _at_work > 0, 0
    _compiling = threading.RLock()


system.after_fork(_forget)
