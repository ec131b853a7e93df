"""Displays: what a notebook, a terminal or a picture shows of tokens, windows, batches, stores, embeddings, neighbours.

>>> import foreword as fw
>>> from foreword import display
>>> display.tokens(fw.get_tokenizer("gpt2"), "Every effort")
Every ·effort
6109  3626
2 tokens, 2 distinct

A ``Display`` is one thing in three forms: HTML (a notebook shows it by itself), text (``print``, or ``rich.print`` for
colour) and a picture (``.plot("out.png")``, by matplotlib). Each shows the beginning of what is large, and says so.
Stores, windows, loaders, vectors and layers show themselves so.

Not for: the explorer's page; nor how chips, bars and heat maps look (``forms``) or are drawn (``drawings``). It knows
nothing of the packages: it takes their objects as they come, and reads their public attributes.

Costs: of vectors and layers what is shown; of ``tokens``, ``batch`` and ``neighbours`` all that is given (a text is
encoded to its end); of ``windows`` and ``loader`` their account, which inside documents counts them all; of ``store``
what it says there. Nothing heavy is imported until a picture is drawn.
"""

from __future__ import annotations

import dataclasses
import html
import io
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from foreword._base import pictures
from foreword._base.histogram import length_histogram
from foreword._base.pictures import BLUE, RUST, writable
from foreword._base.words import counted
from foreword.display import drawings, forms
from foreword.display.drawings import LINE
from foreword.errors import ArgumentError, ForewordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Display", "account", "batch", "embedding", "layer", "loader", "neighbours", "store", "tokens", "vectors", "windows"
]  # fmt: skip

SHOWN_TOKENS = 400
SHOWN_NEIGHBOURS, LONGEST_KEY = 100, 200
SHOWN_ROWS, SHOWN_COLUMNS = 16, 64
DRAWN_ROWS, DRAWN_COLUMNS = 64, 256  # of a heat map's picture
READ_DOCUMENTS = 1_000_000  # of a store, of which lengths are read
TEXT_WIDTH = 100  # of ``print``, where the terminal is not narrower


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Display:
    """One thing, ready to be shown.

    Attributes:
        html: for a notebook, which asks for it by itself.
        text: for a terminal: of a width in characters, and with colour or without.
        draw: draws the picture into matplotlib's axes; None where there is no picture.
        size: of the picture, width and height in inches.
    """

    html: str
    text: Callable[[int, bool], RenderableType]
    draw: Callable[[Axes], None] | None = None
    size: tuple[float, float] = (8, 4)

    def _repr_html_(self) -> str:
        return self.html

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text(options.max_width, console.color_system is not None and not console.no_color)

    def __repr__(self) -> str:
        out = io.StringIO()
        width = min(TEXT_WIDTH, shutil.get_terminal_size((TEXT_WIDTH, 0)).columns)
        # A console in a notebook's kernel would show it there, and write nothing to its file.
        Console(file=out, width=width, color_system=None, force_jupyter=False, highlight=False).print(self)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def plot(self, path: str | os.PathLike[str] | None = None, *, size: tuple[float, float] | None = None) -> Figure:
        """The picture, which a notebook shows; and its file where ``path`` is given, whole or not at all.

        Args:
            path: a .png, .svg or .pdf file.
            size: width and height in inches, of 150 dots; what the content needs where it is None.

        Raises:
            ArgumentError: there is no picture of this, or a file of that kind can't be written.
            MissingPackageError: matplotlib isn't installed.
            FileError: the file can't be written.
        """
        if self.draw is None:
            raise ArgumentError("this display has no picture", fix="print it, or show it in a notebook")
        if path is not None:
            pictures.check_picture(path)
        figure = pictures.figure(size or self.size)
        self.draw(figure.add_subplot())
        if path is not None:
            pictures.save(figure, path)
        return figure


# ---------------------------------------------------------------- tokens and batches


def tokens(tokenizer: Any, text_or_ids: str | ArrayLike, *, allowed_special: Any = "all") -> Display:
    """The tokens of a text, or of ids: each with its id, and nothing in them invisible.

    Args:
        tokenizer: a ``Tokenizer``.
        text_or_ids: a text, or token ids [n].
        allowed_special: as in ``Tokenizer.encode``; other special tokens are ordinary text.
    """
    if isinstance(text_or_ids, str):
        text_or_ids = tokenizer.encode(text_or_ids, allowed_special=allowed_special, disallowed_special=())
    ids = forms.token_ids("token ids", text_or_ids).reshape(-1)
    shown = [(forms.visible(tokenizer, id_), id_) for id_ in ids[:SHOWN_TOKENS].tolist()]
    summary = f"{len(ids):,} token{'' if len(ids) == 1 else 's'}, {len(np.unique(ids)):,} distinct"
    summary += f" (the first {len(shown)} are shown)" if len(shown) < len(ids) else ""
    marked = "".join(forms.chip(*chip) + ("<br>" if "↵" in chip[0] else "") for chip in shown)
    drawn = forms.flowing(shown, LINE)
    return Display(
        forms.page(f"<div style='line-height:2.4'>{marked}</div>", summary),
        lambda width, _: Group(forms.token_lines(forms.flowing(shown, width)), Text(summary)),
        lambda axes: drawings.chips(axes, drawn, summary),
        drawings.chips_size(drawn),
    )


def batch(inputs: Any, targets: Any = None, *, tokenizer: Any = None) -> Display:
    """A batch of windows, [B, T], inputs beside targets; as text where a tokenizer is given.

    Args:
        inputs: token ids [B, T]; or both, as a loader gives them: (inputs, targets), or a dict of them.
        targets: token ids [B, T].
        tokenizer: a ``Tokenizer``.

    >>> batch([[1, 2], [3, 4]], [[2, 3], [4, 5]])
    inputs [2, 2]   targets [2, 2]
    1 2             2 3
    3 4             4 5
    """
    named = forms.inputs_and_targets(inputs, targets)
    rows, columns = next(iter(named.values())).shape

    def chip(id_: int) -> forms.Chip:
        return (str(id_) if tokenizer is None or id_ < 0 else forms.visible(tokenizer, id_)), id_

    parts = [
        [[chip(id_) for id_ in row] for row in ids[:SHOWN_ROWS, :SHOWN_COLUMNS].tolist()] for ids in named.values()
    ]
    heads = [f"{name} {list(ids.shape)}" for name, ids in named.items()]

    def cut_note(count: int) -> str:
        shown = min(rows, SHOWN_ROWS), min(columns, count)
        if not rows or shown == (rows, columns):
            return ""
        return f"the first {shown[0]} of {rows:,} windows and {shown[1]} of {counted(columns, 'token')} are shown"

    def grid(part: list[list[forms.Chip]]) -> str:
        place = "<td style='padding:1px;text-align:left'>"
        lines = ("<tr>" + "".join(f"{place}{forms.chip(*one)}</td>" for one in row) + "</tr>" for row in part)
        return f"<table style='border-collapse:collapse'>{''.join(lines)}</table>"

    cells = "".join(
        f"<td style='vertical-align:top;text-align:left;padding-right:2em'><b>{head}</b>{grid(part)}</td>"
        for head, part in zip(heads, parts, strict=True)
    )

    def text(width: int, _: bool) -> RenderableType:
        lines, places, count = forms.side_by_side(parts, heads, width)
        first = [(place, head, -1) for place, head in zip(places, heads, strict=True)]
        return Group(
            forms.token_lines([first], chips=False),
            forms.token_lines(lines),
            *([Text(cut_note(count))] if cut_note(count) else []),
        )

    drawn, _, count = forms.side_by_side(parts, heads, LINE + LINE // 2)
    title = "   ".join(heads) + (f"\n{cut_note(count)}" if cut_note(count) else "")
    return Display(
        forms.page(f"<table><tr>{cells}</tr></table>", cut_note(SHOWN_COLUMNS)),
        text,
        lambda axes: drawings.chips(axes, drawn, title),
        drawings.chips_size(drawn),
    )


def windows(data: Any, *, count: int = 6, tokenizer: Any = None) -> Display:
    """A ``WindowDataset``: its first windows, and what becomes of every token.

    Args:
        data: the dataset.
        count: windows shown, at most 16.
        tokenizer: to show tokens as text; that of the dataset's store where it is None and at hand, else ids.
    """
    some = np.arange(max(0, min(count, len(data), SHOWN_ROWS)))
    if tokenizer is None and data.source is not None and _at_hand(data.source):
        try:
            tokenizer = data.source.tokenizer
        except ForewordError:  # it is not the one that made the store
            tokenizer = None
    first = batch(data.gather(some), tokenizer=tokenizer)
    rows, places, starts, lengths = (each.tolist() for each in data.spans(some))
    # Packed documents are far from one another in the stream: they are drawn where they lie in the window.
    packed = data.context_length if data.packing is not None else None
    pieces = list(zip(rows, places if packed else starts, lengths, strict=True))
    return dataclasses.replace(
        _facts(_account(data.account()), first),
        draw=lambda axes: drawings.spans(axes, pieces, packed=packed),
        size=(8, 1.2 + 0.3 * max(2, len(some))),
    )


def _at_hand(opened: Any) -> bool:
    """Whether a store's tokenizer is open, or carried in the package; a display opens no other, nor downloads it."""
    return "tokenizer" in vars(opened) or opened.manifest["tokenizer"].get("name") in ("gpt2", "r50k_base", "bytes")


def loader(opened: Any) -> Display:
    """A ``WindowLoader``: its batches, their order, and what becomes of every token of an epoch."""
    share = f", rank {opened.rank} of {opened.world_size}" if opened.world_size > 1 else ""
    facts = {
        "batches": f"{len(opened):,} an epoch, of {counted(opened.batch_size, 'window')}{share}",
        "order": f"shuffled, seed {opened.seed}" if opened.shuffle else "as they come",
    }
    if not isinstance(opened.data, Mapping):
        return _facts(facts | _account(opened.data.account()))
    return _facts(facts | {name: _account(data.account())["windows"] for name, data in sorted(opened.data.items())})


def account(counts: Any) -> Display:
    """A ``TokenAccount``: what becomes of every token."""
    return _facts(_account(counts))


def _account(counts: Any) -> dict[str, str]:
    cut = "packed" if counts.stride is None else f"stride {counts.stride:,}"
    return {
        "windows": f"{counts.windows:,}, context_length {counts.context_length:,}, {cut}",
        "in inputs": f"{counted(counts.windows * counts.context_length, 'place')}: "
        f"{counted(counts.distinct, 'distinct token')}, "
        f"{counts.repeated:,} repeated, {counts.padded:,} padded",
        "stored": f"{counted(counts.stored, 'token')}: {counts.distinct:,} in some window, {counts.dropped:,} dropped",
    }


# ---------------------------------------------------------------- stores, vectors, neighbours


def store(opened: Any) -> Display:
    """A ``TokenStore``: its account, and the lengths of its documents, at most of the first million.

    Costs: what it reads of one shard is mapped; the offsets of several are all joined first, and kept by the store: 8
    bytes a document, and thrice that on the way.
    """
    ends = np.asarray(opened.offsets[: READ_DOCUMENTS + 1]).astype(np.int64)
    lengths = ends[1:] - ends[:-1]
    documents, title = f"{opened.documents:,}", "documents by length"
    if len(lengths) < opened.documents:
        documents += f"; the first {len(lengths):,} are"
        title += f", the first {len(lengths):,} of {opened.documents:,}"
    elif len(lengths):
        documents += ","
    if len(lengths):
        documents += (
            f" of {lengths.min():,} to {counted(int(lengths.max()), 'token')}, {lengths.mean():,.1f} on average"
        )
    facts = {
        "tokens": f"{len(opened):,} as {opened.dtype}",
        "documents": documents,
        "tokenizer": f"{opened.manifest['tokenizer'].get('name') or 'unknown'}, vocab_size {opened.vocab_size:,}",
        "path": str(opened.path),
    }
    bins = [(f"{low:,}", count) for low, _, count in length_histogram(lengths)] or [("0", 0)]
    shown = _facts(facts)
    return dataclasses.replace(
        shown,
        html=shown.html + forms.columns_svg(bins, f"documents by length: {documents}"),
        draw=lambda axes: drawings.columns(axes, bins, title),
    )


def vectors(keyed: Any) -> Display:
    """``KeyedVectors``: how many, how long, and the first keys."""
    return _facts(
        {
            "keys": f"{len(keyed):,}",
            "vector_size": str(keyed.vector_size),
            "first keys": "  ".join(map(repr, keyed.index_to_key[:8])),
        }
    )


def neighbours(found: Iterable[tuple[str, float]], *, title: str = "") -> Display:
    """What ``most_similar`` gave, as bars; those of scores below 0 are of another colour and grain.

    Args:
        found: keys and scores.
        title: what they are neighbours of.

    Raises:
        ArgumentError: they are not pairs of a key and a score.

    >>> neighbours([("queen", 0.8524), ("throne", 0.7664)])
    queen   ██████████████████████████████████▏       0.8524
    throne  ██████████████████████████████▋           0.7664
    """
    try:
        every = [(writable(str(key), LONGEST_KEY), float(score)) for key, score in found]
    except (TypeError, ValueError):
        raise ArgumentError("neighbours are keys and scores", expected='[("queen", 0.85), …], of one query') from None
    title = writable(title, LONGEST_KEY)
    pairs = every[:SHOWN_NEIGHBOURS]
    full = max([1.0, *(abs(score) for _, score in pairs if math.isfinite(score))])
    note = "" if every else "no neighbours"
    if len(pairs) < len(every):
        note = f"the first {len(pairs)} of {len(every):,} are shown"

    def share(score: float) -> float:
        return min(1.0, abs(score) / full) if score == score else 0.0

    marked = "".join(
        f"<tr><td style='padding:1px 1em 1px 0;text-align:left;max-width:24em;overflow-wrap:anywhere'>"
        f"{html.escape(key)}</td><td style='min-width:20em'>"
        f"<div style='height:0.8em;width:{100 * share(score):.2f}%;background:{RUST if score < 0 else BLUE}'></div>"
        f"</td><td style='font-family:monospace;padding-left:1em;text-align:right'>{score:.4f}</td></tr>"
        for key, score in pairs
    )
    heading = f"<div style='font-weight:bold'>{html.escape(title)}</div>" if title else ""

    def text(width: int, _: bool) -> RenderableType:
        longest = max((cell_len(key) for key, _ in pairs), default=0)
        keys = min(longest, max(8, width // 2))
        scores = max((len(f"{score:.4f}") for _, score in pairs), default=0)
        room = max(1, min(40, width - keys - scores - 4))
        table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        for key, score in pairs:
            make, style = (forms.grain, "red") if score < 0 else (forms.bar, "cyan")
            table.add_row(
                Text(forms.shortened(key, keys)),
                Text(make(share(score), room).ljust(room), style),
                Text(f"{score:.4f}"),
            )
        return Group(
            *([Text(title, "bold")] if title else []), *([table] if pairs else []), *([Text(note)] if note else [])
        )

    return Display(
        forms.page(f"{heading}<table>{marked}</table>", note),
        text,
        lambda axes: drawings.bars(axes, pairs, "\n".join(filter(None, [title, note]))),
        (8, 1 + 0.25 * max(3, len(pairs))),
    )


# ---------------------------------------------------------------- embeddings


def embedding(values: Any, *, title: str = "") -> Display:
    """Vectors [T, D] or [B, T, D] as a heat map; a torch tensor or an array.

    Without colour the text is the numbers themselves. Mean, standard deviation and range are those of what is shown.
    """
    shape, numbers = forms.beginning(values, DRAWN_ROWS, DRAWN_COLUMNS)
    size = math.prod(shape[:-1]), shape[-1]

    def part(rows: int, columns: int) -> tuple[NDArray[np.float64], float, str]:
        """What is shown of it, where its colours are full, and its caption."""
        shown = numbers[:rows, :columns]
        limit, caption = forms.statistics(shown)
        cut = "" if shown.shape == size else f", the first {shown.shape[0]} × {shown.shape[1]} are shown"
        return shown, limit, f"{title} {list(shape)}{cut}{caption}".strip()

    def text(width: int, colour: bool) -> RenderableType:
        if not numbers.size:
            return Text(part(SHOWN_ROWS, SHOWN_COLUMNS)[2])
        if colour:
            shown, limit, caption = part(SHOWN_ROWS, min(SHOWN_COLUMNS, width))
            cells = [Text.assemble(*((" ", f"on {forms.colour(v, limit)}") for v in row)) for row in shown.tolist()]
            return Group(Text(caption + forms.scale(shown, limit)), *cells)
        written = [[f"{v:#.2g}" for v in row] for row in numbers[:SHOWN_ROWS, :SHOWN_COLUMNS].tolist()]
        cell = 1 + max(len(one) for row in written for one in row)
        columns = max(1, width // cell)
        lines = ("".join(one.rjust(cell) for one in row[:columns]) for row in written)
        return Group(Text(part(SHOWN_ROWS, min(SHOWN_COLUMNS, columns))[2]), Text("\n".join(lines), no_wrap=True))

    shown, limit, caption = part(SHOWN_ROWS, SHOWN_COLUMNS)
    drawn, drawn_limit, drawn_caption = part(DRAWN_ROWS, DRAWN_COLUMNS)
    return Display(
        forms.page(forms.heat_svg(shown, limit, caption), caption + forms.scale(shown, limit)),
        text,
        lambda axes: drawings.heat(axes, drawn, drawn_limit, drawn_caption.replace(": ", "\n", 1)),
        (8, 1.6 + 0.09 * max(12, len(drawn))),
    )


def layer(module: Any) -> Display:
    """An ``InputEmbedding``: its shapes, its positions, the corner of its token table."""
    scheme = module.position_embedding
    facts = {
        "token table": f"[{module.vocab_size:,}, {module.embedding_dim}]",
        "positions": "none" if scheme is None else type(scheme).__name__,
        "context_length": str(module.context_length or "any"),
        "parameters": f"{sum(p.numel() for p in module.parameters()):,}",
    }
    return _facts(facts, embedding(module.token_embedding.weight, title="token table"))


def _facts(facts: dict[str, str], below: Display | None = None) -> Display:
    """Facts by name, and another display under them, whose picture is that of both."""

    def text(width: int, colour: bool) -> RenderableType:
        return Group(forms.facts_table(facts), *([] if below is None else ["", below.text(width, colour)]))

    shown = Display(forms.facts_html(facts), text)
    return shown if below is None else dataclasses.replace(below, html=shown.html + below.html, text=text)
