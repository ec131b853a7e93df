"""Whose place is the loader's: its iterators, which may be nested, abandoned, or stopped anywhere.

An iterator owns its place, and the loader's follows from what iterators handed out:

1. ``iter()`` takes nothing. An iterator's first ``next`` takes the place that waits, if one does; else the start of the
   epoch after that of the iterator that last handed out a batch.
2. An iterator is over with its last batch, when it is closed, or when nothing refers to it any more.
3. The loader's place is the one that waits; else that of the unfinished iterator, the earliest if one runs inside
   another; else where the last was given up, or, had it finished, the start of the next epoch.
4. Loading a state lets its place wait, and detaches iterators that have started: they go on, and move nothing.
5. ``set_epoch`` lets the epoch's start wait, unless a place in that epoch waits, or one of its iterators runs.
6. Handed out means returned by ``next``; what was prefetched does not count.
7. When an iterator ends inside an earlier one, the loader's place is the earlier one's again. Where that one seems
   forgotten, as in a cell of a notebook that was interrupted, there is one warning; when it ends, it moves nothing.
8. When a place that was loaded is given up for another epoch, a warning says how much of its epoch is left.

Not for: arithmetic of places (``epochs``). Costs: nothing a batch but two attributes.
"""

from __future__ import annotations

import sys
import warnings

from foreword._base.words import counted
from foreword.windows.epochs import Epochs
from foreword.windows.plan import Place

__all__ = ["Iteration", "Iterations"]

# An earlier iterator counts as forgotten when later ones have gone through so many epochs, or one of them has handed
# out so many batches, and it none meanwhile.
FORGOTTEN_EPOCHS = 2
FORGOTTEN_BATCHES = 10_000


class Iteration:
    """What is known of an iterator that has started.

    Attributes:
        block: where the block that it hands out starts.
        handed_out: batches of that block that it has handed out.
        start, step: where it started; samples a step, of all ranks.
        waited: whether it took a place that waited; ``loaded``, one that was loaded.
        finished: whether it handed out its last batch; ``block`` is the start of the next epoch then.
    """

    __slots__ = (
        "_overtaken", "_seen_at", "block", "cell", "finished", "handed_out", "loaded", "start", "step", "waited"
    )  # fmt: skip

    def __init__(self, start: Place, step: int, *, waited: bool, loaded: bool) -> None:
        self.start = self.block = start
        self.handed_out, self.step, self.finished = 0, step, False
        self.waited, self.loaded = waited, loaded
        self.cell = _notebook_cell()
        self._overtaken, self._seen_at = 0, (start, 0)

    def place(self, epochs: Epochs) -> Place:
        """Where it is: after the last batch that it handed out."""
        return epochs.after(self.block, self.handed_out, self.step) if self.handed_out else self.block

    @property
    def untouched(self) -> bool:
        """Whether it has handed out nothing."""
        return not self.handed_out and self.block is self.start

    def overtake(self) -> None:
        """Another iterator has gone through an epoch."""
        self._overtaken = self.overtaken + 1
        self._seen_at = (self.block, self.handed_out)

    @property
    def overtaken(self) -> int:
        """Epochs that others have gone through since it last handed out a batch."""
        return self._overtaken if self._seen_at == (self.block, self.handed_out) else 0


class Iterations:
    """The iterators of a loader since a place was loaded, and the place that follows from them.

    Args:
        epochs: the arithmetic of places.
        waiting: the place that the next iterator takes.
        loaded: whether it was loaded.

    Attributes:
        latest: the iterator that last handed out a batch; iterators set it.
    """

    def __init__(self, epochs: Epochs, waiting: Place, *, loaded: bool = False) -> None:
        self._epochs = epochs
        self._waiting: Place | None = waiting
        self._waiting_loaded = loaded
        self._running: list[Iteration] = []  # earliest first
        self._ended = waiting  # where the last was given up, or the start of the epoch after it
        self._given_up: Iteration | None = None  # at a place that was loaded, until another epoch begins
        self._warned = False
        self.latest: Iteration | None = None

    @property
    def waiting(self) -> Place | None:
        """The place that the next iterator takes, if one waits."""
        return self._waiting

    def place(self) -> Place:
        """Where the loader stands."""
        if self._waiting is not None:
            return self._waiting
        if self._running:
            if self.latest is not self._running[0]:
                self._warn_of_the_forgotten()
            return self._running[0].place(self._epochs)
        return self._ended

    def next_one(self, step: int) -> Iteration:
        """What an iterator that is to hand out its first batch begins with, by ``begin``."""
        waiting, loaded = self._waiting, self._waiting_loaded
        place = self._next_start(step) if waiting is None else waiting
        if not self._epochs.steps(place, step) and self._epochs.steps(self._epochs.first, step):
            place, loaded = self._epochs.next(place, step), False  # nothing is left of its epoch
        if self._given_up is not None:
            self._warn_of_what_is_left(self._given_up.place(self._epochs), place, step)
        if self._running:
            self._warn_of_the_forgotten()
        return Iteration(place, step, waited=waiting is not None, loaded=loaded)

    def begin(self, iteration: Iteration) -> None:
        """The iterator takes its place; ``end`` is called in any case, also where this is interrupted."""
        self._running.append(iteration)
        self._waiting, self._waiting_loaded = None, False

    def _next_start(self, step: int) -> Place:
        if self.latest is None:
            return self._ended
        if self.latest.finished:
            return self.latest.block
        return self._epochs.next(self.latest.place(self._epochs), step)

    def finish(self, iteration: Iteration) -> None:
        """The iterator is about to hand out its last batch."""
        after = self._epochs.next(iteration.place(self._epochs), iteration.step)
        iteration.block, iteration.handed_out, iteration.finished = after, 0, True
        self.latest, self._ended = iteration, after
        self._running.remove(iteration)
        for other in self._running:
            other.overtake()

    def end(self, iteration: Iteration) -> None:
        """The iterator is over: it has finished, or is given up where it is."""
        if iteration not in self._running:  # it has finished, or not begun
            return
        self._running.remove(iteration)
        if iteration.finished:  # what says so was interrupted
            self._ended, self.latest = iteration.block, iteration
            return
        if not iteration.untouched:
            if self.latest is iteration or not self._forgotten(iteration):
                self._ended = iteration.place(self._epochs)
            self._given_up = iteration if iteration.loaded else self._given_up
        elif iteration.waited and self._waiting is None:  # an error came before its first batch
            self._waiting, self._waiting_loaded = iteration.start, iteration.loaded

    def going_on_in(self, epoch: int) -> bool:
        """Whether an iterator of the epoch runs or is the next to begin: its start needn't be made to wait."""
        place = self.place()
        if place.epoch != epoch:
            return False
        if self._waiting is None and self._running:
            return not self._forgotten(self._running[0])
        return self._waiting is not None or not place.cursor

    def set_epoch(self, start: Place, step: int) -> None:
        """Let the start of an epoch that isn't going on wait."""
        if self._waiting_loaded or (self._given_up is not None and not self._running):
            self._warn_of_what_is_left(self.place(), start, step)
        self._waiting, self._waiting_loaded = start, False

    def _warn_of_what_is_left(self, place: Place, new: Place, step: int) -> None:
        self._given_up = None
        left, of = self._epochs.steps(place, step), self._epochs.steps(self._epochs.first, step)
        if left:
            warnings.warn(
                f"a place that was loaded is given up: {left:,} of {of:,} batches are left of epoch {place.epoch}, and "
                f"epoch {new.epoch} begins; to take those first, load the state of the loader once more",
                stacklevel=4,
            )

    def _warn_of_the_forgotten(self) -> None:
        """Warn, once, if the earliest iterator seems forgotten while later ones hand out batches."""
        earliest = self._running[0]
        if self._warned or not self._forgotten(earliest):
            return
        self._warned = True
        place = earliest.place(self._epochs)
        warnings.warn(
            f"an earlier iterator of this loader still lives, in epoch {place.epoch} after "
            f"{counted(place.cursor, 'window')}: the loader's state is its place; "
            "if it is not wanted any more, close() or del it",
            stacklevel=4,
        )

    def _forgotten(self, earlier: Iteration) -> bool:
        """Whether an iterator seems to have been left behind."""
        latest = self.latest
        if _notebook_cell() != earlier.cell or earlier.overtaken >= FORGOTTEN_EPOCHS:
            return True
        if latest is None or latest is earlier or latest.finished:
            return False
        return latest.place(self._epochs).cursor - latest.start.cursor >= FORGOTTEN_BATCHES * latest.step


def _notebook_cell() -> int | None:
    """The number of the cell of a notebook that runs; None outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return None if shell is None else shell.execution_count
