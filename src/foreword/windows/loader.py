"""Batches in an epoch's order, with a place that is never lost.

A step takes the next batch_size × world_size samples of the epoch's order; rank r takes the r-th batch_size of them. So
where the loader stands is a few integers, which hold under another batch_size or world_size.

Windows are read a block of steps at a time (``batches``), and their order is computed for several blocks, so that
numpy's cost a call is shared by many batches. The first block is one step, so that the first batch comes at once.
Small batches are views of a larger piece of memory: cheap, and no two overlap, but to keep one for long, or to save it,
``clone`` it.

Not for: random access (``WindowDataset``). Costs: 256 KB for a block, compact 2 MB; 16 bytes a token of a batch; with
prefetch, padding or segments 20 bytes a token of each block that is ready.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword._base.notebook import notebook_html
from foreword._base.progress import Progress
from foreword._base.progress import progress as progress_bar
from foreword._base.words import counted
from foreword.errors import ArgumentError
from foreword.windows import clients, ranks, tracing
from foreword.windows.batches import Batches
from foreword.windows.dataset import WindowDataset
from foreword.windows.epochs import Epochs
from foreword.windows.history import History, Leg
from foreword.windows.iterations import Iterations
from foreword.windows.plan import Place, Track, my_places, plan
from foreword.windows.prefetch import ahead
from foreword.windows.read_ahead import ReadAhead
from foreword.windows.report import EpochReport, texts
from foreword.windows.skip import GivenSkip, document_of, documents_to_skip
from foreword.windows.sources import by_name
from foreword.windows.state import States
from foreword.windows.tracing import Occurrence, TracedWindow
from foreword.windows.weights import GivenWeights, exact_weights

if TYPE_CHECKING:
    import torch

__all__ = ["WindowLoader"]

ORDER_WINDOWS = 1 << 14  # of which the order is computed together
FIRST_WINDOWS = 1 << 11  # and at first: no later than that of a few, as numpy's cost a call is what takes the time

Batch = TypeVar("Batch")


class _Block(NamedTuple):
    """Batches to be gathered together: where they start, and this rank's windows, [n], and their owners."""

    place: Place
    windows: NDArray[np.int64]
    owners: NDArray[np.intp] | None


class WindowLoader(clients.LikeDataLoader):
    """Batches of windows: iterating gives (inputs, targets), two int64 tensors [B, T], until the epoch ends.

    With ``shuffle`` each epoch has its own order. An epoch ends when its last batch has been handed out; an iterator
    that is given up before gives up the rest of its epoch, and the next one begins with the next epoch. To take the
    rest, load the state: ``loader.load_state_dict(loader.state_dict())``. Iterators may be nested, as for an evaluation
    in the midst of training: the loader's state stays the outer one's (``iterations`` has the rules).

    Args:
        data: the windows; or several sets of them by name, a mixture.
        batch_size: B, windows a batch and rank.
        shuffle: draw each epoch's order from (seed, epoch); otherwise windows come in their order. "blocks" draws the
            order of blocks of the store, and of windows inside a group of them: for a store far away, of which a window
            at random costs a whole block.
        seed: any integer.
        group: with ``shuffle="blocks"``, the blocks of 1 MiB that a group has; of a store far away, the blocks of two
            groups are held in memory.
        drop_last: leave out a last step that is not full; otherwise its windows are shared out among the ranks, some of
            which may get one less than others. Where they are fewer than the ranks, those left short repeat the epoch's
            first windows, which are not counted: all ranks have as many batches, and none is empty.
        rank: which part of each step this process takes, from 0. None: the one that torch.distributed or, before it is
            initialised, the environment (RANK, WORLD_SIZE) gives when a length or a batch is wanted; else 0.
        world_size: how many processes there are; None as for ``rank``, else 1. Under tensor parallelism, where several
            processes take the same batches, give both.
        weights: the share of each source of a mixture, by name; equal shares where it is None. After n samples each
            source has given its share of them within one sample. An epoch of a mixture is as many samples as its
            sources have windows together; a source that ends begins its own next epoch, and none starts over with the
            mixture's. Or weights that change: [(0, {…}), (1_000_000, {…})], from so many samples on, of all ranks
            together; a source gives nothing where it isn't named.
        skip: documents that are never trained on, by index; of a mixture, by source. Windows whose inputs hold tokens
            of one are left out: the order of the rest is as it would be with them.
        prefetch: blocks of batches to prepare ahead, in a thread; 0 prepares each when it is needed.
        device: where batches go ("cuda", …); to a GPU by way of pinned memory, without waiting for the copy.
        compact: ids leave in the dtype that they are stored in, as one block [B, T + 1] a batch, of which inputs and
            targets are two views, which are not contiguous (``flatten()``, where ``view(-1)`` would fail). With
            ``device`` that block is moved and then widened there to int64: for a store of uint16 an eighth of the
            bytes. Not for padding, segments, n-grams and ``mask_end_of_text``, which ids alone don't say.
        pin_memory: give batches in pinned memory, to be moved by the caller. Without an accelerator there is none, and
            they come in ordinary memory.
        progress: show a bar for each epoch, with tokens a second, where standard error is a terminal.

    With ``segments`` in the data, a batch is a dict (``WindowDataset``); with ``ngrams`` alone, (inputs, targets,
    ngram_rows [B, T, R]); with ``tail="keep"`` it is as long as the longest of its windows.

    Raises:
        ArgumentError: an argument that can't be used; sources that do not fit together; no window is left to a source.
        OutOfRangeError: a document to skip that there is not.

    >>> data = WindowDataset(np.arange(100), context_length=4)
    >>> loader = WindowLoader(data, batch_size=8)
    >>> inputs, targets = next(iter(loader))
    >>> inputs.shape, targets[0]
    (torch.Size([8, 4]), tensor([1, 2, 3, 4]))
    """

    def __init__(
        self,
        data: WindowDataset | Mapping[str, WindowDataset],
        *,
        batch_size: int,
        shuffle: bool | Literal["blocks"] = False,
        group: int = 64,
        seed: int = 0,
        drop_last: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        weights: GivenWeights | None = None,
        skip: GivenSkip | None = None,
        prefetch: int = 0,
        device: str | torch.device | None = None,
        pin_memory: bool = False,
        compact: bool = False,
        progress: bool = False,
    ) -> None:
        self.data = data
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        if isinstance(shuffle, str) and shuffle != "blocks":
            raise ArgumentError("shuffle is not known", got=repr(shuffle), expected="True, False or 'blocks'")
        self.shuffle: bool | Literal["blocks"] = "blocks" if isinstance(shuffle, str) else bool(shuffle)
        self.group = integer("group", group, at_least=1)
        self.seed = integer("seed", seed)
        self.drop_last = bool(drop_last)
        self._given_world_size = None if world_size is None else integer("world_size", world_size, at_least=1)
        self._given_rank = None if rank is None else integer("rank", rank)
        if rank is not None:
            ranks.resolve(self._given_rank, self._given_world_size)
        self.prefetch = integer("prefetch", prefetch, at_least=1) if prefetch else 0
        self.device, self.pin_memory, self.progress = device, bool(pin_memory), bool(progress)
        self.compact = bool(compact)
        sources = by_name(data)
        self._mixture = not isinstance(data, WindowDataset)
        skipped = documents_to_skip(skip, sources, mixture=self._mixture)
        self._tracks = [
            Track(
                name, windows, seed=self.seed if self.shuffle else None, skip=skipped.get(name, ()), group=self._group
            )
            for name, windows in sources.items()
        ]
        for track in self._tracks:
            track.refuse_to_be_empty()
        self._first = self._tracks[0].data  # every source has its context_length, tail and segments
        self._batches = Batches(
            [track.data for track in self._tracks],
            batch_size=self.batch_size,
            device=device,
            pin_memory=self.pin_memory,
            compact=self.compact,
        )
        self._joined = self._batches.joined
        self._read_ahead = ReadAhead(
            [track.data for track in self._tracks], shuffle=bool(shuffle), group=self._group, behind=self.prefetch
        )
        shares = exact_weights(list(sources), weights)
        self._epochs = Epochs(self._tracks, shares, mixture=self._mixture, drop_last=self.drop_last)
        options: dict[str, Any] = {"seed": self.seed, "shuffle": self.shuffle}
        if self._group is not None:
            options["group"] = self._group
        self._states = States(self._epochs, options)
        self._iterations = Iterations(self._epochs, self._epochs.first)
        self._history = History()
        self._counted_for: int | None = None  # the number of processes for which a length has been given
        self._check_step(self._step)

    def _check_step(self, step: int) -> None:
        """Warn if there is no step in an epoch."""
        if not self._epochs.steps(self._epochs.first, step):
            warnings.warn(
                f"the loader gives no batch: {self._epochs.samples:,} windows are fewer than one step of {step:,}, and "
                "drop_last=True leaves it out",
                stacklevel=3,
            )

    @property
    def rank(self) -> int:
        """Which part of each step this process takes, from 0."""
        return ranks.resolve(self._given_rank, self._given_world_size)[0]

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return ranks.resolve(self._given_rank, self._given_world_size)[1]

    @property
    def epoch(self) -> int:
        """The epoch of the next batch, from 0."""
        return self._iterations.place().epoch

    @property
    def _step(self) -> int:
        """Samples a step, of all ranks together."""
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        """Batches a whole epoch."""
        self._counted_for = self.world_size
        return self._epochs.steps(self._epochs.first, self.batch_size * self._counted_for)

    def set_epoch(self, epoch: int) -> None:
        """Begin with ``epoch`` next; nothing where a state loaded in the midst of it waits, or it is being iterated.

        Args:
            epoch: from 0.

        Raises:
            ArgumentError: it is below 0; or an epoch of a mixture from before it was changed.
        """
        epoch = integer("epoch", epoch, at_least=0)
        if not self._iterations.going_on_in(epoch):
            self._history = self._known_history()
            self._iterations.set_epoch(self._history.start_of(epoch, self._epochs), self._step)

    def __iter__(self) -> Iterator[Any]:
        return self._handed_out(self._fetch)

    def _handed_out(self, fetch: Callable[[_Block], tuple[_Block, Iterator[Batch]]]) -> Iterator[Batch]:
        """The batches of one iterator, which takes its place now: a generator begins with its first ``next``."""
        iterations = self._iterations  # those of now: when a state is loaded, the loader gets others
        rank, world_size = ranks.resolve(self._given_rank, self._given_world_size)
        if self._given_rank is None:
            ranks.warn_of_workers(stacklevel=2)
        if self._counted_for not in (None, world_size):
            warnings.warn(
                f"len(loader) was taken for {counted(self._counted_for, 'process', 'processes')}, and there are "
                f"{world_size:,}: it differs now; take it when torch.distributed is initialised",
                stacklevel=2,
            )
        self._counted_for = None
        finalizing = sys.is_finalizing  # local: an iterator may be collected when modules are empty already
        blocks = ahead(fetch, iter(()), 0)  # none so far
        iteration = iterations.next_one(self.batch_size * world_size)
        try:
            iterations.begin(iteration)
            self._history = self._history.since(Leg(iteration.start, self.batch_size, world_size, self._epochs))
            left = self._epochs.steps(iteration.start, iteration.step)
            if not left:
                iterations.finish(iteration)
                return
            blocks = ahead(fetch, self._read_ahead(self._blocks(iteration.start, rank, world_size)), self.prefetch)
            with self._bar(iteration.start) if self.progress else contextlib.nullcontext() as bar:
                for block, batches in blocks:
                    iteration.block, iteration.handed_out = block.place, 0
                    steps = -(-len(block.windows) // self.batch_size)
                    left -= steps
                    for iteration.handed_out, batch in enumerate(islice(batches, steps - (not left)), 1):
                        iterations.latest = iteration
                        yield batch
                    if bar is not None:
                        bar.advance((steps - (not left)) * iteration.step * self._first.context_length)
                    if not left:
                        batch = next(batches)
                        iteration.handed_out = steps
                        iterations.finish(iteration)
                        yield batch
        finally:
            if not finalizing():
                blocks.close()
                iterations.end(iteration)

    def _blocks(self, place: Place, rank: int, world_size: int) -> Iterator[_Block]:
        """The rest of the epoch from ``place`` on, in blocks of whole steps; the short last step is one of its own.

        The order is computed for several blocks together. Of a mixture, which takes time for every sample of every
        rank, for one step at first, then for eight times as many each time.
        """
        step, schedule = self.batch_size * world_size, self._epochs.schedule(place.drawn)
        cursor, steps = place.cursor, 1 if self._mixture else max(1, FIRST_WINDOWS // self.batch_size)
        block_rows = self.batch_size  # at first, so that the first batch comes at once
        while (left := self._epochs.samples - cursor) and (left >= step or not self.drop_last):
            steps = max(1, min(steps, left // step))
            samples = min(steps * step, left)
            places = my_places(samples, self.batch_size, rank, world_size)
            planned = plan(self._tracks, samples, places[places < samples], schedule, place.before)
            windows, owners = planned.windows, planned.owners
            if len(windows) < len(places):  # a rank that is left short
                again, their_owners = self._epochs.first_windows(place, places[len(windows) :] - samples)
                windows = np.concatenate((windows, again))
                owners = None if owners is None or their_owners is None else np.concatenate((owners, their_owners))
            row = 0
            while row < len(windows):
                done = row * world_size
                rows = slice(row, row + block_rows)
                nth = place.later((cursor - place.cursor + done) // step)
                here = place._replace(cursor=cursor + done, drawn=planned.drawn(done), step=nth)
                yield _Block(here, windows[rows], None if owners is None else owners[rows])
                row, block_rows = rows.stop, self._batches.block_rows
            cursor += samples
            steps = min(8 * steps, max(1, ORDER_WINDOWS // self.batch_size))

    @property
    def _group(self) -> int | None:
        """Blocks a group, where blocks are shuffled."""
        return self.group if self.shuffle == "blocks" else None

    def _fetch(self, block: _Block) -> tuple[_Block, Iterator[Any]]:
        """A block and its batches: all of them where they are prefetched, else each as it is handed out."""
        batches = self._batches.of(block.windows, block.owners)
        return block, iter(list(batches)) if self.prefetch else batches

    def _indices(self, block: _Block) -> tuple[_Block, Iterator[list[int]]]:
        """A block and the indices of its batches' windows in ``dataset``."""
        windows = block.windows if block.owners is None else self._joined.indices(block.windows, block.owners)
        indices = windows.tolist()
        return block, (indices[row : row + self.batch_size] for row in range(0, len(indices), self.batch_size))

    @contextlib.contextmanager
    def _bar(self, place: Place) -> Iterator[Progress]:
        """A bar on standard error for the epoch of ``place``."""
        T = self._first.context_length
        with progress_bar(f"epoch {place.epoch}", self._epochs.samples * T, unit="tokens") as bar:
            bar.advance(place.cursor * T)
            yield bar

    @property
    def dataset(self) -> Any:
        """The windows as a map-style dataset: the data; of a mixture, its sources one after another."""
        return self._joined if self._mixture else self.data

    @property
    def sampler(self) -> Any:
        """This rank's windows in their order, as indices into ``dataset``; with ``set_epoch``."""
        return clients.sampler(self, lambda: self._handed_out(self._indices), self._epochs.samples)

    @property
    def batch_sampler(self) -> Any:
        """The same, a list for each batch. What is taken from it moves the loader's place."""
        return clients.BatchSampler(self, lambda: self._handed_out(self._indices))

    def collate_fn(self, samples: list[Any]) -> Any:
        """Samples of ``dataset`` as a batch, as iterating the loader gives it, on its device.

        Args:
            samples: what ``dataset`` gave, of one shape each.
        """
        return self._batches.collate(samples)

    def account(self, *, decode: Callable[[Any], str] | None = None) -> EpochReport:
        """What an epoch trains on: the token account of each source, and the first and last batch as text.

        ``decode`` turns token ids, [T], into text; without it a store's own tokenizer does, and the ids of an array are
        shown as they are.
        """
        store = self._first.source
        if decode is None and store is not None:
            decode = store.tokenizer.decode
        samples = self._epochs.samples
        left_out = samples % self._step if self.drop_last else 0
        return EpochReport(
            accounts={track.name: track.data.account() for track in self._tracks},
            batches=len(self),
            samples=samples - left_out,
            left_out=left_out,
            skipped=sum(len(track.left_out) for track in self._tracks),
            first=self._texts(0, decode),
            last=self._texts(len(self) - 1, decode) if not self._mixture else (),
        )

    def _texts(self, step: int, decode: Callable[[Any], str] | None) -> tuple[str, ...]:
        """The windows of this rank's batch of a step, as text; of a mixture, the step must be 0."""
        if not 0 <= step < len(self):
            return ()
        place = self._iterations.place()
        place = place._replace(cursor=place.start[0], drawn=place.start[1])
        if step:
            place = self._epochs.after(place, step, self._step)
        block = next(self._blocks(place, self.rank, self.world_size))
        inputs, _ = self._joined.pairs(block.windows, block.owners)
        return texts(inputs, self._joined.lengths(block.windows, block.owners), decode)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: a few integers and fingerprints, ready for JSON or torch.save.

        Right at any moment, and equal on every rank after equally many batches: those that were handed out count, not
        those that were prefetched. It holds the epoch and cursor of each source, too, how many samples the mixture has
        drawn from it, and where settings changed, for ``trace`` and ``when``.
        """
        return self._states.save(self._iterations.place(), self._known_history())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken: the next iterator begins with the sample after the last handed out.

        batch_size, world_size, skip, and the weights and sources of a mixture may differ from then: a source that is
        new begins at 0, one that is left out is remembered, and goes on when a later loader has it again. (With other
        weights or sources, the shares are exact from here on, and samples counted anew.) With another ``skip``, the
        epoch's remaining windows come without those that touch its documents. Iterators that have started go on, and
        move nothing.

        Args:
            state: what ``state_dict`` gave, on any rank.

        Raises:
            StoreError: the state belongs to other data, another order, or another version; says which.
        """
        place, self._history = self._states.load(state)
        self._iterations = Iterations(self._epochs, place, loaded=True)

    def __getstate__(self) -> dict[str, Any]:
        # Iterators do not travel: a copy begins where this loader stands.
        iterations = Iterations(self._epochs, self._iterations.place())
        return vars(self) | {"_iterations": iterations, "_states": copy.copy(self._states)}

    def _known_history(self) -> History:
        """Where settings changed, up to the place that waits, where these hold."""
        waiting = self._iterations.waiting
        if waiting is None:
            return self._history
        return self._history.since(Leg(waiting, self.batch_size, self.world_size, self._epochs))

    def trace(self, step: int, *, epoch: int | None = None, rank: int | None = None) -> list[TracedWindow]:
        """What a batch holds: the windows that a rank gets in a step, in the order of its rows.

        By arithmetic, from the plan of the epoch, whether or not a loop went so far; also of steps before the batch
        size, the processes, the weights or the skipped documents were changed, which the state remembers.

        Args:
            step: of the epoch, from 0.
            epoch: from 0; None for the one in which the loader stands.
            rank: whose batch; None for this process's.

        Raises:
            OutOfRangeError: there is no such step, or was no such rank.
            ArgumentError: what came then is not known: the state was saved by an earlier version, or it is a window of
                a source that has been dropped.

        >>> data = WindowDataset(np.arange(100), context_length=4, offsets=[0, 10, 100])
        >>> WindowLoader(data, batch_size=2).trace(1)[0]
        TracedWindow(source='data', window=2, start=8, stop=12, documents=((0, None), (1, None)))
        """
        step, epoch = integer("step", step, at_least=0), self._epoch_or(epoch)
        rank = self.rank if rank is None else integer("rank", rank, at_least=0)
        return tracing.trace(self._known_history().run_of(epoch, step), step, rank)

    def when(self, document: int, *, source: str | None = None, epoch: int | None = None) -> list[Occurrence]:
        """When a document is trained on: where in an epoch windows come whose inputs hold tokens of it, in order.

        Args:
            document: its index in the source.
            source: which source of a mixture it is of; may be left out where there is one.
            epoch: from 0; None for the one in which the loader stands.

        Raises:
            OutOfRangeError: there is no such document.
            ArgumentError: an array without ``offsets``; no such source; steps that are not known (``trace``); weights
                of which the order does not repeat itself within 10 million samples: says which to use instead.

        >>> data = WindowDataset(np.arange(100), context_length=4, offsets=[0, 10, 100])
        >>> WindowLoader(data, batch_size=2).when(0)
        [Occurrence(epoch=0, step=0, rank=0, row=0), Occurrence(epoch=0, step=0, rank=0, row=1), \
Occurrence(epoch=0, step=1, rank=0, row=0)]
        """
        name = tracing.source_named(source, [track.name for track in self._tracks])
        data = next(track.data for track in self._tracks if track.name == name)
        windows = data.holding(np.array([document_of(data, document, name)]))
        runs = self._known_history().runs(self._epoch_or(epoch))
        return [found for run in runs for found in tracing.when(run, name, windows)]

    def _epoch_or(self, epoch: int | None) -> int:
        return self.epoch if epoch is None else integer("epoch", epoch, at_least=0)

    def _repr_html_(self) -> str:
        return notebook_html("loader", self)

    def __repr__(self) -> str:
        shared = "" if self._given_rank is None else f", rank={self._given_rank}"
        shared += "" if self._given_world_size is None else f", world_size={self._given_world_size}"
        return (
            f"WindowLoader({self.data!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, seed={self.seed}, "
            f"drop_last={self.drop_last}{shared})"
        )
