"""Tables of positions that are computed, not learned; and looking rows up in a table by position.

Not for: the schemes themselves (``positions``, ``rotary``). Costs: a table's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.compiler import is_compiling, is_exporting
from torch.nn import functional

from foreword.embeddings._checks import INTEGERS, positive, whole, within
from foreword.embeddings._tables import is_bare
from foreword.errors import ArgumentError

__all__ = ["Computed", "angles", "outside", "rows", "traced", "usable"]


class Computed(nn.Module):
    """A module whose buffers are computed from its options, never stored; computed anew where a move spoilt them."""

    context_length: int

    def _compute(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        raise NotImplementedError

    def _refresh(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        where = torch.empty(0, device=device).device
        for name, table in self._compute(where, dtype or torch.get_default_dtype()).items():
            self.register_buffer(name, table, persistent=False)

    def reset_parameters(self) -> None:
        """Compute the tables anew, on the device they are on; torch's tools call it after ``to_empty``."""
        table = next(self.buffers())
        self._refresh(table.device, table.dtype)

    def extend(self, context_length: int) -> None:
        """Compute the tables for ``context_length`` positions, in place."""
        self.context_length = positive("context_length", context_length)
        self.reset_parameters()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Computed:
        before = next(self.buffers())
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        after = next(self.buffers())
        # .half() would round what was rounded; to_empty() leaves noise where the meta device held nothing.
        if before.dtype != after.dtype or before.is_meta:
            self._refresh(after.device, after.dtype)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        # transformers makes models on the meta device, and sets what no file holds to empty memory, one after another.
        held = self.__dict__.get("_buffers", {}).get(name)
        super().__setattr__(name, value)
        empty = held is not None and held.is_meta and isinstance(value, Tensor)
        if empty and not any(buffer.is_meta for buffer in self.buffers()):
            self._refresh(value.device, value.dtype)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
        self.materialise(state_dict, local_metadata)

    def materialise(self, state_dict: Mapping[str, Any], local_metadata: Mapping[str, Any]) -> None:
        """Compute the tables if they are on the meta device and weights are put in place of others that are.

        No file holds what is computed: ``load_state_dict(…, assign=True)`` would leave the tables empty.
        """
        table = next(self.buffers())
        if table.is_meta and local_metadata.get("assign_to_params_buffers"):
            weights = (value for value in state_dict.values() if isinstance(value, Tensor))
            weight = next((weight for weight in weights if weight.is_floating_point()), torch.empty(0))
            self._refresh(weight.device, weight.dtype)


def angles(positions: int | Tensor, frequencies: Tensor) -> Tensor:
    """Position times frequency, float64 [..., F]; of the positions 0 … n − 1 where ``positions`` is a number."""
    if isinstance(positions, int):
        positions = torch.arange(positions)
    return positions.double().unsqueeze(-1) * frequencies.to(positions.device)


def traced(value: object) -> bool:
    """Whether ``value`` stands for another in a graph that fx is drawing: it can't be compared."""
    return isinstance(value, fx.Proxy)


def rows(
    table: Tensor,
    positions: Tensor | None,
    offset: int,
    length: int | None,
    *,
    start: int = 0,
    least: int = 0,
    copy: bool = False,
) -> Tensor:
    """Rows of a table of positions, whose row ``start`` is position 0; those of a range may be a view without ``copy``.

    Positions in a tensor may be ``least``, 0 or −1, and up.
    """
    size = table.shape[0] - start
    if positions is None:
        if type(offset) is not int:
            whole(offset)
        length = size - offset if length is None else length
        first = start + offset
        # a slice would tie a graph to lengths within the table; what is quantized can't be cut
        if is_compiling() or not is_bare(table):
            if not is_exporting():
                within(size, offset=offset, length=length)
            return functional.embedding(torch.arange(first, first + length, device=table.device), table)
        if offset < 0 or offset + length > size:
            within(size, offset=offset, length=length)
        found = table if length == table.shape[0] else table[first : first + length]
        return found.clone() if copy else found
    if not traced(positions):
        usable(positions, offset, length)
    if not is_bare(table) and not is_exporting():  # nor cut
        outside(positions, size, least=least)
        return functional.embedding(positions + start, table)
    if start + least:
        table = table[start + least :]  # so that a position that is too small is found by the lookup
    try:
        return torch.embedding(table, positions - least if least else positions)
    except IndexError:
        outside(positions, size, least=least)
        raise


def usable(positions: Tensor, offset: int, length: int | None) -> None:
    """Nothing, if ``positions`` are integers, for as many tokens as there are, and stand alone."""
    if offset:
        raise ArgumentError("give positions or offset, not both", got=f"offset={offset}")
    if positions.dtype not in INTEGERS or (length is not None and positions.shape[-1:] != (length,)):
        raise ArgumentError(
            "the positions can't be used",
            got=f"{positions.dtype}, shape {list(positions.shape)}",
            expected="torch.int64 or torch.int32, shape [T] or [B, T]" + (f" with T = {length}" if length else ""),
        )


def outside(positions: Tensor, size: int, *, least: int = 0) -> None:
    """Raise ArgumentError if a position is below ``least`` or at or above ``size``."""
    for bad in positions[(positions < least) | (positions >= size)][:1].tolist():
        raise ArgumentError(
            f"the position {bad} is outside the context", expected=f"0 … {size - 1} (context_length {size})"
        ) from None
