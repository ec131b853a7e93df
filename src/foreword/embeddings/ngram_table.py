"""NgramTable: a large table of rows for n-grams of token ids, added to the input embeddings.

    ids ── hash of the last n ids, by order and head ──▶ rows [B, T, R] ── table ──▶ sum over R ──▶ [B, T, dim]

The last two and three ids up to a position, hashed by several heads, each name a row of the table; the sum of these
rows is what the model is told of the text just before, without attention (Engram: Cheng et al., "Conditional Memory via
Scalable Lookup", 2026; the speed runs of modded-nanogpt and nanochat add such rows, too). Engram joins the rows of its
heads, and weights them by a gate inside the network; here they are summed, as in hash embeddings (Svenstrup et al.,
2017), and added before the first block. Rows begin at zero, so training starts as it would without the table.

Not for: which rows (``_base.ngram_hash``, which windows use, too). Costs: rows · dim weights, and twice that for Adam;
a step costs what its distinct rows cost.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.compiler import is_compiling
from torch.nn import functional

from foreword._base.checks import integer
from foreword._base.ngram_hash import MIXER, NgramHash
from foreword.embeddings import _by_row
from foreword.embeddings._checks import INTEGERS, bad_ids, positive
from foreword.embeddings.mapped_table import MappedTable, Rows
from foreword.embeddings.ngram_report import NgramReport, report
from foreword.embeddings.ngram_rows import MappedRows
from foreword.errors import ArgumentError

__all__ = ["NgramTable"]

_IDENTITY = "identity"


class NgramTable(nn.Module):
    """A table whose rows belong to n-grams: row ids [B, T, R] to vectors [B, T, dim].

    Args:
        orders: the n of the n-grams.
        rows: of the table; each order and head has an equal range of them.
        dim: elements of a row.
        heads: independent hashes for each order; where two n-grams share a row in one head, they hardly do in another.
        seed: of the hashes.
        end_of_text_id: the token id that ends a document, as in ``tokenizer.end_of_text_id``: no n-gram crosses it.
        path: a folder that holds the rows and their moments, for a table larger than memory; it is made if it is not
            there. None keeps them in memory.
        vocabulary: what the token ids are of, as in ``tokenizer.fingerprint``: a folder of another vocabulary is
            refused.
        writable: whether the rows in a folder are to be learned. One process can, or any number can read them.
        device: as in torch; of a table in memory.
        dtype: as in torch; of a table in memory.

    Attributes:
        hash: which rows an n-gram has.
        table: an ``nn.Embedding`` [rows, dim] with row-sparse gradients.

    Raises:
        ArgumentError: options that can't be used.

    >>> ngrams = NgramTable(orders=(2, 3), rows=1000, dim=8, heads=1, end_of_text_id=0)
    >>> rows = ngrams.row_ids(torch.tensor([[5, 6, 7, 0, 5]]))
    >>> rows.shape, rows[0, 0]  # the first token has none before it
    (torch.Size([1, 5, 2]), tensor([-1, -1]))
    >>> ngrams(rows).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        *,
        orders: tuple[int, ...] = (2, 3),
        rows: int,
        dim: int,
        heads: int = 2,
        seed: int = 0,
        end_of_text_id: int | None = None,
        path: str | os.PathLike[str] | None = None,
        vocabulary: str | None = None,
        writable: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hash, self.path = NgramHash(orders, rows, heads, seed, end_of_text_id), path
        self.table: nn.Embedding | MappedTable
        # A buffer, so that who reads a state_dict key by key finds it; what it holds is never asked for.
        self.register_buffer(_IDENTITY, torch.tensor(self._identity(), device=device))
        if path is not None:
            self.table = _in_folder(path, self.hash, vocabulary, positive("dim", dim), writable, device, dtype)
            return
        weight = torch.zeros(self.hash.rows, positive("dim", dim), device=device, dtype=dtype)
        self.table = nn.Embedding(weight.shape[0], weight.shape[1], sparse=True, _weight=weight)

    @property
    def dim(self) -> int:
        """Elements of a row."""
        return self.table.embedding_dim

    def projection(self, embedding_dim: int, factory: dict[str, Any]) -> nn.Linear | None:
        """A matrix that brings rows to D dimensions; None where they have as many."""
        return None if self.dim == embedding_dim else nn.Linear(self.dim, embedding_dim, bias=False, **factory)

    def reset_parameters(self) -> None:
        """Set all rows to zero, as they begin.

        Raises:
            ArgumentError: they are in a folder.
        """
        if isinstance(self.table, MappedTable):
            raise ArgumentError("the rows are in a folder", got=f"path={self.path}", fix="begin with another folder")
        nn.init.zeros_(self.table.weight)

    def row_ids(self, ids: Tensor, *, left: int = 0, positions: Tensor | None = None) -> Tensor:
        """The rows of the n-grams that end at each place, int64 [..., T, R]; −1 where there is none.

        There is none of order n where fewer than n − 1 tokens of the document stand before a place: at its beginning,
        or because ``ids`` begin later than it. R counts orders × heads, the heads of an order together.

        Args:
            ids: int64 or int32, [..., left + T].
            left: how many of them stand there as context only.
            positions: integers [..., T] or [T]: the place of each token in its document, where the documents in a row
                are not told apart by ``end_of_text_id``.

        Raises:
            ArgumentError: no ids, fewer than ``left``, or positions of another shape.
        """
        if not is_compiling():
            _check_ids(ids, left, positions)
        return _row_ids(self.hash, ids.long(), left, positions)

    def report(self, source: Any, *, tokenizer: Any = None, tokens: int = 1 << 22, top: int = 8) -> NgramReport:
        """What the rows are used for in a text: which share of them, how many n-grams share one, which come most often.

        Args:
            source: a ``TokenStore``, or token ids as a 1-D array of integers.
            tokenizer: turns ids into text; by default the store's own, and for an array none, which shows ids.
            tokens: how many to look at, from the beginning.
            top: how many n-grams of each order to name.

        Raises:
            ArgumentTypeError: no token ids.

        >>> ngrams = NgramTable(orders=(2,), rows=10, dim=8, heads=1)
        >>> print(ngrams.report(np.array([1, 2, 1, 2, 3, 4]), top=1))
        6 tokens
        order  head           rows     used        n-grams  share a row   most
            2     0             10    40.0%              4         0.0%      1
        order 2, most often: '1 2' 2
        """
        return report(self.hash, source, tokenizer=tokenizer, tokens=tokens, top=top)

    def checkpoint(self) -> None:
        """Make durable what the rows in a folder have learned; nothing where they are in memory.

        Call it just before the model's state_dict is saved, which holds the number of this checkpoint; without it,
        ``state_dict`` raises. See ``docs/how-to/ngram-tables.md``.

        Raises:
            StoreError: the folder is open to be read only, or a step failed in the midst.
            FileError: the folder can't be written; its last checkpoint is whole.
        """
        if isinstance(self.table, MappedTable):
            self.table.weight.mapped.checkpoint()

    def expect(self, rows: Tensor | NDArray[np.int64]) -> None:
        """Have a thread fetch rows that will soon be looked up in a folder; nothing where they are in memory.

        A ``WindowDataset`` with ``ngrams`` calls it for the windows that are made into batches; ``prefetch`` of the
        loader says how far ahead.

        Args:
            rows: integers of any shape; −1 is none.
        """
        if isinstance(self.table, MappedTable):
            self.table.weight.mapped.expect(np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows, np.int64))

    def close(self) -> None:
        """Let go of the folder; what was learned since the last checkpoint is given up."""
        if isinstance(self.table, MappedTable):
            self.table.weight.mapped.close()

    def forward(self, rows: Tensor) -> Tensor:
        """The sum of the rows of each place, [..., dim].

        Args:
            rows: int64 [..., R], as ``row_ids`` or a ``WindowDataset`` with ``ngrams`` gives them.

        Raises:
            ArgumentError: not so many to a place, or outside the table.
        """
        weight, drawn = self.table.weight, _by_row.drawn()
        if drawn and self.path is not None:
            raise ArgumentError("a table in a folder can't be exported", got=f"path={self.path}", fix="export the rest")
        if not is_compiling():
            self._check(rows)
        if isinstance(weight, Rows) and rows.device.type == "meta":
            return rows.new_empty((*rows.shape[:-1], self.dim), dtype=weight.dtype)
        learns = torch.is_grad_enabled() and weight.requires_grad and isinstance(weight, nn.Parameter)
        apart = (learns and not drawn) or isinstance(weight, Rows)
        summed: Tensor = _learned(weight, rows) if apart else _by_row.sums(weight, rows)
        return summed

    def _check(self, rows: Tensor) -> None:
        if rows.dtype not in INTEGERS or rows.shape[-1:] != (self.hash.width,):
            raise ArgumentError(
                "these are not rows of n-grams",
                got=f"{rows.dtype}, shape {list(rows.shape)}",
                expected=f"torch.int64, shape [B, T, {self.hash.width}] (orders × heads)",
                fix="take them from ngrams.row_ids(ids), or a WindowDataset(…, ngrams=ngrams)",
            )
        if rows.device.type == "cpu" and rows.numel():
            low, high = torch.aminmax(rows)
            if low < -1 or high >= self.hash.rows:
                raise ArgumentError(
                    "a row of n-grams is outside the table",
                    got=f"rows {int(low):,} … {int(high):,}",
                    expected=f"−1 … {self.hash.rows - 1:,}",
                    fix="make the windows with ngrams= this table",
                )

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with, ready for JSON."""
        hash_ = self.hash
        return {
            "orders": list(hash_.orders),
            "rows": hash_.rows,
            "dim": self.dim,
            "heads": hash_.heads,
            "seed": hash_.seed,
            "end_of_text_id": hash_.end_of_text_id,
        }

    def _identity(self) -> int:
        """The hashes as one number of 64 bits: rows learned under other hashes are noise here."""
        digest = hashlib.blake2b(self.hash.identity.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little", signed=True)

    def _check_identity(self, found: int, where: str) -> None:
        if found != self._identity():
            raise ArgumentError(
                "the rows in the state_dict belong to other n-grams",
                got=f"{where}{_IDENTITY} = {found}",
                expected=f"{self._identity()}, of {self.hash.identity}",
                fix="make the NgramTable with the orders, rows, heads, seed and end_of_text_id that it was saved with",
            )

    def __setattr__(self, name: str, value: Any) -> None:
        # transformers sets what it has read tensor by tensor, and marks it; what it has not is empty memory.
        if name == _IDENTITY and getattr(value, "_is_hf_initialized", False):
            self._check_identity(int(value), "")
        super().__setattr__(name, value)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + _IDENTITY] = torch.tensor(self._identity())

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        found = state_dict.get(prefix + _IDENTITY)
        if found is not None:
            self._check_identity(int(found), prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:  # noqa: D102
        return ", ".join(f"{name}={value}" for name, value in self.options.items())


def _in_folder(
    path: str | os.PathLike[str],
    hash_: NgramHash,
    vocabulary: str | None,
    dim: int,
    writable: bool,
    device: object,
    dtype: torch.dtype | None,
) -> MappedTable:
    if device is not None or dtype not in (None, torch.float32):
        raise ArgumentError(
            "a table in a folder is of float32, and its rows go where they are looked up from",
            got=f"device={device}, dtype={dtype}",
            fix="leave them out",
        )
    identity = hash_.identity if vocabulary is None else f"{hash_.identity} vocabulary={vocabulary}"
    return MappedTable(MappedRows.open(path, identity=identity, rows=hash_.rows, dim=dim, writable=bool(writable)))


def _check_ids(ids: Any, left: Any, positions: Tensor | None) -> None:
    if not isinstance(ids, Tensor) or ids.dtype not in INTEGERS or not ids.dim():
        bad_ids(ids)
    left = integer("left", left, at_least=0, at_most=ids.shape[-1])
    expected = (*ids.shape[:-1], ids.shape[-1] - left)
    if positions is not None and positions.shape not in (expected, expected[-1:]):
        raise ArgumentError(
            "positions don't fit the ids",
            got=f"positions {list(positions.shape)}, ids {list(ids.shape)}, left={left}",
            expected=f"{list(expected)} or {list(expected[-1:])}",
        )


def _row_ids(hash_: NgramHash, ids: Tensor, left: int, positions: Tensor | None) -> Tensor:
    """``NgramHash.row_ids`` in torch, whose int64 wraps around as uint64 does."""
    length = ids.shape[-1]
    T = length - left
    ids = functional.pad(ids, (max(0, hash_.context - left), 0))
    before = max(hash_.context, left)

    def earlier(k: int) -> Tensor:
        return ids[..., before - k : before - k + T]

    places = torch.arange(T, device=ids.device) + left
    inside = torch.ones_like(earlier(0), dtype=torch.bool)
    known = [inside]
    for k in range(1, hash_.context + 1):
        inside = inside & (places >= k)
        if hash_.end_of_text_id is not None:
            inside = inside & (earlier(k) != hash_.end_of_text_id)
        if positions is not None:
            inside = inside & (positions >= k)
        known.append(inside)
    found = []
    for head in hash_.hashes:
        mixed = torch.full_like(earlier(0), _signed(head.constant))
        for k, multiplier in enumerate(head.multipliers):
            mixed = mixed + earlier(k) * _signed(multiplier)
        mixed = (mixed ^ _high(mixed)) * _signed(MIXER)
        row = (_high(mixed) * head.size >> 32) + head.first
        found.append(torch.where(known[head.order - 1], row, -1))
    return torch.stack(found, -1)


def _signed(bits: int) -> int:
    return bits - (bits >> 63 << 64)


def _high(words: Tensor) -> Tensor:
    """The upper 32 bits."""
    return words >> 32 & 0xFFFFFFFF


class _Sum(torch.autograd.Function):
    """Sums of rows, with a row-sparse gradient that is coalesced."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape, ctx.device = weight.shape, weight.device
        if isinstance(weight, Rows):
            weight, rows = weight.looked_up(rows)
        return _by_row.sums(weight, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        ids, values = (part.to(ctx.device) for part in _by_row.gradients(rows, grad))
        return torch.sparse_coo_tensor(ids[None], values, ctx.shape, is_coalesced=True, check_invariants=False), None


@torch.compiler.disable  # type: ignore[untyped-decorator]  # no graph holds a sparse gradient
def _learned(weight: Tensor, rows: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(weight, rows)  # type: ignore[no-untyped-call]
    return summed
