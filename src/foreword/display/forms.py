"""What displays are made of: what is taken of an argument, and how chips, bars, facts and heat maps look.

As text for a terminal, and as HTML for a notebook; ``drawings`` draws them.

Not for: deciding what is shown and how much of it (``displays``, which is what users call). Costs: what it is given.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from foreword._base.pictures import BLUE, GREY
from foreword.display.drawings import STOPS, Placed, token_colour, token_span
from foreword.errors import ArgumentError

__all__ = [
    "Chip", "bar", "beginning", "chip", "colour", "columns_svg", "facts_html", "facts_table", "flowing", "grain",
    "heat_svg", "inputs_and_targets", "page", "scale", "shortened", "side_by_side", "statistics", "token_ids",
    "token_lines", "visible",
]  # fmt: skip

CELL = 12  # characters of a token in a table, at most
_NAMES = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}

Chip = tuple[str, int]  # a token's text, or its id as text, and its id


# ---------------------------------------------------------------- what is taken


def token_ids(name: str, values: Any) -> NDArray[Any]:
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


def inputs_and_targets(inputs: Any, targets: Any) -> dict[str, NDArray[Any]]:
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
    named = {"inputs": token_ids("inputs", inputs)}
    if targets is not None:
        named["targets"] = token_ids("targets", targets)
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


def beginning(values: Any, rows: int, columns: int) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """The shape of vectors, and the numbers of the first of them, at most [rows, columns].

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
        array = array[:rows]
    elif len(shape) == 3:
        array = array[: 1 + rows // max(1, shape[1]), :rows]
    array = array[..., :columns]
    try:
        first = np.array(array.cpu().double().numpy() if hasattr(array, "cpu") else array, np.float64)  # a copy
    except (TypeError, ValueError):
        raise ArgumentError(problem, got=f"{array.dtype}, not numbers") from None
    return shape, first.reshape(math.prod(first.shape[:-1]), first.shape[-1])[:rows]


def statistics(values: NDArray[np.float64]) -> tuple[float, str]:
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
    summary = f": mean {mean:.3g}, standard deviation {spread:.3g}, from {low:.3g} to {high:.3g}"
    return limit, summary + (f", {odd}" if odd else "")


def visible(tokenizer: Any, id_: int) -> str:
    """A token's text with nothing invisible in it; bytes that are no text, in hexadecimal."""
    data: bytes = tokenizer.decode_bytes([id_])
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"⟨{data.hex(' ')}⟩"
    return "".join(_NAMES.get(c) or (c if c.isprintable() else f"⟨{ord(c):04x}⟩") for c in text)


# ---------------------------------------------------------------- text


def flowing(chips: Sequence[Chip], width: int) -> list[list[Placed]]:
    """Chips in lines of so many characters, a new one after each line end."""
    lines: list[list[Placed]] = [[]]
    place = 0
    for chip in chips:
        word, id_ = shortened(chip[0], width), chip[1]
        if lines[-1] and (place + token_span(word, id_) > width or "↵" in lines[-1][-1][1]):
            lines.append([])
            place = 0
        lines[-1].append((place, word, id_))
        place += token_span(word, id_) + 1
    return lines


def side_by_side(
    parts: Sequence[Sequence[Sequence[Chip]]], heads: Sequence[str], width: int
) -> tuple[list[list[Placed]], list[int], int]:
    """Grids of one shape beside each other in columns: their lines, where each grid starts, the columns that fit."""
    gap = 3
    room = (width - gap * (len(parts) - 1)) // len(parts)
    cut = [[[(shortened(word, min(room, CELL)), id_) for word, id_ in row] for row in part] for part in parts]
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


def token_lines(rows: Sequence[Sequence[Placed]], *, chips: bool = True) -> Text:
    """Tokens above their ids, each at its place; ids alone where they are all there is."""
    lines_of_text = []
    for row in rows:
        words, ids = Text(no_wrap=True), Text(style="dim", no_wrap=True)
        for place, word, id_ in row:
            words.pad_right(place - words.cell_len)
            words.append(word, f"black on {token_colour(id_)}" if chips else "bold")
            ids.pad_right(place - ids.cell_len)
            ids.append(str(id_))
        lines_of_text += [words, ids] if chips and any(word != str(id_) for _, word, id_ in row) else [words]
    return Text("\n", no_wrap=True).join(lines_of_text)


def facts_table(facts: Mapping[str, str]) -> Table:
    """Facts by name."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def shortened(text: str, width: int) -> str:
    """A text of so many characters of a terminal at most."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def bar(share: float, width: int) -> str:
    """A bar for 0…1, to an eighth of a character."""
    eighths = round(8 * width * share)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def grain(share: float, width: int) -> str:
    """A bar for a score below 0."""
    return "▒" * round(width * share)


# ---------------------------------------------------------------- HTML


def chip(word: str, id_: int) -> str:
    """A coloured token above its id."""
    below = f"<small style='display:block;font:0.7em monospace;color:#4e483e'>{id_}</small>" if word != str(id_) else ""
    return (
        f"<span title='id {id_}' style='background:{token_colour(id_)};color:#1c1a17;padding:1px 4px;"
        f"margin:1px;border-radius:3px;white-space:pre;display:inline-block;line-height:1.25'>{html.escape(word)}"
        f"{below}</span>"
    )


def page(body: str, note: str) -> str:
    """What is shown, and a note under it."""
    return f"<div style='overflow-x:auto'>{body}<div style='opacity:0.75'>{html.escape(note)}</div></div>"


def facts_html(facts: Mapping[str, str]) -> str:
    """Facts by name."""
    rows = "".join(
        f"<tr><td style='text-align:left;opacity:0.75;padding-right:1.5em'>{html.escape(name)}</td>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table>{rows}</table>"


def columns_svg(bins: Sequence[tuple[str, int]], label: str) -> str:
    """How many documents are of which length, a column a bin; ``label`` is for who can't see it."""
    most = max((count for _, count in bins), default=0) or 1
    columns = "".join(
        f"<rect x='{46 * i + 2}' y='{102 - 66 * count / most:.1f}' width='42' height='{66 * count / most:.1f}' "
        f"fill='{BLUE}'/><text x='{46 * i + 23}' y='114' text-anchor='middle'>{name}</text>"
        f"<text x='{46 * i + 23}' y='{98 - 66 * count / most:.1f}' text-anchor='middle'>{count or ''}</text>"
        for i, (name, count) in enumerate(bins)
    )
    return (
        f"<svg width='{max(200, 46 * len(bins))}' height='134' style='font:10px monospace;fill:currentColor' "
        f"role='img' aria-label='{html.escape(label)}'><text x='2' y='10'>documents</text>{columns}"
        f"<text x='2' y='130'>tokens of a document, from</text></svg>"
    )


def heat_svg(values: NDArray[np.float64], limit: float, label: str) -> str:
    """A square a number, of full colour at ``limit``; ``label`` is for who can't see it."""
    cells = "".join(
        f"<rect x='{8 * column}' y='{8 * row}' width='8' height='8' fill='{colour(float(value), limit)}'/>"
        for (row, column), value in np.ndenumerate(values)
    )
    rows, columns = values.shape
    return (
        f"<svg width='{8 * columns}' height='{8 * rows}' shape-rendering='crispEdges' role='img' "
        f"aria-label='heat map of {html.escape(label, quote=True)}'>{cells}</svg>"
    )


def colour(value: float, limit: float) -> str:
    """Blue at −limit, white at 0, rust at limit; grey for what is not finite."""
    if not math.isfinite(value):
        return GREY
    place = (min(1.0, max(-1.0, value / limit)) + 1) * 2
    low = min(int(place), 3)
    red, green, blue = (STOPS[low] + (STOPS[low + 1] - STOPS[low]) * (place - low)).round().astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def scale(values: NDArray[np.float64], limit: float) -> str:
    """The colours in words; nothing where there are no numbers."""
    finite = np.isfinite(values)
    grey = "" if finite.all() else ", grey not finite"
    return f"; blue −{limit:.2g}, white 0, rust +{limit:.2g}{grey}" if finite.any() else ""
