"""Windows as indexed examples: ``data[i]`` → (inputs, targets).

Not for: batches and epochs (``WindowLoader``, or torch's own DataLoader). Costs: a few hundred bytes at any number of
windows over a stream, eight bytes a document inside documents; the tokens stay where they are.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword._base.checks import integer
from foreword._base.notebook import notebook_html
from foreword._base.words import counted
from foreword.errors import ArgumentError, ArgumentTypeError, OutOfRangeError, TooShortError
from foreword.tokens.store.store import TokenStore
from foreword.windows.arithmetic import Cut, Layout, Pieces, Tail, TokenAccount
from foreword.windows.far_source import FarSource
from foreword.windows.ngrams import expectation, hash_of, ngram_rows
from foreword.windows.packing import Packing
from foreword.windows.segments import Segments, document_segments, with_padding
from foreword.windows.source import Source

if TYPE_CHECKING:
    import torch

__all__ = ["IGNORE", "WindowDataset", "shifted", "trimmed"]

IGNORE = -100  # the target at padding: what torch's cross_entropy leaves out

Arrays = dict[str, NDArray[Any]]


class WindowDataset:
    """Sliding windows over token ids, each with its targets shifted by one.

    Args:
        source: a ``TokenStore``, or token ids as a 1-D array of integers.
        context_length: T, the tokens of a window's inputs.
        stride: how far the next window starts from the last; T where it is None, so that none overlap.
        within: "stream", windows run on over the ends of documents; "document", each stays inside one.
        tail: what becomes of a rest that is no whole window, at the end of the stream or of each document: "drop";
            "pad", one window more, filled up with ``pad_id``, its targets with −100, which torch's cross_entropy
            leaves out; "keep", the same window, short: ``data[i]`` is as short as it is, a batch as long as the longest
            of its windows. None means "drop", or "pad" with packing.
        packing: "best-fit" puts whole documents side by side (``packing``); for ``within="document"`` only.
        segments: give also positions, document_ids and cu_seqlens (``segments``), as a dict.
        pad_id: the input id at padding.
        offsets: where each document starts in an array, and the end, [documents + 1]; a store has its own.
        loss: for an array, whether each token is trained on as a target: integers or bools [tokens], 0 where it is not.
            Its target is −100 then. A supervised store says it itself.
        mask_end_of_text: in windows that run on over the ends of documents, leave the target that follows an end of
            text out of the loss: the next document's first token, which nothing before it foretells. It is −100.
        end_of_text_id: the id that ends a text, for ``mask_end_of_text``; a store that ``prepare`` has ended its texts
            with knows it, else it has to be given.
        ngrams: an ``NgramTable``: give also the rows of the n-grams that end at each input (``ngram_rows``).

    ``len(data)`` is the number of windows; ``data[i]`` gives (inputs, targets), two int64 tensors [T]; with ``ngrams``,
    (inputs, targets, ngram_rows), the last int64 [T, R]; or, with ``segments``, a dict of ``inputs``, ``targets``,
    ``positions``, ``document_ids``, int64 [T], ``cu_seqlens``, int32 [T + 1], and ``ngram_rows``.
    It is a map-style dataset for torch's DataLoader, with ``__getitems__``.

    Raises:
        ArgumentError: an argument that can't be used; ids that are not 1-D integers.
        TooShortError: fewer tokens than one window needs, in the stream or in every document.

    >>> data = WindowDataset(np.arange(10), context_length=4, stride=2)
    >>> len(data)
    3
    >>> data[1]
    (tensor([2, 3, 4, 5]), tensor([3, 4, 5, 6]))
    >>> data = WindowDataset(np.arange(10), context_length=4, offsets=[0, 3, 10], within="document", tail="pad")
    >>> data[0]
    (tensor([0, 1, 0, 0]), tensor([   1,    2, -100, -100]))
    """

    def __init__(
        self,
        source: TokenStore | ArrayLike,
        *,
        context_length: int,
        stride: int | None = None,
        within: Literal["stream", "document"] = "stream",
        tail: Tail | None = None,
        packing: Literal["best-fit"] | None = None,
        segments: bool = False,
        pad_id: int = 0,
        offsets: ArrayLike | None = None,
        loss: ArrayLike | None = None,
        mask_end_of_text: bool = False,
        end_of_text_id: int | None = None,
        ngrams: Any = None,
    ) -> None:
        self.context_length = integer("context_length", context_length, at_least=1)
        self.stride = integer("stride", context_length if stride is None else stride, at_least=1)
        self.within = _one_of("within", within, "stream", "document")
        self.packing = _one_of("packing", packing, None, "best-fit")
        self.tail: Tail = _one_of("tail", tail or ("pad" if packing else "drop"), "drop", "pad", "keep")
        self.segments = bool(segments)
        self.pad_id = integer("pad_id", pad_id, at_least=0)
        if packing and (within != "document" or tail == "drop" or stride not in (None, context_length)):
            raise ArgumentError(
                "packing puts whole documents side by side",
                got=f"within={within!r}, tail={tail!r}, stride={stride}",
                expected="within='document', tail='pad' or 'keep', and no stride",
            )
        far = isinstance(source, TokenStore) and source.far is not None
        self._source: Source | FarSource = FarSource(source) if far else Source(source)  # type: ignore[arg-type]
        self._given_offsets = offsets
        self._loss = self._losses(loss)
        self.mask_end_of_text = bool(mask_end_of_text)
        self.end_of_text_id = self._end_of_text(end_of_text_id)
        self.ngrams = None if ngrams is None else hash_of(ngrams, self._source.store)
        self._expect = expectation(ngrams)
        known = self.ngrams is not None and (self._source.store is not None or offsets is not None)
        self._documents = self._offsets(offsets) if segments or within == "document" or known else None
        if offsets is not None and self._documents is None:
            self._offsets(offsets)  # for skip, trace and when, later
        if packing:
            assert self._documents is not None
            self._layout: Layout = Packing(self._documents, self.context_length)
        else:
            stretches = self._documents if within == "document" else None
            if stretches is None:
                stretches = np.array([0, len(self._source)])
            self._layout = Cut(stretches, self.context_length, self.stride, self.tail)
        self._length = len(self._layout)
        if not self._length:
            raise self._too_short()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_expect": None}  # the table stays where it is

    def __len__(self) -> int:
        return self._length

    @property
    def source(self) -> TokenStore | None:
        """The store that the tokens come from; None where they are an array."""
        return self._source.store

    @property
    def supervised(self) -> bool:
        """Whether some tokens are not trained on, so that their targets are −100."""
        return self._loss is not None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the ids are stored in, in this machine's byte order."""
        return self._source.dtype

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...] | dict[str, torch.Tensor]:
        sample: tuple[torch.Tensor, ...] | dict[str, torch.Tensor]
        (sample,) = self.__getitems__([index])
        return sample

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The windows ``indices``, fetched at once; torch's DataLoader calls this for a batch.

        With the tail "keep" all are as long as the longest of them, so that they can be stacked.
        """
        windows = in_range(indices, self._length)
        length = longest(self.lengths(windows)) if self.tail == "keep" else None
        return samples_of(self.gather(windows), length, segments=self.segments)

    def tensors(self, windows: NDArray[Any]) -> dict[str, torch.Tensor]:
        """``gather`` as torch tensors that share its memory."""
        import torch

        return {name: torch.from_numpy(array) for name, array in self.gather(windows).items()}

    def gather(self, windows: NDArray[Any]) -> Arrays:
        """The given windows as new arrays: ``inputs``, ``targets``, int64 [n, T], and segments and n-grams, if wanted.

        With the tail "keep" too, short ones are filled up. ``windows`` are indices from 0 to len(data) − 1, [n]; they
        are not checked.

        Raises:
            StoreError: a file of the source has changed or shrunk.
        """
        (inputs, targets), segments = self._gathered(windows, segments=self.segments)
        arrays = {"inputs": inputs, "targets": targets}
        if segments:
            arrays |= {
                "positions": segments.positions,
                "document_ids": segments.document_ids,
                "cu_seqlens": segments.cu_seqlens,
            }
        if self.ngrams is not None:
            pieces = self._layout.pieces(windows.astype(np.int64, copy=False))
            arrays["ngram_rows"] = ngram_rows(self.ngrams, self._source, self._documents, inputs, pieces)
            if self._expect is not None:
                self._expect(arrays["ngram_rows"])
        return arrays

    def pairs(self, windows: NDArray[Any]) -> NDArray[np.int64]:
        """The inputs and the targets of ``gather``, in one new array, int64 [2, n, T]."""
        return self._gathered(windows, segments=False)[0]

    def ids(self, windows: NDArray[Any]) -> NDArray[Any]:
        """The ids of whole windows, their inputs and one target more, in ``dtype``: a new array [n, T + 1].

        For a dataset without padding alone.

        Raises:
            StoreError: a file of the source has changed or shrunk.
        """
        starts = self._layout.pieces(windows.astype(np.int64, copy=False)).starts
        return self._source.runs(starts, self.context_length + 1, whole=True).astype(self.dtype, copy=False)

    def mask(self, pairs: NDArray[np.int64]) -> None:
        """Leave out of ``pairs``, int64 [2, n, T], the targets that follow an end of text, where that is wanted."""
        if self.end_of_text_id is not None:
            pairs[1][pairs[0] == self.end_of_text_id] = IGNORE

    def _gathered(self, windows: NDArray[Any], *, segments: bool) -> tuple[NDArray[np.int64], Segments | None]:
        pieces = self._layout.pieces(windows.astype(np.int64, copy=False))
        if pieces.rows is None:
            return self._gather_runs(pieces.starts, pieces.lengths, segments=segments)
        pairs, found = self._gather_pieces(len(windows), pieces)
        return pairs, found if segments else None

    def _gather_runs(
        self, starts: NDArray[np.int64], lengths: NDArray[np.int64] | None, *, segments: bool
    ) -> tuple[NDArray[np.int64], Segments | None]:
        """Windows that are one piece each."""
        T = self.context_length
        pairs = shifted(self._source.runs(starts, T + 1, whole=lengths is None)).astype(np.int64, "C")
        self.mask(pairs)
        if self._loss is not None:
            pairs[1][self._loss.runs(starts, T + 1, whole=lengths is None)[:, 1:] == 0] = IGNORE
        if lengths is not None and int(lengths.min(initial=T)) < T:
            beyond = np.arange(T) >= lengths[:, None]
            pairs[0][beyond], pairs[1][beyond] = self.pad_id, IGNORE
        if not segments:
            return pairs, None
        assert self._documents is not None
        return pairs, document_segments(self._documents, starts, lengths, T)

    def _gather_pieces(self, windows: int, pieces: Pieces) -> tuple[NDArray[np.int64], Segments]:
        """``windows`` windows of several pieces, a document each."""
        rows, places, starts, lengths, documents = pieces
        assert rows is not None
        assert places is not None
        assert lengths is not None
        assert documents is not None
        held = np.bincount(rows, lengths, windows).astype(np.int64)
        segments = with_padding(windows, self.context_length, rows, places, documents, held)
        # In the stream, a segment starts where its piece does; padding reads from 0 on and is overwritten.
        begin = np.zeros(len(segments.rows), np.int64)
        begin[segments.documents >= 0] = starts
        where = segments.spread(begin) + segments.positions
        padding = segments.document_ids < 0
        where[padding] = 0
        pairs = np.empty((2, windows, self.context_length), np.int64)
        pairs[0], pairs[1] = self._source.at(where), self._source.at(where + 1)
        if self._loss is not None:
            pairs[1][self._loss.at(where + 1) == 0] = IGNORE
        pairs[0][padding], pairs[1][padding] = self.pad_id, IGNORE
        return pairs, segments

    def lengths(self, windows: NDArray[Any]) -> NDArray[np.int64]:
        """How many inputs each of the windows holds, [n]; T of all but short ones."""
        rows, _, _, lengths, _ = self._layout.pieces(windows.astype(np.int64, copy=False))
        if lengths is None:
            return np.full(len(windows), self.context_length)
        return lengths if rows is None else np.bincount(rows, lengths, len(windows)).astype(np.int64)

    def spans(self, windows: NDArray[Any]) -> tuple[NDArray[np.int64], ...]:
        """Where the inputs of windows come from, four arrays [pieces]: row, place in it, start in the stream, length.

        ``row`` says which of ``windows`` holds the piece; a window has one, or one for each document packed into it.
        """
        rows, places, starts, lengths, _ = self._layout.pieces(windows.astype(np.int64, copy=False))
        if rows is None or places is None:
            rows, places = np.arange(len(windows)), np.zeros(len(windows), np.int64)
        return rows, places, starts, np.full_like(rows, self.context_length) if lengths is None else lengths

    def runs_of_blocks(self, blocks: int) -> NDArray[np.int64] | None:
        """The first window of each run of so many blocks of 1 MiB of the source, and the number of windows.

        None where windows do not come in the order of the stream: they are packed.
        """
        if not isinstance(self._layout, Cut):
            return None
        runs = self._layout.first_from(self._source.run_starts(blocks))
        runs[-1] = self._length
        return runs

    @property
    def far(self) -> FarSource | None:
        """Where the tokens of a store far away are read; None where they are on this machine."""
        return self._source if isinstance(self._source, FarSource) else None

    def blocks_of(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The blocks of a store far away that the windows need, by number."""
        assert isinstance(self._source, FarSource)
        pieces = self._layout.pieces(windows.astype(np.int64, copy=False))
        lengths = self.context_length if pieces.lengths is None else pieces.lengths
        left = np.minimum(pieces.starts, 0 if self.ngrams is None else self.ngrams.context)
        return self._source.blocks(pieces.starts - left, lengths + left + 1)

    @functools.cached_property
    def document_offsets(self) -> NDArray[np.int64] | None:
        """Where each document starts in the stream, and the end, [documents + 1]; None for an array without them."""
        if self._documents is not None:
            return self._documents
        if self._source.store is None and self._given_offsets is None:
            return None
        return self._offsets(self._given_offsets)

    def holding(self, documents: NDArray[Any]) -> NDArray[np.int64]:
        """The windows whose inputs hold tokens of some of the documents, given by index: rising, each once."""
        offsets = self.document_offsets
        assert offsets is not None, "an array without documents"
        return self._layout.holding(documents.astype(np.int64, copy=False), offsets)

    def account(self) -> TokenAccount:
        """What becomes of every token of the source in one epoch, over inputs."""
        return self._layout.account()

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what decides the windows: the tokens, the documents and the loss where they matter, and the cut."""
        documents = b""
        if self._documents is not None and self._source.store is None:
            documents = np.ascontiguousarray(self._documents, "<i8").tobytes()
        cut = (self.context_length, self.stride, self.within, self.tail, self.packing)
        tokens_and_cut = f"{self._source.fingerprint} {len(self._source)} {cut}".encode()
        loss = self._loss.fingerprint.encode() if self._loss is not None and self._source.store is None else b""
        return hashlib.blake2b(tokens_and_cut + documents + loss, digest_size=8).hexdigest()

    def _offsets(self, given: ArrayLike | None) -> NDArray[np.int64]:
        """Where each document starts, and the end, [documents + 1]: the store's, or those given for an array."""
        store = self._source.store
        if store is not None and given is None:
            return np.asarray(store.offsets).astype(np.int64, copy=False)
        if store is not None or given is None:
            raise ArgumentError(
                "a store has document offsets of its own" if store is not None else "an array has no documents",
                fix="leave offsets out" if store is not None else "give offsets=, where each starts, and the end",
            )
        offsets = np.asarray(given)
        fits = offsets.ndim == 1 and offsets.dtype.kind in "ui" and len(offsets) > 1
        if not fits or offsets[0] != 0 or offsets[-1] != len(self._source) or (offsets[1:] < offsets[:-1]).any():
            raise ArgumentError(
                "offsets must be rising integers from 0 to the number of tokens",
                got=np.array2string(offsets, threshold=8),
                expected=f"[0, …, {len(self._source)}]",
            )
        return offsets.astype(np.int64)

    def _losses(self, given: ArrayLike | None) -> Source | FarSource | None:
        """Where it is read which tokens are trained on: the store's, or what is given for an array; None for all."""
        store = self._source.store
        if store is not None and given is None:
            if not store.supervised:
                return None
            return Source(store, loss=True) if store.far is None else FarSource(store, loss=True)
        if given is None:
            return None
        if store is not None:
            raise ArgumentError(
                "a store says itself which tokens are trained on",
                fix='prepare it with records="messages", or give its ids as an array: store[:]',
            )
        array = np.asarray(given)
        loss = Source(array.view(np.uint8) if array.dtype == bool else array)
        if len(loss) != len(self._source):
            raise ArgumentError(
                "loss says it of each token", got=counted(len(loss), "value"), expected=f"{len(self._source):,}"
            )
        return loss

    def _end_of_text(self, given: int | None) -> int | None:
        """The id after which targets are left out; None where none is."""
        if not self.mask_end_of_text:
            if given is not None:
                raise ArgumentError("end_of_text_id has a use with mask_end_of_text=True alone", got=given)
            return None
        if self.within == "document":
            raise ArgumentError(
                "windows that stay inside documents have no target in the next one to leave out",
                got="mask_end_of_text=True, within='document'",
                fix="leave out mask_end_of_text, or within",
            )
        store = self._source.store
        known = None if store is None else store.end_of_text_id
        if known is None and given is None:
            raise ArgumentError(
                "which id ends a text is not known",
                got="an array" if store is None else "a store whose texts were not ended by a token",
                fix="give end_of_text_id=, as in tokenizer.end_of_text_id",
            )
        if given is None:
            return known
        id_ = integer("end_of_text_id", given, at_least=0, at_most=None if store is None else store.vocab_size - 1)
        if known not in (None, id_):
            raise ArgumentError(
                "the texts of the store are ended by another token", got=id_, expected=known, fix="leave it out"
            )
        return id_

    def _too_short(self) -> TooShortError:
        needed = self.context_length + 1 if self.tail == "drop" else 2
        why = "context_length + 1, for the shifted targets" if self.tail == "drop" else "an input and its target"
        tokens = len(self._source)
        got = counted(tokens, "token")
        if self.within == "document" and self._documents is not None:
            tokens = int(np.diff(self._documents).max(initial=0))
            got = f"{counted(len(self._documents) - 1, 'document')}, the longest of {counted(tokens, 'token')}"
        fix = f"give more text, or a context_length of at most {tokens - 1:,}" if tokens > 1 else "give more text"
        return TooShortError("too few tokens for one window", got=got, expected=f"at least {needed:,} ({why})", fix=fix)

    def _repr_html_(self) -> str:
        return notebook_html("windows", self)

    def __repr__(self) -> str:
        cut = f"context_length={self.context_length}, stride={self.stride}"
        if self.within == "document":
            cut += ", within='document'" + (f", packing={self.packing!r}" if self.packing else "")
        if self.tail != "drop":
            cut += f", tail={self.tail!r}"
        if self.mask_end_of_text:
            cut += f", mask_end_of_text=True, end_of_text_id={self.end_of_text_id}"
        if self.ngrams is not None:
            cut += f", ngrams={self.ngrams.orders}"
        return f"WindowDataset(windows={len(self):,}, {cut}, tokens={len(self._source):,})"


def shifted(ids: NDArray[Any]) -> NDArray[Any]:
    """Contiguous ids [n, T + 1] as inputs and targets, a view [2, n, T] of them."""
    n, length, size = *ids.shape, ids.itemsize
    return np.ndarray((2, n, length - 1), ids.dtype, ids, strides=(size, length * size, size))


def in_range(indices: Sequence[int], windows: int) -> NDArray[np.int64]:
    """The indices of some of so many windows, from 0; those below 0 count from the end.

    Raises:
        ArgumentTypeError: they are no integers.
        OutOfRangeError: there is no such window.
    """
    wanted = np.asarray(indices)
    if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "ui"):
        raise ArgumentTypeError("the index of a window must be an integer", got=repr(indices))
    wanted = wanted.astype(np.int64)
    outside = (wanted < -windows) | (wanted >= windows)
    if outside.any():
        raise OutOfRangeError(
            f"there is no window {int(wanted[outside][0]):,} of {windows:,}",
            expected=f"−{windows:,} to {windows - 1:,}",
        )
    return np.where(wanted < 0, wanted + windows, wanted)


def samples_of(arrays: Arrays, length: int | None, *, segments: bool) -> list[Any]:
    """Gathered windows one by one, as tensors of ``length`` places (None: all): tuples, or dicts with ``segments``."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if length is not None:
        tensors = trimmed(tensors, length)
    samples = zip(*tensors.values(), strict=True)
    return [dict(zip(tensors, sample, strict=True)) for sample in samples] if segments else list(samples)


def longest(lengths: NDArray[np.int64]) -> int:
    """How many places the longest of the windows takes, from their lengths [n]."""
    return int(lengths.max(initial=0))


def trimmed(tensors: dict[str, torch.Tensor], length: int) -> dict[str, torch.Tensor]:
    """The windows without what lies beyond ``length`` places."""
    return {
        name: tensor.clamp(max=length) if name == "cu_seqlens" else tensor[:, :length].contiguous()
        for name, tensor in tensors.items()
    }


def _one_of(name: str, value: Any, *admitted: Any) -> Any:
    """``value`` if it is admitted.

    Raises:
        ArgumentError: it is not.
    """
    if value not in admitted:
        raise ArgumentError(f"{name} is not known", got=repr(value), expected=" or ".join(map(repr, admitted)))
    return value
