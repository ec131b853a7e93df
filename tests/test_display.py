"""Displays: what a notebook and a terminal show is what there is, whatever is in it; pictures are whole files."""

import io
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import foreword as fw
from foreword import display
from foreword._base import pictures
from foreword.display import displays
from foreword.errors import ArgumentError, MissingPackageError


@pytest.fixture(scope="module")
def tokenizer():
    return fw.get_tokenizer("gpt2")


def written(shown, width, **options):
    """The text that a console of this width gets."""
    out = io.StringIO()
    Console(**{"file": out, "width": width, "color_system": None, "force_jupyter": False} | options).print(shown)
    return out.getvalue()


def chips(shown):
    """The text of each coloured token of a batch or of tokens."""
    return ["".join(one.itertext()) for one in parsed(shown).iter("span")]


def parsed(shown):
    """The HTML as a tree; displays are well-formed, so that nothing of a text ends up as markup."""
    return ET.fromstring(f"<root>{shown._repr_html_().replace('<br>', '<br/>')}</root>")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_shown_as_its_tokens(text):
    tokenizer = fw.get_tokenizer("gpt2")
    shown = display.tokens(tokenizer, text)
    ids = tokenizer.encode(text, allowed_special="all").tolist()
    assert [one.get("title") for one in parsed(shown).iter("span")] == [f"id {id_}" for id_ in ids]
    assert f"{len(ids):,} token" in repr(shown)


def test_nothing_is_invisible_and_nothing_is_markup(tokenizer):
    shown = display.tokens(tokenizer, "a <b>\t\n\u00a0\u200b👋")
    text = "".join(parsed(shown).itertext())
    assert {"·", "⇥", "↵"} <= set(text)
    assert "⟨200b⟩" in text or "⟨e2 80" in text
    assert "<b>" not in shown._repr_html_()


def test_a_batch_shows_ids_or_words(tokenizer):
    inputs, targets = np.array([[40, 367], [2885, 1464]]), np.array([[367, 2885], [1464, -100]])
    ids = ["40", "367", "2885", "1464", "367", "2885", "1464", "-100"]
    assert chips(display.batch(inputs, targets)) == ids  # once each: no id below them
    assert chips(display.batch(inputs, targets, tokenizer=tokenizer))[:2] == ["I40", "·H367"]
    lines = repr(display.batch(inputs, targets, tokenizer=tokenizer)).splitlines()
    assert lines[1].split() == ["I", "·H", "·H", "AD"]
    assert lines[2].split() == ["40", "367", "367", "2885"]
    for wrong in ([1, 2], [[0.5]], [[1, 2], [3]], np.zeros((2, 2, 2), int)):
        with pytest.raises(ArgumentError, match="integers"):
            display.batch(wrong)
    with pytest.raises(ArgumentError, match="the shape of inputs"):
        display.batch([[1, 2]], [[2, 3], [4, 5]])


def test_a_loader_s_batch_is_taken_as_it_comes():
    pytest.importorskip("torch")
    for segments in (False, True):
        data = fw.WindowDataset(np.arange(9), context_length=4, offsets=[0, 9], segments=segments)
        (given,) = fw.WindowLoader(data, batch_size=2)
        assert repr(display.batch(given)) == repr(
            display.batch([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
        )
    collated = [np.array([[1, 2]]), np.array([[2, 3]])]
    assert repr(display.batch(collated)) == repr(display.batch(*collated))
    assert "[1, 2]" in repr(display.batch({"inputs": [[1, 2]]}))
    with pytest.raises(ArgumentError, match="has inputs"):
        display.batch({"input_ids": [[1, 2]]})


def test_what_is_cut_off_says_so(tokenizer):
    ids = np.arange(100 * 300).reshape(100, 300)
    shown = display.batch(ids, ids)
    assert "the first 16 of 100 windows and 64 of 300 tokens are shown" in shown._repr_html_()
    for width in (40, 100):
        text = written(shown, width)
        (told,) = re.findall(r"16 of 100 windows\s+and (\d+) of", text)
        assert f" {int(told) - 1} " in text.splitlines()[1]
        assert f" {told} " not in text.splitlines()[1]
        assert max(map(len, text.splitlines())) <= width
    assert "are shown" not in repr(display.batch([[1, 2]]))
    for count, cut in ((100, False), (101, True)):
        bars = display.neighbours([("a", 0.5)] * count)
        for form in (bars._repr_html_(), repr(bars)):
            assert form.count("0.5000") == 100
            assert ("the first 100 of 101 are shown" in form) == ("are shown" in form) == cut


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0), (1, 1)])
def test_batches_of_any_shape(shape):
    pytest.importorskip("matplotlib")
    shown = display.batch(np.zeros(shape, int), np.zeros(shape, int))
    parsed(shown)
    assert str(list(shape)) in repr(shown)
    shown.plot()._repr_png_()


def test_words_stand_above_their_ids(tokenizer):
    words, ids = written(display.tokens(tokenizer, "Every effort moves you"), 100).splitlines()[:2]
    for word, id_ in (("Every", "6109"), ("·effort", "3626"), ("·you", "345")):
        assert words.index(word) == ids.index(id_)
    wide = written(display.tokens(tokenizer, " effort" * 30), 40).splitlines()
    assert max(map(len, wide)) <= 40
    assert sum(line.count("effort") for line in wide) == 30


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
    data = fw.WindowDataset(store, context_length=4, **options)
    parsed(display.windows(data))
    assert "·two" in data._repr_html_()  # as the store's tokenizer has it
    pytest.importorskip("torch")
    for shown in (fw.WindowLoader(data, batch_size=2), fw.WindowLoader({"<a>": data}, batch_size=2, shuffle=True)):
        parsed(shown)
    assert "windows</td>" in data.account()._repr_html_()
    assert "first batch" in fw.WindowLoader(data, batch_size=1).account()._repr_html_()


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (100, 2, 300), (100, 300), (0, 4), (2, 0, 4), (2, 3, 0)])
def test_heat_maps_of_any_shape(shape):
    values = np.random.default_rng(0).normal(size=shape)
    shown = display.embedding(values)
    cells = list(parsed(shown).iter("rect"))
    rows = values.reshape(int(np.prod(shape[:-1])), shape[-1])[: displays.SHOWN_ROWS, : displays.SHOWN_COLUMNS]
    assert len(cells) == rows.size
    assert str(list(shape)) in repr(shown)
    assert ("no numbers" in repr(shown)) == (values.size == 0)
    if values.size > displays.DRAWN_COLUMNS:
        pytest.importorskip("matplotlib")
        drawn = shown.plot().axes[0].images[0].get_array()
        assert np.array_equal(drawn, values.reshape(-1, shape[-1])[:64, :256])


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_grey_and_counted(odd):
    pytest.importorskip("matplotlib")
    values = np.random.default_rng(0).normal(size=(4, 8))
    whole = display.embedding(values)
    plain = [one.get("fill") for one in parsed(whole).iter("rect")]
    values[1, 2] = odd
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = display.embedding(values)
        cells = [one.get("fill") for one in parsed(shown).iter("rect")]
        assert cells[10] == pictures.GREY not in plain
        for form in (shown._repr_html_(), repr(shown), shown.plot().axes[0].get_title()):
            assert "1 not finite" in form
        assert abs(shown.plot().axes[0].images[0].norm.vmax - whole.plot().axes[0].images[0].norm.vmax) < 0.5
    assert len(set(cells)) > 20


def test_heat_maps_of_odd_values():
    for values in ([[np.nan]], [[np.inf, -np.inf]], [[0.0, 0.0]], [[1.0, 1.0]], [[1e300, -1e300]], [[5e-324, 0]]):
        parsed(display.embedding(values))
        assert repr(display.embedding(values))
    for wrong in ("text", [["a"]], [[1, 2], [3]], [[1j]], 3.0, np.zeros((1, 1, 1, 1))):
        with pytest.raises(ArgumentError, match="a heat map is of vectors"):
            display.embedding(wrong)


def test_heat_maps_are_readable_without_colour():
    values = np.random.default_rng(0).normal(size=(20, 300))
    for text, width in ((repr(display.embedding(values)), 100), (written(display.embedding(values), 40), 40)):
        told = " ".join(text.splitlines())
        (columns,) = map(int, re.findall(r"the first 16 × (\d+) are shown", told))
        rows = [line.split() for line in text.splitlines()[-16:]]
        assert [len(row) for row in rows] == [columns] * 16
        assert np.allclose(np.array(rows, float), values[:16, :columns], rtol=0.06)
        assert max(map(len, text.splitlines())) <= width


def test_heat_maps_fit_a_console_with_colour():
    text = written(display.embedding(np.ones((2, 300))), 40, color_system="truecolor", force_terminal=True)
    assert "the first 2 × 40 are" in re.sub(r"\s+", " ", text)
    assert text.count("\x1b[48;2;") >= 2
    plain = written(
        display.embedding(np.ones((2, 3))), 40, color_system="truecolor", force_terminal=True, no_color=True
    )
    assert "1.0 1.0 1.0" in plain


def test_of_large_vectors_only_what_is_shown_is_read():
    values = np.lib.stride_tricks.as_strided(np.ones(1), (10**12, 10**5), (0, 0))  # more than any memory holds
    shown = display.embedding(values)
    assert "the first 16 × 64 are shown" in shown._repr_html_()
    torch = pytest.importorskip("torch")
    assert repr(display.embedding(torch.ones(1).expand(10**9, 5, 10**6))).count("1.0") > 100
    pytest.importorskip("matplotlib")
    assert shown.plot().axes[0].images[0].get_array().shape == (64, 256)


def test_of_a_large_store_only_the_first_lengths_are_read(tmp_path):
    store = fw.prepare(["one two three"], tmp_path / "store")
    store.documents = 10**12
    store.offsets = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint64), (10**12 + 1,), (0,))
    shown = display.store(store)
    for form in (shown._repr_html_(), repr(shown)):
        assert "1,000,000,000,000; the first 1,000,000 are of 0 to 0 tokens" in form
    assert ">1000000<" in shown._repr_html_()


@pytest.mark.parametrize("shard_tokens", [1, 1 << 30])
@pytest.mark.parametrize(
    ("most", "told"), [(2, "3; the first 2 are of 2 to 4 tokens, 3.0"), (3, "3, of 2 to 6 tokens, 4.0")]
)
def test_a_store_tells_how_many_lengths_it_read(tmp_path, monkeypatch, shard_tokens, most, told):
    pytest.importorskip("matplotlib")
    options = {"tokenizer": "bytes", "append_end_of_text": False, "shard_tokens": shard_tokens}
    store = fw.prepare(["aa", "aaaa", "aaaaaa"], tmp_path / "store", **options)
    monkeypatch.setattr(displays, "READ_DOCUMENTS", most)
    shown = display.store(store)
    assert f"{told} on average" in repr(shown)
    assert f"documents by length: {told}" in shown._repr_html_()
    axes = shown.plot().axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == most
    assert axes.get_title() == "documents by length" + (", the first 2 of 3" if most == 2 else "")


def test_colours_are_told_in_words():
    told = display.embedding([[1.0, -2.0]])._repr_html_()
    assert "blue −2, white 0, rust +2" in told
    assert "grey" not in told
    assert "blue −2, white 0, rust +2, grey not finite" in display.embedding([[np.nan, -2.0]])._repr_html_()
    assert "white 0" not in display.embedding([[np.nan, np.inf]])._repr_html_()
    (svg,) = parsed(display.embedding([[1.0, -2.0]])).iter("svg")
    assert svg.get("aria-label") == "heat map of [1, 2]: mean -0.5, standard deviation 1.5, from -2 to 1"


def test_bars_are_as_long_as_scores():
    shown = display.neighbours([("a", 1.0), ("<b>", 0.5), ("c", -0.5)])
    lines = repr(shown).splitlines()
    assert [line.count("█") for line in lines] == [40, 20, 0]
    assert lines[2].count("▒") == 20
    assert "-0.5000" in lines[2]
    assert shown._repr_html_().count("width:50.00%") == 2
    narrow = written(shown, 40).splitlines()
    assert max(map(len, narrow)) <= 40
    assert narrow[0].count("█") == 2 * narrow[1].count("█") > 20
    parsed(shown)


def test_bars_of_odd_scores_and_of_none():
    shown = display.neighbours([("nan", np.nan), ("inf", np.inf), ("two", 2.0), ("one", 1.0)])
    assert [line.count("█") for line in repr(shown).splitlines()] == [0, 40, 40, 20]
    nothing = display.neighbours([])
    assert repr(nothing) == "no neighbours"
    assert "no neighbours" in nothing._repr_html_()
    titled = display.neighbours([("a", 0.5)], title="<king>")
    parsed(titled)
    assert repr(titled).startswith("<king>\n")


def test_keys_can_not_command_the_terminal():
    shown = display.neighbours([("a\x1b[2Jb\nc", 0.5), ("\udcff", 0.5), ("w" * 1000, 0.5)], title="\x1b[2J\n")
    for form in (repr(shown), shown._repr_html_()):
        assert form.encode()
        assert "\x1b" not in form
        assert "a\ufffd[2Jb\ufffdc" in form
    assert len(repr(shown).splitlines()) == 4
    for wrong in ([("a",)], [[("a", 0.5), ("b", 0.4)]], [("a", "b")]):
        with pytest.raises(ArgumentError, match="keys and scores"):
            display.neighbours(wrong)


def test_a_notebook_s_kernel_shows_it_once(monkeypatch, capsys):
    import rich.console

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *args: print("shown again"))
    assert "queen" in repr(display.neighbours([("queen", 0.5)]))
    assert not capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures_are_written_whole(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"out.{suffix}"
    display.neighbours([("queen", 0.85), ("throne", 0.77)]).plot(path)
    data = path.read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_notebook_shows_a_picture_by_itself():
    pytest.importorskip("matplotlib")
    assert display.embedding(np.eye(4)).plot()._repr_png_().startswith(b"\x89PNG")


def overlapping(figure):
    """Texts of a picture that lie on one another."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    axes = figure.axes[0]
    texts = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
    boxes = [one.get_window_extent(renderer) for one in texts if one.get_text() and one.get_visible()]
    return sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_what_is_drawn_does_not_overlap(tokenizer, tmp_path):
    pytest.importorskip("matplotlib")
    assert not overlapping(display.tokens(tokenizer, "Every effort moves you. " * 100).plot())
    ids = 1000 + np.arange(16 * 64).reshape(16, 64)
    drawn = display.batch(ids, ids, tokenizer=tokenizer).plot()
    assert not overlapping(drawn)
    assert re.search(r"\d+ of 64 tokens are shown", drawn.axes[0].get_title())
    assert not overlapping(display.neighbours([(f"word{i}", i / 60) for i in range(60)]).plot())
    store = fw.prepare(["a" * 2, "a " * 300_000], tmp_path / "store", tokenizer="bytes")
    assert not overlapping(display.store(store).plot())


def test_odd_keys_are_drawn():
    pytest.importorskip("matplotlib")
    for key in ("$$", "$\\frac$", "w" * 90, "a\nb", "مرحبا", "שלום", "漢字", "👑", "\udcff"):
        figure = display.neighbours([(key, 0.5), (key, 0.5)], title=key).plot()
        figure._repr_png_()
        labels = figure.axes[0].get_yticklabels()
        assert len(labels) == 2
        assert len(labels[0].get_text()) <= 28


def test_ticks_are_whole_numbers():
    pytest.importorskip("matplotlib")
    data = fw.WindowDataset(np.arange(9), context_length=4)
    for shown in (display.windows(data), display.embedding(np.eye(1, 3))):
        axes = shown.plot().axes[0]
        assert all(tick == int(tick) for tick in axes.get_yticks())


@pytest.mark.parametrize("packing", [None, "best-fit"])
def test_windows_inside_documents_are_drawn_where_they_are(packing):
    pytest.importorskip("matplotlib")
    options = {"within": "document", "packing": packing, "tail": "pad"}
    data = fw.WindowDataset(np.arange(20), context_length=6, offsets=[0, 3, 12, 20], **options)
    rows, places, starts, lengths = data.spans(np.arange(len(data)))
    inputs = data.gather(np.arange(len(data)))["inputs"]
    for row, place, start, length in zip(rows, places, starts, lengths, strict=True):
        assert inputs[row, place : place + length].tolist() == list(range(start, start + length))
    bars = [bar for bar in display.windows(data).plot().axes[0].patches if bar.get_fill()]
    assert [bar.get_x() for bar in bars] == (places if packing else starts).tolist()
    assert [bar.get_width() for bar in bars] == lengths.tolist()


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
            ["inspect", store, "--windows", "--context-length", "4", "--within", "document", "--tail", "pad"],
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


@pytest.mark.parametrize(
    ("name", "problem"), [("out.gif", "unknown kind of picture"), ("nodir/out.png", "no such folder")]
)
def test_a_picture_that_cannot_be_written_is_refused_before_the_work(tmp_path, name, problem):
    pytest.importorskip("matplotlib")
    (tmp_path / "corpus.txt").write_text("one two three")
    picture = tmp_path / name
    for words in (
        ["embed", tmp_path / "corpus.txt", tmp_path / "rows", "--plot", picture],
        ["similar", "king", "--map", picture],
    ):
        done = subprocess.run([sys.executable, "-m", "foreword", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert problem in done.stderr
        assert not done.stdout
    assert not (tmp_path / "rows").exists()


def test_what_has_no_picture_says_so(tokenizer, tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="no picture"):
        display.vectors(fw.KeyedVectors(3)).plot()
    bars = display.neighbours([("a", 1.0)])
    with pytest.raises(ArgumentError, match="kind of picture"):
        bars.plot(tmp_path / "out.exe")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match="pip install matplotlib"):
        bars.plot()


def test_a_corpus_without_a_word_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "empty.txt").write_text("\n")
    words = ["embed", tmp_path / "empty.txt", tmp_path / "rows.safetensors", "--plot", tmp_path / "out.svg"]
    done = subprocess.run([sys.executable, "-m", "foreword", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_display_is_wider_than_its_console(tokenizer, tmp_path, width):
    store = fw.prepare(["one two three four five six"] * 5, tmp_path / "store")
    data = fw.WindowDataset(store, context_length=8)
    for shown in (
        display.tokens(tokenizer, "漢字 " + " " * 300 + "a\n" * 9),
        display.batch(np.full((3, 50), 50256), np.full((3, 50), 50256), tokenizer=tokenizer),
        display.windows(data),
        display.store(store),
        display.embedding(np.ones((3, 90)) / 3),
        display.neighbours([("w" * 90, -0.5), ("漢字", 0.5)], title="w" * 90),
    ):
        for options in ({}, {"color_system": "truecolor", "force_terminal": True}):
            lines = re.sub(r"\x1b\[[\d;]*m", "", written(shown, width, **options)).splitlines()
            assert max(cell_len(line) for line in lines) <= width


def test_a_display_opens_no_tokenizer_that_is_not_at_hand(tmp_path, monkeypatch):
    """One that would have to be downloaded, for a look at windows: ids are shown."""
    from foreword.tokens.store import store as module

    store = fw.prepare(["one two three four five"], tmp_path / "store")
    assert "·two" in repr(display.windows(fw.WindowDataset(store, context_length=2)))
    again = fw.TokenStore.open(tmp_path / "store")
    again.manifest["tokenizer"]["name"] = "cl100k_base"
    monkeypatch.setattr(module, "get_tokenizer", lambda name: pytest.fail(f"opened {name}"))
    assert "·two" not in repr(display.windows(fw.WindowDataset(again, context_length=2)))
