"""Drawings of ``displays``, by matplotlib.

Not for: deciding what is shown; each drawing gets what fits. Costs: matplotlib is imported where a picture is begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from foreword._base.pictures import BLUE, GREY, RUST, fonts, writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bars", "chips", "chips_size", "columns", "heat", "spans", "token_colour", "token_span"]

STOPS = np.array([[20, 74, 105], [92, 153, 184], [252, 251, 248], [222, 146, 105], [140, 52, 18]])  # −1 … 1
LINE = 80  # characters of a line of tokens; longer lines make a wider picture

Placed = tuple[int, str, int]  # a token in a line: where it starts, in characters; its text; its id


def bars(axes: Axes, pairs: Sequence[tuple[str, float]], title: str) -> None:
    """A bar for each key's score, from the top down."""
    labels, scores = [writable(key) for key, _ in pairs], [score for _, score in pairs]
    places = range(len(pairs))
    axes.barh(places, scores, color=[RUST if score < 0 else BLUE for score in scores])
    axes.set_yticks(places, labels, family=fonts("".join(labels)), parse_math=False)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlabel("cosine")
    _title(axes, title)


def columns(axes: Axes, bins: Sequence[tuple[str, int]], title: str) -> None:
    """How many documents are of which length: a column a bin, a name at every so many."""
    axes.bar(range(len(bins)), [number for _, number in bins], width=0.9, color=BLUE)
    named = range(0, len(bins), -(-len(bins) // 9) or 1)
    axes.set_xticks(named, [bins[i][0] for i in named])
    axes.set(xlabel="tokens of a document, from", ylabel="documents")
    _integers(axes.yaxis)
    _title(axes, title)


def chips(axes: Axes, rows: Sequence[Sequence[Placed]], title: str) -> None:
    """Coloured tokens above their ids, a line a row."""
    across, down = chips_size(rows)
    room = axes.figure.bbox
    size = 9.0 * min(1.0, room.width / axes.figure.dpi / across, room.height / axes.figure.dpi / down)
    family = ["DejaVu Sans Mono", *fonts("".join(word for row in rows for _, word, _ in row))]
    for line, row in enumerate(rows):
        for place, word, id_ in row:
            box = {"boxstyle": "square,pad=0.2", "facecolor": token_colour(id_), "edgecolor": "none"}
            axes.text(place, line, word, family=family, fontsize=size, parse_math=False, bbox=box)
            if word != str(id_):
                axes.text(place, line + 0.42, str(id_), fontsize=0.6 * size, color="#6b645a")
    axes.set(xlim=(-1, _widest(rows)), ylim=(max(1, len(rows)) - 0.3, -0.6))
    axes.axis("off")
    _title(axes, title)


def chips_size(rows: Sequence[Sequence[Placed]]) -> tuple[float, float]:
    """Inches that tokens of 9 points take."""
    return 0.1 * _widest(rows), 0.6 + 0.36 * max(1, len(rows))


def _widest(rows: Sequence[Sequence[Placed]]) -> int:
    return max([LINE, *(place + token_span(word, id_) for row in rows for place, word, id_ in row)])


def token_span(word: str, id_: int) -> int:
    """The characters that a token above its id takes."""
    return max(cell_len(word), len(str(id_)))


def token_colour(id_: int) -> str:
    """A light colour for a token id, the same everywhere."""
    import colorsys

    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(id_ * 137.508 % 360 / 360, 0.84, 0.6))
    return f"#{red:02x}{green:02x}{blue:02x}"


def heat(axes: Axes, values: NDArray[np.float64], limit: float, title: str) -> None:
    """Numbers [n, D] as colours, blue at −limit, rust at limit; grey where they are not finite."""
    from matplotlib.colors import LinearSegmentedColormap

    axes.set(xlabel="dimension", ylabel="row")
    _title(axes, title)
    if values.size:
        colours = LinearSegmentedColormap.from_list("foreword", STOPS / 255).with_extremes(bad=GREY)
        shown = np.ma.masked_invalid(values)
        picture = axes.imshow(shown, aspect="auto", cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
        axes.figure.colorbar(picture, ax=axes)
    _integers(axes.yaxis)
    _integers(axes.xaxis)


def spans(axes: Axes, pieces: Sequence[tuple[int, int, int]], *, packed: int | None) -> None:
    """Runs of inputs, (window, where it starts, length), a line a window.

    They start in the stream, and the last target is drawn too; or, ``packed`` into so many places, in the window.
    """
    for row, start, length in pieces:
        axes.barh(row, length, left=start, height=0.7, color=BLUE, edgecolor="white")
        if not packed:
            axes.barh(row, 1, left=start + length, height=0.7, fill=False, edgecolor=RUST, ls=":")
    axes.invert_yaxis()
    axes.set(xlabel="place in the window" if packed else "place in the tokens", ylabel="window")
    if packed:
        axes.set_xlim(0, packed)
    _integers(axes.xaxis)
    _integers(axes.yaxis)
    axes.ticklabel_format(style="plain", useOffset=False)
    _title(axes, "inputs: documents side by side" if packed else "inputs, and the last target of each window")


def _integers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _title(axes: Axes, title: str) -> None:
    lines = [writable(line, 110) for line in title.split("\n")]
    axes.set_title("\n".join(lines), fontsize=10, family=fonts("".join(lines)), parse_math=False)
