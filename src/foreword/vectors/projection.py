"""Maps of words: vectors → places in the plane, and a picture of them.

``word_map`` places words by principal components (numpy, exact, the same everywhere), or by t-SNE or UMAP where
scikit-learn or umap-learn is installed; ``draw_word_map`` writes the picture with matplotlib.

Not for: judging distances: two dimensions keep a part of them only, and the picture says how large a part. Costs: 500
words of 300 dimensions are placed by principal components in 20 ms, and drawn in a second or two.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foreword._base.pictures import check_picture, fonts, quiet, save, writable
from foreword._base.words import counted
from foreword.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    from foreword.vectors.keyed_vectors import KeyedVectors

__all__ = ["Method", "WordMap", "draw_word_map", "pca", "word_map"]

Method = Literal["pca", "tsne", "umap"]
Role = Literal["query", "minus", "near"]
_NAMES = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True, slots=True, eq=False)
class WordMap:
    """Words in the plane.

    Attributes:
        words: n words.
        roles: what each is: in the query, subtracted in it, or near.
        places: float64 [n, 2].
        method: how they were placed.
        kept: the share of the variance that the plane keeps, 0…1; None where the method has none.
    """

    words: list[str]
    roles: list[Role]
    places: NDArray[np.float64]
    method: Method
    kept: float | None


def word_map(
    vectors: KeyedVectors,
    words: Iterable[str],
    *,
    minus: Iterable[str] = (),
    near: Iterable[str] = (),
    method: Method = "pca",
) -> WordMap:
    """Place words in the plane, by their vectors scaled to length 1.

    Args:
        vectors: where the words are.
        words: words to show; ``minus`` and ``near`` are drawn otherwise. A word given twice is placed once.
        minus: words that were subtracted.
        near: words that were found.
        method: "pca", "tsne" or "umap".

    Raises:
        UnknownKeyError: a word isn't there.
        ArgumentError: there are no words.
        MissingPackageError: the method's package isn't installed.
    """
    roles: dict[str, Role] = {}
    given: tuple[tuple[Role, Iterable[str]], ...] = (("query", words), ("minus", minus), ("near", near))
    for role, of in given:
        for word in of:
            roles.setdefault(word, role)
    if not roles:
        raise ArgumentError("a map needs words", got="none")
    rows = np.stack([vectors.get_vector(word, norm=True) for word in roles]).astype(np.float64)
    kept = None
    if method == "pca" or len(rows) < 4:  # fewer have no neighbourhoods to keep
        method = "pca"
        places, kept = pca(rows)
    elif method == "tsne":
        places = _tsne(rows)
    elif method == "umap":
        places = _umap(rows)
    else:
        raise ArgumentError("unknown way to make a map", got=repr(method), expected="pca, tsne or umap")
    return WordMap(list(roles), list(roles.values()), places, method, kept)


def pca(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The first two principal components of ``rows`` [n, D]: places float64 [n, 2], and the share of variance kept.

    Each component's sign is such that its largest loading is positive, so that a picture comes out the same everywhere.

    >>> places, kept = pca(np.array([[0.0, 5.0, 0.0], [2.0, 5.0, 0.0], [4.0, 5.0, 0.0]]))
    >>> places.round(3) + 0.0, kept
    (array([[-2.,  0.],
            [ 0.,  0.],
            [ 2.,  0.]]), 1.0)
    """
    centred = rows - rows.mean(axis=0)
    left, spread, loadings = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(loadings[np.arange(len(loadings)), np.abs(loadings).argmax(axis=1)])
    places = np.zeros((len(rows), 2))
    found = min(2, len(spread))
    places[:, :found] = (left * spread * np.where(signs == 0, 1, signs))[:, :found]
    total = float((spread**2).sum())
    return places, float((spread[:2] ** 2).sum()) / total if total > 0 else 1.0


def _tsne(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise MissingPackageError("t-SNE needs scikit-learn", fix="pip install scikit-learn, or use pca") from None
    perplexity = min(30.0, (len(rows) - 1) / 3)
    placed = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=0).fit_transform(rows)
    return np.asarray(placed, dtype=np.float64)


def _umap(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        from umap import UMAP
    except ImportError:
        raise MissingPackageError("UMAP needs umap-learn", fix="pip install umap-learn, or use pca") from None
    neighbours = min(15, len(rows) - 1)
    placed = UMAP(metric="cosine", n_neighbors=neighbours, init="random", random_state=0, n_jobs=1).fit_transform(rows)
    return np.asarray(placed, dtype=np.float64)


# Drawing.


@dataclass(frozen=True, slots=True)
class _Look:
    """The colours of a picture; blue, orange and grey are told apart by the colour-blind too."""

    ground: str
    text: str
    faint: str
    query: str
    minus: str
    near: str


_LIGHT = _Look("#ffffff", "#22262b", "#6b7280", "#1d5fc4", "#b8480b", "#8a929c")
_DARK = _Look("#14171b", "#dde1e6", "#8f98a3", "#7fb5ff", "#ffa066", "#717b87")
_SIGNS = {"query": ("o", 34), "minus": ("X", 40), "near": ("o", 12)}  # marker, area


def draw_word_map(
    what: WordMap,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    dark: bool = False,
    size: tuple[float, float] = (9, 7),
) -> None:
    """Write the picture of a map to ``path``, whole or not at all.

    Every word has its point. Labels go where they hide nothing, those asked about first; where there is no room a word
    keeps only its point. A script that no font of this machine can write is told in the log, and shown as boxes.

    Args:
        what: the map.
        path: a .png, .svg or .pdf file.
        title: what stands above.
        dark: whether the ground is dark.
        size: width and height in inches, of 150 dots.

    Raises:
        ArgumentError: the suffix isn't one of these.
        MissingPackageError: matplotlib isn't installed.
        FileError: the file can't be written.
    """
    check_picture(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    look = _DARK if dark else _LIGHT
    labels, title = [writable(word) for word in what.words], writable(title, 90)
    with rc_context({"font.family": fonts("".join(labels) + title), "svg.fonttype": "path"}), quiet():
        figure = Figure(figsize=size, dpi=150, facecolor=look.ground)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.02, 0.06, 0.96, 0.86 if title else 0.92))
        _points(axes, what, look)
        _labels(axes, labels, what, look)
        if title:
            figure.text(0.03, 0.955, title, color=look.text, size=14, weight="bold", va="center", parse_math=False)
        figure.text(0.03, 0.03, _caption(what), color=look.faint, size=8, va="center", parse_math=False)
        save(figure, path, facecolor=look.ground)


def _points(axes: Any, what: WordMap, look: _Look) -> None:
    axes.set_axis_off()
    for role, (sign, area) in reversed(_SIGNS.items()):
        chosen = [i for i, of in enumerate(what.roles) if of == role]
        x, y = what.places[chosen].T
        axes.scatter(
            x,
            y,
            s=area / (1 + (len(what.words) > 60)),
            marker=sign,
            color=getattr(look, role),
            linewidths=0,
            zorder=2 + (role != "near"),
        )
    low, high = what.places.min(axis=0), what.places.max(axis=0)
    span = np.maximum(high - low, 1e-9 + 0.05 * (high - low).max())
    axes.set_xlim(low[0] - 0.14 * span[0], high[0] + 0.14 * span[0])
    axes.set_ylim(low[1] - 0.08 * span[1], high[1] + 0.08 * span[1])


def _labels(axes: Any, labels: Sequence[str], what: WordMap, look: _Look) -> None:
    """Write each label beside its point where that hides nothing: those asked about first, then in order."""
    from matplotlib.patheffects import withStroke

    renderer = axes.figure.canvas.get_renderer()
    points = axes.transData.transform(what.places)
    frame = axes.get_window_extent(renderer)
    crowded = len(labels) > 60
    important = [role != "near" for role in what.roles]
    all_important = sum(important) <= 20  # more of them get no special treatment
    taken: list[_Box] = []
    for i in sorted(range(len(labels)), key=lambda i: (not important[i], i)):
        first = important[i] and all_important
        label = axes.text(
            0, 0, labels[i], va="bottom", ha="left", parse_math=False, zorder=1,
            size=11 if first else 7 if crowded else 9, weight="bold" if first else "normal",
            color=getattr(look, what.roles[i]) if important[i] else look.text,
            path_effects=[withStroke(linewidth=2, foreground=look.ground)],
        )  # fmt: skip
        drawn = label.get_window_extent(renderer)
        spots = list(_spots(points[i], drawn.width, drawn.height, (7.0,) if crowded else (9.0, 17.0, 28.0)))
        free = (box for box in spots if _within(box, frame) and not _overlaps(box, taken) and not _covers(box, points))
        box = next(free, spots[0] if first else None)
        if box is None:
            label.remove()
            continue
        taken.append(box)
        label.set_position(axes.transData.inverted().transform(box[:2]))


_Box: TypeAlias = tuple[float, float, float, float]  # left, bottom, right, top, in pixels


def _spots(point: NDArray[np.float64], width: float, height: float, gaps: Sequence[float]) -> Iterator[_Box]:
    """Where a label may be, the best first: beside its point, above, below, at its corners; then farther off."""
    x, y = point
    for gap in gaps:
        for left, bottom in (
            (x + gap, y - height / 2),
            (x - gap - width, y - height / 2),
            (x - width / 2, y + gap),
            (x - width / 2, y - gap - height),
            (x + gap * 0.7, y + gap * 0.5),
            (x - gap * 0.7 - width, y + gap * 0.5),
            (x + gap * 0.7, y - gap * 0.5 - height),
            (x - gap * 0.7 - width, y - gap * 0.5 - height),
        ):
            yield left, bottom, left + width, bottom + height


def _within(box: _Box, frame: Any) -> bool:
    return bool(frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1)


def _overlaps(box: _Box, taken: list[_Box]) -> bool:
    margin = 1.0
    return any(
        box[0] < other[2] + margin
        and other[0] < box[2] + margin
        and box[1] < other[3] + margin
        and other[1] < box[3] + margin
        for other in taken
    )


def _covers(box: _Box, points: NDArray[np.float64]) -> bool:
    x, y = points.T
    margin = 2.0
    return bool(np.any((x > box[0] - margin) & (x < box[2] + margin) & (y > box[1] - margin) & (y < box[3] + margin)))


def _caption(what: WordMap) -> str:
    kept = "" if what.kept is None else f" keep {100 * what.kept:.0f} % of the variance"
    return f"{counted(len(what.words), 'word')}; {_NAMES[what.method]}{kept}"
