"""The compiled loops over the bytes of a text: words told apart, looked up, counted or numbered.

A table of words is four arrays, which ``word_table`` owns:

    slots   uint64 [capacity, 4]   key, value, first, place; a key of 0 is a free slot; capacity is a power of two
    arena   uint8 [n]              the bytes of words longer than seven
    marks   int64 [9]              see below

A word of up to seven bytes is its own key: its bytes, and above them its length. A longer one's key is a hash below
0xFF; ``place`` says where in the arena it lies (``offset << 26 | length``), and its bytes decide. ``value`` is a count
or an index, ``first`` the place in the text where the word first stood. A slot is 32 bytes, so that a look-up touches
one line of the cache.

White space is what ``str.split`` takes for it. A word's bytes are not looked at otherwise: whether they are UTF-8 is
asked of each distinct word once.

Not for: calling directly. Costs: importing it loads numba.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from foreword._base.compiling import compiled

__all__ = [
    "ARENA",
    "CLASSES",
    "ENTRIES",
    "FIRST_OPEN",
    "FULL",
    "LINE",
    "LONGEST",
    "PENDING",
    "STARTS",
    "WORDS",
    "WRITTEN",
    "gather",
    "merge",
    "rehash",
    "scan",
]

# Places in ``marks``.
ENTRIES = 0  # words in the table
ARENA = 1  # bytes used of the arena
WORDS = 2  # words seen
STARTS = 3  # of them, the first after a newline
PENDING = 4  # 0: no newline since the last word; 1: a newline; 2: neither a newline nor a word yet
FIRST_OPEN = 5  # whether a word came before any newline
LINE = 6  # words of this line, up to 10,000
WRITTEN = 7  # indices written
FULL = 8  # whether it stopped for want of room

LONGEST = 1 << 26
"""Bytes: no word is as long."""

_SHORT = 7
_FLAG = np.uint32(1 << 31)
_LONG = np.uint64(0xFF << 56)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX2 = np.uint64(0xD6E8FEB86659FD93)
_LENGTH_BITS = np.uint64(26)
_LENGTH_MASK = np.uint64(LONGEST - 1)
_PIECE = 10_000  # words, after which the limit of the table is looked at, as gensim does

# Of each byte: 0 part of a word, 1 white space, 2 the newline, 3 what may begin white space of several bytes.
CLASSES = np.zeros(256, dtype=np.uint8)
CLASSES[[9, 11, 12, 13, 28, 29, 30, 31, 32]] = 1
CLASSES[10] = 2
CLASSES[[0xC2, 0xE1, 0xE2, 0xE3]] = 3


@numba.njit(inline="always")
def _wide(text: Any, at: int, stop: int) -> int:
    """How many bytes the white space beyond ASCII that begins at ``at`` has; 0 where there is none."""
    a = text[at]
    if a == 0xC2:
        return 2 if at + 1 < stop and (text[at + 1] == 0x85 or text[at + 1] == 0xA0) else 0
    if at + 2 >= stop:
        return 0
    b, c = text[at + 1], text[at + 2]
    if a == 0xE1:
        return 3 if b == 0x9A and c == 0x80 else 0
    if a == 0xE2:
        if b == 0x80:
            return 3 if 0x80 <= c <= 0x8A or c == 0xA8 or c == 0xA9 or c == 0xAF else 0
        return 3 if b == 0x81 and c == 0x9F else 0
    return 3 if b == 0x80 and c == 0x80 else 0


@numba.njit(inline="always")
def _slot(key: Any, capacity: int) -> Any:
    mixed = (key ^ (key >> np.uint64(32))) * _MIX
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(capacity - 1))


@numba.njit(inline="always")
def _same(a: Any, at: int, b: Any, bt: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 - compiled
        if a[at + i] != b[bt + i]:
            return False
    return True


def _scan(
    text: Any,
    start: int,
    stop: int,
    base: int,
    slots: Any,
    arena: Any,
    marks: Any,
    classes: Any,
    out: Any,
    counting: bool,
    limit: int,
) -> int:
    """Go through the words of ``text[start:stop]``; where it stopped, which is before a word that finds no room.

    Counting, a word's value goes up by one, and a new word is put in. Else its value, an index, is written to ``out``,
    with the top bit where it is the first after a newline; a word that the table has not is passed over.

    Args:
        base: what the place ``text[0]`` is called.
        limit: counting stops after a line, or 10,000 words of one, that leave more words than that in the table.
    """
    capacity = len(slots)
    room = capacity // 2
    entries, pending, line = marks[ENTRIES], marks[PENDING], marks[LINE]
    words, starts, written = marks[WORDS], marks[STARTS], marks[WRITTEN]
    at = start
    while at < stop:
        kind = classes[text[at]]
        if kind != 0:
            if kind == 3:
                size = _wide(text, at, stop)
                if size:
                    at += size
                    continue
            else:
                at += 1
                if kind == 2:
                    pending = 1
                    if line:
                        line = 0
                        if entries > limit:
                            break
                continue
        begin = at
        chunk = np.uint64(0)
        value = np.uint64(0)
        while at < stop:
            byte = text[at]
            kind = classes[byte]
            if kind != 0 and (kind != 3 or _wide(text, at, stop)):
                break
            if (at - begin) & 7 == 7:
                value = (value ^ chunk) * _MIX2
                value ^= value >> np.uint64(32)
                chunk = np.uint64(0)
            chunk = (chunk << np.uint64(8)) | np.uint64(byte)
            at += 1
        length = at - begin
        if length <= _SHORT:
            key = chunk | (np.uint64(length) << np.uint64(56))
        else:
            value = (value ^ chunk) * _MIX2
            value = ((value ^ (value >> np.uint64(32))) + np.uint64(length)) * _MIX
            key = value | _LONG
        slot = _slot(key, capacity)
        found = False
        while True:
            here = slots[slot, 0]
            if here == key:
                if length <= _SHORT:
                    found = True
                    break
                place = slots[slot, 3]
                if np.int64(place & _LENGTH_MASK) == length and _same(
                    arena, np.int64(place >> _LENGTH_BITS), text, begin, length
                ):
                    found = True
                    break
            elif here == np.uint64(0):
                break
            slot = (slot + 1) & (capacity - 1)
        if counting:
            if found:
                slots[slot, 1] += np.uint64(1)
            else:
                used = marks[ARENA]
                if entries >= room or (length > _SHORT and used + length > len(arena)):
                    at = begin
                    marks[FULL] = 1
                    break
                slots[slot, 0] = key
                slots[slot, 1] = np.uint64(1)
                slots[slot, 2] = np.uint64(base + begin)
                if length > _SHORT:
                    for i in range(length):
                        arena[used + i] = text[begin + i]
                    slots[slot, 3] = (np.uint64(used) << _LENGTH_BITS) | np.uint64(length)
                    marks[ARENA] = used + length
                entries += 1
        elif not found:
            words += 1
            continue
        words += 1
        first = pending == 1
        if pending == 2:
            marks[FIRST_OPEN] = 1
        elif first:
            starts += 1
        pending = 0
        if counting:
            line += 1
            if line == _PIECE:
                line = 0
                if entries > limit:
                    break
        else:
            index = np.uint32(slots[slot, 1])
            out[written] = index | _FLAG if first else index
            written += 1
    marks[ENTRIES], marks[PENDING], marks[LINE] = entries, pending, line
    marks[WORDS], marks[STARTS], marks[WRITTEN] = words, starts, written
    return at


def _merge(slots: Any, arena: Any, marks: Any, others: Any, other_arena: Any) -> None:
    """Add the words of another table, for which there must be room: counts are summed, the first place is the least."""
    capacity = len(slots)
    for i in range(len(others)):
        key = others[i, 0]
        if key == np.uint64(0):
            continue
        long = key >= _LONG
        place = others[i, 3]
        length, offset = np.int64(place & _LENGTH_MASK), np.int64(place >> _LENGTH_BITS)
        slot = _slot(key, capacity)
        while slots[slot, 0] != np.uint64(0):
            if slots[slot, 0] == key:
                mine = slots[slot, 3]
                if not long or (
                    np.int64(mine & _LENGTH_MASK) == length
                    and _same(arena, np.int64(mine >> _LENGTH_BITS), other_arena, offset, length)
                ):
                    break
            slot = (slot + 1) & (capacity - 1)
        if slots[slot, 0] != np.uint64(0):
            slots[slot, 1] += others[i, 1]
            slots[slot, 2] = min(slots[slot, 2], others[i, 2])
            continue
        slots[slot, 0], slots[slot, 1], slots[slot, 2] = key, others[i, 1], others[i, 2]
        marks[ENTRIES] += 1
        if long:
            used = marks[ARENA]
            for at in range(length):
                arena[used + at] = other_arena[offset + at]
            slots[slot, 3] = (np.uint64(used) << _LENGTH_BITS) | np.uint64(length)
            marks[ARENA] = used + length


def _rehash(slots: Any, wider: Any) -> None:
    """Put all slots, whose words differ, into the free ones of a table twice as large."""
    capacity = len(wider)
    for i in range(len(slots)):
        if slots[i, 0] != np.uint64(0):
            slot = _slot(slots[i, 0], capacity)
            while wider[slot, 0] != np.uint64(0):
                slot = (slot + 1) & (capacity - 1)
            wider[slot] = slots[i]


def _gather(slots: Any, order: Any, arena: Any, blob: Any) -> Any:
    """Write the words of the slots ``order``, each with a newline after it; how many bytes, written or not."""
    at = 0
    for i in order:
        key, place = slots[i, 0], slots[i, 3]
        if key >= _LONG:
            length: Any = np.int64(place & _LENGTH_MASK)
            offset = np.int64(place >> _LENGTH_BITS)
            if len(blob):
                blob[at : at + length] = arena[offset : offset + length]
        else:
            length = np.int64(key >> np.uint64(56))
            if len(blob):
                for j in range(length):
                    blob[at + j] = np.uint8((key >> np.uint64(8 * (length - 1 - j))) & np.uint64(0xFF))
        at += length
        if len(blob):
            blob[at] = 10
        at += 1
    return at


_text = numba.types.Array(numba.uint8, 1, "C", readonly=True)
_bytes, _table, _numbers = numba.uint8[::1], numba.uint64[:, ::1], numba.int64[::1]
_n, _yes = numba.int64, numba.boolean

scan = compiled(_n(_text, _n, _n, _n, _table, _bytes, _numbers, _text, numba.uint32[::1], _yes, _n), _scan)
merge = compiled(numba.void(_table, _bytes, _numbers, _table, _bytes), _merge)
rehash = compiled(numba.void(_table, _table), _rehash)
gather = compiled(_n(_table, _numbers, _bytes, _bytes), _gather)
