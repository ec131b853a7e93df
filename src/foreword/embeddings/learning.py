"""Learning a large table by rows: parameter groups, and Adam that touches only the rows of a step.

A step at V = 50,257, D = 256 reads 32 tokens at [8, 4]. Dense gradients and AdamW pass over the whole 50 MB table (and
its gradient and two moments) for them; row-sparse gradients and ``RowAdam`` over 32 rows.

Not for: dense gradients (``torch.optim.AdamW``). Costs: two moments of the table's size, as any Adam; a step costs what
its distinct rows cost.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, ParamsT

from foreword.embeddings import _by_row
from foreword.embeddings.mapped_table import Rows
from foreword.errors import ArgumentError

if TYPE_CHECKING:
    from foreword.embeddings.layer import InputEmbedding

__all__ = ["ParameterGroups", "RowAdam", "clip_grad_norm_", "grouped"]


@dataclasses.dataclass(frozen=True)
class ParameterGroups:
    """What to hand to which optimizer.

    Attributes:
        sparse: groups with row-sparse gradients, for ``RowAdam`` or ``torch.optim.SparseAdam``; [] without any.
        dense: groups with dense gradients, for ``torch.optim.AdamW``; [] without any.
    """

    sparse: list[dict[str, Any]]
    dense: list[dict[str, Any]]


def grouped(layer: InputEmbedding, weight_decay: float) -> ParameterGroups:
    """See ``InputEmbedding.parameter_groups``."""
    tables = [layer.token_embedding, layer.type_embedding, layer.position_embedding, layer.ngram_projection]
    by_row: list[nn.Module] = [layer.token_embedding] if layer.sparse else []
    by_row += [layer.ngrams] if layer.ngrams is not None else []
    sparse = [p for t in by_row for p in t.parameters() if p.requires_grad]
    dense = [p for t in tables[layer.sparse :] if t is not None for p in t.parameters() if p.requires_grad]
    norms = [p for p in layer.norm.parameters() if p.requires_grad] if layer.norm is not None else []
    return ParameterGroups(
        sparse=[{"params": sparse}] if sparse else [],
        dense=[
            {"params": params, "weight_decay": decay}
            for params, decay in ((dense, weight_decay), (norms, 0.0))
            if params
        ],
    )


class RowAdam(Optimizer):
    """Adam for row-sparse gradients: the rows of a step, and their moments, and nothing else.

    The arithmetic is that of ``torch.optim.SparseAdam`` ("lazy" Adam: a row's moments decay only when it has a
    gradient), from Kingma and Ba (2015), and its ``state_dict`` can be loaded there and back; it takes fewer passes.

    Args:
        params: parameters or groups whose gradients are sparse, as ``nn.Embedding(sparse=True)`` gives them.
        lr: step size; 0 is where a warm-up may begin.
        betas: decay of the two moments.
        eps: added to the square root of the second.

    Raises:
        ArgumentError: a parameter's gradient is dense, or options out of range.

    >>> layer = torch.nn.Embedding(1000, 4, sparse=True)
    >>> optimizer = RowAdam(layer.parameters(), lr=0.1)
    >>> before = layer.weight.detach().clone()
    >>> layer(torch.tensor([[3, 7, 3]])).sum().backward()
    >>> optimizer.step()
    >>> (layer.weight != before).any(dim=1).nonzero().flatten()
    tensor([3, 7])
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        try:
            fits = lr >= 0 and eps > 0 and all(0 <= beta < 1 for beta in betas)
        except TypeError:
            fits = False
        if not fits:
            raise ArgumentError(
                "options of RowAdam out of range",
                got=f"lr={lr!r}, betas={betas!r}, eps={eps!r}",
                expected="lr ≥ 0, eps > 0, 0 ≤ beta < 1",
            )
        groups: Any = list(params)
        if not groups:
            raise ArgumentError(
                "RowAdam has nothing to learn",
                got="no parameters",
                fix="make the layer with sparse=True or ngrams=, neither frozen nor open to be read only",
            )
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step for every parameter that has a gradient; ``closure`` computes it anew, as in torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        # torch's distributed checkpoint has an optimizer make its state by a step of zeros.
        begins = not (isinstance(weight, Rows) or self.state.get(weight))
        if not grad.is_sparse and not (begins and not grad.any()):
            raise ArgumentError(
                "RowAdam needs row-sparse gradients",
                got="a dense gradient",
                fix="make the layer with sparse=True, or use AdamW",
            )
        if isinstance(weight, Rows):
            _update_mapped(weight, _by_row.coalesced(grad), group)
            return
        state = self.state[weight]
        if not state:
            if torch.tensor(group["eps"], dtype=weight.dtype) == 0:  # a row of small gradients would become NaN
                raise ArgumentError(
                    f"eps is nothing in {weight.dtype}",
                    got=f"eps={group['eps']}",
                    fix="eps=1e-4, or a table of float32",
                )
            state.update(step=0, exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
        if not grad.is_sparse:
            return
        if state["exp_avg"].shape != weight.shape:
            raise ArgumentError(
                "the moments are of another table",
                got=f"moments {list(state['exp_avg'].shape)}, a table {list(weight.shape)}",
                fix="make the optimizer after resize, or give it to extend_vocabulary",
            )
        state["step"] += 1
        beta1, beta2 = group["betas"]
        size = group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])

        grad = _by_row.coalesced(grad)  # one gradient a row: the update is not linear
        rows, values = grad._indices()[0], grad._values()
        if len(rows):
            tables = weight, state["exp_avg"], state["exp_avg_sq"]
            _by_row.adam(*tables, rows, values, size, group["betas"], group["eps"])


def _update_mapped(weight: Rows, grad: Tensor, group: dict[str, Any]) -> None:
    """Adam on rows in a folder, which have their moments and their count of steps there."""
    rows, values = grad._indices()[0].cpu().numpy(), grad._values().cpu().numpy()
    weight.mapped.step(rows, values, lr=float(group["lr"]), betas=group["betas"], eps=group["eps"])


@torch.no_grad()
def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, *, norm_type: float = 2.0) -> Tensor:
    """Scale gradients in place so that their common norm is at most ``max_norm``; row-sparse ones too.

    ``torch.nn.utils.clip_grad_norm_`` fails at a sparse gradient. For dense ones this does what that does. A sparse
    gradient is coalesced: a row that was looked up twice counts once, with the sum, as it would in a dense gradient.

    Args:
        parameters: a parameter or several; those without a gradient are passed over.
        max_norm: the bound.
        norm_type: p of the norm; ``math.inf`` for the largest element.

    Returns:
        The norm before, a tensor of one element.

    >>> layer = torch.nn.Embedding(1000, 4, sparse=True)
    >>> layer(torch.tensor([[3, 7, 3]])).sum().backward()
    >>> clip_grad_norm_(layer.parameters(), 1.0)       # rows of 2s and of 1s
    tensor(4.4721)
    >>> round(float(layer.weight.grad.coalesce().values().norm()), 4)
    1.0
    """
    if not max_norm >= 0 or not norm_type > 0:
        raise ArgumentError(
            "gradients can't be clipped so",
            got=f"max_norm={max_norm!r}, norm_type={norm_type!r}",
            expected="max_norm ≥ 0, norm_type > 0",
        )
    several = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    values = []
    for parameter in several:
        grad = parameter.grad
        if grad is not None and grad.is_sparse:
            parameter.grad = grad = _by_row.coalesced(grad)
        if grad is not None:
            values.append(grad._values() if grad.is_sparse else grad)
    if not values:
        return torch.tensor(0.0)
    norms = torch.stack([torch.linalg.vector_norm(value, norm_type).to(values[0].device) for value in values])
    total: Tensor = torch.linalg.vector_norm(norms, norm_type)
    scale = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for value in values:
        value.mul_(scale.to(value.device))
    return total
