"""Files of ids and what they are opened with: ids beyond the vocabulary, signs, sizes, dtypes; files that never end."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foreword.cli import app
from foreword.errors import ArgumentError, FileError, ForewordError, StoreError
from foreword.tokens import TokenStore, export, get_tokenizer, inspect, prepare
from foreword.tokens.store import formats, inspection
from foreword.tokens.store.manifest import seal
from foreword.windows import WindowDataset

TOO_LARGE = "none of the vocabulary"


def written(folder: Path, kind: str, ids: np.ndarray) -> Path:
    """A file of ids of another library, as that library writes it."""
    if kind == "nanogpt":
        (folder / "x.bin").write_bytes(ids.tobytes())
        return folder / "x.bin"
    if kind == "llmc":
        header = np.zeros(256, "<i4")
        magic, (version, _) = list(formats.LLMC_MAGIC.items())[ids.dtype.itemsize == 4]
        header[:3] = magic, version, len(ids)
        (folder / "x.bin").write_bytes(header.tobytes() + ids.tobytes())
        return folder / "x.bin"
    if kind == "datatrove":
        (folder / "x.ds").write_bytes(ids.tobytes())
        (folder / "x.ds.index").write_bytes(np.array([len(ids)], "<u8").tobytes())
        (folder / "x.ds.metadata").write_text(f"gpt2|{ids.itemsize}\n{len(ids)}\n")
        return folder / "x.ds"
    code = {dtype: code for code, dtype in formats.MEGATRON_DTYPES.items()}[ids.dtype.str.replace("|", "<")]
    (folder / "x.bin").write_bytes(ids.tobytes())
    head = formats.MEGATRON_MAGIC + np.array([1], "<u8").tobytes() + bytes([code]) + np.array([1, 2], "<u8").tobytes()
    rest = np.array([len(ids)], "<i4").tobytes() + np.array([0], "<i8").tobytes() + np.array([0, 1], "<i8").tobytes()
    (folder / "x.idx").write_bytes(head + rest)
    return folder / "x.idx"


KINDS = [("nanogpt", "<u2"), ("nanogpt", "<u4"), ("llmc", "<u2"), ("llmc", "<u4"), ("datatrove", "<u2")]
KINDS += [("datatrove", "<u4"), ("megatron", "<u2"), ("megatron", "<i4"), ("megatron", "<i2"), ("megatron", "<i8")]


@pytest.mark.parametrize(("kind", "dtype"), KINDS)
def test_ids_beyond_the_vocabulary(kind: str, dtype: str, tmp_path: Path) -> None:
    """Refused on opening where the first, the last or a few between show it; else when they are met."""
    options = {"dtype": "uint32"} if (kind, dtype) == ("nanogpt", "<u4") else {}
    plain = np.random.default_rng(0).integers(0, 256, 400_000).astype(dtype)
    for place in (0, 3, len(plain) - 1, (len(plain) - formats.SAMPLE) // 15 // 2 * 2 + 7):
        ids = plain.copy()
        ids[place] = 300
        path = written(tmp_path, kind, ids)
        with pytest.raises(StoreError, match=TOO_LARGE) as error:
            TokenStore.open(path, tokenizer="bytes", **options)
        assert f"300 at token {place:,}" in str(error.value)
        assert "256" in str(error.value)
    ids = plain.copy()
    ids[13_001] = 300
    path = written(tmp_path, kind, ids)
    store = TokenStore.open(path, tokenizer="bytes", **options)
    for meet in (
        lambda: store[13_001],
        lambda: store[12_000:14_000],
        lambda: store.document(0),
        lambda: store.tokenizer.decode(store.read(13_000, 13_010)),
        lambda: inspect(store),
        store.verify,
        lambda: export(store, tmp_path / "out", format="nanogpt"),
        lambda: WindowDataset(store, context_length=8)[13_000 // 8],
    ):
        with pytest.raises(StoreError, match=TOO_LARGE) as error:
            meet()
        assert "300 at token 13,001" in str(error.value)
    assert not (tmp_path / "out.bin").exists(), "a part of an export was left"
    assert store[:13_001].max() < 257
    TokenStore.open(written(tmp_path, kind, plain), tokenizer="bytes", **options).verify()
    if kind == "nanogpt":
        pickle.loads(pickle.dumps(TokenStore.open(path, tokenizer="bytes", **options)))


@pytest.mark.parametrize("dtype", ["<i2", "<i4", "<i8"])
def test_negative_ids(dtype: str, tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 256, 400_000).astype(dtype)
    ids[13_001] = -5
    store = TokenStore.open(written(tmp_path, "megatron", ids))
    for meet in (
        lambda: inspect(store),
        lambda: export(store, tmp_path / "o", format="megatron"),
        lambda: store[13_001],
    ):
        with pytest.raises(StoreError, match="-5 at token 13,001"):
            meet()
    with pytest.raises(StoreError, match="-5 at token 13,001"):
        _ = WindowDataset(store, context_length=8, stride=8)[1_625]
    ids[0] = -1
    with pytest.raises(StoreError, match="-1 at token 0"):
        TokenStore.open(written(tmp_path, "megatron", ids))
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "x.idx")])
    assert isinstance(result.exception, ForewordError)


def test_a_store_of_signed_ids_can_be_pickled(tmp_path: Path) -> None:
    ids = np.arange(100, dtype="<i4")
    store = TokenStore.open(written(tmp_path, "megatron", ids))
    assert np.array_equal(pickle.loads(pickle.dumps(store))[:], ids)


def test_another_dtype_is_noticed(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 50_000, 10_000)
    narrow, wide = ids.astype("<u2"), ids.astype("<u4")
    with pytest.raises(StoreError, match="look as if they were uint32") as error:
        TokenStore.open(written(tmp_path, "nanogpt", wide))
    assert "--dtype uint32" in str(error.value)
    assert np.array_equal(TokenStore.open(tmp_path / "x.bin", dtype="uint32")[:], wide)
    assert len(TokenStore.open(tmp_path / "x.bin", dtype="uint16")) == 20_000, "said by the user"
    with pytest.raises(StoreError, match="look as if they were uint16"):
        TokenStore.open(written(tmp_path, "nanogpt", narrow), dtype="uint32")
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "x.bin"), "--dtype", "uint32"])
    assert isinstance(result.exception, StoreError)
    with pytest.raises(StoreError, match=TOO_LARGE):
        TokenStore.open(tmp_path / "x.bin", dtype="uint32", tokenizer="gpt2")
    assert np.array_equal(TokenStore.open(tmp_path / "x.bin")[:], narrow)
    large = (ids + 100_000).astype("<u4")
    with pytest.raises(StoreError, match="uint32"):
        TokenStore.open(written(tmp_path, "nanogpt", large))
    for few in (np.zeros(64, "<u2"), np.tile(np.array([0, 1, 2, 3], "<u2"), 50), np.array([9, 0] * 4, "<u2")):
        assert len(TokenStore.open(written(tmp_path, "nanogpt", few))) == len(few), "says nothing of the dtype"
    store = prepare(["a"], tmp_path / "s")
    with pytest.raises(ArgumentError, match="another dtype"):
        TokenStore.open(store.path, dtype="uint32")


@pytest.mark.parametrize("kind", ["nanogpt", "llmc", "datatrove", "megatron"])
def test_sizes_that_are_no_multiple(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind, np.arange(100, dtype="<u2"))
    for file in tmp_path.iterdir():
        if file.suffix == ".metadata":
            continue
        data = file.read_bytes()
        for changed in (data[:-1], data + b"x", data[:1]):
            file.write_bytes(changed)
            with pytest.raises(ForewordError):
                TokenStore.open(path)
        file.write_bytes(data)
    TokenStore.open(path)


def test_large_ids_are_counted_in_little_memory(tmp_path: Path, monkeypatch) -> None:
    """Ids up to 2^31: counts by id would take 16 GiB."""
    rng = np.random.default_rng(0)
    ids = np.concatenate([rng.integers(0, 1 << 31, 5_000), np.full(70, 7), np.full(90, 1 << 30)]).astype("<i4")
    rng.shuffle(ids)
    monkeypatch.setattr(inspection, "PIECE", 1_000)
    monkeypatch.setattr(inspection, "MOST_IDS", 100_000)
    found = inspect(TokenStore.open(written(tmp_path, "megatron", ids)), top=2)
    assert found.top == [(1 << 30, None, 90), (7, None, 70)]
    assert found.used == len(np.unique(ids))
    monkeypatch.setattr(inspection, "MOST_IDS", 2_000)
    with pytest.raises(StoreError, match="more different token ids"):
        inspect(TokenStore.open(tmp_path / "x.idx"))


def resealed(folder: Path, change) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["checksum"]
    change(manifest)
    (folder / "manifest.json").write_bytes(seal(json.dumps(manifest, indent=1).encode()))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["sources"][0].update(file="/dev/zero"),
        lambda m: m["sources"][0].update(file="../other.jsonl"),
        lambda m: m["sources"].append({"file": "manifest.json", "sha256": "0" * 64}),
        lambda m: m.update(sources=None),
        lambda m: m.update(digests={"file": "/dev/zero", "sha256": "0" * 64}),
        lambda m: m["shards"][0].pop("sums_sha256"),
        lambda m: m["tokenizer"].update(name=3),
        lambda m: m["tokenizer"].update(options={"pattern": ["x"]}),
        lambda m: m["tokenizer"].update(options=[]),
        lambda m: m.update(account={}),
        lambda m: m.update(policies=[]),
    ],
)
def test_a_manifest_that_names_what_is_not_the_stores(change, tmp_path: Path) -> None:
    store = prepare(["a"], tmp_path / "s")
    resealed(store.path, change)
    with pytest.raises(StoreError, match="contradicts itself"):
        TokenStore.open(store.path).verify()


@pytest.mark.skipif(os.name == "nt", reason="devices and pipes")
@pytest.mark.parametrize("name", ["manifest.json", "00000.tokens", "00000.offsets", "00000.sums", "sources.0.jsonl"])
@pytest.mark.parametrize("other", ["device", "pipe"])
def test_files_that_never_end(name: str, other: str, tmp_path: Path) -> None:
    store = prepare(["a"], tmp_path / "s")
    (store.path / name).unlink()
    if other == "device":
        (store.path / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(store.path / name)
    with pytest.raises(ForewordError):
        TokenStore.open(store.path).verify()
    with pytest.raises(ForewordError):
        prepare(["b"], store.path, append=True)
        TokenStore.open(store.path).verify()


@pytest.mark.skipif(os.name == "nt", reason="devices and pipes")
@pytest.mark.parametrize("name", ["x.json", "x.model", "x.tiktoken"])
def test_tokenizers_files_that_never_end(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(FileError, match="not a regular file"):
        get_tokenizer(tmp_path / name)
