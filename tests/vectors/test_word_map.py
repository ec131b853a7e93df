"""Maps of words: places against scikit-learn's ways where installed, pictures by what is in them."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError, FileError, MissingPackageError, UnknownKeyError
from foreword.vectors import projection as maps
from foreword.vectors.projection import draw_word_map, pca, word_map

SIGNATURES = {".png": b"\x89PNG\r\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


def table(words, dim=12, seed=0):
    wv = fw.KeyedVectors(dim)
    wv.add_vectors(list(words), np.random.default_rng(seed).normal(size=(len(words), dim)).astype(np.float32))
    return wv


def plotted():
    return pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_components_are_those_of_the_covariance(n, dim, seed):
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    places, kept = pca(rows)
    values = np.linalg.eigvalsh(np.cov(rows.T, bias=True).reshape(dim, dim))[::-1]
    assert places.shape == (n, 2)
    assert np.allclose((places**2).sum(axis=0), n * np.resize(np.append(values, 0), 2) if dim == 1 else n * values[:2])
    assert kept == pytest.approx(values[:2].sum() / values.sum()) if n > 1 else kept == 1.0


def test_components_keep_a_plane_as_it_is():
    flat = np.random.default_rng(0).normal(size=(20, 2)) @ np.random.default_rng(1).normal(size=(2, 50))
    places, kept = pca(flat)
    assert kept == pytest.approx(1.0)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    assert np.allclose(np.linalg.norm(places[:, None] - places[None], axis=2), distances)


def test_the_same_words_give_the_same_map():
    wv = table("abcdefgh")
    one, two = word_map(wv, "abc", near="defgh"), word_map(wv, "abc", near="defgh")
    assert np.array_equal(one.places, two.places)
    flipped = pca(-wv.vectors.astype(np.float64))[0]
    assert np.allclose(flipped, pca(wv.vectors.astype(np.float64))[0] * [-1, -1])


def test_a_map_says_what_each_word_is():
    made = word_map(table("abcdef"), ["a", "b"], minus=["c", "a"], near=["d", "b", "e"])
    assert made.words == ["a", "b", "c", "d", "e"]
    assert made.roles == ["query", "query", "minus", "near", "near"]
    with pytest.raises(UnknownKeyError):
        word_map(table("abc"), ["x"])
    with pytest.raises(ArgumentError, match="needs words"):
        word_map(table("abc"), [])
    with pytest.raises(ArgumentError, match="tsne or umap"):
        word_map(table("abcde"), "abcde", method="other")


@pytest.mark.filterwarnings("ignore")  # these packages warn of what they would like to have besides
@pytest.mark.parametrize(("method", "package"), [("tsne", "sklearn"), ("umap", "umap")])
def test_other_ways_where_they_are_installed(method, package):
    wv = table([f"w{i}" for i in range(12)])
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(MissingPackageError, match="pip install"):
            word_map(wv, wv.index_to_key, method=method)
    else:
        made = word_map(wv, wv.index_to_key, method=method)
        assert made.places.shape == (12, 2)
        assert np.isfinite(made.places).all()
        assert made.kept is None
    assert word_map(wv, ["w1", "w2"], method=method).method == "pca"  # too few for neighbourhoods


@pytest.mark.parametrize("suffix", SIGNATURES)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("words", [1, 2, 5, 50])
def test_pictures_are_written(tmp_path, suffix, dark, words):
    plotted()
    names = [f"word{i}" for i in range(words)]
    draw_word_map(word_map(table(names), names[:3], near=names), tmp_path / f"map{suffix}", title="a title", dark=dark)
    data = (tmp_path / f"map{suffix}").read_bytes()
    assert data.startswith(SIGNATURES[suffix])
    assert [path.name for path in tmp_path.iterdir()] == [f"map{suffix}"]


def test_the_ground_is_light_or_dark(tmp_path):
    plotted()
    from matplotlib.image import imread

    for dark in (False, True):
        draw_word_map(word_map(table("abc"), "abc"), tmp_path / "map.png", dark=dark)
        corner = imread(tmp_path / "map.png")[0, 0, :3]
        assert (corner < 0.2).all() if dark else (corner > 0.9).all()


def test_odd_words_are_drawn(tmp_path, caplog):
    plotted()
    words = [
        "漢字",
        "مرحبا",
        "मुंबई",
        "Москва",
        "$x^2$",
        "<b>&",
        "x\ny",
        "\udcff",
        "a\0b",
        "👑",
        "\u202eabc",
        "w" * 300,
        " ",
    ]
    with caplog.at_level(logging.WARNING):
        draw_word_map(word_map(table(words), words[:2], near=words), tmp_path / "map.svg", title=" + ".join(words))
    assert (tmp_path / "map.svg").stat().st_size > 1000
    assert {record.name for record in caplog.records} <= {"foreword._base.pictures"}


def test_words_without_a_direction_are_drawn(tmp_path):
    plotted()
    wv = fw.KeyedVectors(3)
    wv.add_vectors(["a", "b", "c"], np.zeros((3, 3), np.float32))
    draw_word_map(word_map(wv, "abc"), tmp_path / "map.png")


def _drawn_labels(monkeypatch, tmp_path, made):
    """The boxes of the labels that draw put on a map, by text."""
    plotted()
    from matplotlib.figure import Figure

    found = {}

    def spy(figure, *args, **kwargs):
        renderer = figure.canvas.get_renderer()
        for text in figure.axes[0].texts:
            found[text.get_text()] = text.get_window_extent(renderer)

    monkeypatch.setattr(Figure, "savefig", spy)
    draw_word_map(made, tmp_path / "map.png")
    return found


@pytest.mark.parametrize("count", [5, 50, 500])
def test_labels_hide_nothing(monkeypatch, tmp_path, count):
    words = [f"word{i}" for i in range(count)]
    made = word_map(table(words, seed=count), words[:2], minus=words[2:3], near=words)
    boxes = _drawn_labels(monkeypatch, tmp_path, made)
    assert set(words[:3]) <= set(boxes)  # what was asked about has its label
    assert len(boxes) >= min(count, 40)
    placed = list(boxes.values())
    assert not any(a.overlaps(b) for i, a in enumerate(placed) for b in placed[:i])


def test_what_can_not_be_drawn(tmp_path, monkeypatch):
    made = word_map(table("abc"), "abc")
    with pytest.raises(ArgumentError, match=r"\.svg"):
        draw_word_map(made, tmp_path / "map.jpeg")
    plotted()
    with pytest.raises(FileError):
        draw_word_map(made, tmp_path / "missing" / "map.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match="pip install matplotlib"):
        draw_word_map(made, tmp_path / "map.png")
    assert not list(Path(tmp_path).iterdir())


def test_the_caption_says_how_much_is_lost():
    made = word_map(table("abcdefgh"), "abcdefgh")
    assert maps._caption(made) == f"8 words; principal components keep {100 * made.kept:.0f} % of the variance"
