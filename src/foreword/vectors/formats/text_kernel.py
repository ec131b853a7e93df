"""The compiled parser of lines ``word number … number``, exact or silent.

A number's digits become an integer m of at most 19 digits and a power of ten: m·10^e. In float64 that is the
correctly rounded value where m ≤ 2⁵³ and |e| ≤ 22, for then both factors are exact (Clinger, 1990). Beyond, it errs
by less than 2⁻⁵⁰ of itself (a rounding each of m, of the power and of the product, and the digits past the 19th).
Where both ends of that interval round to the same float32, so does the correctly rounded float64, rounding being
monotonic. Where they don't, and for anything else than plain fields, the line is left to ``text.parse_line``.

Not for: deciding what a line means; that is ``text.parse_line``. Costs: 4–5 cycles a byte; importing it loads numba.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from foreword._base.compiling import compiled

__all__ = ["parse_lines"]

_LARGEST = 60  # |e| above this is left alone: beyond float32's range in any case
_POWERS = np.array([float(f"1e{e}") for e in range(_LARGEST + 1)])
_SPACE, _TAB, _CR, _PLUS, _MINUS, _POINT, _ZERO = map(np.uint8, b" \t\r+-.0")
_SURE = 2.0**-50


def _parse_lines(
    data: NDArray[np.uint8], ends: NDArray[np.int64], rows: NDArray[np.float32], word_ends: NDArray[np.int64]
) -> None:
    """Parse the lines that end before ``ends`` into ``rows`` [n, D] and where their words end; −1: not parsed."""
    n, dim = rows.shape
    position = 0
    for i in range(n):
        end = ends[i]
        at = position
        position = end + 1
        word_ends[i] = -1
        while end > at and (data[end - 1] == _SPACE or data[end - 1] == _TAB or data[end - 1] == _CR):
            end -= 1
        while at < end and data[at] != _SPACE and data[at] != _TAB:
            at += 1
        word_end = at
        j = 0
        while j < dim:
            if at >= end or (data[at] != _SPACE and data[at] != _TAB):
                break
            at += 1
            negative = False
            if at < end and (data[at] == _MINUS or data[at] == _PLUS):
                negative = data[at] == _MINUS
                at += 1
            m = np.uint64(0)
            exponent = 0
            digits = 0  # in m, leading zeros aside
            seen = 0
            while at < end:
                digit = data[at] - _ZERO  # wraps for what is no digit
                if digit > 9:
                    break
                if digits < 19:
                    m = m * np.uint64(10) + np.uint64(digit)
                    digits += m != 0
                else:
                    exponent += 1
                seen += 1
                at += 1
            if at < end and data[at] == _POINT:
                at += 1
                while at < end:
                    digit = data[at] - _ZERO
                    if digit > 9:
                        break
                    if digits < 19:
                        m = m * np.uint64(10) + np.uint64(digit)
                        digits += m != 0
                        exponent -= 1
                    seen += 1
                    at += 1
            if seen == 0:
                break
            if at < end and (data[at] | 0x20) == 0x65:  # e or E
                at += 1
                down = False
                if at < end and (data[at] == _MINUS or data[at] == _PLUS):
                    down = data[at] == _MINUS
                    at += 1
                power = 0
                seen = 0
                while at < end and seen < 5:
                    digit = data[at] - _ZERO
                    if digit > 9:
                        break
                    power = power * 10 + int(digit)
                    seen += 1
                    at += 1
                if seen == 0:
                    break
                exponent += -power if down else power
            if at < end and data[at] != _SPACE and data[at] != _TAB:
                break
            if exponent < -_LARGEST or exponent > _LARGEST:
                break
            value = np.float64(m)
            value = value * _POWERS[exponent] if exponent >= 0 else value / _POWERS[-exponent]
            narrow = np.float32(value)
            exact = m <= np.uint64(1 << 53) and -22 <= exponent <= 22
            if not exact and (np.float32(value * (1 - _SURE)) != narrow or np.float32(value * (1 + _SURE)) != narrow):
                break
            rows[i, j] = -narrow if negative else narrow
            j += 1
        if j == dim and at == end:
            word_ends[i] = word_end


_bytes = numba.types.Array(numba.uint8, 1, "C", readonly=True)
_signature = numba.void(_bytes, numba.int64[::1], numba.float32[:, ::1], numba.int64[::1])
parse_lines = compiled(_signature, _parse_lines)
