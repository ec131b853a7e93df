"""Reading and writing the rows of a mapped table with numpy, where nothing can be compiled (``row_file`` has the
layout).

A row has two slots. A slot is some words of 8 bytes:

    0        the number of the checkpoint that it belongs to, and 32 bits that follow from it; 0: never written
    1        a checksum of the row's id and all other words of the slot
    2 …      the row's value, its first and its second moment, dim float32 each, filled up to a word

Not for: knowing which numbers count (``row_file``). Costs: some 100 passes of numpy over the words of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHECK", "DAMAGED", "LANES", "MULTIPLIER", "NONE", "adam", "places", "read", "touch", "write"]

_Words = NDArray[np.uint64]
_Floats = NDArray[np.float32]
_Ids = NDArray[np.int64]

NONE, DAMAGED = -1, -2
"""Instead of a slot."""
LANES = tuple(np.uint64(x) for x in (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89))
"""Where the four sums of a checksum begin."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""What they are multiplied by for each word."""
CHECK = np.uint64(0x9E3779B1)
"""What a number is multiplied by for the 32 bits after it."""
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def places(layout: _Ids, ids: _Ids) -> _Ids:
    """The words at which rows begin."""
    _, per, unit, slot, origin = layout.tolist()
    at: _Ids = origin + ids // per * unit + ids % per * 2 * slot
    return at


def read(
    words: _Words, floats: _Floats, layout: _Ids, numbers: _Words, ids: _Ids, into: _Floats, start: int, stop: int
) -> int:
    """See ``row_file_kernel``."""
    dim, slot = int(layout[0]), int(layout[3])
    ids = ids[start:stop]
    at = places(layout, ids)
    found = _newest(words, at, slot, numbers)
    at += np.maximum(found, 0) * slot
    bad = (found == DAMAGED) | ((found != NONE) & (words[at + 1] != _sums(words, at, slot, ids)))
    if bad.any():
        return start + int(bad.argmax())
    parts = len(into)
    values = floats[(2 * at + 4)[:, None] + np.arange(parts * dim)]
    values[found == NONE] = 0
    into[:, start:stop] = values.reshape(len(ids), parts, dim).swapaxes(0, 1)
    return -1


def write(
    words: _Words, floats: _Floats, layout: _Ids, numbers: _Words, ids: _Ids, rows: _Floats, start: int, stop: int
) -> None:
    """See ``row_file_kernel``."""
    dim, slot = int(layout[0]), int(layout[3])
    ids = ids[start:stop]
    word = _word(numbers[:1])
    at = places(layout, ids)
    found = _newest(words, at, slot, numbers)
    ours = words[at + np.maximum(found, 0) * slot] == word
    at += np.where(found == NONE, 0, np.where(ours, found, 1 - found)) * slot
    words[at] = word
    floats[(2 * at + 4)[:, None] + np.arange(3 * dim)] = rows[:, start:stop].swapaxes(0, 1).reshape(len(ids), 3 * dim)
    words[at + 1] = _sums(words, at, slot, ids)


def adam(
    weight: _Floats,
    first: _Floats,
    second: _Floats,
    rows: _Ids,
    grads: _Floats,
    size: float,
    beta1: float,
    beta2: float,
    eps: float,
    start: int,
    stop: int,
) -> None:
    """See ``row_kernels``."""
    rows, grads = rows[start:stop], grads[start:stop]
    m, v = first[rows], second[rows]
    m += (grads - m) * np.float32(1 - beta1)
    v += (grads * grads - v) * np.float32(1 - beta2)
    first[rows], second[rows] = m, v
    weight[rows] += m / (np.sqrt(v) + np.float32(eps)) * np.float32(-size)


def touch(words: _Words, layout: _Ids, ids: _Ids) -> int:
    """See ``row_file_kernel``."""
    at = places(layout, ids)
    return int(np.bitwise_xor.reduce(words[at] ^ words[at + 2 * layout[3] - 1])) if len(ids) else 0


def _word(number: _Words) -> _Words:
    """A number, and the 32 bits that follow from it."""
    return number | (number * CHECK & _LOW ^ _LOW) << _HALF


def _newest(words: _Words, at: _Ids, slot: int, numbers: _Words) -> _Ids:
    """Which of the two slots at each of ``at`` counts, or NONE, or DAMAGED."""
    both = words[at[:, None] + np.array([0, slot])]
    number = both & _LOW
    counts = (both != 0) & (number <= numbers[0]) & ~np.isin(number, numbers[1:])
    number = np.where(counts, number, 0)
    found = np.where(counts.any(axis=1), np.where(number[:, 1] > number[:, 0], 1, 0), NONE)
    damaged = (both != 0) & (_word(both & _LOW) != both)
    return np.where(damaged.any(axis=1), DAMAGED, found)


def _sums(words: _Words, at: _Ids, slot: int, ids: _Ids) -> _Words:
    """The checksum of the slot at each of ``at``."""
    a, b, c, d = (np.full(len(at), lane) for lane in LANES)
    a = _mixed(a ^ ids.astype(np.uint64), words[at])
    whole = 2 + (slot - 2) // 4 * 4
    for i in range(2, whole, 4):
        a, b, c, d = (_mixed(lane, words[at + i + j]) for j, lane in enumerate((a, b, c, d)))
    for i in range(whole, slot):
        a = _mixed(a, words[at + i])
    return a ^ _turned(b, 7) ^ _turned(c, 19) ^ _turned(d, 40)


def _mixed(lane: _Words, word: _Words) -> _Words:
    return _turned((lane ^ word) * MULTIPLIER, 31)


def _turned(lane: _Words, bits: int) -> _Words:
    return lane << np.uint64(bits) | lane >> np.uint64(64 - bits)
