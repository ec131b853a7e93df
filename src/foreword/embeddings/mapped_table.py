"""A mapped table of rows in the place of an ``nn.Embedding`` with row-sparse gradients.

Its weight is a handle: a parameter [N, dim] that holds one element, whatever N is. What torch does with the row-sparse
gradient of a parameter it does with the handle's: add up micro-batches, clip, set to none. By it ``RowAdam`` finds the
rows.

Not for: anything that reads the handle's elements. Costs: rows are copied when they are looked up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foreword.embeddings.ngram_rows import MappedRows
from foreword.errors import ArgumentError

__all__ = ["MappedTable", "Rows"]

_CHECKPOINT = "checkpoint"


class Rows(nn.Parameter):
    """A parameter whose elements are in a mapped table.

    Attributes:
        mapped: the table.
    """

    mapped: MappedRows

    def __new__(cls, mapped: MappedRows) -> Rows:  # noqa: D102
        element = torch.zeros(1, 1, device="cpu")  # whatever torch.device(…) makes elsewhere
        one: Any = torch.Tensor._make_subclass(cls, element.expand(mapped.rows, mapped.dim), mapped.writable)
        one.mapped = mapped
        return one  # type: ignore[no-any-return]

    def __init__(self, mapped: MappedRows) -> None:
        pass

    def __deepcopy__(self, memo: Any) -> Rows:
        raise ArgumentError(
            "a table in a folder can't be copied by copying the model", got=repr(self), fix="copy its folder"
        )

    def __reduce_ex__(self, _: Any) -> Any:
        raise ArgumentError(
            "a table in a folder can't be pickled with the model",
            got=repr(self),
            fix="ngrams.checkpoint(), and torch.save(model.state_dict(), …), which names that checkpoint",
        )

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Rows of {self.mapped!r}"

    def looked_up(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The distinct rows of ``rows`` [..., R], [U, dim], and for each of those where it is here; −1 stays −1."""
        _alone(self.mapped)
        ids, where = np.unique(rows.detach().cpu().numpy(), return_inverse=True)
        none = int(len(ids) > 0 and ids[0] < 0)
        found = torch.from_numpy(self.mapped.gather(ids[none:].astype(np.int64, copy=False)))
        if not len(found):  # no place has an n-gram; −1 is looked up as any row would be, and left out of the sum
            found = torch.zeros(1, self.mapped.dim)
        return found.to(rows.device), torch.from_numpy(where - none).view(rows.shape).to(rows.device)


def _refuse(name: str) -> Any:
    def refused(self: Rows, *_: Any, **__: Any) -> Any:
        raise ArgumentError(
            "the elements of a table in a folder are not in its weight",
            got=f"weight.{name}(…) of {self.mapped!r}",
            fix="look rows up by ngrams(rows), and let RowAdam learn them: parameter_groups() says what is whose",
        )

    return refused


# What optimizers, first weights, averages and curious people do with the elements of a parameter.
for _name in (
    *("__getitem__", "clone", "detach", "mean", "norm", "numpy", "reshape", "sum", "tolist", "view"),
    *("add_", "addcdiv_", "addcmul_", "copy_", "fill_", "lerp_", "mul_", "normal_", "sub_", "uniform_", "zero_"),
):
    setattr(Rows, _name, _refuse(_name))


class MappedTable(nn.Module):
    """A table in a folder, for ``NgramTable``; its state_dict holds which checkpoint of the folder the model goes with.

    Args:
        mapped: its rows.

    Attributes:
        weight: the handle, whose gradients are row-sparse.
    """

    weight: Rows

    def __init__(self, mapped: MappedRows) -> None:
        super().__init__()
        _alone(mapped)
        self.weight = Rows(mapped)

    @property
    def embedding_dim(self) -> int:
        """Elements of a row."""
        return self.weight.mapped.dim

    def _apply(self, fn: Any, recurse: bool = True) -> MappedTable:  # noqa: ARG002
        return self  # it is in its folder, wherever the rest of the model goes

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:  # noqa: ARG002
        saved = self.weight.mapped.state_dict()
        destination[prefix + _CHECKPOINT] = torch.tensor([int(saved["table"], 16), saved["checkpoint"]])

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        missing, unexpected = rest[2:4]
        unexpected += [name for name in state_dict if name.startswith(prefix) and name != prefix + _CHECKPOINT]
        found = state_dict.get(prefix + _CHECKPOINT)
        if found is None:
            missing.append(prefix + _CHECKPOINT)
            return
        table, checkpoint = found.tolist()
        self.weight.mapped.load_state_dict({"table": f"{table:014x}", "checkpoint": checkpoint})

    def extra_repr(self) -> str:  # noqa: D102
        return repr(self.weight.mapped)


def _alone(mapped: MappedRows) -> None:
    """Refuse to learn in one of several processes: nothing adds up what the others learn.

    Raises:
        ArgumentError: the table is to be learned, and torch.distributed has more than one process.
    """
    if not (mapped.writable and torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    if (count := torch.distributed.get_world_size()) > 1:
        raise ArgumentError(
            "a table in a folder is learned by one process",
            got=f"{count} processes of torch.distributed",
            fix="keep the table in memory (path=None), or open it with writable=False",
        )
