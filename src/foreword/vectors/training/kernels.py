"""What the threads of a training run: lanes, the merging of their changes, and who does which, without a lock.

A round is ``lanes`` stretches of ``stretch`` words, one after the other in the corpus, and then ``PARTS`` parts of the
tables. A lane trains on copies of the rows that it touches, as they were before the round; a part adds to its rows
(16 neighbours to each in turn) what the lanes changed, in the order of the lanes. Threads take lanes and parts as they
come, by one counter, and wait only for what a task needs: which thread did what changes no bit.

Random numbers are a function of seed, epoch and position (``mix``), so that any lane can be begun anywhere.

Not for: the arithmetic of a centre word (``assembly``). Costs: compiling takes some seconds the first time on a
machine; they are cached.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from foreword._base.compiling import compiled
from foreword.vectors.training.intrinsics_kernel import add, call, fetch, look, rest
from foreword.vectors.training.state import Array, Lanes, Model, Plan, Private

__all__ = ["PARTS", "START", "Lanes", "Model", "Plan", "Private", "fill", "work"]

PARTS = 8
"""Parts of the tables whose rows are added up side by side; a power of two."""
START = 0x80000000
"""The bit of an encoded word that says that a sentence starts."""
AHEAD = 8  # rows between one that is worked on and one that is fetched
SPINS = 2048  # looks at a counter, some 40 µs in all, before a thread lets others go first

TICKET, LANES_DONE, PARTS_DONE, BAD = 0, 8, 16, 24  # numbers of `control`, each in a cache line of its own

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_PLACE = np.uint64(0xD1342543DE82EF95)
_ONE, _TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_POOL, _PICK = np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB)


@numba.njit(inline="always")
def _mix(x: Any) -> Any:
    """splitmix64's last steps: a random number of 64 bits for each number."""
    x = (x ^ (x >> np.uint64(30))) * _ONE
    x = (x ^ (x >> np.uint64(27))) * _TWO
    return x ^ (x >> np.uint64(31))


@numba.njit(inline="always")
def _noise(plan: Plan, random: Any) -> Any:
    """A noise word, by Walker's method: a word drawn evenly, or in its place another."""
    place = np.float64(random >> np.uint64(11)) * (1.0 / 9007199254740992.0) * len(plan.chance)
    word = np.int64(place)
    if place - word < plan.chance[word]:
        return word
    return np.int64(plan.other[word])


@numba.njit(inline="always")
def _copy_of(table: Any, rows: Any, count: Any, row: Any) -> Any:
    """Where a row's copy is, and how many there are now."""
    last = table.shape[1] - 1
    at = np.int64((np.uint64(row) * _GOLDEN) >> np.uint64(40)) & last
    while table[0, at] >= 0:
        if table[0, at] == row:
            return table[1, at], count
        at = (at + 1) & last
    table[0, at] = row
    table[1, at] = count
    rows[count] = row
    return np.int32(count), count + 1


@numba.njit
def _read(plan: Plan, key: Any, start: int, stop: int, control: Any, me: Private) -> Any:
    """The kept words of positions start…stop−1 and those around them that are contexts; how many, and which of them are
    the lane's own.
    """
    length, vocab = len(plan.tokens), len(plan.keep)
    low = start
    found = 0
    while low > 0 and found < plan.window and start - low < plan.stretch and not plan.tokens[low] & START:
        low -= 1
        word = plan.tokens[low] & np.uint32(START - 1)
        if word < vocab and np.uint32(_mix(key ^ (np.uint64(low) * _PLACE)) >> np.uint64(32)) <= plan.keep[word]:
            found += 1
    n, first, last = 0, 0, 0
    sentence = np.int32(0)
    position = low
    found = 0
    while position < length:
        token = plan.tokens[position]
        if position >= stop and (token & START or found >= plan.window or position - stop >= plan.stretch):
            break
        if token & START:
            sentence += np.int32(1)
        word = token & np.uint32(START - 1)
        if word >= vocab:
            control[BAD] = position + 1
            word = np.uint32(0)
        if position == start:
            first = n
        random = _mix(key ^ (np.uint64(position) * _PLACE))
        if np.uint32(random >> np.uint64(32)) <= plan.keep[word]:
            me.words[n] = word
            me.sentences[n] = sentence
            me.draws[n] = random
            n += 1
            if position >= stop:
                found += 1
        position += 1
        if position == stop:
            last = n
    return n, first, last


@numba.njit
def _lane(
    plan: Plan,
    model: Model,
    lanes: Lanes,
    lane: int,
    start: int,
    stop: int,
    epoch: int,
    alpha: Any,
    control: Any,
    me: Private,
) -> None:
    """Train on positions start…stop−1, on copies of the rows."""
    dim = model.inputs.shape[1]
    if start == stop:  # the corpus ends before it
        lanes.starts_in[lane, :] = 0
        lanes.starts_out[lane, :] = 0
        return
    ours, theirs = lanes.inputs[lane], lanes.outputs[lane]
    width = ours.shape[1]
    key = _mix(np.uint64(plan.seed) * _GOLDEN + np.uint64(epoch) * _PLACE + _ONE)
    n, first, last = _read(plan, key, start, stop, control, me)
    # The rows: contexts are inputs; centre words and noise are outputs.
    me.table_in[0, :] = -1
    me.table_out[0, :] = -1
    inputs, outputs = 0, 0
    if first < last:
        for i in range(n):
            me.places_in[i], inputs = _copy_of(me.table_in, me.rows_in, inputs, me.words[i])
        for i in range(first, last):
            me.places_out[i], outputs = _copy_of(me.table_out, me.rows_out, outputs, me.words[i])
        base = _mix(key ^ (np.uint64(start) * _PLACE + _POOL))
        for i in range(plan.pool):
            word = _noise(plan, _mix(base + np.uint64(i) * _GOLDEN))
            me.pool[i], outputs = _copy_of(me.table_out, me.rows_out, outputs, word)
    grams = len(plan.gram_rows) > 0
    for i in range(inputs):
        row = np.int64(me.rows_in[i])
        if grams:
            begin, end = plan.gram_offsets[row], plan.gram_offsets[row + 1]
            for d in range(dim):
                ours[i, d] = np.float32(0)
            for at in range(begin, end):
                fetch(model.inputs, np.int64(plan.gram_rows[min(at + AHEAD, end - 1)]))
                gram = np.int64(plan.gram_rows[at])
                for d in range(dim):
                    ours[i, d] += model.inputs[gram, d]
            part = np.float32(1) / np.float32(end - begin)
            for d in range(dim):
                ours[i, d] *= part
                me.before[i, d] = ours[i, d]
        else:
            fetch(model.inputs, np.int64(me.rows_in[min(i + AHEAD, inputs - 1)]))
            for d in range(dim):
                ours[i, d] = model.inputs[row, d]
    for i in range(outputs):
        fetch(model.outputs, np.int64(me.rows_out[min(i + AHEAD, outputs - 1)]))
        row = np.int64(me.rows_out[i])
        for d in range(dim):
            theirs[i, d] = model.outputs[row, d]
    # The centre words, one after the other.
    loss, predictions = 0.0, 0
    centre, was = me.centre[0], me.centre[1]
    for i in range(first, last):
        random = me.draws[i]
        reach: Any = plan.window
        if plan.shrink:
            reach = 1 + np.int64(((random & np.uint64(0xFFFFFFFF)) * np.uint64(plan.window)) >> np.uint64(32))
        m = 0
        for j in range(max(0, i - reach), min(n, i + reach + 1)):
            if j != i and me.sentences[j] == me.sentences[i]:
                me.x[m] = me.places_in[j]
                m += 1
        if m == 0:
            continue
        me.k[0] = me.places_out[i]
        right = 1
        for t in range(1, plan.targets):
            me.k[t] = me.k[0]
            if t <= plan.shared:
                if t & 3 == 1:
                    random = _mix(random + _PICK)
                pick = ((random >> np.uint64(16 * (t & 3))) & np.uint64(0xFFFF)) * np.uint64(plan.pool)
                place = me.pool[np.int64(pick >> np.uint64(16))]
                if place != me.k[0]:
                    me.k[t] = place
                    right |= 1 << t
        if plan.cbow:
            weight = np.float32(0)
            for d in range(width):
                centre[d] = np.float32(0)
            for j in range(m):
                c = np.int64(me.x[j])
                many = np.float32(1)
                if grams:
                    word = np.int64(me.rows_in[c])
                    many = np.float32(plan.gram_offsets[word + 1] - plan.gram_offsets[word])
                weight += many
                for d in range(width):
                    centre[d] += many * ours[c, d]
            part = np.float32(1) / weight
            scale = part if plan.mean else np.float32(1)
            for d in range(width):
                centre[d] *= scale
                was[d] = centre[d]
            me.x[m] = 0
            me.x[m + 1] = 0
            loss += call(
                plan.step,
                me.centre.ctypes.data,
                theirs.ctypes.data,
                me.x[m:].ctypes.data,
                1,
                me.k.ctypes.data,
                right,
                alpha,
                me.scratch.ctypes.data,
            )
            predictions += 1
            scale = np.float32(1) if plan.mean else part
            for d in range(width):
                centre[d] = (centre[d] - was[d]) * scale
            for j in range(m):
                c = np.int64(me.x[j])
                for d in range(width):
                    ours[c, d] += centre[d]
        else:
            me.x[m] = me.x[m - 1]
            loss += call(
                plan.step,
                ours.ctypes.data,
                theirs.ctypes.data,
                me.x.ctypes.data,
                m,
                me.k.ctypes.data,
                right,
                alpha,
                me.scratch.ctypes.data,
            )
            predictions += m
    lanes.loss[lane, 0] += loss
    lanes.loss[lane, 1] += predictions
    # What changed, sorted by the parts that will add it up.
    _sort(
        me.rows_out,
        outputs,
        plan.gram_offsets,
        plan.gram_rows,
        False,
        lanes.rows_out[lane],
        lanes.place_out[lane],
        lanes.starts_out[lane],
    )
    _sort(
        me.rows_in,
        inputs,
        plan.gram_offsets,
        plan.gram_rows,
        grams,
        lanes.rows_in[lane],
        lanes.place_in[lane],
        lanes.starts_in[lane],
    )
    if grams:
        for i in range(inputs):
            for d in range(dim):
                ours[i, d] -= me.before[i, d]


@numba.njit(inline="always")
def _part(row: Any) -> Any:
    """The part that a row belongs to: 16 neighbours to each, so that parts hardly write to the same cache lines."""
    return (row >> 4) & (PARTS - 1)


@numba.njit
def _sort(
    words: Any, count: int, offsets: Any, gram_rows: Any, grams: bool, rows: Any, places: Any, starts: Any
) -> None:
    """The rows that belong to the copies 0…count−1 and their copies, those of each part together."""
    starts[:] = 0
    for i in range(count):
        if grams:
            for at in range(offsets[words[i]], offsets[words[i] + 1]):
                starts[_part(gram_rows[at]) + 1] += 1
        else:
            starts[_part(words[i]) + 1] += 1
    for part in range(PARTS):
        starts[part + 1] += starts[part]
    for i in range(count):  # each part's start moves to its end, which is the next one's start
        if grams:
            for at in range(offsets[words[i]], offsets[words[i] + 1]):
                part = _part(gram_rows[at])
                rows[starts[part]] = gram_rows[at]
                places[starts[part]] = i
                starts[part] += 1
        else:
            part = _part(words[i])
            rows[starts[part]] = words[i]
            places[starts[part]] = i
            starts[part] += 1
    for part in range(PARTS, 0, -1):
        starts[part] = starts[part - 1]
    starts[0] = 0


@numba.njit
def _merge(
    table: Any,
    waiting: Any,
    copies: Any,
    rows: Any,
    places: Any,
    starts: Any,
    part: int,
    changes: bool,
    damping: int,
    me: Private,
) -> None:
    """Add to a part's rows what the lanes changed: copies of rows, or ``changes`` themselves."""
    dim = table.shape[1]
    for lane in range(len(copies)):
        for at in range(starts[lane, part], starts[lane, part + 1]):
            waiting[rows[lane, at]] += np.int32(1)
    shared, s = 0, np.int64(0)
    for lane in range(len(copies)):
        for at in range(starts[lane, part], starts[lane, part + 1]):
            row, place = np.int64(rows[lane, at]), np.int64(places[lane, at])
            many = waiting[row]
            if changes:
                fetch(table, np.int64(rows[lane, min(at + AHEAD, starts[lane, part + 1] - 1)]))
                share = np.float32(min(1.0, damping / many))
                for d in range(dim):
                    table[row, d] += share * copies[lane, place, d]
            elif many == 1:
                for d in range(dim):
                    table[row, d] = copies[lane, place, d]
                waiting[row] = np.int32(0)
            else:
                s = np.int64(-1 - many)
                if many > 0:
                    s = np.int64(shared)
                    shared += 1
                    me.row_of[s], me.many[s] = row, many
                    waiting[row] = np.int32(-1 - s)
                    for d in range(dim):
                        me.sums[s, d] = np.float32(0)
                for d in range(dim):
                    me.sums[s, d] += copies[lane, place, d] - table[row, d]
    for i in range(shared):
        row = np.int64(me.row_of[i])
        waiting[row] = np.int32(0)
        share = np.float32(min(1.0, damping / me.many[i]))
        for d in range(dim):
            table[row, d] += share * me.sums[i, d]
    if changes:
        for lane in range(len(copies)):
            for at in range(starts[lane, part], starts[lane, part + 1]):
                waiting[rows[lane, at]] = np.int32(0)


def _work(plan: Plan, model: Model, lanes: Lanes, control: Array, me: Private, rounds_stop: int) -> bool:
    """Do tasks until those of the rounds before ``rounds_stop`` are all taken; True where another thread is waited for.

    Then it is to be called again, a moment later, and goes on with the task that it has taken.
    """
    length = len(plan.tokens)
    span = plan.lanes * plan.stretch
    rounds = (length + span - 1) // span
    while True:
        if me.task[0] < 0:
            me.task[0] = add(control, TICKET, 1)
        task = me.task[0]
        turn, which = task // (plan.lanes + PARTS), task % (plan.lanes + PARTS)
        if turn >= rounds_stop:
            me.task[0] = -1
            return False
        needed, counter = turn * PARTS, PARTS_DONE
        if which >= plan.lanes:
            needed, counter = (turn + 1) * plan.lanes, LANES_DONE
        spins = 0
        while look(control, counter) < needed:
            spins += 1
            rest()
            if spins > SPINS:
                return True
        epoch, base = turn // rounds, (turn % rounds) * span
        if which < plan.lanes:
            alpha = plan.alpha - plan.slope * (np.float64(epoch) * length + base)
            start = min(length, base + which * plan.stretch)
            _lane(
                plan,
                model,
                lanes,
                which,
                start,
                min(length, start + plan.stretch),
                epoch,
                np.float32(max(plan.floor, alpha)),
                control,
                me,
            )
            add(control, LANES_DONE, 1)
        else:
            part = which - plan.lanes
            grams = len(plan.gram_rows) > 0
            _merge(
                model.inputs,
                model.waiting_in,
                lanes.inputs,
                lanes.rows_in,
                lanes.place_in,
                lanes.starts_in,
                part,
                grams,
                plan.damping,
                me,
            )
            _merge(
                model.outputs,
                model.waiting_out,
                lanes.outputs,
                lanes.rows_out,
                lanes.place_out,
                lanes.starts_out,
                part,
                False,
                plan.damping,
                me,
            )
            add(control, PARTS_DONE, 1)
        me.task[0] = -1


def _fill(table: Array, first: int, seed: int, scale: float) -> None:
    """Small random numbers, −scale/2 … scale/2, for the rows from ``first`` on; a function of seed, row and column."""
    for row in range(first, len(table)):
        base = _mix(np.uint64(seed) * _GOLDEN + np.uint64(row) * _PLACE + _TWO)
        for d in range(table.shape[1]):
            random = _mix(base + np.uint64(d) * _GOLDEN) >> np.uint64(40)
            table[row, d] = (np.float32(random) * np.float32(1 / 16777216) - np.float32(0.5)) * np.float32(scale)


def _array(kind: Any, dims: int, *, readonly: bool = False) -> Any:
    return numba.types.Array(kind, dims, "C", readonly=readonly)


_t = numba.types
_plan = _t.NamedTuple(
    [
        *(_array(kind, 1, readonly=True) for kind in (_t.uint32, _t.uint32, _t.float32, _t.int32, _t.int64, _t.int32)),
        *[_t.int64] * 10,
        *[_t.float64] * 3,
        _t.uint64,
        _t.int64,
    ],
    Plan,
)
_model = _t.NamedTuple([*[_array(_t.float32, 2)] * 2, *[_array(_t.int32, 1)] * 2], Model)
_lanes = _t.NamedTuple(
    [*[_array(_t.float32, 3)] * 2, *[_array(_t.int32, 2)] * 4, *[_array(_t.int64, 2)] * 2, _array(_t.float64, 2)], Lanes
)
_private = _t.NamedTuple(
    [
        _array(_t.int64, 1),
        *[_array(_t.int32, 1)] * 4,
        _array(_t.uint64, 1),
        *[_array(_t.int32, 1)] * 2,
        *[_array(_t.int32, 2)] * 2,
        *[_array(_t.int32, 1)] * 3,
        *[_array(_t.float32, 2)] * 2,
        _array(_t.float32, 1),
        _array(_t.float32, 2),
        *[_array(_t.int32, 1)] * 2,
    ],
    Private,
)
work = compiled(_t.boolean(_plan, _model, _lanes, _array(_t.int64, 1), _private, _t.int64), _work)
fill = compiled(_t.void(_array(_t.float32, 2), _t.int64, _t.uint64, _t.float64), _fill)
