"""Displays: what a notebook and a terminal show is what there is, whatever is in it; pictures are whole files."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword import display
from foreword.errors import ArgumentError, MissingPackageError


@pytest.fixture(scope="module")
def tokenizer():
    return fw.get_tokenizer("gpt2")


def parsed(shown):
    """The HTML as a tree; displays are well-formed, so that nothing of a text ends up as markup."""
    return ET.fromstring(f"<root>{shown._repr_html_().replace('<br>', '<br/>')}</root>")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_shown_as_its_tokens(text):
    tokenizer = fw.get_tokenizer("gpt2")
    shown = display.tokens(tokenizer, text)
    ids = tokenizer.encode(text, allowed_special="all").tolist()
    assert [int(one.text) for one in parsed(shown).iter("small")] == ids
    assert f"{len(ids):,} token" in repr(shown)


def test_nothing_is_invisible_and_nothing_is_markup(tokenizer):
    shown = display.tokens(tokenizer, "a <b>\t\n\u00a0\u200b👋")
    text = "".join(parsed(shown).itertext())
    assert {"·", "⇥", "↵"} <= set(text)
    assert "⟨200b⟩" in text or "⟨e2 80" in text
    assert "<b>" not in shown._repr_html_()


def test_a_batch_shows_ids_or_words(tokenizer):
    inputs, targets = np.array([[40, 367], [2885, 1464]]), np.array([[367, 2885], [1464, -100]])
    assert [one.text for one in parsed(display.batch(inputs, targets)).iter("small")] == [
        "40", "367", "2885", "1464", "367", "2885", "1464", "-100"
    ]  # fmt: skip
    assert "I ·H" in repr(display.batch(inputs, targets, tokenizer=tokenizer))
    for wrong in ([1, 2], [[0.5]]):
        with pytest.raises(ArgumentError, match="integers"):
            display.batch(wrong)


def test_classes_show_themselves(tokenizer, tmp_path):
    ids = tokenizer.encode("Every effort moves you, and every day holds a new lesson.")
    store = fw.prepare(["Every effort", "moves you, <b>or not</b>"], tmp_path / "store")
    data = fw.WindowDataset(ids, context_length=4, stride=2)
    assert "distinct" in data._repr_html_()
    assert "uint16" in store._repr_html_()
    assert "&lt;b&gt;" not in store._repr_html_()
    wv = fw.load("glove-wiki-gigaword-50")
    assert "400,000" in wv._repr_html_()
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = fw.InputEmbedding(100, 8, 4)
    assert "[100, 8]" in layer._repr_html_()
    for thing in (display.store(store), display.windows(data), display.vectors(wv), display.layer(layer)):
        parsed(thing)
        assert repr(thing).strip()


@pytest.mark.parametrize("options", [{}, {"within": "document"}, {"within": "document", "tail": "pad"}])
def test_windows_of_every_cut_are_shown(options, tmp_path):
    store = fw.prepare(["one two three four five six"] * 3, tmp_path / "store")
    parsed(display.windows(fw.WindowDataset(store, context_length=4, **options)))


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (100, 300), (0, 4)])
def test_heat_maps_of_any_shape(shape):
    values = np.random.default_rng(0).normal(size=shape)
    shown = display.embedding(values)
    cells = list(parsed(shown).iter("rect"))
    rows = values.reshape(-1, shape[-1])[: display.SHOWN_ROWS, : display.SHOWN_COLUMNS]
    assert len(cells) == rows.size
    assert str(list(shape)) in repr(shown)


def test_heat_maps_of_odd_values():
    for values in ([[np.nan, 1.0]], [[np.inf, -1.0]], [[0.0, 0.0]], [[1.0, 1.0]]):
        with np.errstate(all="ignore"):
            parsed(display.embedding(values))


def test_bars_are_as_long_as_scores():
    shown = display.neighbours([("a", 1.0), ("<b>", 0.5), ("c", -0.5)])
    lines = repr(shown).splitlines()
    assert [line.count("█") for line in lines] == [40, 20, 0]
    assert "-0.5000" in lines[2]
    parsed(shown)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures_are_written_whole(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"out.{suffix}"
    display.neighbours([("queen", 0.85), ("throne", 0.77)]).plot(path)
    data = path.read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_every_picture_is_drawn(tokenizer, tmp_path):
    pytest.importorskip("matplotlib")
    store = fw.prepare(["one two three"] * 5, tmp_path / "store")
    data = fw.WindowDataset(store, context_length=4)
    for thing in (display.store(store), display.windows(data), display.embedding(np.eye(4))):
        assert thing.plot().axes[0].has_data()
    chips = display.tokens(tokenizer, "A 🙂 costs $x$\nand " + "goes on " * 40)
    places = [text.get_position() for text in chips.plot(tmp_path / "tokens.png").axes[0].texts]
    assert len(set(places)) == len(places) > 2 * 80
    assert {line for _, line in places} >= {0, 1, 2, 3, 4}
    ids = np.arange(8).reshape(2, 4)
    for named in (None, tokenizer):
        drawn = display.batch(ids, ids + 1, tokenizer=named).plot().axes[0]
        assert drawn.get_title() == "inputs [2, 4]   targets [2, 4]"
        assert len({text.get_position()[0] for text in drawn.texts}) == 8


def test_commands_draw_what_they_print(tmp_path):
    pytest.importorskip("matplotlib")
    fw.prepare(["one two three"] * 5, tmp_path / "store")
    store = str(tmp_path / "store")
    for i, words in enumerate(
        (
            ["similar", "king", "--minus", "man"],
            ["tokens", "show", "Every effort moves you", "--json"],
            ["inspect", store],
            ["inspect", store, "--windows", "--context-length", "4"],
            ["embed", store, str(tmp_path / "rows.safetensors")],
            ["embed", store, str(tmp_path / "rows")],
        )
    ):
        path = tmp_path / f"{i}.svg"
        done = subprocess.run(
            [sys.executable, "-m", "foreword", *words, "--plot", path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert path.read_text().startswith("<?xml")


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "corpus.txt").write_text("one two three")
    words = ["embed", tmp_path / "corpus.txt", tmp_path / "rows", "--plot", tmp_path / "out.gif"]
    done = subprocess.run([sys.executable, "-m", "foreword", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown kind of picture" in done.stderr
    assert not (tmp_path / "rows").exists()


def test_what_has_no_picture_says_so(tokenizer, tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="no picture"):
        display.vectors(fw.KeyedVectors(3)).plot()
    bars = display.neighbours([("a", 1.0)])
    with pytest.raises(ArgumentError, match="kind of picture"):
        bars.plot(tmp_path / "out.exe")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match="foreword\\[plot\\]"):
        bars.plot()
