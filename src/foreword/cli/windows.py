"""``foreword inspect --windows``, ``--trace`` and ``--when``: what an epoch over a store would train on, and when."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreword.cli._options import given
from foreword.errors import ArgumentError, printable

if TYPE_CHECKING:
    from foreword.tokens import TokenStore
    from foreword.windows import EpochReport, WindowDataset

__all__ = ["as_data", "check", "report", "traced"]

Windows = Annotated[bool, typer.Option("--windows", help="Print also what an epoch of windows trains on.")]
ContextLength = Annotated[int, typer.Option(help="Of windows: tokens of each.")]
Stride = Annotated[
    int | None, typer.Option(help="Of windows: from one to the next.", show_default="the context length")
]
BatchSize = Annotated[int, typer.Option(help="Of windows: how many a batch.")]
Within = Annotated[str, typer.Option(help="Of windows: stream, or document.")]
Tail = Annotated[str | None, typer.Option(help="Of windows: drop, pad or keep.", show_default="drop")]
Packing = Annotated[str | None, typer.Option(help="Of windows: best-fit, of whole documents.", show_default=False)]
Trace = Annotated[
    int | None,
    typer.Option(min=0, help="Print only the windows of this step, with their documents.", show_default=False),
]
When = Annotated[
    int | None,
    typer.Option(min=0, help="Print only when this document is trained on, by its index.", show_default=False),
]
Shuffle = Annotated[bool, typer.Option("--shuffle", help="With --trace or --when: the loader's shuffle=True.")]
Seed = Annotated[int, typer.Option(help="With --trace or --when: the loader's.")]
Epoch = Annotated[int, typer.Option(min=0, help="With --trace or --when: from 0.")]
WorldSize = Annotated[int, typer.Option(min=1, help="With --trace or --when: processes that share each step.")]
Rank = Annotated[int, typer.Option(min=0, help="With --trace: whose batch.")]
State = Annotated[
    Path | None,
    typer.Option(help="With --trace or --when: a loader's state_dict(), as JSON.", show_default=False),
]


def check(context: typer.Context, *, windows: bool, trace: bool, when: bool) -> None:
    """Refuse options that say nothing, as none is given that they go with."""
    unused: dict[str, str] = {}
    if not (windows or trace or when):
        cut = ("context_length", "stride", "batch_size", "within", "tail", "packing")
        unused |= dict.fromkeys(given(context, *cut), "--windows, --trace or --when")
    if not (trace or when):
        loader = ("shuffle", "seed", "epoch", "world_size", "state")
        unused |= dict.fromkeys(given(context, *loader), "--trace or --when")
    if not trace:
        unused |= dict.fromkeys(given(context, "rank"), "--trace")
    for option, others in unused.items():
        raise ArgumentError(f"{option} goes with {others}", fix="give one of them too, or leave it out")


def report(data: WindowDataset, store: TokenStore, *, batch_size: int) -> EpochReport:
    """What an epoch over the store trains on, in order."""
    from foreword.windows import WindowLoader

    return WindowLoader(data, batch_size=batch_size, drop_last=False).account(decode=None if _named(store) else _ids)


def as_data(report: EpochReport) -> dict[str, Any]:
    """The report as JSON takes it."""
    account = report.accounts["data"]
    shares = {"padding": account.padding, "seen": account.seen}
    return {**dataclasses.asdict(report), "accounts": {"data": {**dataclasses.asdict(account), **shares}}}


def traced(
    data: WindowDataset,
    store: TokenStore,
    *,
    trace: int | None,
    when: int | None,
    epoch: int,
    rank: int,
    state: Path | None,
    options: dict[str, Any],
    as_json: bool,
) -> str:
    """What a step trains on, or when a document is, as text or JSON."""
    from foreword._base.files import read_text
    from foreword.errors import FormatError
    from foreword.windows import WindowLoader

    loader = WindowLoader(data, rank=0, **options)
    if state is not None:
        text = read_text(state)
        try:
            saved = json.loads(text)
        except ValueError:
            raise FormatError("the state is no JSON", where=state, fix="json.dump(loader.state_dict(), file)") from None
        loader.load_state_dict(saved)
    decode = store.tokenizer.decode if _named(store) else _ids
    found: dict[str, Any] = {}
    if trace is not None:
        found["trace"] = [
            entry._asdict() | {"text": _text(store, entry.start, entry.stop, decode)}
            for entry in loader.trace(trace, epoch=epoch, rank=rank)
        ]
    if when is not None:
        found["document"] = {"index": when, "file": store.file_of(when), "text": decode(store.document(when))}
        found["when"] = [place._asdict() for place in loader.when(when, epoch=epoch)]
    if as_json:
        return json.dumps(found, indent=1, ensure_ascii=False)
    lines = [] if trace is None else [f"step {trace:,} of epoch {epoch}, rank {rank}"]
    for row, entry in enumerate(found.get("trace", [])):
        lines += [f"{row:>4}  window {entry['window']:,}, tokens {_span(entry['start'], entry['stop'])}"]
        lines += [f"      document {_document(index, file)}" for index, file in entry["documents"]]
        lines += [f"      {_cropped(entry['text'])!r}"]
    if when is not None:
        document = found["document"]
        lines += [f"document {_document(when, document['file'])}", f"      {_cropped(document['text'])!r}"]
        lines += ["   epoch       step   rank    row"] if found["when"] else ["      no window's inputs hold it"]
        lines += ["".join(f"{place[key]:>{w},}" for key, w in _WIDTHS.items()) for place in found["when"]]
    return "\n".join(lines)


_WIDTHS = {"epoch": 8, "step": 11, "rank": 7, "row": 7}
_SHOWN = 160


def _named(store: TokenStore) -> bool:
    """Whether the store says which tokenizer made it; where it does not, ids are shown."""
    return store.manifest["tokenizer"].get("name") is not None


def _ids(ids: Any) -> str:
    return " ".join(map(str, ids.tolist()))


def _text(store: TokenStore, start: Any, stop: Any, decode: Any) -> str:
    pieces = zip(start, stop, strict=True) if isinstance(start, tuple) else [(start, stop)]
    return "".join(decode(store.read(a, b)) for a, b in pieces)


def _span(start: Any, stop: Any) -> str:
    pieces = zip(start, stop, strict=True) if isinstance(start, tuple) else [(start, stop)]
    return ", ".join(f"{a:,} to {b - 1:,}" for a, b in pieces)


def _document(index: int, file: str | None) -> str:
    return f"{index:,}" + (f", {printable(file)}" if file is not None else "")


def _cropped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} … {text[-_SHOWN // 2 :]}"
