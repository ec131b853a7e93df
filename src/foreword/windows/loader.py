"""Batches in an epoch's order, with a place that is never lost.

A step takes the next batch_size × world_size samples of the epoch's order; rank r takes the r-th batch_size of them. So
where the loader stands is a few integers, which hold under another batch_size or world_size.

Windows are gathered a block of steps at a time, some 32,000 tokens, and their order is computed for several blocks, so
that numpy's cost a call is shared by many batches. The first block is one step, so that the first batch comes at once.
A batch is a view of its block: cheap, and no two overlap, but to keep one for long, or to save it, ``clone`` it.

Not for: random access (``WindowDataset``). Costs: some 20 bytes a token of one block, and of each that is prefetched.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword._base.notebook import notebook_html
from foreword._base.progress import progress as progress_bar
from foreword.errors import ArgumentError, StoreError
from foreword.windows.arithmetic import positive
from foreword.windows.dataset import IGNORE, WindowDataset, longest, trimmed
from foreword.windows.mixture import Schedule, exact_weights
from foreword.windows.plan import Place, Track, plan
from foreword.windows.report import EpochReport, texts

if TYPE_CHECKING:
    import torch

__all__ = ["WindowLoader"]

STATE_VERSION = 1
BLOCK_TOKENS = 1 << 15  # gathered together: small enough for the processor's cache
ORDER_WINDOWS = 1 << 12  # of which the order is computed together

T_ = TypeVar("T_")
U_ = TypeVar("U_")


class _Block(NamedTuple):
    """Batches to be gathered together: where they start, and this rank's windows, [n], and their owners."""

    place: Place
    windows: NDArray[np.int64]
    owners: NDArray[np.intp] | None


class WindowLoader:
    """Batches of windows: iterating gives (inputs, targets), two int64 tensors [B, T], until the epoch ends.

    Each completed iteration advances ``epoch``, and with ``shuffle`` each epoch has its own order. An iteration that is
    broken off does not: the next one starts where it had started, unless ``load_state_dict`` was called.

    Args:
        data: the windows; or several sets of them by name, a mixture.
        batch_size: B, windows a batch and rank.
        shuffle: draw each epoch's order from (seed, epoch); otherwise windows come in their order.
        seed: any integer.
        drop_last: leave out a last step that is not full; otherwise it is shared out among the ranks, some of which may
            get one window less than others, or none.
        rank: which part of each step this process takes, from 0.
        world_size: how many processes there are.
        weights: the share of each source of a mixture, by name; equal shares where it is None. After n samples each
            source has given its share of them within one sample. An epoch of a mixture is as many samples as its
            sources have windows together; a source that ends begins its own next epoch, and none starts over with the
            mixture's.
        prefetch: blocks of batches to prepare ahead, in a thread; 0 prepares each when it is needed.
        device: where batches go ("cuda", …); to a GPU by way of pinned memory, without waiting for the copy.
        pin_memory: give batches in pinned memory, to be moved by the caller.
        progress: show a bar for each epoch, with tokens a second, where standard error is a terminal.

    With ``segments`` in the data, a batch is a dict (``WindowDataset``); with ``tail="keep"`` it is as long as the
    longest of its windows.

    Raises:
        ArgumentError: an argument that can't be used; sources that do not fit together.

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
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
        weights: Mapping[str, float] | None = None,
        prefetch: int = 0,
        device: str | torch.device | None = None,
        pin_memory: bool = False,
        progress: bool = False,
    ) -> None:
        self.data = data
        self.batch_size = positive("batch_size", batch_size)
        self.shuffle = bool(shuffle)
        self.seed = int(seed)
        self.drop_last = bool(drop_last)
        self.world_size = positive("world_size", world_size)
        if not 0 <= rank < world_size:
            raise ArgumentError("rank must be from 0 to world_size − 1", got=f"rank {rank} of {world_size}")
        self.rank = int(rank)
        self.prefetch = positive("prefetch", prefetch) if prefetch else 0
        self.device, self.pin_memory, self.progress = device, bool(pin_memory), bool(progress)
        sources = _sources(data)
        shares = exact_weights(list(sources), weights)
        self._tracks = [
            Track(name, windows, share, self.seed if self.shuffle else None)
            for (name, windows), share in zip(sources.items(), shares, strict=True)
        ]
        self._first = self._tracks[0].data  # every source has its context_length, tail and segments
        self._samples = sum(len(track.data) for track in self._tracks)  # an epoch's
        self._start = Place(0, 0, (0,) * len(self._tracks))  # where the next iteration starts
        self._block = self._start  # where the block that is being handed out starts
        self._cursor = 0  # samples of the epoch handed out
        if not len(self):
            warnings.warn(
                f"the loader gives no batch: {self._samples:,} windows are fewer than one step of "
                f"{self._step:,}, and drop_last=True leaves it out",
                stacklevel=2,
            )

    @property
    def epoch(self) -> int:
        """The epoch that is under way, from 0."""
        return self._block.epoch

    @property
    def _step(self) -> int:
        """Samples a step, of all ranks together."""
        return self.batch_size * self.world_size

    def __len__(self) -> int:
        """Batches a whole epoch."""
        whole, rest = divmod(self._samples, self._step)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        self._block, self._cursor = self._start, self._start.cursor
        batches = self._batches(self._start)
        return self._with_bar(batches) if self.progress else batches

    def _batches(self, place: Place) -> Iterator[Any]:
        schedule = self._schedule(place.draws)
        step = self._step
        for block, batches in _ahead(self._fetch, self._blocks(place, schedule), self.prefetch):
            self._block, cursor = block.place, block.place.cursor
            for done, batch in enumerate(batches, 1):
                self._cursor = cursor + done * step
                yield batch
        # A single source begins anew, whatever drop_last left out; those of a mixture go on where they are.
        draws = ((place.epoch + 1) * self._samples,) if len(self._tracks) == 1 else tuple(schedule.counts)
        self._start = self._block = Place(place.epoch + 1, 0, draws)
        self._cursor = 0

    def _blocks(self, place: Place, schedule: Schedule) -> Iterator[_Block]:
        """The rest of the epoch from ``place`` on, in blocks of whole steps; the short last step is one of its own.

        The order is computed for several blocks together: for one step at first, then for twice as many each time.
        """
        cursor, steps = place.cursor, 1
        block_rows = self.batch_size * max(1, BLOCK_TOKENS // (self.batch_size * self._first.context_length))
        while (left := self._samples - cursor) and (left >= self._step or not self.drop_last):
            steps = max(1, min(steps, left // self._step))
            samples = min(steps * self._step, left)
            ahead = plan(self._tracks, samples, self._places(samples), schedule)
            for row in range(0, max(1, len(ahead.windows)), block_rows):
                done = row * self.world_size
                rows = slice(row, row + block_rows)
                owners = None if ahead.owners is None else ahead.owners[rows]
                yield _Block(Place(place.epoch, cursor + done, ahead.draws(done)), ahead.windows[rows], owners)
            cursor += samples
            steps = min(2 * steps, max(1, ORDER_WINDOWS // self.batch_size))

    def _fetch(self, block: _Block) -> tuple[_Block, list[Any]]:
        """A block and its batches."""
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in self._gather(block.windows, block.owners).items()}
        lengths = None
        if self._first.tail == "keep":
            lengths = [longest(targets) for targets in torch.split(tensors["targets"], self.batch_size)]
        return block, self._split(self._moved(tensors), lengths)

    def _gather(self, windows: NDArray[np.int64], owners: NDArray[np.intp] | None) -> dict[str, NDArray[Any]]:
        """The given windows, each of its owner."""
        if owners is None:
            return self._first.gather(windows)
        arrays: dict[str, NDArray[Any]] = {}
        for i, track in enumerate(self._tracks):
            rows = np.flatnonzero(owners == i)
            for name, part in track.data.gather(windows[rows]).items():
                arrays.setdefault(name, np.empty((len(owners), part.shape[1]), part.dtype))[rows] = part
        return arrays

    def _places(self, samples: int) -> NDArray[np.int64]:
        """Which of the next ``samples`` samples are this rank's, in rising order."""
        steps, rest = divmod(samples, self._step)
        if rest:  # the short last step, in equal shares
            return np.arange(rest * self.rank // self.world_size, rest * (self.rank + 1) // self.world_size)
        starts = self._step * np.arange(steps) + self.batch_size * self.rank
        return (starts[:, None] + np.arange(self.batch_size)).reshape(-1)

    def _moved(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors in pinned memory or on the device, as wished."""
        import torch

        to_accelerator = self.device is not None and torch.device(self.device).type not in ("cpu", "meta")
        if self.pin_memory or to_accelerator:
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        if self.device is not None:
            tensors = {name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()}
        return tensors

    def _split(self, tensors: dict[str, torch.Tensor], lengths: list[int] | None) -> list[Any]:
        """Batches of a block's tensors; each cut to its length, where there are lengths."""
        windows = len(tensors["inputs"])
        shape = (1, windows) if windows < self.batch_size else (-1, self.batch_size)  # fewer in the short last step
        parts = zip(*(t.view(*shape, *t.shape[1:]).unbind() for t in tensors.values()), strict=True)
        if lengths is None and not self._first.segments:
            return list(parts)
        batches = [dict(zip(tensors, part, strict=True)) for part in parts]
        if lengths is not None:
            batches = [trimmed(batch, length) for batch, length in zip(batches, lengths, strict=True)]
        return batches if self._first.segments else [tuple(batch.values()) for batch in batches]

    def _with_bar(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, with a bar on standard error."""
        T = self._first.context_length
        with progress_bar(f"epoch {self.epoch}", self._samples * T, unit="tokens") as bar:
            shown = self._cursor
            bar.advance(shown * T)
            for batch in batches:
                yield batch
                if (self._cursor - shown) * T >= BLOCK_TOKENS:
                    bar.advance((self._cursor - shown) * T)
                    shown = self._cursor

    def account(self, *, decode: Callable[[Any], str] | None = None) -> EpochReport:
        """What an epoch trains on: the token account of each source, and the first and last batch as text.

        ``decode`` turns token ids, [T], into text; without it a store's own tokenizer does, and the ids of an array are
        shown as they are.
        """
        store = self._first.source
        if decode is None and store is not None:
            decode = store.tokenizer.decode
        left_out = self._samples % self._step if self.drop_last else 0
        return EpochReport(
            accounts={track.name: track.data.account() for track in self._tracks},
            batches=len(self),
            samples=self._samples - left_out,
            left_out=left_out,
            first=self._texts(0, decode),
            last=self._texts(len(self) - 1, decode) if len(self._tracks) == 1 else (),
        )

    def _texts(self, step: int, decode: Callable[[Any], str] | None) -> tuple[str, ...]:
        """The windows of this rank's batch of a step, as text; of a mixture, the step must be 0."""
        if not 0 <= step < len(self):
            return ()
        cursor = step * self._step
        if len(self._tracks) == 1:
            draws: tuple[int, ...] = (self._start.epoch * self._samples + cursor,)
        else:
            draws = self._start.draws
        samples = min(self._step, self._samples - cursor)
        ahead = plan(self._tracks, samples, self._places(samples), self._schedule(draws))
        arrays = self._gather(ahead.windows, ahead.owners)
        return texts(arrays["inputs"], arrays["targets"] != IGNORE, decode)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands: a few integers and fingerprints, ready for JSON or torch.save.

        Equal on every rank after equally many batches; prefetched batches do not count. For each source it tells its
        epoch and cursor, and what the mixture has drawn of it.
        """
        schedule = self._schedule(self._block.draws)
        cursor = min(self._cursor, self._samples)  # the last step may be short
        schedule.take(cursor - self._block.cursor)
        sources = {}
        for track, drawn in zip(self._tracks, schedule.counts, strict=True):
            its_epoch, its_cursor = divmod(track.before + drawn, len(track.data))
            sources[track.name] = {
                "fingerprint": track.data.fingerprint,
                "weight": str(track.weight),
                "drawn": drawn,
                "epoch": its_epoch,
                "cursor": its_cursor,
            }
        return {
            "version": STATE_VERSION,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "epoch": self._block.epoch,
            "cursor": cursor,
            "sources": sources,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken: the next iteration begins with the sample after the last handed out.

        batch_size, world_size, and the weights of a mixture may differ from then; a source that is new begins at 0.
        (With other weights or sources, the shares are exact from here on.)

        Raises:
            StoreError: the state belongs to other data, another order, or another version; says which.
        """
        ours = self.state_dict()
        for field in ("version", "seed", "shuffle"):
            if state.get(field) != ours[field]:
                raise StoreError(
                    f"the state does not fit this loader: its {field} differs",
                    got=state.get(field),
                    expected=ours[field],
                    fix="use the options with which the state was saved",
                )
        told = state.get("sources")
        if not isinstance(told, Mapping) or not all(isinstance(source, Mapping) for source in told.values()):
            raise StoreError("the state tells no sources", got=repr(told))
        for name, source in told.items():
            if name not in ours["sources"]:
                raise StoreError(
                    f"the state does not fit this loader: the source {name!r} was removed",
                    got=sorted(ours["sources"]),
                    expected=sorted(told),
                    fix="give every source that the state knows; new ones may be added",
                )
            if source.get("fingerprint") != ours["sources"][name]["fingerprint"]:
                raise StoreError(
                    f"the state does not fit this loader: the fingerprint of the source {name!r} differs",
                    got=source.get("fingerprint"),
                    expected=ours["sources"][name]["fingerprint"],
                    fix="use the data, context_length, stride and tail with which the state was saved",
                )
        self._start = self._block = self._place_of(told, state.get("epoch"), state.get("cursor"))
        self._cursor = self._start.cursor

    def _place_of(self, told: Mapping[str, Mapping[str, Any]], epoch: Any, cursor: Any) -> Place:
        """The place that a state tells; sets where each track's schedule begins.

        Raises:
            StoreError: there is no such place.
        """
        nowhere = StoreError("the state has no such place", got=f"epoch {epoch!r}, cursor {cursor!r}, {dict(told)}")
        numbers = [epoch, cursor, *(source.get(k) for source in told.values() for k in ("epoch", "cursor", "drawn"))]
        if not all(type(number) is int and number >= 0 for number in numbers) or cursor > self._samples:
            raise nowhere
        new = {"epoch": 0, "cursor": 0, "drawn": 0}
        sources = [told.get(track.name, new) for track in self._tracks]
        totals = [s["epoch"] * len(track.data) + s["cursor"] for s, track in zip(sources, self._tracks, strict=True)]
        if len(self._tracks) == 1:  # its draws are counted from epoch 0 on, and the epoch is the loader's
            if totals != [epoch * self._samples + cursor]:
                raise nowhere
            return Place(epoch, cursor, tuple(totals))
        same = all(s.get("weight") == str(track.weight) for s, track in zip(sources, self._tracks, strict=True))
        draws = tuple(source["drawn"] if same else 0 for source in sources)
        if not self._schedule(draws).fits() or any(drawn > total for drawn, total in zip(draws, totals, strict=True)):
            raise nowhere
        for track, drawn, total in zip(self._tracks, draws, totals, strict=True):
            track.before = total - drawn
        return Place(epoch, cursor, draws)

    def _schedule(self, draws: tuple[int, ...]) -> Schedule:
        return Schedule([track.weight for track in self._tracks], draws)

    def _repr_html_(self) -> str:
        return notebook_html("loader", self)

    def __repr__(self) -> str:
        return (
            f"WindowLoader({self.data!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, seed={self.seed}, "
            f"drop_last={self.drop_last}, rank={self.rank}, world_size={self.world_size})"
        )


def _sources(data: WindowDataset | Mapping[str, WindowDataset]) -> dict[str, WindowDataset]:
    """The sources by name, sorted, so that their order in the mapping does not matter.

    Raises:
        ArgumentError: there are none, or their batches would differ in shape, or their ids in meaning.
    """
    if isinstance(data, WindowDataset):
        return {"data": data}
    sources = {str(name): data[name] for name in sorted(data)}
    if not sources:
        raise ArgumentError("a mixture needs a source", fix="give WindowDatasets by name")
    shapes = {name: (d.context_length, d.tail == "keep", d.segments) for name, d in sources.items()}
    if len(set(shapes.values())) > 1:
        raise ArgumentError(
            "the sources of a mixture must agree on context_length, segments and the tail 'keep'",
            got="; ".join(f"{name}: {d.context_length}, {d.segments}, {d.tail!r}" for name, d in sources.items()),
        )
    stores = {name: d.source.manifest["tokenizer"] for name, d in sources.items() if d.source is not None}
    tokenizers = {name: told["fingerprint"] for name, told in stores.items() if told.get("fingerprint")}
    if len(set(tokenizers.values())) > 1:
        raise ArgumentError(
            "the stores of a mixture were made by different tokenizers: an id would mean different tokens",
            got="; ".join(f"{name}: {fingerprint}" for name, fingerprint in tokenizers.items()),
            fix="prepare them all with one tokenizer",
        )
    return sources


def _ahead(function: Callable[[T_], U_], items: Iterator[T_], depth: int) -> Iterator[U_]:
    """``map(function, items)``, computed ``depth`` items ahead by a thread; in this thread where depth is 0."""
    if not depth:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="foreword-prefetch") as thread:
        waiting = deque(thread.submit(function, item) for item in islice(items, depth))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(thread.submit(function, item) for item in islice(items, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()
