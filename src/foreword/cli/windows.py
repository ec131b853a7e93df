"""``foreword inspect --windows``: what an epoch over a store would train on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from foreword.tokens import TokenStore
    from foreword.windows import EpochReport, WindowDataset

__all__ = ["as_data", "report"]

Windows = Annotated[bool, typer.Option("--windows", help="Print also what an epoch of windows trains on.")]
ContextLength = Annotated[int, typer.Option(help="With --windows: tokens a window.")]
Stride = Annotated[
    int | None, typer.Option(help="With --windows: from one to the next.", show_default="the context length")
]
BatchSize = Annotated[int, typer.Option(help="With --windows: windows a batch.")]
Within = Annotated[str, typer.Option(help="With --windows: stream, or document.")]
Tail = Annotated[str | None, typer.Option(help="With --windows: drop, pad or keep.", show_default="drop")]
Packing = Annotated[str | None, typer.Option(help="With --windows: best-fit, of whole documents.", show_default=False)]


def report(data: WindowDataset, store: TokenStore, *, batch_size: int) -> EpochReport:
    """What an epoch over the store trains on, in order."""
    from foreword.windows import WindowLoader

    # A store may not name its tokenizer: then the first and last batch are shown as ids.
    named = store.manifest["tokenizer"].get("name") is not None
    ids = None if named else lambda ids: " ".join(map(str, ids.tolist()))
    return WindowLoader(data, batch_size=batch_size, drop_last=False).account(decode=ids)


def as_data(report: EpochReport) -> dict[str, Any]:
    """The report as JSON takes it."""
    account = report.accounts["data"]
    shares = {"padding": account.padding, "seen": account.seen}
    return {**dataclasses.asdict(report), "accounts": {"data": {**dataclasses.asdict(account), **shares}}}
