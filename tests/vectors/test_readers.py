"""Every other format and every wrapping: read bit for bit, and refused where it is damaged."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import FileError, FormatError, MissingFileError, TextDecodeError
from foreword.vectors.formats import word2vec
from foreword.vectors.store.subwords import fnv1a, subword_rows
from vectors.formats import fasttext, native, ngrams, read, safetensors, store_of, text, word2vec_binary

RNG = np.random.default_rng(3)
WORDS = [f"w{i}".encode() if i % 3 else f"wé{i}".encode() for i in range(50)]
ROWS = RNG.normal(size=(50, 6)).astype(np.float32)


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("_", "."), data)
    return file.getvalue()


def zstd(data):
    import pyarrow as pa

    return pa.compress(data, codec="zstd", asbytes=True)


def tarred(*files, mode="w"):
    """A tar archive of (name, data), in a folder as archives have it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in files:
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


PACKS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "zip": lambda data: zipped(v_bin=data),
    "tar": lambda data: tarred(("v.bin", data)),
    "tar.gz": lambda data: tarred(("v.bin", data), mode="w:gz"),
    "tar.bz2": lambda data: tarred(("v.bin", data), mode="w:bz2"),
    "tar.xz": lambda data: tarred(("v.bin", data), mode="w:xz"),
    "tar.zst": lambda data: zstd(tarred(("v.bin", data))),
    "zip of gz": lambda data: zipped(v_gz=gzip.compress(data)),
    "tar of gz": lambda data: tarred(("v.bin.gz", gzip.compress(data)), mode="w:gz"),
    "gz of gz": lambda data: gzip.compress(gzip.compress(data)),
}


def put(folder, data, name="v.bin"):
    file = folder / name
    file.write_bytes(data)
    return file


# --- word2vec binary ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newline", [b"\n", b""])
@pytest.mark.parametrize("pack", [bytes, *PACKS.values()], ids=["plain", *PACKS])
def test_word2vec_binary(tmp_path, monkeypatch, newline, pack):
    file = put(tmp_path, pack(word2vec_binary(WORDS, ROWS, newline=newline)))
    for block in (word2vec.BLOCK_BYTES, 7):
        monkeypatch.setattr(word2vec, "BLOCK_BYTES", block)
        keys, rows = read(file)
        assert keys == WORDS
        assert rows.tobytes() == ROWS.tobytes()
        assert read(file, limit=7)[0] == WORDS[:7]


def test_the_notebooks_google_news_rows(tmp_path, notebook):
    told = notebook["word_vectors"]
    middle = RNG.normal(size=294)
    words = list(told["rows"])
    rows = np.array([[*r["first3"], *middle, *r["last3"]] for r in told["rows"].values()], dtype=np.float32)
    store = store_of(put(tmp_path, word2vec_binary([w.encode() for w in words], rows)), tmp_path / "store")
    assert list(store.keys) == words
    assert np.array_equal(np.array(store.vectors).view(np.uint32), rows.view(np.uint32))
    assert [300] == told["shape_of_cat"] == list(store.vectors[store.keys.find("cat")].shape)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_word2vec_binary(tmp_path_factory, data):
    dim = data.draw(st.integers(1, 5))
    words = data.draw(st.lists(st.text(st.characters(exclude_characters=" \n", codec="utf-8")), min_size=1, max_size=8))
    words = [word.encode() for word in words]
    rows = np.frombuffer(data.draw(st.binary(min_size=4 * dim * len(words), max_size=4 * dim * len(words))), "<f4")
    file = put(tmp_path_factory.mktemp("w"), word2vec_binary(words, rows.reshape(-1, dim)))
    keys, got = read(file, binary=True)
    assert keys == words
    assert got.tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (word2vec_binary(WORDS, ROWS)[:-3], "cut short"),
        (word2vec_binary(WORDS, ROWS, count=51), "cut short"),
        (word2vec_binary(WORDS, ROWS, count=49), "goes on after its last word"),
        (word2vec_binary(WORDS, ROWS, count=10**12), "1,000,000,000,000 words"),
        (b"3 2\n" + b"x" * 400_000, "no end of a word"),
        (b"no header\n\0\0", "not a file of vectors"),
    ],
)
def test_damaged_word2vec_binary(tmp_path, data, problem):
    with pytest.raises(FormatError) as refused:
        read(put(tmp_path, data), **({"binary": True} if data.startswith(b"3 2") else {}))
    assert problem in str(refused.value)


def test_binary_can_be_forced(tmp_path):
    # A binary file whose bytes look like text: "0.1 " is a float32 too.
    file = put(tmp_path, b"1 1\nword 0.1\n")
    assert read(file)[1] == np.float32(0.1)
    assert read(file, binary=True)[1] == np.frombuffer(b"0.1\n", "<f4")
    with pytest.raises(FormatError, match="not a word2vec binary"):
        read(put(tmp_path, b"word 0.1\n"), binary=True)


def test_words_that_are_not_utf8(tmp_path):
    file = put(tmp_path, word2vec_binary([b"ok", b"K\xf6ln"], ROWS[:2]))
    with pytest.raises(TextDecodeError, match="word 2"):
        read(file)
    assert read(file, encoding="latin1")[0][1] == "Köln".encode()
    assert read(file, unicode_errors="replace")[0][1] == "K�ln".encode()


# --- wrappings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("keep", [0.3, 0.5])
def test_a_compressed_file_cut_short(tmp_path, pack, keep):
    data = pack(word2vec_binary(WORDS * 40, np.tile(ROWS, (40, 1))))
    with pytest.raises(FormatError):
        read(put(tmp_path, data[: int(len(data) * keep)]))


def test_a_compressed_file_with_a_flipped_byte(tmp_path):
    data = bytearray(gzip.compress(word2vec_binary(WORDS, ROWS)))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(FormatError):
        read(put(tmp_path, bytes(data)))


def test_an_archive_of_several_files(tmp_path):
    file = put(tmp_path, zipped(a_bin=word2vec_binary(WORDS, ROWS), b_txt=text(WORDS, 2 * ROWS)), "v.zip")
    with pytest.raises(FormatError, match=r"a\.bin, b\.txt"):
        read(file)
    assert read(file / "b.txt")[1].tobytes() == (2 * ROWS).tobytes()
    with pytest.raises(FormatError, match="does not hold this file"):
        read(file / "c.txt")


def test_an_archive_whose_file_lost_its_name_is_damaged(tmp_path):
    """The name's length of the directory's entry is 0: zipfile's own is_dir() fails on that with an IndexError."""
    data = zipped(a=text(WORDS, ROWS))
    entry, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    nameless = data[entry : entry + 28] + b"\0\0" + data[entry + 30 : entry + 46] + data[entry + 47 : end]
    size = len(nameless).to_bytes(4, "little")
    (tmp_path / "v.zip").write_bytes(data[:entry] + nameless + data[end : end + 12] + size + data[end + 16 :])
    with pytest.raises(FormatError, match="damaged"):
        fw.load(tmp_path / "v.zip")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_archive_of_several_files(tmp_path, mode):
    members = ("._a.bin", b"what macOS adds"), ("a.bin", word2vec_binary(WORDS, ROWS)), ("b.txt", text(WORDS, 2 * ROWS))
    file = put(tmp_path, tarred(*members, mode=mode), "v.tar.any")
    with pytest.raises(FormatError, match=r"folder/a\.bin, folder/b\.txt(.|\n)*v\.tar\.any/folder/a\.bin"):
        read(file)
    assert read(file / "folder" / "b.txt")[1].tobytes() == (2 * ROWS).tobytes()
    with pytest.raises(FormatError, match="does not hold this file"):
        read(file / "folder" / "c.txt")
    assert read(put(tmp_path, tarred(*members[:2], mode=mode), "v"))[1].tobytes() == ROWS.tobytes()


def test_a_tar_archive_loads_by_its_path(tmp_path):
    file = put(tmp_path, tarred(("a.txt", text(WORDS, ROWS)), ("b.txt", text(WORDS, 2 * ROWS)), mode="w:gz"), "v.tgz")
    for name, factor in (("a", 1), ("b", 2)):
        wv = fw.load(file / "folder" / f"{name}.txt")
        assert np.asarray(wv.vectors).tobytes() == (factor * ROWS).tobytes()


def test_files_that_can_not_be_read(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read(tmp_path / "none")
    with pytest.raises(FileError, match="is a directory"):
        read(tmp_path)


# --- fastText -------------------------------------------------------------------------------------------------------

SUBWORDS = {"minn": 2, "maxn": 4, "bucket": 37}
MATRIX = RNG.normal(size=(50 + 37, 6)).astype(np.float32)
COUNTS = list(range(50, 0, -1))


def expected_rows(words, *, minn=2, maxn=4, bucket=37):
    rows = []
    for i, word in enumerate(words):
        row, grams = MATRIX[i].copy(), [] if word == b"</s>" else ngrams(word.decode(), minn, maxn)
        for gram in grams:
            row += MATRIX[len(words) + fnv1a(gram.encode()) % bucket]
        rows.append(row / np.float32(1 + len(grams)))
    return np.array(rows)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_fasttext(tmp_path, monkeypatch, pack, old, compiled):
    monkeypatch.setattr("foreword.vectors.store.subwords._COMPILED", 0 if compiled else 1 << 40)
    words = [b"</s>", "日本語".encode(), *WORDS[2:]]
    store = store_of(put(tmp_path, pack(fasttext(words, COUNTS, MATRIX, old=old, **SUBWORDS))), tmp_path / "store")
    assert [key.encode() for key in store.keys] == words
    assert np.array(store.vectors).tobytes() == expected_rows(words).tobytes()
    assert store.counts.tolist() == COUNTS
    assert (store.subwords.minn, store.subwords.maxn) == (2, 4)
    assert store.subwords.vectors.tobytes() == MATRIX[50:].tobytes()
    assert store.subwords.rows("日x") == [fnv1a(g.encode()) % 37 for g in ngrams("日x", 2, 4)]


def test_fasttext_without_subwords_and_with_labels(tmp_path):
    data = fasttext(WORDS, COUNTS, MATRIX[:50], minn=0, maxn=0, bucket=0, labels=[b"__label__x"], model=3)
    store = store_of(put(tmp_path, data), tmp_path / "store")
    assert store.subwords is None
    assert np.array(store.vectors).tobytes() == MATRIX[:50].tobytes()


@given(st.text(max_size=8), st.integers(1, 4), st.integers(0, 4))
def test_subwords_are_those_of_the_plain_way(word, minn, more):
    word = word.encode("utf-8", "replace").decode()
    rows = subword_rows(word.encode(), minn=minn, maxn=minn + more, bucket=101)
    assert rows == [fnv1a(gram.encode()) % 101 for gram in ngrams(word, minn, minn + more)]


def test_the_hash_extends_signs():
    # Worked by hand: (2166136261 ^ 0xFFFFFFE9) * 16777619 mod 2^32.
    assert fnv1a(b"\xe9") == ((2166136261 ^ 0xFFFFFFE9) * 16777619) % 2**32


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (fasttext(WORDS, COUNTS, MATRIX, quantised=1, **SUBWORDS), "damaged"),
        (fasttext(WORDS, COUNTS, MATRIX, quantised=2, **SUBWORDS), "kind 2"),
        (fasttext(WORDS, COUNTS, MATRIX, pruned=38, **SUBWORDS), "38 n-grams of 37"),
        (fasttext(WORDS, COUNTS, MATRIX, pruned=0, **SUBWORDS), "kind 0, 0 n-grams"),
        (fasttext(WORDS, COUNTS, MATRIX[:-1], **SUBWORDS), "a matrix 86 × 6"),
        (fasttext(WORDS, COUNTS, MATRIX, **SUBWORDS)[:1500], "damaged"),
        (fasttext(WORDS, COUNTS, MATRIX, **SUBWORDS)[:2500], "cut short"),
        (struct.pack("<ii", 793712314, 13) + bytes(200), "unknown version"),
        (
            fasttext(WORDS, COUNTS, MATRIX, **SUBWORDS).replace(
                struct.pack("<iii", 50, 50, 0), struct.pack("<iii", 2**30, 2**30, 0)
            ),
            "damaged",
        ),
        *(
            (
                fasttext(WORDS, COUNTS, MATRIX, **SUBWORDS).replace(
                    struct.pack("<iii", 50, 50, 0), struct.pack("<iii", *counts)
                ),
                f"a dictionary of {counts[0]:,} entries, {counts[1]:,} words and {counts[2]:,} labels",
            )
            for counts in ((-1, 50, -51), (0, 0, 0), (49, 50, -1), (51, 50, 0))
        ),
    ],
)
def test_fasttext_models_that_are_refused(tmp_path, data, problem):
    for pack in (bytes, gzip.compress):
        with pytest.raises(FormatError) as refused:
            read(put(tmp_path, pack(data)))
        assert problem in str(refused.value) or "cut short" in str(refused.value)


# --- gensim's native format -----------------------------------------------------------------------------------------


def kv(**more):
    state = {"index_to_key": [w.decode() for w in WORDS], "vectors": ROWS, "expandos": {"count": np.array(COUNTS)}}
    return state | more


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_native(tmp_path, protocol):
    state = kv(lifecycle_events=[{"ignore": frozenset()}], order=np.asfortranarray(ROWS))
    store = store_of(put(tmp_path, native(state, protocol=protocol)), tmp_path / "store")
    assert [key.encode() for key in store.keys] == WORDS
    assert np.array(store.vectors).tobytes() == ROWS.tobytes()
    assert store.counts.tolist() == COUNTS


def test_native_with_arrays_beside_it(tmp_path):
    file = put(tmp_path, native(kv(vectors=None, __numpys=["vectors"])), "v.kv")
    with pytest.raises(MissingFileError, match=r"(?s)missing.*v\.kv\.vectors\.npy"):
        read(file)
    np.save(tmp_path / "v.kv.vectors.npy", ROWS)
    assert read(file)[1].tobytes() == ROWS.tobytes()
    np.save(tmp_path / "v.kv.vectors.npy", ROWS[:-1])
    with pytest.raises(FormatError, match="don't fit the keys"):
        read(file)
    np.save(tmp_path / "v.kv.vectors.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(FormatError, match="damaged"):
        read(file)


def test_native_of_a_whole_model_and_of_gensim_3(tmp_path):
    inner = native(kv())
    assert inner.startswith(b"\x80\x04")
    old = {"index2word": [w.decode() for w in WORDS], "vectors": np.asfortranarray(ROWS), "vocab": {}}
    assert read(put(tmp_path, native(old, name="Word2VecKeyedVectors")))[1].tobytes() == ROWS.tobytes()


def test_native_fasttext(tmp_path):
    state = kv(
        vectors=None, vectors_vocab=MATRIX[:50], vectors_ngrams=MATRIX[50:], min_n=2, max_n=4, compatible_hash=True
    )
    file = put(tmp_path, native(state, module="gensim.models.fasttext", name="FastTextKeyedVectors"))
    store = store_of(file, tmp_path / "store")
    assert np.array(store.vectors).tobytes() == expected_rows(WORDS).tobytes()
    assert store.subwords.vectors.shape == (37, 6)


class Evil:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, protocol):
    witness = tmp_path / "witness"
    for evil in (Evil(os.mkdir, str(witness)), Evil(eval, "1"), Evil(getattr, "a", "upper")):
        for data in (native(kv(extra=evil), protocol=protocol), pickle.dumps(evil, protocol=protocol)):
            with pytest.raises(FormatError, match="could run code"):
                read(put(tmp_path, data))
    assert not witness.exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps([1, 2]),
        pickle.dumps({"a": 1}, protocol=4)[:-3],
        native({"index_to_key": ["a"], "vectors": np.array([[object()]])}),
        native({"index_to_key": ["a", "b"], "vectors": ROWS[:1]}),
        native({"index_to_key": [1.5], "vectors": ROWS[:1]}),
        native({"index_to_key": [True], "vectors": ROWS[:1]}),
        native({"index_to_key": [b"a"], "vectors": ROWS[:1]}),
        native({"index_to_key": ["a"], "vectors": np.array(1.0)}),
        native({"index_to_key": ["a"], "vectors": "rows"}),
        native({}),
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fxx.",
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x0fxx.",
        b"\x80\x02cos\nsystem",
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02]}a(](" + b"\x85" * 200_000 + b"Nd.",
        b"\x80\x02Pid\n.",
    ],
)
def test_damaged_pickles(tmp_path, data):
    with pytest.raises(FormatError):
        read(put(tmp_path, data))


# --- arrays ---------------------------------------------------------------------------------------------------------


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", "CF")
def test_npy(tmp_path, dtype, order):
    rows = np.array(ROWS, dtype=dtype, order=order)
    (tmp_path / "v.vocab").write_bytes(b"".join(word + b"\n" for word in WORDS))
    for data in (npy(rows), gzip.compress(npy(rows))):
        keys, got = read(put(tmp_path, data, "v.npy"))
        assert keys == WORDS
        assert got.tobytes() == rows.astype(np.float32).tobytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("v.txt", b"\r\n".join(WORDS) + b"\r\n"),
        ("words.txt", b"\n".join(WORDS)),
        ("vocab.json", json.dumps([w.decode() for w in WORDS]).encode()),
        ("v.json", json.dumps({w.decode(): i for i, w in enumerate(WORDS)}).encode()),
    ],
)
def test_vocabularies(tmp_path, name, data):
    file = put(tmp_path, npy(ROWS), "v.npy")
    with pytest.raises(MissingFileError, match="no vocabulary lies beside"):
        read(file)
    put(tmp_path, data, name)
    assert read(file)[0] == WORDS
    (tmp_path / "elsewhere").mkdir()
    put(tmp_path / "elsewhere", data, name)
    (tmp_path / name).unlink()
    assert read(file, vocabulary=str(tmp_path / "elsewhere" / name))[0] == WORDS


def test_a_vocabulary_in_parquet(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"row": list(range(50)), "word": [w.decode() for w in WORDS]}), tmp_path / "w.parquet")
    assert read(put(tmp_path, npy(ROWS), "v.npy"), vocabulary=str(tmp_path / "w.parquet"))[0] == WORDS
    put(tmp_path, b"PAR1 but no more", "w.parquet")
    with pytest.raises(FormatError, match="not a vocabulary"):
        read(tmp_path / "v.npy", vocabulary=str(tmp_path / "w.parquet"))


@pytest.mark.parametrize(
    "data",
    [
        npy(ROWS)[:-1],
        npy(ROWS.astype(int)),
        npy(ROWS.astype(np.uint16)),
        npy(ROWS[0]),
        npy(np.array([{}]), allow_pickle=True),
        npy(ROWS).replace(b"(50, 6)", b"(99, 6)"),
        npy(ROWS)[:40],
        b"\x93NUMPY\x01\x00" + b"\xff" * 40,
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 300)}".ljust(118),
    ],
)
def test_damaged_npy(tmp_path, data):
    (tmp_path / "v.vocab").write_bytes(b"".join(word + b"\n" for word in WORDS))
    for pack in (bytes, gzip.compress):
        with pytest.raises(FormatError):
            read(put(tmp_path, pack(data), "v.npy"))


OFFSETS = np.cumsum([0, *map(len, WORDS)]).astype("<i8").tobytes()
OWN = {"key_offsets": ("I64", (51,), OFFSETS), "keys": ("U8", (len(b"".join(WORDS)),), b"".join(WORDS))}


# Each step from one to the next is positive in 64 bits, where it wraps.
WRAPPING = np.array([0, 2**63 - 1, -(2**63), -1, len(b"".join(WORDS))], "<i8").tobytes()


def test_safetensors(tmp_path):
    (tmp_path / "v.vocab").write_bytes(b"".join(word + b"\n" for word in WORDS))
    upper = (ROWS.view(np.uint32) >> 16).astype("<u2")
    for kind, data, wanted in (
        ("F32", ROWS.tobytes(), ROWS),
        ("F16", ROWS.astype("<f2").tobytes(), ROWS.astype("<f2")),
        ("BF16", upper.tobytes(), (upper.astype(np.uint32) << 16).view(np.float32)),
    ):
        for tensors in (
            {"bias": ("F32", (3,), bytes(12)), "weight": (kind, (50, 6), data)},
            OWN | {"vectors": (kind, (50, 6), data), "weight": ("F32", (50, 6), bytes(1200))},
        ):
            keys, rows = read(put(tmp_path, safetensors(tensors), "v.safetensors"))
            assert keys == WORDS
            assert rows.tobytes() == wanted.astype(np.float32).tobytes()


@pytest.mark.parametrize(
    "data",
    [
        safetensors(OWN),
        safetensors(OWN | {"a": ("F32", (50, 6), ROWS.tobytes()), "b": ("F32", (50, 6), ROWS.tobytes())}),
        safetensors(OWN | {"vectors": ("F32", (50, 7), ROWS.tobytes())}),
        safetensors(OWN | {"vectors": ("F32", (50, 6), ROWS.tobytes())})[:-1],
        safetensors({"vectors": ("F32", (50, 6), ROWS.tobytes())} | OWN),
        safetensors(OWN | {"keys": ("U8", (3,), b"abc"), "vectors": ("F32", (50, 6), ROWS.tobytes())}),
        safetensors({"vectors": ("F32", (10**9, 300), b"")}),
        safetensors(OWN | {"key_offsets": ("I64", (5,), WRAPPING), "vectors": ("F32", (4, 6), ROWS[:4].tobytes())}),
        (20).to_bytes(8, "little") + b"{not json at all....",
        (1 << 20).to_bytes(8, "little") + b'{"vectors": ',
    ],
)
def test_damaged_safetensors(tmp_path, data):
    with pytest.raises(FormatError):
        read(put(tmp_path, data))
