"""The compiled ways of reading and writing the rows of a mapped table (``row_file`` has the layout).

Not for: calling directly; ``row_file_plain`` does the same without compiling. Costs: importing it loads numba.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from foreword._base.compiling import compiled
from foreword.embeddings.row_file_plain import CHECK, DAMAGED, LANES, MULTIPLIER, NONE
from foreword.embeddings.row_kernels import adam

__all__ = ["adam", "read", "touch", "write"]

_Words = NDArray[np.uint64]
_Floats = NDArray[np.float32]
_Ids = NDArray[np.int64]

_L0, _L1, _L2, _L3 = LANES
_M, _C = MULTIPLIER, CHECK
_LOW, _HALF, _SPIN, _ZERO = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(31), np.uint64(0)
_REST = np.uint64(33)
_TURNS = (np.uint64(7), np.uint64(57), np.uint64(19), np.uint64(45), np.uint64(40), np.uint64(24))


def _place(layout: _Ids, row: int) -> int:
    """The word at which a row begins."""
    return layout[4] + row // layout[1] * layout[2] + row % layout[1] * 2 * layout[3]  # type: ignore[no-any-return]


def _newest(words: _Words, at: int, slot: int, numbers: _Words) -> int:
    """Which of the two slots at ``at`` counts; NONE, or DAMAGED."""
    found, highest = NONE, _ZERO
    for s in range(2):
        word = words[at + s * slot]
        if word == _ZERO:
            continue
        number = word & _LOW
        if (number * _C) & _LOW ^ _LOW != word >> _HALF:
            return DAMAGED
        if number > numbers[0] or number <= highest:
            continue
        low, high = 1, len(numbers)
        while low < high:
            middle = (low + high) // 2
            if numbers[middle] < number:
                low = middle + 1
            else:
                high = middle
        if low == len(numbers) or numbers[low] != number:
            found, highest = s, number
    return found


def _sum(words: _Words, at: int, slot: int, row: int) -> int:
    """The checksum of the slot at ``at``."""
    a, b, c, d = _L0 ^ np.uint64(row), _L1, _L2, _L3
    a = (a ^ words[at]) * _M
    a = a << _SPIN | a >> _REST
    i = at + 2
    for _ in range((slot - 2) // 4):
        a = (a ^ words[i]) * _M
        b = (b ^ words[i + 1]) * _M
        c = (c ^ words[i + 2]) * _M
        d = (d ^ words[i + 3]) * _M
        a = a << _SPIN | a >> _REST
        b = b << _SPIN | b >> _REST
        c = c << _SPIN | c >> _REST
        d = d << _SPIN | d >> _REST
        i += 4
    while i < at + slot:
        a = (a ^ words[i]) * _M
        a = a << _SPIN | a >> _REST
        i += 1
    b = b << _TURNS[0] | b >> _TURNS[1]
    c = c << _TURNS[2] | c >> _TURNS[3]
    d = d << _TURNS[4] | d >> _TURNS[5]
    return a ^ b ^ c ^ d  # type: ignore[no-any-return]


def _read(
    words: _Words, floats: _Floats, layout: _Ids, numbers: _Words, ids: _Ids, into: _Floats, start: int, stop: int
) -> int:
    """Put the first parts of the rows ids[start:stop] into ``into`` [parts, n, dim]; where one is damaged, or −1."""
    dim, slot = layout[0], layout[3]
    for i in range(start, stop):
        at = place(layout, ids[i])
        s = newest(words, at, slot, numbers)
        if s == DAMAGED:
            return i
        if s == NONE:
            into[:, i] = 0
            continue
        at += s * slot
        if words[at + 1] != checksum(words, at, slot, ids[i]):
            return i
        value = 2 * at + 4
        for part in range(len(into)):
            for j in range(dim):
                into[part, i, j] = floats[value + j]
            value += dim
    return -1


def _write(
    words: _Words, floats: _Floats, layout: _Ids, numbers: _Words, ids: _Ids, rows: _Floats, start: int, stop: int
) -> None:
    """Write the rows ids[start:stop], given as [3, n, dim], under the number numbers[0]."""
    dim, slot, number = layout[0], layout[3], numbers[0]
    word = number | ((number * _C) & _LOW ^ _LOW) << _HALF
    for i in range(start, stop):
        at = place(layout, ids[i])
        s = newest(words, at, slot, numbers)
        if s == NONE:
            s = 0
        elif words[at + s * slot] != word:  # it is of a checkpoint
            s = 1 - s
        at += s * slot
        words[at] = word
        value = 2 * at + 4
        for part in range(3):
            for j in range(dim):
                floats[value + j] = rows[part, i, j]
            value += dim
        words[at + 1] = checksum(words, at, slot, ids[i])


def _touch(words: _Words, layout: _Ids, ids: _Ids) -> int:
    """Read a word of each page of some rows, and give what comes of them: nothing, but they had to be there."""
    found = _ZERO
    for row in ids:
        at = place(layout, row)
        for word in range(at, at + 2 * layout[3], 512):
            found ^= words[word]
        found ^= words[at + 2 * layout[3] - 1]
    return found  # type: ignore[return-value]


_i, _u = numba.int64, numba.uint64
_words, _floats = numba.types.Array(_u, 1, "C", readonly=True), numba.types.Array(numba.float32, 1, "C", readonly=True)
_ids, _layout = (numba.types.Array(_i, 1, "C", readonly=True) for _ in range(2))
_in, _out = numba.types.Array(numba.float32, 3, "C", readonly=True), numba.float32[:, :, ::1]
place = compiled(_i(_layout, _i), _place)
newest = compiled(_i(_words, _i, _i, _words), _newest)
checksum = compiled(_u(_words, _i, _i, _i), _sum)
read = compiled(_i(_words, _floats, _layout, _words, _ids, _out, _i, _i), _read)
write = compiled(numba.void(_u[::1], numba.float32[::1], _layout, _words, _ids, _in, _i, _i), _write)
touch = compiled(_u(_words, _layout, _ids), _touch)
