"""Files that gensim 4.4 writes, in every way that it can, and Facebook's as it reads them: nothing of them is run."""

import gzip
import json
import logging
import os
import shutil
import struct
import zipfile

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError, FormatError, MissingFileError, TextDecodeError, UnknownKeyError
from foreword.vectors.store.store import npy_header
from vectors.formats import fasttext, native

pytest.importorskip("gensim", reason="gensim isn't installed")
from gensim.models import Doc2Vec, FastText, KeyedVectors, Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from gensim.models.doc2vec import TaggedDocument

TEXTS = [["the", "king", "and", "the", "queen"], ["naïve", "我", "queen", "the", "king"], ["man", "and", "woman"]] * 3
RAN = []


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))


class Told(CallbackAny2Vec):
    """A callback of the author's own."""

    def __init__(self):
        self.method = self.on_epoch_end  # pickled as a call of getattr
        self.places = {(1, 2): "a"}

    def on_epoch_end(self, model):
        pass

    def __setstate__(self, state):
        RAN.append(state)


def own_hash(word):
    RAN.append(word)
    return len(word)


def train(kind=Word2Vec, texts=TEXTS, **options):
    return kind(texts, vector_size=6, min_count=1, workers=1, seed=1, epochs=2, **options)


def same(ours, theirs):
    assert list(ours.index_to_key) == list(theirs.index_to_key)
    assert np.allclose(ours.vectors, theirs.vectors, atol=1e-6)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("how", ["whole", "vectors", "separate", "gz", "vectors gz"])
def test_what_gensim_saves(tmp_path, protocol, how):
    model = train(hashfxn=own_hash)
    model.callbacks = (Told(),)
    RAN.clear()
    saved = model.wv if "vectors" in how else model
    path = tmp_path / ("m.gz" if "gz" in how else "m")
    options = {"pickle_protocol": protocol}
    saved.save(str(path), sep_limit=1 if how != "whole" else 1 << 20, **options)
    assert any(tmp_path.glob("m*.vectors.*")) == (how != "whole")
    wv = fw.load(path)
    same(wv, model.wv)
    assert [wv.get_vecattr(word, "count") for word in wv.index_to_key] == [
        model.wv.get_vecattr(word, "count") for word in wv.index_to_key
    ]
    assert RAN == []


@pytest.mark.parametrize("tags", ["integers", "words", "both", "a gap"])
@pytest.mark.parametrize("separate", [False, True])
def test_documents(tmp_path, tags, separate):
    of = {"integers": [0, 1, 2], "words": ["a", "b", "c"], "both": [0, "x", 1], "a gap": [0, 1, 4]}[tags]
    texts = [TaggedDocument(text, [of[i % 3]]) for i, text in enumerate(TEXTS)]
    model = train(Doc2Vec, texts)
    model.save(str(tmp_path / "m"), sep_limit=1 if separate else 1 << 20)
    same(fw.load(tmp_path / "m"), model.wv)
    documents = fw.load(tmp_path / "m", vectors="documents")
    same(documents, model.dv)
    for tag in model.dv.index_to_key:
        assert np.array_equal(documents[tag], model.dv[tag])
    assert [key for key, _ in documents.most_similar(of[0])] == [key for key, _ in model.dv.most_similar(of[0])]
    model.dv.save(str(tmp_path / "dv"))
    same(fw.load(tmp_path / "dv"), model.dv)
    same(fw.load(tmp_path / "dv", vectors="documents"), model.dv)
    assert np.array_equal(fw.KeyedVectors.load(tmp_path / "dv")[of[1]], model.dv[of[1]])


def test_integer_keys_of_gensim(tmp_path):
    theirs = KeyedVectors(3)
    theirs.add_vectors([2, 0, 1], np.eye(3, dtype=np.float32))
    theirs.save(str(tmp_path / "v.kv"))
    ours = fw.load(tmp_path / "v.kv")
    for key in (0, 1, 2):
        assert np.array_equal(ours[key], theirs[key])
    kinds = KeyedVectors(3)
    kinds.add_vectors(list(np.array(["a", "naïve", "我"])) + list(np.array([5, 6])), np.ones((5, 3), np.float32))
    kinds.save(str(tmp_path / "kinds.kv"))
    assert list(fw.load(tmp_path / "kinds.kv").index_to_key) == ["a", "naïve", "我", 5, 6]


def test_rows_without_a_key_are_left_out(tmp_path):
    theirs = KeyedVectors(3, count=5)
    for key in ("a", "b"):
        theirs.add_vector(key, np.ones(3, np.float32) * len(theirs.key_to_index))
    theirs.save(str(tmp_path / "v.kv"))
    ours = fw.load(tmp_path / "v.kv")
    assert list(ours.index_to_key) == ["a", "b"]
    assert np.array_equal(ours.vectors, theirs.vectors[:2])
    assert list(fw.load(tmp_path / "v.kv", limit=1).index_to_key) == ["a"]


def test_a_range_of_keys(tmp_path):
    (tmp_path / "v.kv").write_bytes(native({"index_to_key": range(3), "vectors": np.eye(3, dtype=np.float32)}))
    assert list(fw.load(tmp_path / "v.kv").index_to_key) == [0, 1, 2]
    (tmp_path / "w.kv").write_bytes(native({"index_to_key": range(10**15), "vectors": np.eye(3, dtype=np.float32)}))
    with pytest.raises(FormatError):
        fw.load(tmp_path / "w.kv")


@pytest.mark.parametrize(
    "wrong", [{"max_rawint": "1"}, {"max_rawint": 5}, {"offset2doctag": {}}, {"offset2doctag": "ab"}]
)
def test_damaged_documents(tmp_path, wrong):
    state = {"doctag_syn0": np.eye(3, dtype=np.float32), "doctags": {}, "offset2doctag": ["x"], "max_rawint": 1}
    (tmp_path / "m").write_bytes(native(state))
    assert list(fw.load(tmp_path / "m").index_to_key) == [0, 1, "x"]
    (tmp_path / "m").write_bytes(native(state | wrong))
    with pytest.raises(FormatError):
        fw.load(tmp_path / "m")


# fastText's subwords.


@pytest.mark.parametrize("options", [{"bucket": 0}, {"max_n": 0}, {"min_n": 5, "max_n": 3}], ids=str)
@pytest.mark.parametrize("what", ["model", "vectors"])
def test_fasttext_without_ngrams_has_no_subwords(tmp_path, options, what):
    model = train(FastText, **({"bucket": 50} | options))
    (model if what == "model" else model.wv).save(str(tmp_path / "m"))
    wv = fw.load(tmp_path / "m")
    same(wv, model.wv)
    assert wv.oov == "error"
    with pytest.raises(KeyError):
        model.wv["kings"]
    with pytest.raises(UnknownKeyError, match="did you mean 'king'"):
        wv["kings"]
    with pytest.raises(UnknownKeyError):
        wv.most_similar("kings")
    assert wv.similarity("king", "queen") == wv.n_similarity(["king", "kings"], ["queen"])
    with pytest.raises(ArgumentError, match="no subwords"):
        wv.oov = "subwords"
    wv.save(tmp_path / "saved")
    assert fw.load(tmp_path / "saved").oov == "error"


@pytest.mark.parametrize(("minn", "maxn"), [(0, 0), (3, 2), (4, 0)])
def test_facebooks_files_without_ngrams(tmp_path, minn, maxn):
    matrix = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    (tmp_path / "ft.bin").write_bytes(fasttext([b"king", b"queen"], [2, 1], matrix, minn=minn, maxn=maxn, bucket=5))
    wv = fw.load(tmp_path / "ft.bin")
    assert wv.oov == "error"
    assert np.array_equal(wv.vectors, matrix[:2])
    with pytest.raises(UnknownKeyError):
        wv["kings"]


def test_stores_made_before_of_such_models_have_no_subwords_either(tmp_path):
    model = train(FastText, bucket=50)
    model.wv.save(str(tmp_path / "m"))
    wv = fw.load(tmp_path / "m")
    folder = wv._store.path
    (folder / "subwords.npy").write_bytes(b"")
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"bucket": 50', '"bucket": 0'))
    (folder / "subwords.npy").write_bytes(npy_header("float32", (0, 6)))
    assert fw.load(folder).oov == "error"


@pytest.mark.parametrize("separate", [False, True])
def test_fasttext_of_gensim(tmp_path, separate):
    model = train(FastText, bucket=50)
    model.save(str(tmp_path / "m"), sep_limit=1 if separate else 1 << 20)
    wv = fw.load(tmp_path / "m")
    same(wv, model.wv)
    for word in ("kings", "queenly", "我我", "naïveté"):
        assert np.allclose(wv[word], model.wv[word], atol=1e-6)


def hash2index(hashing, words, *, bucket=1000):
    """FastText as gensim 3.7 packed it: n-grams in use only, hashed by bytes or by characters."""
    rng = np.random.default_rng(0)
    used = {}
    for word in words:
        text = f"<{word}>"
        for n in range(2, 5):
            for i in range(len(text) - n + 1):
                used.setdefault(hashing(text[i : i + n]) % bucket, len(used))
    own, grams = (rng.normal(size=(n, 4)).astype(np.float32) for n in (len(words), len(used)))
    rows = np.array([mean_of(hashing, used, grams, bucket, word, own[i]) for i, word in enumerate(words)])
    state = {
        "index2word": words,
        "vectors": rows,
        "vectors_vocab": own,
        "vectors_ngrams": grams,
        "hash2index": used,
        "min_n": 2,
        "max_n": 4,
        "bucket": bucket,
        "num_ngram_vectors": len(used),
    }
    return state, lambda word: mean_of(hashing, used, grams, bucket, word)


def mean_of(hashing, used, grams, bucket, word, own=None):
    text = f"<{word}>"
    runs = [text[i : i + n] for n in range(2, 5) for i in range(len(text) - n + 1)]
    found = [grams[used[at]] for run in runs if (at := hashing(run) % bucket) in used]
    return np.mean(found if own is None else [own, *found], axis=0, dtype=np.float32) if found else None


def by_characters(gram):
    value = 2166136261
    for character in gram:
        value = (value ^ ord(character)) * 16777619 % 2**32
    return value


def by_bytes(gram):
    value = 2166136261
    for byte in gram.encode():
        value = (value ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16777619 % 2**32
    return value


@pytest.mark.parametrize("hashing", [by_characters, by_bytes])
def test_packed_ngrams(tmp_path, hashing):
    """Known words have the vectors that were saved; unknown ones the mean of the n-grams in use (gensim 3.3-3.7)."""
    words = ["king", "naïve", "東京", "queen"]
    state, mean = hash2index(hashing, words)
    if hashing is by_bytes:
        state["compatible_hash"] = True
    path = tmp_path / "v.kv"
    path.write_bytes(native(state, module="gensim.models.keyedvectors", name="FastTextKeyedVectors", protocol=2))
    wv = fw.load(path)
    assert np.array_equal(wv.vectors, state["vectors"])
    assert wv.oov == "subwords"
    for word in ("kings", "naïveté", "東", "que"):
        assert np.allclose(wv[word], mean(word), atol=1e-6)
    assert mean("zzzz") is None
    with pytest.raises(UnknownKeyError):
        wv["zzzz"]
    assert wv.most_similar_batch(["kings"]) == [wv.most_similar("kings")]
    for wrong in (
        {"hash2index": {5: 10**6}},
        {"hash2index": {5: -1}},
        {"hash2index": {10**6: 0}},
        {"hash2index": {"a": 0}},
        {"hash2index": {}},
        {"max_n": -1},
        {"min_n": None},
        {"vectors": None},
    ):
        path.write_bytes(native(state | wrong, name="FastTextKeyedVectors", protocol=2))
        with pytest.raises(FormatError):
            fw.load(path)


def test_spelt_ngrams(tmp_path):
    """FastText up to gensim 3.2: n-grams in a table by their spelling."""
    grams = {"<ki": 0, "kin": 1, "ing": 2, "ng>": 3, "東京>": 4}
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    state = {"index2word": ["king"], "syn0": rows[:1], "syn0_all": rows, "ngrams": grams, "min_n": 3, "max_n": 3}
    path = tmp_path / "m"
    path.write_bytes(native(state, module="gensim.models.wrappers", name="FastTextKeyedVectors", protocol=2))
    wv = fw.load(path)
    assert np.allclose(wv["kingdom"], rows[[0, 1, 2]].mean(axis=0))
    assert np.allclose(wv["我東京"], rows[4])
    with pytest.raises(UnknownKeyError):
        wv["abc"]
    path.write_bytes(native(state | {"ngrams": {"<ki": 9}}, name="FastTextKeyedVectors", protocol=2))
    with pytest.raises(FormatError, match="don't fit"):
        fw.load(path)


# Files beside the model.


def saved(tmp_path, name="v.kv", **options):
    theirs = KeyedVectors(3)
    theirs.add_vectors(["a", "b", "c"], np.eye(3, dtype=np.float32))
    theirs.save(str(tmp_path / name), sep_limit=1, **options)
    return tmp_path / name


def test_a_part_that_is_missing_is_named(tmp_path):
    path = saved(tmp_path)
    os.rename(tmp_path / "v.kv.vectors.npy", tmp_path / "elsewhere")
    with pytest.raises(MissingFileError, match=r"(?s)part of the model is missing.*v\.kv\.vectors\.npy.*put the file"):
        fw.load(path)
    packed = saved(tmp_path, "v.kv.gz")
    (tmp_path / "v.kv.gz.vectors.npz").unlink()
    with pytest.raises(MissingFileError, match=r"v\.kv\.gz\.vectors\.npz"):
        fw.load(packed)
    model = train()
    model.save(str(tmp_path / "m"), sep_limit=1)
    (tmp_path / "m.wv.vectors.npy").unlink()
    with pytest.raises(MissingFileError, match=r"m\.wv\.vectors\.npy"):
        fw.load(tmp_path / "m")
    (tmp_path / "m.syn1neg.npy").unlink()  # of no use here
    train().wv.save(str(tmp_path / "m.wv"), sep_limit=1)
    assert len(fw.load(tmp_path / "m")) == len(model.wv)


def test_damaged_parts(tmp_path):
    path = saved(tmp_path)
    part = tmp_path / "v.kv.vectors.npy"
    for data in (b"", b"no array", part.read_bytes()[:-1], part.read_bytes()[:40]):
        part.write_bytes(data)
        with pytest.raises(FormatError, match=r"(?s)damaged.*v\.kv\.vectors\.npy"):
            fw.load(path)
    packed = saved(tmp_path, "w.kv.gz")
    (tmp_path / "w.kv.gz.vectors.npz").write_bytes(b"no archive")
    with pytest.raises(FormatError):
        fw.load(packed)


def test_a_model_in_an_archive_or_packed_later(tmp_path):
    path = saved(tmp_path)
    parts = sorted(tmp_path.glob("v.kv*"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for part in parts:
            archive.write(part, f"models/{part.name}")
    assert np.array_equal(fw.load(tmp_path / "a.zip" / "models" / "v.kv").vectors, np.eye(3))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(path, "v.kv")
    with pytest.raises(MissingFileError, match=r"b\.zip.*v\.kv\.vectors\.npy"):
        fw.load(tmp_path / "b.zip")
    (tmp_path / "v.kv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(fw.load(tmp_path / "v.kv.gz").vectors, np.eye(3))


@pytest.mark.parametrize("name", ["v.kv", "v.kv.gz", "m", "documents"])
def test_every_file_of_a_model_is_its_identity(tmp_path, name):
    if name.startswith("v"):
        path = saved(tmp_path, name)
    else:
        model = train(Doc2Vec, [TaggedDocument(text, [i]) for i, text in enumerate(TEXTS)])
        path = tmp_path / "m"
        model.save(str(path), sep_limit=1)
    options = {"vectors": "documents"} if name == "documents" else {}
    before = np.array(fw.load(path, **options).vectors)
    suffix = ".dv.vectors.npy" if name == "documents" else ".wv.vectors.npy" if name == "m" else ".vectors.np[yz]"
    (part,) = tmp_path.glob(f"{path.name}{suffix}")
    time = part.stat().st_mtime_ns
    if part.suffix == ".npy":
        np.save(part, before + 1)
    else:
        np.savez_compressed(part, val=before + 1)
    os.utime(part, ns=(time, time + 10**7))
    for _ in range(2):
        assert np.array_equal(fw.load(path, **options).vectors, before + 1)
    part.unlink()
    with pytest.raises(MissingFileError):
        fw.load(path, **options)
    assert len(list((tmp_path / "home" / "vectors").glob("[!.]*"))) <= 1


def test_what_lies_beside_by_chance_is_no_part(tmp_path):
    theirs = KeyedVectors(3)
    theirs.add_vectors(["a", "b", "c"], np.eye(3, dtype=np.float32))
    theirs.save(str(tmp_path / "v.kv"))
    np.save(tmp_path / "v.kv.vectors.npy", np.ones((3, 3), np.float32))
    assert np.array_equal(fw.load(tmp_path / "v.kv").vectors, np.eye(3))
    model = train(FastText, bucket=50)
    model.wv.save(str(tmp_path / "ft.kv"))
    np.save(tmp_path / "ft.kv.vectors.npy", np.ones((len(model.wv), 6), np.float32))
    same(fw.load(tmp_path / "ft.kv"), model.wv)


def test_vocabularies_are_part_of_the_identity_too(tmp_path):
    np.save(tmp_path / "v.npy", np.eye(2, dtype=np.float32))
    for words in (b"a\nb\n", b"c\nd\n"):
        (tmp_path / "v.vocab").write_bytes(words)
        os.utime(tmp_path / "v.vocab", ns=(1, ord(words[:1])))
        assert list(fw.load(tmp_path / "v.npy").index_to_key) == words.decode().split()


def test_stores_of_gensims_files_made_before_are_made_anew(tmp_path):
    path = saved(tmp_path)
    wv = fw.load(path)
    manifest = wv._store.path / "manifest.json"
    told = json.loads(manifest.read_text())
    del told["source"]["files"]
    manifest.write_text(json.dumps(told))
    assert "files" in fw.load(path)._store.source
    # One of another format stays.
    wv.export(tmp_path / "v.txt")
    text = fw.load(tmp_path / "v.txt")._store
    assert "files" not in text.source
    assert fw.load(tmp_path / "v.txt")._store.place == text.place


# Words that are no text.


def test_words_of_facebooks_files_that_are_no_text(tmp_path, caplog):
    words = [b"king", b"caf\xe9", b"\xe6\x88", b"queen"]
    matrix = np.random.default_rng(0).normal(size=(54, 8)).astype(np.float32)
    path = tmp_path / "ft.bin"
    path.write_bytes(fasttext(words, [4, 3, 2, 1], matrix, minn=2, maxn=4, bucket=50))
    theirs = fw.vectors.keyed_vectors.load_facebook_vectors
    with caplog.at_level(logging.WARNING):
        wv = fw.load(path)
    assert "backslashes" in caplog.text
    assert list(wv.index_to_key) == ["king", "caf\\xe9", "\\xe6\\x88", "queen"]
    assert list(theirs(path).index_to_key) == list(wv.index_to_key)
    for load in (fw.load, theirs):
        with pytest.raises(TextDecodeError, match="unicode_errors"):
            load(path, unicode_errors="strict")
        assert list(load(path, unicode_errors="ignore").index_to_key) == ["king", "caf", "", "queen"]
        assert list(load(path, unicode_errors="replace").index_to_key)[1] == "caf\ufffd"
        assert list(load(path, encoding="latin-1").index_to_key)[1] == "café"
    # As gensim names them, but for its n-grams, which it takes of the name rather than of the word.
    assert list(gensims(path).index_to_key) == list(wv.index_to_key)
    assert np.allclose(gensims(path)["king"], wv["king"], atol=1e-6)


def gensims(path):
    from gensim.models.fasttext import load_facebook_vectors

    shutil.copy(path, f"{path}.full")
    with open(f"{path}.full", "rb+") as file:  # gensim reads the output matrix too
        data = file.read().removesuffix(b"the output matrix, which nobody reads")
        file.seek(0)
        file.truncate()
        file.write(data + struct.pack("<?qq", False, 4, 8) + bytes(4 * 4 * 8))
    return load_facebook_vectors(f"{path}.full")


# The wrong way to read a file has a hint.


def test_a_file_read_the_wrong_way(tmp_path):
    table = fw.KeyedVectors(8)
    table.add_vectors([f"w{i}" for i in range(60)], np.random.default_rng(0).normal(size=(60, 8)))
    table.save_word2vec_format(tmp_path / "v.bin", binary=True)
    table.save_word2vec_format(tmp_path / "v.txt")
    table.export(tmp_path / "v.safetensors")
    (tmp_path / "v.kv").write_bytes(native({"index_to_key": ["a"], "vectors": np.ones((1, 2), np.float32)}))
    matrix = np.ones((3, 4), np.float32)
    (tmp_path / "ft.bin").write_bytes(fasttext([b"a"], [1], matrix, minn=2, maxn=3, bucket=2))
    load = fw.KeyedVectors.load_word2vec_format
    for name, binary, fix in (
        ("v.bin", False, "in binary: pass binary=True"),
        ("v.txt", True, "in text: pass binary=False"),
        ("v.kv", False, "foreword.load reads it"),
        ("v.kv", True, "foreword.load reads it"),
        ("ft.bin", True, "fastText .bin: foreword.load reads it"),
        ("ft.bin", False, "fastText .bin: foreword.load reads it"),
        ("v.safetensors", True, "foreword.load reads it"),
    ):
        with pytest.raises((FormatError, TextDecodeError), match=fix):
            load(tmp_path / name, binary=binary)
    with open(tmp_path / "v.txt", "ab") as file:
        file.write(b"too few 1 2\n")
    with pytest.raises(FormatError) as error:
        load(tmp_path / "v.txt", binary=False)
    assert "binary" not in str(error.value)
