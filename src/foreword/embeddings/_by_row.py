"""Rows of a table: their sums, their gradients, Adam on them; compiled where that fits, else by torch.

On the CPU both ways do the same operations in the same order, so which it was does not change the bits; nor does the
number of threads.

Not for: which rows. Costs: what the distinct rows cost; loading the kernels takes a second, so that is done when there
has been some work.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling, is_exporting
from torch.nn import functional

from foreword.embeddings._tables import is_bare

__all__ = ["adam", "coalesced", "drawn", "gradients", "sums"]

ENOUGH = 1 << 20
"""Elements of work, in all steps together, from which on the compiled kernels pay."""
SMALL = 1 << 14
"""Elements of a gradient below which torch coalesces it, as quickly, in an order of its own."""
_worked = 0


def sums(weight: Tensor, rows: Tensor) -> Tensor:
    """The sum of the rows [..., R] of each place, [..., dim], first to last; −1 is no row."""
    dim, kernels = weight.shape[1], _kernels_for(weight, elements=rows.numel() * weight.shape[1])
    if kernels is None:
        total = weight.new_zeros(())
        for row in rows.unbind(-1):
            total = total + functional.embedding(row.clamp(min=0), weight) * (row >= 0).unsqueeze(-1)
        return total
    flat = _flat(rows)
    summed = torch.empty(len(flat), dim)
    arrays = weight.detach().numpy(), flat.numpy(), summed.numpy()
    kernels.shared_out(kernels.gather, *arrays, items=len(flat), width=rows.shape[-1] * dim)
    return summed.reshape(*rows.shape[:-1], dim)


def gradients(rows: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of [..., R], int64 [U], rising, and the gradient of each, [U, dim]: sums over places in order.

    ``grad``, [..., dim], is that of the sums.
    """
    flat, grad = _flat(rows), grad.reshape(-1, grad.shape[-1]).contiguous()
    kernels = _kernels_for(grad, elements=rows.numel() * grad.shape[1])
    if kernels is None:
        known = flat >= 0
        each = grad.unsqueeze(1).expand(*flat.shape, -1)[known]
        found, which = torch.unique(flat[known], return_inverse=True)
        return found, grad.new_zeros(len(found), grad.shape[1]).index_add_(0, which, each)
    ids, starts, places = kernels.distinct_rows(flat.numpy())
    values = torch.empty(len(ids), grad.shape[1])
    arrays = grad.detach().numpy(), starts, places, values.numpy()
    kernels.shared_out(kernels.gradients, *arrays, items=len(ids), width=grad.shape[1])
    return torch.from_numpy(ids), values


def coalesced(grad: Tensor) -> Tensor:
    """A row-sparse gradient [N, dim] with each row once, rising: the sum of what it has for it, in order."""
    rows, values = grad._indices()[0], grad._values()
    if grad.is_coalesced() or values.dim() != 2 or values.numel() < SMALL or values.device.type != "cpu":
        return grad.coalesce()
    if len(rows) > 1 and not bool((rows[1:] > rows[:-1]).all()):  # what autograd stores forgets that it is coalesced
        rows, values = gradients(rows[:, None], values)
    return torch.sparse_coo_tensor(rows[None], values, grad.shape, is_coalesced=True, check_invariants=False)


def adam(
    weight: Tensor,
    first: Tensor,
    second: Tensor,
    rows: Tensor,
    grads: Tensor,
    size: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """Adam on some rows of a table and its moments, [N, dim] each.

    Args:
        weight: the table.
        first: the first moments.
        second: the second moments.
        rows: int64 [U], each once.
        grads: theirs, [U, dim].
        size: lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ).
        betas: decay of the moments.
        eps: added to the square root of the second.
    """
    kernels = _kernels_for(weight, first, second, grads, elements=grads.numel())
    if kernels is not None:
        arrays = [tensor.detach().numpy() for tensor in (weight, first, second, rows.contiguous(), grads)]
        kernels.shared_out(kernels.adam, *arrays, size, *betas, eps, items=len(rows), width=grads.shape[1])
        return
    m, v = first.index_select(0, rows), second.index_select(0, rows)
    m.add_((grads - m).mul_(1 - betas[0]))
    v.add_((grads * grads).sub_(v).mul_(1 - betas[1]))
    first.index_copy_(0, rows, m)
    second.index_copy_(0, rows, v)
    if v.device.type == "cpu" and v.dtype == torch.float32:
        np.sqrt(v.numpy(), out=v.numpy())  # torch's may be off by a bit
    else:
        v.sqrt_()
    weight.index_add_(0, rows, m.div_(v.add_(eps)).mul_(-size))


def drawn() -> bool:
    """Whether a graph is being drawn that is to stand alone: by ``torch.export`` or ``torch.jit.trace``."""
    return is_exporting() or bool(torch.jit.is_tracing())  # type: ignore[attr-defined,no-untyped-call]


def _flat(rows: Tensor) -> Tensor:
    """Rows [..., R] as contiguous int64 [P, R]."""
    return rows.detach().reshape(-1, rows.shape[-1]).long().contiguous()


def _kernels_for(*tensors: Tensor, elements: int) -> Any:
    """The module of compiled kernels, where they take the tensors, and pay; else None."""
    global _worked
    if is_compiling() or drawn():  # what the kernels give would be a constant
        return None
    _worked += elements
    if _worked < ENOUGH:
        return None
    for tensor in tensors:
        fits = tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous()
        if not (fits and is_bare(tensor)):
            return None
    return _kernels()


@functools.cache
def _kernels() -> Any:
    try:
        from foreword.embeddings import row_kernels
    except ImportError:
        return None
    return row_kernels
