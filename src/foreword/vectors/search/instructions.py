"""The instructions by which processors add up products of bytes, as LLVM's assembly language names them.

VNNI (x86) and SDOT (ARM) add four products to each of 4, 8 or 16 sums at once. What has neither multiplies 16 bits.

Not for: the loops (``assembly`` and ``assembly_many``), or which of them this processor has (``kernels``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "GENERIC",
    "SDOT",
    "VNNI_256",
    "VNNI_512",
    "Instructions",
    "bias",
    "declaration",
    "dot",
    "floats",
    "numbers",
    "splat",
]


@dataclass(frozen=True, slots=True)
class Instructions:
    """How a processor adds up products of bytes.

    Attributes:
        name: what ``FOREWORD_INSTRUCTIONS`` calls it.
        features: LLVM's names of the features of a processor that it takes.
        lanes: the sums of an instruction, of four products each; 0 where there is none, and 16-bit products are taken.
        groups: vectors of queries in a tile of ``pairs``.
        biased: whether the instruction takes codes as unsigned bytes, that is 128 too large.
        function: LLVM's name of the instruction.
        bytes: whether LLVM sees its arguments as bytes, not as words of four.
    """

    name: str
    features: tuple[str, ...] = ()
    lanes: int = 0
    groups: int = 0
    biased: bool = False
    function: str = ""
    bytes: bool = False

    @property
    def tile(self) -> int:
        """Queries that ``pairs`` takes at once; 0 where matrix products are sooner done."""
        return self.lanes * self.groups


VNNI_512 = Instructions(
    "vnni512", ("avx512vnni", "avx512bw", "avx512vl"), 16, 4, biased=True, function="llvm.x86.avx512.vpdpbusd.512"
)
VNNI_256 = Instructions("vnni256", ("avxvnni",), 8, 2, biased=True, function="llvm.x86.avx512.vpdpbusd.256")
SDOT = Instructions("sdot", ("dotprod",), 4, 4, function="llvm.aarch64.neon.sdot.v4i32.v16i8", bytes=True)
GENERIC = Instructions("generic")


_BIAS = 0x80808080 - (1 << 32)  # 128 in each byte of a word


def declaration(how: Instructions) -> str:
    """The line that declares the instruction."""
    sums, codes = f"<{how.lanes} x i32>", _argument(how)
    return f"declare {sums} @{how.function}({sums}, {codes}, {codes})"


def dot(how: Instructions, out: str, sums: str, codes: str, query: str) -> str:
    """``out`` = ``sums`` + four products each of ``codes`` and ``query``, vectors of words."""
    words, argument, text = f"<{how.lanes} x i32>", _argument(how), ""
    if how.bytes:
        for name in (codes, query):
            text += f"\n  {out}.{name[1:]} = bitcast {words} {name} to {argument}"
        codes, query = (f"{out}.{name[1:]}" for name in (codes, query))
    return f"{text}\n  {out} = call {words} @{how.function}({words} {sums}, {argument} {codes}, {argument} {query})"


def _argument(how: Instructions) -> str:
    """LLVM's type of the codes."""
    return f"<{4 * how.lanes} x i8>" if how.bytes else f"<{how.lanes} x i32>"


def numbers(values: Iterable[int]) -> str:
    """A constant vector of 32-bit integers."""
    return "<" + ", ".join(f"i32 {value}" for value in values) + ">"


def splat(how: Instructions, number: int) -> str:
    """A constant vector of words, all alike."""
    return numbers([number] * how.lanes)


def floats(name: str, value: str, lanes: int = 16) -> str:
    """``name`` = the float ``value`` in every lane."""
    vector = f"<{lanes} x float>"
    return f"""{name}.one = insertelement {vector} poison, float {value}, i64 0
  {name} = shufflevector {vector} {name}.one, {vector} poison, <{lanes} x i32> zeroinitializer"""


def bias(how: Instructions) -> int:
    """What turns a word of four signed codes into what the instruction takes, by exclusive or."""
    return _BIAS if how.biased else 0
