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

Not for: the explorer's page. It knows nothing of the rooms: it takes their objects as they come, and reads their public
attributes. Costs: what it shows, never all there is; nothing heavy is imported until a picture is drawn.
"""

from __future__ import annotations

import dataclasses
import html
import io
import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from foreword import _pictures
from foreword._pictures import BLUE, GREY, LINE, RUST, STOPS, Placed, token_colour, token_span, writable
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
CELL = 12  # characters of a token in a table, at most
TEXT_WIDTH = 100  # of ``print``, where the terminal is not narrower
_NAMES = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}

Chip = tuple[str, int]  # a token's text, or its id as text, and its id


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
            _pictures.check_picture(path)
        figure = _pictures.figure(size or self.size)
        self.draw(figure.add_subplot())
        if path is not None:
            _pictures.save(figure, path)
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
    ids = _ids("token ids", text_or_ids).reshape(-1)
    shown = [(_visible(tokenizer, id_), id_) for id_ in ids[:SHOWN_TOKENS].tolist()]
    told = f"{len(ids):,} token{'' if len(ids) == 1 else 's'}, {len(np.unique(ids)):,} distinct"
    told += f" (the first {len(shown)} are shown)" if len(shown) < len(ids) else ""
    marked = "".join(_chip(*chip) + ("<br>" if "↵" in chip[0] else "") for chip in shown)
    drawn = _flowing(shown, LINE)
    return Display(
        _page(f"<div style='line-height:2.4'>{marked}</div>", told),
        lambda width, _: Group(_lines(_flowing(shown, width)), Text(told)),
        lambda axes: _pictures.chips(axes, drawn, told),
        _pictures.chips_size(drawn),
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
    named = _inputs_and_targets(inputs, targets)
    rows, columns = next(iter(named.values())).shape

    def chip(id_: int) -> Chip:
        return (str(id_) if tokenizer is None or id_ < 0 else _visible(tokenizer, id_)), id_

    parts = [
        [[chip(id_) for id_ in row] for row in ids[:SHOWN_ROWS, :SHOWN_COLUMNS].tolist()] for ids in named.values()
    ]
    heads = [f"{name} {list(ids.shape)}" for name, ids in named.items()]

    def told(count: int) -> str:
        shown = min(rows, SHOWN_ROWS), min(columns, count)
        if not rows or shown == (rows, columns):
            return ""
        return f"the first {shown[0]} of {rows:,} windows and {shown[1]} of {columns:,} tokens are shown"

    def grid(part: list[list[Chip]]) -> str:
        lines = (
            "<tr>" + "".join(f"<td style='padding:1px;text-align:left'>{_chip(*one)}</td>" for one in row) + "</tr>"
            for row in part
        )
        return f"<table style='border-collapse:collapse'>{''.join(lines)}</table>"

    cells = "".join(
        f"<td style='vertical-align:top;text-align:left;padding-right:2em'><b>{head}</b>{grid(part)}</td>"
        for head, part in zip(heads, parts, strict=True)
    )

    def text(width: int, _: bool) -> RenderableType:
        lines, places, count = _side_by_side(parts, heads, width)
        first = _lines([[(place, head, -1) for place, head in zip(places, heads, strict=True)]], chips=False)
        return Group(first, _lines(lines), *([Text(told(count))] if told(count) else []))

    drawn, _, count = _side_by_side(parts, heads, LINE + LINE // 2)
    title = "   ".join(heads) + (f"\n{told(count)}" if told(count) else "")
    return Display(
        _page(f"<table><tr>{cells}</tr></table>", told(SHOWN_COLUMNS)),
        text,
        lambda axes: _pictures.chips(axes, drawn, title),
        _pictures.chips_size(drawn),
    )


def windows(data: Any, *, count: int = 6, tokenizer: Any = None) -> Display:
    """A ``WindowDataset``: its first windows, and what becomes of every token.

    Args:
        data: the dataset.
        count: windows shown, at most 16.
        tokenizer: to show tokens as text; that of the dataset's store where it is None, and ids where there is none.
    """
    some = np.arange(max(0, min(count, len(data), SHOWN_ROWS)))
    if tokenizer is None and data.source is not None:
        try:
            tokenizer = data.source.tokenizer
        except ForewordError:  # the store does not say, or it is not to be had here
            tokenizer = None
    first = batch(data.gather(some), tokenizer=tokenizer)
    rows, places, starts, lengths = (each.tolist() for each in data.spans(some))
    # Packed documents are far from one another in the stream: they are drawn where they lie in the window.
    packed = data.context_length if data.packing is not None else None
    pieces = list(zip(rows, places if packed else starts, lengths, strict=True))
    return dataclasses.replace(
        _facts(_account(data.account()), first),
        draw=lambda axes: _pictures.spans(axes, pieces, packed=packed),
        size=(8, 1.2 + 0.3 * max(2, len(some))),
    )


def loader(opened: Any) -> Display:
    """A ``WindowLoader``: its batches, their order, and what becomes of every token of an epoch."""
    share = f", rank {opened.rank} of {opened.world_size}" if opened.world_size > 1 else ""
    facts = {
        "batches": f"{len(opened):,} an epoch, of {opened.batch_size:,} windows{share}",
        "order": f"shuffled, seed {opened.seed}" if opened.shuffle else "as they come",
    }
    if not isinstance(opened.data, Mapping):
        return _facts(facts | _account(opened.data.account()))
    return _facts(facts | {name: _account(data.account())["windows"] for name, data in sorted(opened.data.items())})


def account(told: Any) -> Display:
    """A ``TokenAccount``: what becomes of every token."""
    return _facts(_account(told))


def _account(told: Any) -> dict[str, str]:
    cut = "packed" if told.stride is None else f"stride {told.stride:,}"
    return {
        "windows": f"{told.windows:,}, context_length {told.context_length:,}, {cut}",
        "in inputs": f"{told.windows * told.context_length:,} places: {told.distinct:,} distinct tokens, "
        f"{told.repeated:,} repeated, {told.padded:,} padded",
        "stored": f"{told.stored:,} tokens: {told.distinct:,} in some window, {told.dropped:,} dropped",
    }


# ---------------------------------------------------------------- stores, vectors, neighbours


def store(opened: Any) -> Display:
    """A ``TokenStore``: its account, and the lengths of its documents."""
    lengths = np.diff(np.asarray(opened.offsets).astype(np.int64))
    documents = f"{opened.documents:,}"
    if len(lengths):
        documents += f", of {lengths.min():,} to {lengths.max():,} tokens, {lengths.mean():,.1f} on average"
    facts = {
        "tokens": f"{len(opened):,} as {opened.dtype}",
        "documents": documents,
        "tokenizer": f"{opened.manifest['tokenizer'].get('name') or 'unknown'}, vocab_size {opened.vocab_size:,}",
        "path": str(opened.path),
    }
    edges = [0, *(1 << power for power in range(int(lengths.max(initial=0)).bit_length() + 1))]
    counts = np.histogram(lengths, edges)[0]
    first = int(np.argmax(counts > 0))
    bins = [(f"{low:,}", int(count)) for low, count in zip(edges[first:], counts[first:], strict=False)]
    shown = _facts(facts)
    return dataclasses.replace(
        shown,
        html=shown.html + _columns_svg(bins, f"documents by length: {documents}"),
        draw=lambda axes: _pictures.columns(axes, bins, "documents by length"),
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
    told = "" if every else "no neighbours"
    if len(pairs) < len(every):
        told = f"the first {len(pairs)} of {len(every):,} are shown"

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
            bar, style = (_bar(share(score), room), "cyan") if not score < 0 else (_grain(share(score), room), "red")
            table.add_row(Text(_shortened(key, keys)), Text(bar.ljust(room), style), Text(f"{score:.4f}"))
        return Group(
            *([Text(title, "bold")] if title else []), *([table] if pairs else []), *([Text(told)] if told else [])
        )

    return Display(
        _page(f"{heading}<table>{marked}</table>", told),
        text,
        lambda axes: _pictures.bars(axes, pairs, "\n".join(filter(None, [title, told]))),
        (8, 1 + 0.25 * max(3, len(pairs))),
    )


# ---------------------------------------------------------------- embeddings


def embedding(values: Any, *, title: str = "") -> Display:
    """Vectors [T, D] or [B, T, D] as a heat map; a torch tensor or an array.

    Without colour the text is the numbers themselves. Mean, standard deviation and range are those of what is shown.
    """
    shape, numbers = _beginning(values)
    size = math.prod(shape[:-1]), shape[-1]

    def part(rows: int, columns: int) -> tuple[NDArray[np.float64], float, str]:
        """What is shown of it, where its colours are full, and what is told of it."""
        shown = numbers[:rows, :columns]
        limit, told = _told(shown)
        cut = "" if shown.shape == size else f", the first {shown.shape[0]} × {shown.shape[1]} are shown"
        return shown, limit, f"{title} {list(shape)}{cut}{told}".strip()

    def text(width: int, colour: bool) -> RenderableType:
        if not numbers.size:
            return Text(part(SHOWN_ROWS, SHOWN_COLUMNS)[2])
        if colour:
            shown, limit, told = part(SHOWN_ROWS, min(SHOWN_COLUMNS, width))
            cells = [Text.assemble(*((" ", f"on {_colour(v, limit)}") for v in row)) for row in shown.tolist()]
            return Group(Text(told + _scale(shown, limit)), *cells)
        written = [[f"{v:#.2g}" for v in row] for row in numbers[:SHOWN_ROWS, :SHOWN_COLUMNS].tolist()]
        cell = 1 + max(len(one) for row in written for one in row)
        columns = max(1, width // cell)
        lines = ("".join(one.rjust(cell) for one in row[:columns]) for row in written)
        return Group(Text(part(SHOWN_ROWS, min(SHOWN_COLUMNS, columns))[2]), Text("\n".join(lines), no_wrap=True))

    shown, limit, told = part(SHOWN_ROWS, SHOWN_COLUMNS)
    drawn, drawn_limit, drawn_told = part(DRAWN_ROWS, DRAWN_COLUMNS)
    return Display(
        _page(_heat_svg(shown, limit, told), told + _scale(shown, limit)),
        text,
        lambda axes: _pictures.heat(axes, drawn, drawn_limit, drawn_told.replace(": ", "\n", 1)),
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


# ---------------------------------------------------------------- what is taken


def _ids(name: str, values: Any) -> NDArray[Any]:
    """Token ids as an array; a tensor's too.

    Raises:
        ArgumentError: they are not integers, or of uneven rows.
    """
    try:
        ids = np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)
    except ValueError:
        raise ArgumentError(f"{name} must be integers", got="rows of uneven lengths") from None
    if ids.dtype.kind not in "ui" and ids.size:
        raise ArgumentError(f"{name} must be integers", got=f"{ids.dtype}, shape {list(ids.shape)}")
    return ids


def _inputs_and_targets(inputs: Any, targets: Any) -> dict[str, NDArray[Any]]:
    """Both by name, [B, T] each; targets only where there are some.

    Raises:
        ArgumentError: they are not integers [B, T], or not of one shape.
    """
    if isinstance(inputs, Mapping):
        if "inputs" not in inputs:
            raise ArgumentError("a batch has inputs", got=", ".join(map(str, inputs)), expected="inputs, targets")
        inputs, targets = inputs["inputs"], inputs.get("targets", targets)
    elif targets is None and isinstance(inputs, tuple | list) and len(inputs) == 2 and _depth(inputs[0]) == 2:
        inputs, targets = inputs
    named = {"inputs": _ids("inputs", inputs)} | ({} if targets is None else {"targets": _ids("targets", targets)})
    for name, ids in named.items():
        if ids.ndim != 2:
            raise ArgumentError(f"{name} must be integers [B, T]", got=f"shape {list(ids.shape)}")
        if ids.shape != named["inputs"].shape:
            raise ArgumentError(
                "targets must have the shape of inputs",
                got=f"inputs {list(named['inputs'].shape)}, targets {list(ids.shape)}",
            )
    return named


def _depth(values: Any) -> int:
    """The dimensions of an array or of nested lists."""
    if hasattr(values, "ndim"):
        return int(values.ndim)
    return 1 + (_depth(values[0]) if values else 0) if isinstance(values, tuple | list) else 0


def _beginning(values: Any) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """The shape of vectors, and the numbers of the first of them: [n, D], as many as a picture shows.

    Raises:
        ArgumentError: they are not numbers [D], [T, D] or [B, T, D].
    """
    problem = "a heat map is of vectors [T, D] or [B, T, D]"
    try:
        array = values.detach() if hasattr(values, "detach") else np.asarray(values)
    except ValueError:
        raise ArgumentError(problem, got="rows of uneven lengths") from None
    shape = tuple(array.shape)
    if len(shape) not in (1, 2, 3) or "complex" in str(array.dtype):
        raise ArgumentError(problem, got=f"{array.dtype}, shape {list(shape)}")
    if len(shape) == 2:
        array = array[:DRAWN_ROWS]
    elif len(shape) == 3:
        array = array[: 1 + DRAWN_ROWS // max(1, shape[1]), :DRAWN_ROWS]
    array = array[..., :DRAWN_COLUMNS]
    try:
        first = np.array(array.cpu().double().numpy() if hasattr(array, "cpu") else array, np.float64)  # a copy
    except (TypeError, ValueError):
        raise ArgumentError(problem, got=f"{array.dtype}, not numbers") from None
    return shape, first.reshape(math.prod(first.shape[:-1]), first.shape[-1])[:DRAWN_ROWS]


def _told(values: NDArray[np.float64]) -> tuple[float, str]:
    """Where colours are full, three standard deviations or the largest value if that is less; and the statistics.

    Both are of the finite numbers.
    """
    finite = values[np.isfinite(values)]
    odd = f"{values.size - finite.size:,} not finite" if finite.size < values.size else ""
    if not finite.size:
        return 1.0, f": {odd or 'no numbers'}"
    with np.errstate(all="ignore"):  # float64 is too narrow for the squares of the largest and the least
        mean, spread, low, high = map(float, (finite.mean(), finite.std(), finite.min(), finite.max()))
    largest = max(-low, high)
    limit = min(largest, 3 * spread) or largest or 1.0
    told = f": mean {mean:.3g}, standard deviation {spread:.3g}, from {low:.3g} to {high:.3g}"
    return limit, told + (f", {odd}" if odd else "")


def _visible(tokenizer: Any, id_: int) -> str:
    """A token's text with nothing invisible in it; bytes that are no text, in hexadecimal."""
    data: bytes = tokenizer.decode_bytes([id_])
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"⟨{data.hex(' ')}⟩"
    return "".join(_NAMES.get(c) or (c if c.isprintable() else f"⟨{ord(c):04x}⟩") for c in text)


# ---------------------------------------------------------------- text


def _flowing(chips: Sequence[Chip], width: int) -> list[list[Placed]]:
    """Chips in lines of so many characters, a new one after each line end."""
    lines: list[list[Placed]] = [[]]
    place = 0
    for chip in chips:
        word, id_ = _shortened(chip[0], width), chip[1]
        if lines[-1] and (place + token_span(word, id_) > width or "↵" in lines[-1][-1][1]):
            lines.append([])
            place = 0
        lines[-1].append((place, word, id_))
        place += token_span(word, id_) + 1
    return lines


def _side_by_side(
    parts: Sequence[Sequence[Sequence[Chip]]], heads: Sequence[str], width: int
) -> tuple[list[list[Placed]], list[int], int]:
    """Grids of one shape beside each other in columns: their lines, where each grid starts, the columns that fit."""
    gap = 3
    room = (width - gap * (len(parts) - 1)) // len(parts)
    cut = [[[(_shortened(word, min(room, CELL)), id_) for word, id_ in row] for row in part] for part in parts]
    widths = [max(token_span(*chip) for chip in column) for column in zip(*itertools.chain(*cut), strict=True)]
    places = list(itertools.accumulate((one + 1 for one in widths), initial=0))  # of each column, and the end
    count = max(1, sum(end - 1 <= room for end in places[1:]))
    each = max(len(heads[0]), places[min(count, len(widths))] - 1) + gap
    starts = [each * i for i in range(len(parts))]
    lines = [
        [
            (start + place, *chip)
            for start, row in zip(starts, rows, strict=True)
            for place, chip in zip(places, row[:count], strict=False)
        ]
        for rows in zip(*cut, strict=True)
    ]
    return lines, starts, count


def _lines(rows: Sequence[Sequence[Placed]], *, chips: bool = True) -> Text:
    """Tokens above their ids, each at its place; ids alone where they are all there is."""
    made = []
    for row in rows:
        words, ids = Text(no_wrap=True), Text(style="dim", no_wrap=True)
        for place, word, id_ in row:
            words.pad_right(place - words.cell_len)
            words.append(word, f"black on {token_colour(id_)}" if chips else "bold")
            ids.pad_right(place - ids.cell_len)
            ids.append(str(id_))
        made += [words, ids] if chips and any(word != str(id_) for _, word, id_ in row) else [words]
    return Text("\n", no_wrap=True).join(made)


def _shortened(text: str, width: int) -> str:
    """A text of so many characters of a terminal at most."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def _bar(share: float, width: int) -> str:
    """A bar for 0…1, to an eighth of a character."""
    eighths = round(8 * width * share)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _grain(share: float, width: int) -> str:
    """A bar for a score below 0."""
    return "▒" * round(width * share)


# ---------------------------------------------------------------- HTML


def _chip(word: str, id_: int) -> str:
    below = f"<small style='display:block;font:0.7em monospace;color:#4e483e'>{id_}</small>" if word != str(id_) else ""
    return (
        f"<span title='id {id_}' style='background:{token_colour(id_)};color:#1c1a17;padding:1px 4px;"
        f"margin:1px;border-radius:3px;white-space:pre;display:inline-block;line-height:1.25'>{html.escape(word)}"
        f"{below}</span>"
    )


def _page(body: str, note: str) -> str:
    return f"<div style='overflow-x:auto'>{body}<div style='opacity:0.75'>{html.escape(note)}</div></div>"


def _facts(facts: dict[str, str], below: Display | None = None) -> Display:
    """Facts by name, and another display under them, whose picture is that of both."""
    rows = "".join(
        f"<tr><td style='text-align:left;opacity:0.75;padding-right:1.5em'>{html.escape(name)}</td>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )

    def text(width: int, colour: bool) -> RenderableType:
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, value in facts.items():
            table.add_row(Text(name, style="dim"), Text(value))
        return Group(table, *([] if below is None else ["", below.text(width, colour)]))

    shown = Display(f"<table>{rows}</table>", text)
    return shown if below is None else dataclasses.replace(below, html=shown.html + below.html, text=text)


def _columns_svg(bins: Sequence[tuple[str, int]], told: str) -> str:
    most = max((count for _, count in bins), default=0) or 1
    columns = "".join(
        f"<rect x='{46 * i + 2}' y='{102 - 66 * count / most:.1f}' width='42' height='{66 * count / most:.1f}' "
        f"fill='{BLUE}'/><text x='{46 * i + 23}' y='114' text-anchor='middle'>{name}</text>"
        f"<text x='{46 * i + 23}' y='{98 - 66 * count / most:.1f}' text-anchor='middle'>{count or ''}</text>"
        for i, (name, count) in enumerate(bins)
    )
    return (
        f"<svg width='{max(200, 46 * len(bins))}' height='134' style='font:10px monospace;fill:currentColor' "
        f"role='img' aria-label='{html.escape(told)}'><text x='2' y='10'>documents</text>{columns}"
        f"<text x='2' y='130'>tokens of a document, from</text></svg>"
    )


def _heat_svg(values: NDArray[np.float64], limit: float, told: str) -> str:
    cells = "".join(
        f"<rect x='{8 * column}' y='{8 * row}' width='8' height='8' fill='{_colour(float(value), limit)}'/>"
        for (row, column), value in np.ndenumerate(values)
    )
    rows, columns = values.shape
    return (
        f"<svg width='{8 * columns}' height='{8 * rows}' shape-rendering='crispEdges' role='img' "
        f"aria-label='heat map of {html.escape(told, quote=True)}'>{cells}</svg>"
    )


def _colour(value: float, limit: float) -> str:
    """Blue at −limit, white at 0, rust at limit; grey for what is not finite."""
    if not math.isfinite(value):
        return GREY
    place = (min(1.0, max(-1.0, value / limit)) + 1) * 2
    low = min(int(place), 3)
    red, green, blue = (STOPS[low] + (STOPS[low + 1] - STOPS[low]) * (place - low)).round().astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _scale(values: NDArray[np.float64], limit: float) -> str:
    """The colours in words; nothing where there are no numbers."""
    finite = np.isfinite(values)
    grey = "" if finite.all() else ", grey not finite"
    return f"; blue −{limit:.2g}, white 0, rust +{limit:.2g}{grey}" if finite.any() else ""
