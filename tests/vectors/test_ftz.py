"""Quantised fastText models: written by hand, decoded plainly, and by fastText itself where it is installed."""

import gzip
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import FormatError, UnknownKeyError
from foreword.vectors.store.subwords import fnv1a
from vectors.formats import fasttext, ngrams, product_quantised

WORDS = ["</s>", "the", "king", "café", "中文"]
COUNTS = [9, 8, 7, 6, 5]


def written(*, dim=5, dsub=2, qnorm=False, minn=2, maxn=3, bucket=30, pairs=None, words=WORDS, seed=0):
    """The bytes of a model, and its decoded matrix."""
    rows = len(words) + (bucket if pairs is None else len(pairs))
    data, dense = product_quantised(rows, dim, dsub, qnorm=qnorm, seed=seed)
    options = {"minn": minn, "maxn": maxn, "bucket": bucket, "quantised": 1, "model": 3, "dim": dim}
    pruned = {} if pairs is None else {"pruned": len(pairs), "pairs": pairs}
    return fasttext([word.encode() for word in words], COUNTS[: len(words)], data, **options, **pruned), dense


def plainly(word, dense, *, minn, maxn, bucket, pairs, words=WORDS):
    """getWordVector; None where there is nothing to make a vector of."""
    found = [dense[words.index(word)]] if word in words else []
    if word != "</s>":
        for gram in ngrams(word, minn, maxn) if maxn else ():
            number = fnv1a(gram.encode()) % bucket
            if pairs is None:
                found.append(dense[len(words) + number])
            elif number in dict(pairs):
                found.append(dense[len(words) + dict(pairs)[number]])
    return np.mean(found, axis=0, dtype=np.float64) if found else None


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 7),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([(0, 0), (1, 2), (2, 3), (3, 6)]),
    st.one_of(st.none(), st.lists(st.integers(0, 29), unique=True, max_size=30)),
    st.integers(0, 99),
    st.lists(st.text("theking中é", min_size=1, max_size=6), max_size=4),
)
def test_words_have_the_vectors_that_fasttext_gives(tmp_path_factory, dim, dsub, qnorm, letters, kept, seed, others):
    minn, maxn = letters
    pairs = (
        None
        if kept is None
        else list(zip(kept, np.random.default_rng(seed).permutation(len(kept)).tolist(), strict=True))
    )
    data, dense = written(dim=dim, dsub=min(dsub, dim), qnorm=qnorm, minn=minn, maxn=maxn, pairs=pairs, seed=seed)
    path = tmp_path_factory.mktemp("q") / "m.ftz"
    path.write_bytes(data)
    wv = fw.load(path)
    assert list(wv.index_to_key) == WORDS
    assert wv.expandos["count"].tolist() == COUNTS
    try:
        import fasttext as library

        out = struct.pack("<Bqq", 0, 1, dim) + bytes(4 * dim)
        path.write_bytes(data.removesuffix(b"the output matrix, which nobody reads") + out)
        theirs = library.load_model(os.fspath(path))
    except ImportError:
        theirs = None
    for word in [*WORDS, *others]:
        expected = plainly(word, dense, minn=minn, maxn=maxn, bucket=30, pairs=pairs)
        if expected is None:
            with pytest.raises(UnknownKeyError):
                wv[word]
            expected = np.zeros(dim)
        elif word in WORDS or wv.oov == "subwords":
            assert np.allclose(wv[word], expected, atol=1e-5)
        if theirs is not None:
            assert np.allclose(theirs.get_word_vector(word), expected, atol=1e-5)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_packed_saved_and_for_gensim(tmp_path, pack):
    data, dense = written(qnorm=True, pairs=[(3, 0), (17, 2), (22, 1)])
    (tmp_path / "m.ftz").write_bytes(pack(data))
    wv = fw.load(tmp_path / "m.ftz")
    wv.save(tmp_path / "s")
    back = fw.load(tmp_path / "s")
    assert back._subwords.rows("king") == wv._subwords.rows("king")
    assert np.asarray(back.vectors).tobytes() == np.asarray(wv.vectors).tobytes()
    assert np.array_equal(wv["</s>"], dense[0])


def damaged():
    data, _ = written()
    body = data.index(struct.pack("<Bqq", 0, 35, 5))
    quantiser = data.index(struct.pack("<4i", 5, 3, 2, 1))
    with_pairs, _ = written(pairs=[(3, 0), (17, 1)])
    yield data[:body] + b"\2" + data[body + 1 :], "a matrix 35 × 5"
    yield data.replace(struct.pack("<Bqq", 0, 35, 5), struct.pack("<Bqq", 0, 36, 5)), "a matrix 36 × 5"
    yield data.replace(struct.pack("<Bqqi", 0, 35, 5, 105), struct.pack("<Bqqi", 0, 35, 5, 104)), "104 codes"
    yield data.replace(struct.pack("<Bqqi", 0, 35, 5, 105), struct.pack("<Bqqi", 0, 35, 5, 2**30)), "damaged|cut short"
    for change in ((5, 3, 2, 2), (5, 3, 0, 1), (6, 3, 2, 2), (5, -3, 2, 1), (5, 2, 4, 1)):
        yield data[:quantiser] + struct.pack("<4i", *change) + data[quantiser + 16 :], "a quantiser|codes a row"
    yield data[: quantiser + 500], "cut short"
    yield data[: body + 40], "cut short"
    for change in ((30, 1), (-1, 1), (3, 1), (17, 2), (17, -1)):
        yield with_pairs.replace(struct.pack("<4i", 3, 0, 17, 1), struct.pack("<4i", 3, 0, *change)), "don't fit"


@pytest.mark.parametrize(("data", "problem"), list(damaged()))
def test_damaged_models_are_refused(tmp_path, data, problem):
    (tmp_path / "m.ftz").write_bytes(data)
    with pytest.raises(FormatError, match=problem):
        fw.load(tmp_path / "m.ftz")


def test_every_cut_is_refused(tmp_path):
    data, _ = written(pairs=[(3, 0)], qnorm=True, dim=2, dsub=2)
    end = len(data) - len(b"the output matrix, which nobody reads")
    for cut in range(8, end, 97):
        (tmp_path / "m.ftz").write_bytes(data[:cut])
        with pytest.raises(FormatError):
            fw.load(tmp_path / "m.ftz")


def test_models_that_fasttext_itself_makes(tmp_path):
    """The whole way of the library, in a process of its own, for it prints."""
    pytest.importorskip("fasttext", reason="fasttext isn't installed")
    code = """
import fasttext, random
options = {"dim": 8, "minCount": 1, "epoch": 2, "lr": 0.1, "thread": 1, "verbose": 0}
random.seed(1)
words = [f"w{a}{b}" for a in "abcdefghijklmnopqrst" for b in "éabcdefghijklmnopqrst"]
lines = [f"__label__{'xy'[i % 2]} " + " ".join(random.choices(words, k=9)) for i in range(900)]
open("s.txt", "w").write("\\n".join(lines))
for name, more in {"plain": {}, "grams": {"wordNgrams": 2, "bucket": 400}}.items():
    for kind, quantise in {"q": {}, "qnorm": {"qnorm": True}, "cut": {"cutoff": 300}}.items():
        for _ in range(50):
            try:
                model = fasttext.train_supervised("s.txt", **options, **more)
                break
            except RuntimeError:  # "Encountered NaN", in most runs of some builds
                pass
        model.quantize(input="s.txt", **quantise)
        model.save_model(f"{name}.{kind}.ftz")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    import fasttext as library

    files = sorted(tmp_path.glob("*.ftz"))
    assert len(files) == 6
    for file in files:
        wv, theirs = fw.load(file), library.load_model(os.fspath(file))
        assert list(wv.index_to_key) == theirs.words
        assert np.allclose(wv.vectors, [theirs.get_word_vector(word) for word in theirs.words], atol=1e-6)
        if file.name.startswith("plain"):
            text = " ".join(theirs.words[:7]) + " unknown"
            assert np.allclose(wv.get_sentence_vector(text), theirs.get_sentence_vector(text), atol=1e-6)
