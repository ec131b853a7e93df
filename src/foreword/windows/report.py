"""What an epoch trains on: the token account of each source, its batches, the first and the last of them as text.

Not for: the arithmetic (``TokenAccount``). Costs: gathering two batches, and a pass over the document offsets.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.words import counted
from foreword.windows.arithmetic import TokenAccount

__all__ = ["EpochReport", "texts"]

SHOWN = 160  # characters of a window, when printed


@dataclasses.dataclass(frozen=True)
class EpochReport:
    """What a loader's epoch trains on; printed, it explains itself.

    Attributes:
        accounts: the token account of each source, by name, of one epoch of it.
        batches: batches an epoch, of this rank.
        samples: windows an epoch, of all ranks together, as handed out.
        left_out: windows that ``drop_last`` leaves out of an epoch.
        skipped: windows that touch documents to skip, and do not come; the accounts count them, too.
        first, last: the windows of this rank's first and last batch, as text; of a mixture only the first.
    """

    accounts: Mapping[str, TokenAccount]
    batches: int
    samples: int
    left_out: int
    first: tuple[str, ...]
    last: tuple[str, ...]
    skipped: int = 0

    def __str__(self) -> str:
        lines = []
        for name, account in self.accounts.items():
            lines += [*([f"{name}:"] if len(self.accounts) > 1 else []), *_lines(account)]
        skipped = f"; {self.skipped:,} of skipped documents do not come" if self.skipped else ""
        lines.append(
            f"{counted(self.batches, 'batch', 'batches')}; {counted(self.samples, 'window')} handed out, "
            f"{self.left_out:,} left out{skipped}"
        )
        for title, texts in (("first batch", self.first), ("last batch", self.last)):
            lines += [f"{title}:", *(f"  {_cropped(text)!r}" for text in texts)] if texts else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _cropped(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}"


def _lines(account: TokenAccount) -> list[str]:
    places = account.windows * account.context_length
    cut = "packed" if account.stride is None else f"stride {account.stride:,}"
    windows, tokens = counted(account.windows, "window"), counted(account.context_length, "token")
    return [
        f"{windows} × {tokens} ({cut}) = {counted(places, 'place')}",
        f"  {account.distinct:>14,}  distinct tokens, each seen {account.seen:.2f} times an epoch on average",
        f"  {account.repeated:>14,}  repeated",
        f"  {account.padded:>14,}  padded ({account.padding:.2%})",
        f"{account.stored:,} stored = {account.distinct:,} distinct + {account.dropped:,} dropped",
    ]


def texts(
    inputs: NDArray[np.int64], lengths: NDArray[np.int64], decode: Callable[[Any], str] | None
) -> tuple[str, ...]:
    """Each window's inputs [B, T] as text, as many as its length says, [B]; their ids where decode is None."""
    windows = [row[:length] for row, length in zip(inputs, lengths.tolist(), strict=True)]
    return tuple(decode(ids) if decode else " ".join(map(str, ids.tolist())) for ids in windows)
