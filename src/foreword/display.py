"""Displays: what a notebook, a terminal or a picture shows of tokens, windows, batches, stores, embeddings, neighbours.

>>> import foreword as fw
>>> from foreword import display
>>> display.tokens(fw.get_tokenizer("gpt2"), "Every effort")
Every·effort
6109 3626
2 tokens, 2 distinct

A ``Display`` is one thing in three forms: HTML (a notebook shows it by itself), text (``print``, or ``rich.print`` for
colour) and a picture (``.plot("out.png")``, by matplotlib). Stores, windows, vectors and layers show themselves so.

Not for: the explorer's page. It knows nothing of the rooms: it takes their objects as they come, and reads their public
attributes. Costs: what it shows, never all there is; nothing heavy is imported until a picture is drawn.
"""

from __future__ import annotations

import dataclasses
import html
import io
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreword._files import atomic_write
from foreword.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType

__all__ = ["Display", "batch", "embedding", "layer", "neighbours", "store", "tokens", "vectors", "windows"]

SHOWN_TOKENS = 400
SHOWN_ROWS, SHOWN_COLUMNS = 16, 64
_NAMES = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}
_FORMATS = (".png", ".svg", ".pdf")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Display:
    """One thing, ready to be shown.

    Attributes:
        html: for a notebook, which asks for it by itself.
        text: for a terminal, made when it is asked for.
        draw: draws the picture into matplotlib's axes; None where there is no picture.
    """

    html: str
    text: Callable[[], RenderableType]
    draw: Callable[[Axes], None] | None = None

    def _repr_html_(self) -> str:
        return self.html

    def __rich__(self) -> RenderableType:
        return self.text()

    def __repr__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        Console(file=out, width=100, no_color=True, highlight=False).print(self.text())
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines())

    def plot(self, path: str | os.PathLike[str] | None = None, *, size: tuple[float, float] = (8, 4)) -> Figure:
        """The picture, and its file where ``path`` (.png, .svg, .pdf) is given, whole or not at all.

        Args:
            path: the file.
            size: width and height in inches, of 150 dots.

        Raises:
            ArgumentError: there is no picture of this, or a file of that kind can't be written.
            MissingPackageError: matplotlib isn't installed.
        """
        if self.draw is None:
            raise ArgumentError("this display has no picture", fix="print it, or show it in a notebook")
        if path is not None:
            check_picture(path)
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingPackageError("pictures need matplotlib", fix='pip install "foreword[plot]"') from None
        figure = Figure(figsize=size, layout="constrained")
        self.draw(figure.add_subplot())
        if path is not None:
            with atomic_write(path) as file, warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*missing from font.*")  # drawn as a box
                figure.savefig(file, format=Path(path).suffix.lower()[1:], dpi=150)
        return figure


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise ArgumentError where a picture can't be written to a file of this name."""
    if Path(path).suffix.lower() not in _FORMATS:
        raise ArgumentError("unknown kind of picture", got=os.fspath(path), expected=", ".join(_FORMATS))


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
    ids = np.asarray(text_or_ids).reshape(-1)
    shown = ids[:SHOWN_TOKENS].tolist()
    words = [_visible(tokenizer, id_) for id_ in shown]
    count = f"{len(ids):,} token{'' if len(ids) == 1 else 's'}, {len(np.unique(ids)):,} distinct"
    more = f" (the first {len(shown)} are shown)" if len(shown) < len(ids) else ""
    chips = "".join(_chip(word, id_) + ("<br>" if "↵" in word else "") for word, id_ in zip(words, shown, strict=True))

    def text() -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        coloured = Text()
        for word, id_ in zip(words, shown, strict=True):
            coloured.append(word, style=f"black on {_terminal_colour(id_)}")
            if "↵" in word:
                coloured.append("\n")
        return Group(coloured, Text(" ".join(map(str, shown)), style="dim"), Text(count + more))

    return Display(
        _page(f"<div style='line-height:2.4'>{chips}</div>", count + more),
        text,
        lambda axes: _draw_chips(axes, _wrapped(list(zip(words, shown, strict=True))), title=count + more),
    )


def batch(inputs: ArrayLike, targets: ArrayLike | None = None, *, tokenizer: Any = None) -> Display:
    """A batch of windows, [B, T], inputs beside targets; as text where a tokenizer is given.

    >>> batch([[1, 2], [3, 4]], [[2, 3], [4, 5]])
    inputs [2, 2]   targets [2, 2]
    1 2             2 3
    3 4             4 5
    """
    named = {"inputs": np.asarray(inputs)} | ({} if targets is None else {"targets": np.asarray(targets)})
    for name, ids in named.items():
        if ids.ndim != 2 or ids.dtype.kind not in "ui":
            raise ArgumentError(f"{name} must be integers [B, T]", got=f"{ids.dtype}, shape {list(ids.shape)}")

    def word(id_: int) -> str:
        return str(id_) if tokenizer is None or id_ < 0 else _visible(tokenizer, id_)

    def grid(ids: NDArray[Any]) -> str:
        rows = [
            "<tr>" + "".join(f"<td style='padding:1px'>{_chip(word(id_), id_)}</td>" for id_ in row) + "</tr>"
            for row in ids[:SHOWN_ROWS, :SHOWN_COLUMNS].tolist()
        ]
        return "<table style='border-collapse:collapse'>" + "".join(rows) + "</table>"

    cells = "".join(
        f"<td style='vertical-align:top;padding-right:2em'><b>{name}</b> {list(ids.shape)}{grid(ids)}</td>"
        for name, ids in named.items()
    )

    def text() -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 3, 0, 0), show_header=True, header_style="")
        for name, ids in named.items():
            table.add_column(f"{name} {list(ids.shape)}".replace("[", "\\["))
        for row in zip(*(ids[:SHOWN_ROWS, :SHOWN_COLUMNS].tolist() for ids in named.values()), strict=True):
            table.add_row(*(Text(" ".join(word(id_) for id_ in ids)) for ids in row))
        return table

    def draw(axes: Axes) -> None:
        corners = [ids[:SHOWN_ROWS, :SHOWN_COLUMNS].tolist() for ids in named.values()]
        cells = [[[(word(id_), id_) for id_ in ids] for ids in corner] for corner in corners]
        size = max((len(text) for corner in cells for row in corner for text, _ in row), default=1)
        rows = [
            [(text.center(size), id_) for part in parts for text, id_ in [*part, ("", -1)]]
            for parts in zip(*cells, strict=True)
        ]
        _draw_chips(axes, rows, title="   ".join(f"{name} {list(ids.shape)}" for name, ids in named.items()))

    return Display(_page(f"<table><tr>{cells}</tr></table>", ""), text, draw)


def windows(data: Any, *, count: int = 6, tokenizer: Any = None) -> Display:
    """A ``WindowDataset``: its first windows, and what becomes of every token.

    Args:
        data: the dataset.
        count: windows shown.
        tokenizer: to show tokens as text; ids without it.
    """
    some = min(count, len(data), SHOWN_ROWS)
    gathered = data.gather(np.arange(some))
    first = batch(gathered["inputs"], gathered["targets"], tokenizer=tokenizer)
    account = data.account()
    facts = {
        "windows": f"{len(data):,}, context_length {data.context_length}, stride {data.stride}",
        "in inputs": f"{account.windows * data.context_length:,} places: {account.distinct:,} distinct tokens, "
        f"{account.repeated:,} repeated, {account.padded:,} padded",
        "stored": f"{account.stored:,} tokens: {account.distinct:,} in some window, {account.dropped:,} dropped",
    }

    def text() -> RenderableType:
        from rich.console import Group

        return Group(_facts_text(facts), "", first.text())

    def draw(axes: Axes) -> None:
        for row in range(some):
            start = row * data.stride
            axes.barh(row, data.context_length, left=start, height=0.7, color="#2c6e8f")
            axes.barh(row, 1, left=start + data.context_length, height=0.7, fill=False, edgecolor="#a3311f", ls=":")
        axes.invert_yaxis()
        axes.set(xlabel="place in the tokens", ylabel="window", title="inputs, and the last target of each window")

    # Windows that keep inside documents don't begin every stride tokens, and have no such picture.
    return Display(_facts_html(facts) + first.html, text, draw if data.within == "stream" else None)


# ---------------------------------------------------------------- stores, vectors, neighbours


def store(opened: Any) -> Display:
    """A ``TokenStore``: its account, and the lengths of its documents."""
    lengths = np.diff(np.asarray(opened.offsets).astype(np.int64))
    facts = {
        "tokens": f"{len(opened):,} as {opened.dtype}",
        "documents": f"{opened.documents:,}"
        + (f", of {lengths.min():,} to {lengths.max():,} tokens" if len(lengths) else ""),
        "tokenizer": f"{opened.manifest['tokenizer']['name']}, vocab_size {opened.vocab_size:,}",
        "path": str(opened.path),
    }
    edges = [0, *(1 << power for power in range(int(lengths.max(initial=0)).bit_length() + 1))]
    counts = np.histogram(lengths, edges)[0]
    first = int(np.argmax(counts > 0))
    bins = [(f"{low:,}", int(count)) for low, count in zip(edges[first:], counts[first:], strict=False)]

    def draw(axes: Axes) -> None:
        axes.bar([name for name, _ in bins], [number for _, number in bins], width=0.9, color="#2c6e8f")
        axes.set(xlabel="tokens, from", ylabel="documents", title="documents by length")

    return Display(_facts_html(facts) + _columns_svg(bins), lambda: _facts_text(facts), draw)


def vectors(keyed: Any) -> Display:
    """``KeyedVectors``: how many, how long, and the first keys."""
    facts = {
        "keys": f"{len(keyed):,}",
        "vector_size": str(keyed.vector_size),
        "first keys": "  ".join(map(repr, keyed.index_to_key[:8])),
    }
    return Display(_facts_html(facts), lambda: _facts_text(facts))


def neighbours(found: Iterable[tuple[str, float]]) -> Display:
    """What ``most_similar`` gave, as bars.

    >>> neighbours([("queen", 0.8524), ("throne", 0.7664)])
    queen   ██████████████████████████████████▏       0.8524
    throne  ██████████████████████████████▋           0.7664
    """
    pairs = [(str(key), float(score)) for key, score in found]
    rows = "".join(
        f"<tr><td style='padding:1px 1em 1px 0;text-align:left'>{html.escape(key)}</td><td style='width:20em'>"
        f"<div style='height:0.8em;background:#2c6e8f;width:{100 * min(1, max(0, score)):.2f}%'></div></td>"
        f"<td style='font-family:monospace;padding-left:1em'>{score:.4f}</td></tr>"
        for key, score in pairs
    )

    def text() -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 0, 0))
        for key, score in pairs:
            table.add_row(Text(key), Text(_bar(score).ljust(40), style="blue"), f"{score:.4f}")
        return table

    def draw(axes: Axes) -> None:
        axes.barh([key for key, _ in pairs], [score for _, score in pairs], color="#2c6e8f")
        axes.invert_yaxis()
        axes.set(xlabel="cosine")

    return Display(_page(f"<table>{rows}</table>", ""), text, draw)


# ---------------------------------------------------------------- embeddings


def embedding(values: Any, *, title: str = "") -> Display:
    """Vectors [T, D] or [B, T, D] as a heat map; a torch tensor or an array."""
    array = _numbers(values)
    rows = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(1, -1)
    told = f"{title} {list(array.shape)}".strip()
    if rows.size:
        told += f", mean {rows.mean():.3f}, standard deviation {rows.std():.3f}"
    corner = rows[:SHOWN_ROWS, :SHOWN_COLUMNS]
    more = "" if corner.shape == rows.shape else f"; the first {corner.shape[0]} × {corner.shape[1]} are shown"

    def text() -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        picture = Text()
        limit = _limit(corner)
        for row in corner:
            for value in row:
                picture.append(" ", style="on #{:02x}{:02x}{:02x}".format(*_colour(float(value) / limit)))
            picture.append("\n")
        return Group(Text(told + more), picture)

    return Display(_page(_heat_svg(corner), told + more), text, lambda axes: _draw_heat(axes, rows))


def layer(module: Any) -> Display:
    """An ``InputEmbedding``: its shapes, its positions, the corner of its token table."""
    weight = module.token_embedding.weight
    scheme = module.position_embedding
    facts = {
        "token table": f"[{module.vocab_size:,}, {module.embedding_dim}]",
        "positions": "none" if scheme is None else type(scheme).__name__,
        "context_length": str(module.context_length or "any"),
        "parameters": f"{sum(p.numel() for p in module.parameters()):,}",
    }
    corner = embedding(weight[:SHOWN_ROWS], title="first rows of the token table")

    def text() -> RenderableType:
        from rich.console import Group

        return Group(_facts_text(facts), "", corner.text())

    return Display(_facts_html(facts) + corner.html, text, corner.draw)


# ---------------------------------------------------------------- pieces


def _visible(tokenizer: Any, id_: int) -> str:
    """A token's text with nothing invisible in it; bytes that are no text, in hexadecimal."""
    data: bytes = tokenizer.decode_bytes([id_])
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"⟨{data.hex(' ')}⟩"
    return "".join(_NAMES.get(c) or (c if c.isprintable() else f"⟨{ord(c):04x}⟩") for c in text)


def _hue(id_: int) -> float:
    return id_ * 137.508 % 360


def _terminal_colour(id_: int) -> str:
    import colorsys

    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(_hue(id_) / 360, 0.82, 0.6))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _chip(word: str, id_: int) -> str:
    return (
        f"<span title='id {id_}' style='background:hsl({_hue(id_):.0f} 60% 88%);color:#1c1a17;padding:1px 4px;"
        f"margin:1px;border-radius:3px;white-space:pre;display:inline-block;line-height:1.25'>{html.escape(word)}"
        f"<small style='display:block;font:0.7em monospace;color:#4e483e'>{id_}</small></span>"
    )


def _page(body: str, note: str) -> str:
    return f"<div style='overflow-x:auto'>{body}<div style='opacity:0.75'>{html.escape(note)}</div></div>"


def _facts_html(facts: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td style='text-align:left;opacity:0.75;padding-right:1.5em'>{html.escape(name)}</td>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table>{rows}</table>"


def _facts_text(facts: dict[str, str]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _bar(score: float, width: int = 40) -> str:
    """A bar for 0…1, to an eighth of a character."""
    eighths = round(8 * width * min(1.0, max(0.0, score)))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _columns_svg(bins: Sequence[tuple[str, int]]) -> str:
    most = max((count for _, count in bins), default=0) or 1
    columns = "".join(
        f"<rect x='{46 * i + 2}' y='{90 - 72 * count / most:.1f}' width='42' height='{72 * count / most:.1f}' "
        f"fill='#2c6e8f'/><text x='{46 * i + 23}' y='104' text-anchor='middle'>{name}</text>"
        f"<text x='{46 * i + 23}' y='{86 - 72 * count / most:.1f}' text-anchor='middle'>{count or ''}</text>"
        for i, (name, count) in enumerate(bins)
    )
    return (
        f"<svg width='{46 * len(bins)}' height='110' style='font:10px monospace;fill:currentColor' role='img' "
        f"aria-label='documents by length'>{columns}</svg>"
    )


def _heat_svg(values: NDArray[np.float64]) -> str:
    limit = _limit(values)
    cells = "".join(
        "<rect x='{}' y='{}' width='8' height='8' fill='#{:02x}{:02x}{:02x}'/>".format(
            8 * column, 8 * row, *_colour(float(value) / limit)
        )
        for (row, column), value in np.ndenumerate(values)
    )
    rows, columns = values.shape
    return (
        f"<svg width='{8 * columns}' height='{8 * rows}' shape-rendering='crispEdges' role='img' "
        f"aria-label='heat map'>{cells}</svg>"
    )


_STOPS = np.array([[20, 74, 105], [92, 153, 184], [252, 251, 248], [222, 146, 105], [140, 52, 18]])


def _colour(level: float) -> tuple[int, int, int]:
    """Red, green and blue of −1 … 1: blue below zero, rust above."""
    place = (min(1.0, max(-1.0, level)) + 1) * 2 if level == level else 2.0
    low = min(int(place), 3)
    red, green, blue = (_STOPS[low] + (_STOPS[low + 1] - _STOPS[low]) * (place - low)).round().astype(int).tolist()
    return red, green, blue


def _limit(values: NDArray[np.float64]) -> float:
    """Where colours are full: three standard deviations, or the largest value if that is less."""
    largest = float(np.abs(values).max(initial=0))
    return min(largest, 3 * float(values.std())) or largest or 1.0 if values.size else 1.0


def _numbers(values: Any) -> NDArray[np.float64]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    array = np.asarray(values, np.float64)
    if array.ndim not in (1, 2, 3):
        raise ArgumentError("a heat map is of vectors [T, D] or [B, T, D]", got=f"shape {list(array.shape)}")
    return array


_LINE = 80  # characters


def _wrapped(chips: list[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Chips in lines of a picture's width, a new one after each line end."""
    lines: list[list[tuple[str, int]]] = [[]]
    for chip in chips:
        if lines[-1] and (_width([*lines[-1], chip]) > _LINE or "↵" in lines[-1][-1][0]):
            lines.append([])
        lines[-1].append(chip)
    return lines


def _width(chips: list[tuple[str, int]]) -> float:
    """In characters of a word's type; ids are set smaller."""
    return sum(max(len(word), 0.7 * len(str(id_))) + 1 for word, id_ in chips)


def _draw_chips(axes: Axes, rows: list[list[tuple[str, int]]], *, title: str) -> None:
    """Coloured tokens above their ids, a line a row; a chip whose id is below 0 is a gap."""
    widest = max(_LINE, *map(_width, rows))
    size = min(9.0, 9.0 * _LINE / widest)
    for line, row in enumerate(rows):
        place = 0.0
        for word, id_ in row:
            if id_ >= 0:
                box = {"boxstyle": "square,pad=0.2", "facecolor": _terminal_colour(id_), "edgecolor": "none"}
                axes.text(place, line, word, family="monospace", fontsize=size, parse_math=False, bbox=box)
                if word.strip() != str(id_):
                    axes.text(place, line + 0.42, str(id_), fontsize=0.6 * size, color="#6b645a")
            place += _width([(word, id_)])
    axes.set(xlim=(-1, widest), ylim=(max(8, len(rows)), -1), title=title)
    axes.axis("off")


def _draw_heat(axes: Axes, values: NDArray[Any]) -> None:
    limit = _limit(np.asarray(values, np.float64))
    picture = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set(xlabel="dimension", ylabel="row")
    axes.figure.colorbar(picture, ax=axes)
