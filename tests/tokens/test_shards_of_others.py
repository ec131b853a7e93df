"""Patterns of llm.c's shards, NumPy's and OLMo's .npy, Megatron's prefixes: stores of several files, as they are."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError, MissingFileError, StoreError
from foreword.tokens import TokenStore, export, inspect
from foreword.windows import WindowDataset, WindowLoader

pytestmark = pytest.mark.portable
IDS = [np.arange(1000 * i, 1000 * i + n, dtype=np.uint16) for i, n in enumerate((700, 300, 1, 500))]


def llmc(path: Path, ids: np.ndarray) -> None:
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, len(ids)
    path.write_bytes(header.tobytes() + ids.astype("<u2").tobytes())


def written(folder: Path, kind: str) -> str:
    """The ids as shards of a kind; the pattern that they match."""
    for i, ids in enumerate(IDS):
        if kind == "llmc":
            llmc(folder / f"train_{i:06}.bin", ids)
        elif kind == "nanogpt":
            ids.tofile(folder / f"train_{i:06}.bin")
        elif kind == "olmo":
            ids.tofile(folder / f"train_{i:06}.npy")
        else:
            np.save(folder / f"train_{i:06}.npy", ids.astype(kind))
    return str(folder / "train_*")


@pytest.mark.parametrize("kind", ["llmc", "nanogpt", "uint16", "uint32", "int64", "olmo"])
def test_shards_that_a_pattern_matches(tmp_path: Path, kind: str) -> None:
    pattern = written(tmp_path, kind)
    store = TokenStore.open(pattern, tokenizer="gpt2", dtype="uint16" if kind == "olmo" else None)
    whole = np.concatenate(IDS)
    assert store[:].tolist() == whole.tolist()
    assert (store.documents, len(store.shards)) == (4, 4)
    assert store.document(3).tolist() == IDS[3].tolist()
    store.verify()
    assert inspect(store).tokens == 1501
    data = WindowDataset(store, context_length=7, stride=3)
    plain = WindowDataset(whole.astype(np.int64), context_length=7, stride=3)
    assert len(data) == len(plain)
    for i in range(0, len(data), 11):
        assert all(a.equal(b) for a, b in zip(data[i], plain[i], strict=True))
    within = WindowDataset(store, context_length=50, within="document", tail="pad")
    assert within.account().dropped == 4  # the last of each, which nothing follows
    again = pickle.loads(pickle.dumps(store))
    assert (again.fingerprint, again[690:710].tolist()) == (store.fingerprint, store[690:710].tolist())
    state = WindowLoader(data, batch_size=4).state_dict()
    (tmp_path / "train_000009.bin").write_bytes(b"12")  # a pattern is looked at once: what comes later is no part
    assert pickle.loads(pickle.dumps(store)).fingerprint == store.fingerprint
    WindowLoader(pickle.loads(pickle.dumps(data)), batch_size=4).load_state_dict(state)
    files = export(store, tmp_path / "out", format="nanogpt")
    assert np.fromfile(files[0], "<u2").tolist() == whole.tolist()


def test_one_file_is_what_it_was(tmp_path: Path) -> None:
    """A pattern that one file matches is that file, and its fingerprint the file's."""
    np.arange(100, dtype=np.uint16).tofile(tmp_path / "train.bin")
    one = TokenStore.open(tmp_path / "train.bin")
    assert TokenStore.open(str(tmp_path / "t*.bin")).fingerprint == one.fingerprint
    assert one.path == tmp_path / "train.bin"


def test_a_file_that_is_called_like_a_pattern(tmp_path: Path) -> None:
    np.arange(10, dtype=np.uint16).tofile(tmp_path / "a[1].bin")
    np.arange(20, dtype=np.uint16).tofile(tmp_path / "a1.bin")
    assert len(TokenStore.open(tmp_path / "a[1].bin")) == 10


def test_megatrons_prefix(tmp_path: Path) -> None:
    store = fw.prepare(["one text", "another"], tmp_path / "s")
    export(store, tmp_path / "my.corpus_text_document", format="megatron")
    opened = TokenStore.open(tmp_path / "my.corpus_text_document")
    assert (opened[:].tolist(), opened.documents) == (store[:].tolist(), 2)
    assert pickle.loads(pickle.dumps(opened)).fingerprint == opened.fingerprint
    export(store, tmp_path / "my.second_text_document", format="megatron")
    for pattern in ("my.*_document*", "my.*.bin", "my.*.idx"):
        both = TokenStore.open(tmp_path / pattern)
        assert (both.documents, both[:].tolist()) == (4, store[:].tolist() * 2)
    export(store, tmp_path / "d", format="datatrove")
    assert TokenStore.open(tmp_path / "d*").documents == 2
    with pytest.raises(MissingFileError):
        TokenStore.open(tmp_path / "my.other_text_document")


def test_shards_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no file matches"):
        TokenStore.open(tmp_path / "*.bin")
    llmc(tmp_path / "a_1.bin", IDS[0])
    IDS[1].tofile(tmp_path / "a_2.bin")
    with pytest.raises(StoreError, match="not of one format"):
        TokenStore.open(tmp_path / "a_*.bin")
    np.save(tmp_path / "b_1.npy", IDS[0])
    np.save(tmp_path / "b_2.npy", IDS[1].astype(np.int32))
    with pytest.raises(StoreError, match="not of one format and dtype"):
        TokenStore.open(tmp_path / "b_*.npy")
    fw.prepare(["a"], tmp_path / "c_1")
    with pytest.raises(StoreError, match="not a token file"):
        TokenStore.open(tmp_path / "c_*")
    np.save(tmp_path / "d_1.npy", IDS[0])
    np.save(tmp_path / "d_2.npy", np.array([50256, 50257], np.uint16))
    with pytest.raises(StoreError, match="none of the vocabulary") as error:
        TokenStore.open(tmp_path / "d_*.npy", tokenizer="gpt2")
    assert "50,257 at token 701" in str(error.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3), np.uint16), "shape \\(2, 3\\)"),
        (np.zeros(3), "float64"),
        (np.zeros(3, ">u2"), "little-endian"),
        (np.array(["a"]), "no token ids"),
    ],
)
def test_arrays_that_are_no_ids(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(StoreError, match=words):
        TokenStore.open(tmp_path / "a.npy")


def test_npy_files_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(100, dtype=np.uint16))
    whole = path.read_bytes()
    for data, words in (
        (whole[:-1], "does not fit"),
        (whole + b"12", "does not fit"),
        (whole[:20], "header can't be read"),
        (whole[:6] + b"\x09\x00" + whole[8:], "header can't be read"),
        (whole[:10] + b"{'descr': __import__('os')}" + whole[37:], "header can't be read"),
        (bytes(100), "without NumPy's header"),
    ):
        path.write_bytes(data)
        with pytest.raises(StoreError, match=words):
            TokenStore.open(path)
    path.write_bytes(whole)
    with pytest.raises(ArgumentError, match="another dtype"):
        TokenStore.open(path, dtype="uint32")
    assert len(TokenStore.open(path, dtype="uint16")) == 100
    np.save(path, np.array([1, None], object), allow_pickle=True)
    with pytest.raises(StoreError, match="no token ids"):
        TokenStore.open(path)


@pytest.mark.parametrize("dtype", [">u2", ">u4"])
def test_llmc_of_the_other_byte_order(tmp_path: Path, dtype: str) -> None:
    header = np.zeros(256, ">i4")
    header[:3] = (20240520, 1, 3) if dtype == ">u2" else (20240801, 7, 3)
    (tmp_path / "a.bin").write_bytes(header.tobytes() + np.arange(3).astype(dtype).tobytes())
    with pytest.raises(StoreError, match="big-endian"):
        TokenStore.open(tmp_path / "a.bin")


@pytest.mark.parametrize(
    ("head", "words"), [(b"PK\x03\x04", "PyTorch"), (b"\x93NUMPY", "NumPy"), (b"MMIDIDX\0\0", "Megatron")]
)
def test_other_files_that_are_called_bin(tmp_path: Path, head: bytes, words: str) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(head + bytes(100 - len(head)))
    with pytest.raises(StoreError, match=words):
        TokenStore.open(tmp_path / "pytorch_model.bin")
    (tmp_path / "ids.bin").write_bytes(head[:1] + b"\1" + np.arange(1, 50, dtype="<u2").tobytes())
    assert len(TokenStore.open(tmp_path / "ids.bin")) == 50
