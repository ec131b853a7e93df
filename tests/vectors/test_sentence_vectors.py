"""``get_sentence_vector``: as fastText defines it, of models and of classifiers."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError
from vectors.formats import fasttext

WORDS = ["</s>", "the", "king", "café", "zero", "a"]
ROWS = np.random.default_rng(2).normal(size=(26, 4)).astype(np.float32)
ROWS[4] = 0


def model(folder, *, kind=2, minn=0, maxn=0, words=WORDS, **options):
    rows = ROWS[: len(words) + (20 if maxn or options.get("word_ngrams", 1) > 1 else 0)]
    bucket = len(rows) - len(words)
    (folder / "m.bin").write_bytes(
        fasttext(
            [w.encode() for w in words],
            [3] * len(words),
            rows,
            minn=minn,
            maxn=maxn,
            bucket=bucket,
            model=kind,
            labels=[b"__label__a"] if kind == 3 else (),
            **options,
        )
    )
    return folder / "m.bin"


def plainly(path, text, *, classifier):
    """The definition, over words parted as C's isspace parts them."""
    wv = fw.load(path)
    words = text.translate({ord(c): " " for c in "\t\n\v\f\r"}).split(" ")
    words = [word for word in words if word]
    if classifier:
        if "</s>" in words:
            words = words[: words.index("</s>")]
        rows = [wv[word] for word in [*words, "</s>"] if word in wv.key_to_index]
    else:
        rows = [wv[word] / np.linalg.norm(wv[word]) for word in words if wv._has_vector(word) and wv[word].any()]
    return np.mean(rows, axis=0) if rows else np.zeros(4)


TEXTS = st.lists(st.sampled_from([*WORDS, "kings", "zzz", "\u00a0", "__label__a", ""]), max_size=6).flatmap(
    lambda words: st.lists(st.sampled_from(" \t\v\f\r"), min_size=len(words), max_size=len(words)).map(
        lambda blanks: "".join(word + blank for word, blank in zip(words, blanks, strict=True))
    )
)


@settings(deadline=None, max_examples=80)
@given(TEXTS, st.sampled_from([(2, 0, 0), (2, 2, 4), (1, 1, 2), (3, 0, 0)]))
def test_sentences_of_models_and_classifiers(tmp_path_factory, text, settings_):
    kind, minn, maxn = settings_
    path = model(tmp_path_factory.mktemp("m"), kind=kind, minn=minn, maxn=maxn)
    wv = fw.load(path)
    ours = wv.get_sentence_vector(text)
    assert ours.dtype == np.float32
    assert np.allclose(ours, plainly(path, text, classifier=kind == 3), atol=1e-6)
    words = text.translate({ord(c): " " for c in "\t\n\v\f\r"}).split(" ")
    assert np.array_equal(wv.get_sentence_vector([word for word in words if word]), ours)


def test_a_classifier_that_adds_n_grams_is_refused(tmp_path):
    for options in ({"word_ngrams": 2}, {"minn": 2, "maxn": 3}):
        wv = fw.load(model(tmp_path, kind=3, **options))
        with pytest.raises(ArgumentError, match=r"more than its words(.|\n)*(wordNgrams 2|n-grams of letters)"):
            wv.get_sentence_vector("the king")
    old = fw.load(model(tmp_path, kind=3, minn=2, maxn=3, version=11))  # which had none, whatever its arguments say
    assert np.allclose(old.get_sentence_vector("the"), (ROWS[0] + ROWS[1]) / 2)
    assert np.array_equal(old["the"], ROWS[1])
    assert "thee" not in old


def test_a_classifier_stays_one(tmp_path):
    wv = fw.load(model(tmp_path, kind=3))
    expected = wv.get_sentence_vector("the king")
    wv.save(tmp_path / "s")
    edited = fw.load(tmp_path / "s")
    edited["new"] = np.ones(4)
    edited.save(tmp_path / "t")
    for table in (
        fw.load(tmp_path / "s"),
        fw.load(tmp_path / "t"),
        copy.copy(wv),
        pickle.loads(pickle.dumps(wv)),
        pickle.loads(pickle.dumps(edited)),
    ):
        assert np.array_equal(table.get_sentence_vector("the king"), expected)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["word_ngrams"] == 1


def test_a_store_made_of_a_classifier_before_that_was_kept_is_made_anew(tmp_path):
    path = model(tmp_path, kind=3)
    store = fw.load(path)._store.path
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest.pop("word_ngrams") == 1
    (store / "manifest.json").write_text(json.dumps(manifest))
    wv = fw.load(path)
    assert np.allclose(wv.get_sentence_vector("the"), (ROWS[0] + ROWS[1]) / 2)
    assert "word_ngrams" not in json.loads((fw.load(model(tmp_path))._store.path / "manifest.json").read_text())


def test_unknown_words_go_by_the_policy(tmp_path):
    wv = fw.load(model(tmp_path))
    assert np.array_equal(wv.get_sentence_vector("The KING zzz"), np.zeros(4))
    wv.oov = "lower"
    assert np.array_equal(wv.get_sentence_vector("The KING zzz"), wv.get_sentence_vector("the king"))
    with pytest.raises(ArgumentError, match="names no vectors"):
        wv.get_sentence_vector(b"the")


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.sampled_from([2, 3]))
def test_the_library_itself(tmp_path_factory, text, kind):
    library = pytest.importorskip("fasttext", reason="fasttext isn't installed")
    import struct

    path = model(tmp_path_factory.mktemp("m"), kind=kind, minn=0 if kind == 3 else 2, maxn=0 if kind == 3 else 3)
    data = path.read_bytes().removesuffix(b"the output matrix, which nobody reads")
    out = 1 if kind == 3 else len(WORDS)
    path.write_bytes(data + b"\0" + struct.pack("<qq", out, 4) + bytes(16 * out))
    theirs = library.load_model(str(path)).get_sentence_vector(text)
    assert np.allclose(fw.load(path).get_sentence_vector(text), theirs, atol=1e-6)
