"""What the kernels work on, as the named tuples that they take.

Not for: how large the arrays are (``trainer`` makes them). Costs: nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

__all__ = ["Array", "Lanes", "Model", "Plan", "Private"]

Array = NDArray[Any]


class Plan(NamedTuple):
    """What is the same for a whole run: the corpus, what is drawn from it, and the options.

    Attributes:
        tokens: uint32 [N]; the top bit says that a sentence starts.
        keep: uint32 [V]; a word is kept where the upper 32 bits of its random number are not above it.
        chance, other: float32 [V] and int32 [V], Walker's alias table of noise words.
        gram_offsets, gram_rows: of subwords: int64 [V + 1] and int32, the input rows of each word, its own first; of
            length 1 and 0 where there are none.
        epochs, stretch, window, pool, shared: see ``TrainingOptions``.
        targets: of a centre word, of which ``shared`` + 1 are used.
        damping: as there.
        shrink, cbow, mean: 0 or 1.
        alpha, slope: the learning rate at word 0, and what it loses per word of all epochs; never below ``floor``.
        floor: the least learning rate.
        seed: of all random numbers.
        step: the address of the arithmetic.
    """

    tokens: Array
    keep: Array
    chance: Array
    other: Array
    gram_offsets: Array
    gram_rows: Array
    lanes: int
    stretch: int
    window: int
    pool: int
    shared: int
    targets: int
    damping: int
    shrink: int
    cbow: int
    mean: int
    alpha: float
    slope: float
    floor: float
    seed: int
    step: int


class Model(NamedTuple):
    """The two tables, float32 [rows, D] each, and how many changes wait for a row: int32, zero between rounds."""

    inputs: Array
    outputs: Array
    waiting_in: Array
    waiting_out: Array


class Lanes(NamedTuple):
    """What each lane leaves for the merging: P lanes.

    Attributes:
        inputs, outputs: float32 [P, R, D padded], its copies of rows.
        rows_in, rows_out: int32 [P, E], the numbers of the rows that changed, those of a part together.
        place_in, place_out: int32 [P, E], where among the copies.
        starts_in, starts_out: int64 [P, PARTS + 1], where each part's begin.
        loss: float64 [P, 2], the sum of losses and the number of predictions, of all its rounds.
    """

    inputs: Array
    outputs: Array
    rows_in: Array
    rows_out: Array
    place_in: Array
    place_out: Array
    starts_in: Array
    starts_out: Array
    loss: Array


class Private(NamedTuple):
    """What a thread works with and nobody else sees.

    Attributes:
        task: int64 [1], the task that it has taken, or −1.
        words, places_in, places_out, sentences, draws: of the kept words of a lane: int32 × 4, uint64.
        rows_in, rows_out: int32, the distinct rows.
        table_in, table_out: int32 [2, size], hash tables from word to copy.
        pool: int32, the copies of the noise words.
        x, k: int32, the rows of a step.
        before: float32 [R, D padded], of subwords: the words' vectors before the lane.
        centre: float32 [2, D padded], of CBOW: the mean of the contexts, and as it was.
        scratch: float32, of the step.
        sums: float32 [rows, D], the sums of changes to rows that several lanes touched; row_of and many: int32.
    """

    task: Array
    words: Array
    places_in: Array
    places_out: Array
    sentences: Array
    draws: Array
    rows_in: Array
    rows_out: Array
    table_in: Array
    table_out: Array
    pool: Array
    x: Array
    k: Array
    before: Array
    centre: Array
    scratch: Array
    sums: Array
    row_of: Array
    many: Array
