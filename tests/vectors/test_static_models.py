"""Static embedding models: folders of model2vec and sentence-transformers, and texts encoded as those libraries do."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
import interrupts
from foreword.errors import ArgumentError, ArgumentTypeError, FileError, FormatError, StoreError
from foreword.vectors import encoding

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers isn't installed")
from tokenizers import Tokenizer  # noqa: E402

from vectors.static_models import (  # noqa: E402
    TOKENIZERS,
    WORDS,
    bytelevel,
    plainly,
    rows_of,
    save_model2vec,
    sentence_transformers_folder,
    wordpiece,
)

RNG = np.random.default_rng(3)


TEXTS = st.lists(
    st.one_of(
        st.lists(
            st.sampled_from(
                [
                    "the",
                    "kings",
                    "Queen",
                    "",
                    " ",
                    "café",
                    "cafe\u0301",
                    "[UNK]",
                    "[PAD]",
                    "the king",
                    "\u0301",
                    "xyzzy",
                    "a" * 13,
                    "中a",
                    "b\u00a0c",
                    "\t",
                    "a\nb",
                    encoding._BREAK,
                    "a" + encoding._BREAK,
                    "can't?!",
                    "\0",
                    "😀",
                ]
            ),
            max_size=12,
        ).map(" ".join),
        st.text(max_size=20),
        st.text("ab ", max_size=30),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """(model2vec's model, ours) of a kind and settings, saved and loaded once."""
    made = {}

    def get(kind, variant, normalize, max_length):
        key = kind, variant, normalize, max_length
        if key not in made:
            tok = TOKENIZERS[kind]()
            rng, n = np.random.default_rng(1), tok.get_vocab_size()
            rows = rows_of(tok, variant if variant in ("float16", "float64", "int8") else "float32")
            weights = rng.random(n) if variant in ("weights", "mapping") else None
            mapping = rng.integers(0, 4, n) if variant == "mapping" else None
            folder = tmp_path_factory.mktemp("m") / "model"
            model = save_model2vec(
                folder,
                tok,
                rows[:4] if mapping is not None else rows,
                weights=weights,
                mapping=mapping,
                normalize=normalize,
                max_length=max_length,
            )
            made[key] = type(model).from_pretrained(folder), fw.load(folder)
        return made[key]

    return get


@settings(deadline=None, max_examples=150)
@given(
    TEXTS,
    st.sampled_from(sorted(TOKENIZERS)),
    st.sampled_from(["float32", "float16", "float64", "int8", "weights", "mapping"]),
    st.booleans(),
    st.sampled_from([None, 1, 3, 512]),
    st.booleans(),
)
def test_texts_are_encoded_as_model2vec_does(loaded, texts, kind, variant, normalize, max_length, again):
    model, wv = loaded(kind, variant, normalize, max_length)
    tolerance = 3e-2 if variant == "float16" else 2e-6 * (30 if variant == "int8" else 1)
    expected = model.encode(texts, use_multiprocessing=False) if texts else np.zeros((0, 5))
    ours = wv.encode(texts)
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape
    assert np.allclose(ours, expected, atol=tolerance)
    if texts and again:
        for options in ({"normalize": not normalize}, {"max_length": 2}, {"max_length": None}):
            assert np.allclose(wv.encode(texts, **options), model.encode(texts, **options), atol=tolerance)
        assert np.array_equal(wv.encode(texts[0]), ours[0])
        assert np.array_equal(wv.encode(iter(texts)), ours)


@settings(deadline=None, max_examples=60)
@given(
    TEXTS,
    st.sampled_from(sorted(TOKENIZERS)),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "query: the "]),
    st.sampled_from([None, "right", "left"]),
)
def test_texts_are_encoded_as_sentence_transformers_does(tmp_path_factory, texts, kind, normalize, nested, prompt, cut):
    tok = TOKENIZERS[kind]()
    if cut:
        tok.enable_truncation(3, direction=cut)
    tok.enable_padding(length=40)
    rows = rows_of(tok)
    folder = sentence_transformers_folder(
        tmp_path_factory.mktemp("s") / "m", tok, rows, normalize=normalize, nested=nested, prompt=prompt
    )
    wv = fw.load(folder)
    assert np.allclose(wv.encode(texts), plainly(tok, rows, texts, normalize=normalize, prompt=prompt), atol=2e-6)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return
    if texts:
        assert np.allclose(
            wv.encode(texts), SentenceTransformer(os.fspath(folder), device="cpu").encode(texts), atol=2e-6
        )


@pytest.mark.parametrize("layout", ["model2vec", "sentence-transformers"])
def test_it_is_a_table_of_its_tokens(tmp_path, layout):
    tok = wordpiece()
    rows = rows_of(tok)
    if layout == "model2vec":
        save_model2vec(tmp_path / "m", tok, rows, weights=np.arange(len(rows)) / 4)
        rows = rows * (np.arange(len(rows))[:, None] / 4)
    else:
        sentence_transformers_folder(tmp_path / "m", tok, rows, normalize=True)
    wv = fw.load(tmp_path / "m")
    assert list(wv.index_to_key) == ["[PAD]", "[UNK]", *WORDS]
    assert np.allclose(wv.vectors, rows, atol=1e-6)
    assert wv.most_similar("king", topn=3) == fw.load(tmp_path / "m" / "model.safetensors").most_similar("king", topn=3)
    assert fw.load(tmp_path / "m", dtype="float16").vectors.dtype == np.float16
    assert np.allclose(
        fw.load(tmp_path / "m", dtype="float16").encode(["the king"]), wv.encode(["the king"]), atol=1e-2
    )


def test_nearest_texts_by_the_same_search(tmp_path):
    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()), normalize=True)
    wv = fw.load(tmp_path / "m")
    texts = ["the king", "the queen", "a b c", "the kings"]
    corpus = fw.KeyedVectors(wv.vector_size)
    corpus.add_vectors(texts, wv.encode(texts))
    (name, score), *_ = corpus.similar_by_vector(wv.encode("king the"), topn=2)
    assert (name, score) == ("the king", pytest.approx(1))


def test_many_texts_go_through_the_kernel_with_the_same_vectors(tmp_path, monkeypatch):
    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    wv = fw.load(tmp_path / "m")
    texts = [" ".join(RNG.choice(["the", "kings", "", "xyz", "a b"], size=RNG.integers(0, 9))) for _ in range(300)]
    for normalize in (False, True):
        slow = wv.encode(texts, normalize=normalize)
        monkeypatch.setattr(encoding, "_COMPILED", 0)
        monkeypatch.setattr(encoding, "_AT_ONCE", 64)
        assert np.allclose(wv.encode(texts, normalize=normalize), slow, atol=1e-7)
        monkeypatch.setattr(encoding, "_CHARACTERS" if normalize else "_REMEMBERED", 2)  # words are forgotten
        assert np.allclose(wv.encode(texts[::-1], normalize=normalize), slow[::-1], atol=1e-7)
        monkeypatch.undo()


def test_many_threads_at_once(tmp_path):
    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    wv = fw.load(tmp_path / "m")
    texts = [[f"the king {i} {j}" + "a" * (j % 9) for j in range(200)] for i in range(8)]
    expected, found = [fw.load(tmp_path / "m").encode(part) for part in texts], [None] * 8

    def work(i):
        found[i] = wv.encode(texts[i])

    running = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("layout", ["model2vec", "sentence-transformers"])
def test_written_and_read_back_here_and_there(tmp_path, layout):
    tok, rows, texts = wordpiece(), rows_of(wordpiece()), ["the king", "", "zzz queen?"]
    if layout == "model2vec":
        save_model2vec(tmp_path / "m", tok, rows, normalize=True, max_length=7)
    else:
        sentence_transformers_folder(tmp_path / "m", tok, rows, normalize=True, prompt="a ")
    wv = fw.load(tmp_path / "m")
    assert wv.export(tmp_path / "out", format="static") == "static"
    back = fw.load(tmp_path / "out")
    assert np.array_equal(back.encode(texts), wv.encode(texts))
    assert back._encoder.max_length == wv._encoder.max_length
    if layout == "model2vec":
        import model2vec

        assert np.allclose(
            model2vec.StaticModel.from_pretrained(tmp_path / "out").encode(texts), wv.encode(texts), atol=1e-6
        )
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        pass
    else:
        if layout != "model2vec":
            assert np.allclose(
                SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(texts), wv.encode(texts), atol=1e-6
            )
    with pytest.raises(FileError, match="something is there"):
        wv.export(tmp_path / "out", format="static")
    wv["king"] = np.full(5, 9)
    wv.expandos["count"] = np.arange(len(wv))
    wv.sort_by_descending_frequency()
    edited = wv.encode(texts)
    assert not np.allclose(edited, back.encode(texts), atol=1e-3)
    wv.export(tmp_path / "edited", format="static")
    assert np.allclose(fw.load(tmp_path / "edited").encode(texts), edited, atol=1e-7)
    wv["another"] = np.ones(5)
    assert np.array_equal(wv.encode(texts), edited)
    with pytest.raises(ArgumentError, match=r"no token(.|\n)*'another'"):
        wv.export(tmp_path / "other", format="static")


def test_ids_with_gaps_and_rows_of_no_token(tmp_path):
    content = json.loads(wordpiece().to_str())
    content["model"]["vocab"] = {word: 3 * i for word, i in content["model"]["vocab"].items()}
    content["added_tokens"] = []
    tok = Tokenizer.from_str(json.dumps(content))
    rows = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    sentence_transformers_folder(tmp_path / "m", tok, rows, normalize=False)
    wv = fw.load(tmp_path / "m")
    assert len(wv) == len(WORDS) + 2
    texts = ["the king", "zzz b"]
    assert np.allclose(wv.encode(texts), plainly(tok, rows, texts, normalize=False), atol=1e-6)
    wv.export(tmp_path / "out", format="static")
    assert np.allclose(fw.load(tmp_path / "out").encode(texts), wv.encode(texts))
    wv._encoder = type(wv._encoder)("model2vec", False, 512, "", wv._encoder.json())
    wv._texts = None
    wv.export(tmp_path / "m2v", format="static")
    assert np.allclose(fw.load(tmp_path / "m2v").encode(texts), wv.encode(texts))
    theirs = pytest.importorskip("model2vec").StaticModel.from_pretrained(tmp_path / "m2v")
    assert np.allclose(theirs.encode(texts), wv.encode(texts), atol=1e-6)


def test_saved_copied_and_sent(tmp_path):
    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    wv = fw.load(tmp_path / "m")
    expected = wv.encode(["the king"])
    wv.save(tmp_path / "saved")
    saved = fw.KeyedVectors.load(tmp_path / "saved")
    assert len(pickle.dumps(saved)) < 2000
    edited = fw.load(tmp_path / "m")
    edited["[PAD]"] = np.zeros(5)
    sent = pickle.dumps(edited)
    for table in (
        saved,
        wv.copy() if hasattr(wv, "copy") else wv,
        pickle.loads(pickle.dumps(saved)),
        pickle.loads(sent),
    ):
        assert np.array_equal(table.encode(["the king"]), expected)
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).encode('the king').tolist())"
    (tmp_path / "p").write_bytes(sent)
    said = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "p"], capture_output=True, text=True, check=True
    ).stdout
    assert np.allclose(json.loads(said), expected[0])
    edited.save(tmp_path / "again")
    assert np.array_equal(fw.load(tmp_path / "again").encode(["the king"]), expected)
    (tmp_path / "saved" / "tokenizer.json").write_text("{}")
    with pytest.raises(StoreError, match="tokenizer"):
        fw.load(tmp_path / "saved")


def test_a_changed_file_of_the_model_is_noticed(tmp_path):
    tok, rows = wordpiece(), rows_of(wordpiece())
    folder = sentence_transformers_folder(tmp_path / "m", tok, rows, normalize=True, nested=True)
    before = fw.load(folder).encode("the king")
    assert np.linalg.norm(before) == pytest.approx(1)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:1]))
    after = fw.load(folder).encode("the king")
    assert np.allclose(after / np.linalg.norm(after), before, atol=1e-6)
    assert not np.allclose(after, before)


def test_the_order_of_rows_is_no_matter(tmp_path):
    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    wv = fw.load(tmp_path / "m")
    before = wv.encode(["the king", "queens?"])
    wv.expandos["count"] = np.arange(len(wv))
    wv.sort_by_descending_frequency()
    assert wv.index_to_key[0] == WORDS[-1]
    assert np.array_equal(wv.encode(["the king", "queens?"]), before)
    wv.sort_by_descending_frequency()
    wv.save(tmp_path / "s")
    assert np.array_equal(fw.load(tmp_path / "s").encode(["the king", "queens?"]), before)


def test_a_config_that_says_nothing(tmp_path):
    model = save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    (tmp_path / "m" / "config.json").write_text("{}")
    texts = ["a " * 511 + "the king queen", "king " + "a" * 3000]
    expected = type(model).from_pretrained(tmp_path / "m").encode(texts)
    assert np.allclose(fw.load(tmp_path / "m").encode(texts), expected, atol=1e-6)
    assert not np.allclose(fw.load(tmp_path / "m").encode(texts, max_length=511), expected, atol=1e-4)


def test_texts_that_are_none(tmp_path):
    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    wv = fw.load(tmp_path / "m")
    assert wv.encode([]).shape == (0, 5)
    assert wv.encode("").tolist() == [0] * 5
    for texts, where in ((["a", None], "text 1"), ([b"a"], "text 0"), ([["a"]], "text 0")):
        with pytest.raises(ArgumentTypeError, match=where):
            wv.encode(texts)
    with pytest.raises(ArgumentError, match="lone surrogate"):
        wv.encode(["a", "b \ud800"])
    with pytest.raises(ArgumentError, match="max_length"):
        wv.encode(["a"], max_length=0)
    for table in (fw.load("glove-wiki-gigaword-50"), fw.load(tmp_path / "m", limit=4)):
        with pytest.raises(ArgumentError, match="no static embedding model"):
            table.encode(["a"])


def test_damaged_models_are_refused(tmp_path):
    tok, rows = wordpiece(), rows_of(wordpiece())

    def folder(name, change):
        made = sentence_transformers_folder(tmp_path / name, tok, rows, normalize=True)
        change(made)
        return made

    def config(made, **changes):
        path = made / "config_sentence_transformers.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    modules = [{"type": "x.StaticEmbedding", "path": ""}, {"type": "x.Dense", "path": "1_Dense"}]
    cases = [
        (lambda m: (m / "modules.json").write_text(json.dumps(modules)), "does more"),
        (lambda m: (m / "modules.json").write_text("[1]"), "damaged"),
        (lambda m: (m / "modules.json").write_text("{"), "damaged"),
        (lambda m: (m / "tokenizer.json").write_text("{}"), "tokenizer is damaged"),
        (lambda m: (m / "tokenizer.json").write_text(bytelevel().to_str()), "doesn't fit"),
        (lambda m: config(m, truncate_dim=3), "cuts its vectors"),
        (lambda m: config(m, default_prompt_name="none"), "no prompt"),
        (
            lambda m: (m / "1_Normalize" / "config.json").write_text('{"module_input_name": "token_embeddings"}'),
            "Normalize of",
        ),
        (lambda m: os.truncate(m / "model.safetensors", 150), "cut short"),
    ]
    for i, (change, problem) in enumerate(cases):
        with pytest.raises(FormatError, match=problem):
            fw.load(folder(f"m{i}", change))
    from safetensors.numpy import save_file

    for i, (tensors, problem) in enumerate(
        [
            ({"embeddings": rows, "mapping": np.full(len(rows), 99)}, "doesn't fit"),
            ({"embeddings": rows, "mapping": np.zeros(3, np.int64)}, "mapping"),
            ({"embeddings": rows, "weights": np.zeros(3)}, "weights"),
            ({"embeddings": rows.astype(np.int64)}, "a tensor embeddings of I64"),
            ({"embeddings": np.full_like(rows, np.nan)}, "not a finite"),
        ]
    ):
        save_model2vec(tmp_path / f"t{i}", tok, rows)
        save_file(tensors, tmp_path / f"t{i}" / "model.safetensors")
        with pytest.raises(FormatError, match=problem):
            fw.load(tmp_path / f"t{i}")
    save_model2vec(tmp_path / "c", tok, rows)
    (tmp_path / "c" / "config.json").write_text('{"max_length": "long"}')
    with pytest.raises(FormatError, match="max_length"):
        fw.load(tmp_path / "c")


def test_other_safetensors_beside_a_tokenizer_are_read_as_before(tmp_path):
    from safetensors.numpy import save_file

    save_file({"embeddings": np.eye(2, dtype=np.float32)}, tmp_path / "reviews.safetensors")
    wordpiece().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "reviews.txt").write_text("good\nbad\n")
    assert list(fw.load(tmp_path / "reviews.safetensors").index_to_key) == ["good", "bad"]
    shutil.copy(tmp_path / "reviews.safetensors", tmp_path / "model.safetensors")
    named = fw.load(tmp_path / "model.safetensors", vocabulary=tmp_path / "reviews.txt")
    assert list(named.index_to_key) == ["good", "bad"]


def test_ctrl_c_at_any_line_mixes_up_no_words(tmp_path):
    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    texts = ["the king", "a queen b", "kings c"]
    expected = fw.load(tmp_path / "m").encode(texts)
    wv = fw.load(tmp_path / "m")
    turn = 0

    def work():
        wv.encode([f"the {'a' * (turn % 7)}b", "b" * (turn % 5)])

    for turn in interrupts.at_each_line([encoding], work):
        assert np.array_equal(wv.encode(texts), expected), turn
