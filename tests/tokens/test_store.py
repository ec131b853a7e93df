"""The store on disk: what it refuses, what verify finds, what opening costs; foreign formats, read and written."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreword.errors import (
    ArgumentError,
    ArgumentTypeError,
    FileError,
    ForewordError,
    MissingFileError,
    OutOfRangeError,
    StoreError,
)
from foreword.tokens import TokenStore, get_tokenizer, prepare
from foreword.tokens.store.formats import FORMATS, export

from .conftest import real_text

pytestmark = pytest.mark.portable


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A store of several shards."""
    path = tmp_path_factory.mktemp("made") / "store"
    prepare([real_text()[i : i + 5000] for i in range(0, 500_000, 5000)], path, shard_tokens=40_000, deduplicate=True)
    return path


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


@settings(deadline=None)
@given(data=st.data())
def test_find_is_a_plain_search(data, tmp_path_factory) -> None:
    """Against comparing at every place, over shards and slices; few different ids, so that much is found."""
    texts = data.draw(st.lists(st.text("ab", min_size=1, max_size=12), min_size=1, max_size=6))
    store = prepare(texts, tmp_path_factory.mktemp("find") / "store", tokenizer="bytes", shard_tokens=8)
    tokens = store[:].tolist()
    at = data.draw(st.integers(0, len(tokens) - 1))
    wanted = tokens[at : at + data.draw(st.integers(1, 5))]
    start, stop = data.draw(st.integers(0, len(tokens) + 2)), data.draw(st.none() | st.integers(0, len(tokens) + 2))
    naive = [i for i in range(len(tokens) - len(wanted) + 1) if tokens[i : i + len(wanted)] == wanted]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foreword.tokens.store.finding._SLICE", data.draw(st.integers(1, 9)))
        found = list(store.find(wanted, start=start, stop=stop))
    assert found == [i for i in naive if start <= i and (stop is None or i < stop)]


def test_find_of_common_and_of_rare_ids_is_a_plain_search(tmp_path: Path) -> None:
    """Where nearly all places match an id, a few of many, and none: in slices longer than the ids looked for."""
    rng = np.random.default_rng(0)
    text = (
        "".join(rng.choice(list("aaaaaaab"), 3_000)) + "c" * 40 + "a" * 500 + "".join(rng.choice(list("defgh"), 3_000))
    )
    store = prepare([text], tmp_path / "store", tokenizer="bytes", shard_tokens=1 << 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foreword.tokens.store.finding._SLICE", 700)
        patch.setattr("foreword.tokens.store.finding._PIECE", 7)
        for at, length in zip(rng.integers(0, len(text) - 400, 60), [1, 2, 3, 5, 20, 300] * 10, strict=True):
            wanted = text[at : at + length]
            naive = [i for i in range(len(text)) if text.startswith(wanted, i)]
            assert list(store.find(list(wanted.encode()))) == naive
        assert list(store.find(list(b"a" * 300 + b"b"))) == []
        assert list(store.find([97, 1 << 40, 98])) == []


def test_find_refuses_what_is_no_sequence(made: Path) -> None:
    store = TokenStore.open(made)
    for wrong in ([], [[1]], [1.5], ["a"]):
        with pytest.raises(ArgumentError, match="integers"):
            store.find(wrong)
    for places in ({"start": -1}, {"stop": -1}):
        with pytest.raises(ArgumentError, match="at least 0"):
            store.find([1], **places)
    assert list(store.find([1 << 31])) == []
    assert list(store.find([1] * (len(store) + 1))) == []
    assert next(store.find(store.document(3))) == store.offsets[3]


def test_slices_documents_and_pickle(made: Path) -> None:
    store = TokenStore.open(made)
    assert len(store.shards) > 2
    whole = np.concatenate(store.shards)
    rng = random.Random(0)
    for _ in range(200):
        a, b = rng.randrange(-10, len(store) + 10), rng.randrange(-10, len(store) + 10)
        step = rng.choice([1, 1, 2, -1, -3])
        np.testing.assert_array_equal(store[a:b:step], whole[a:b:step])
    assert store[-1] == whole[-1]
    for index in (len(store), -len(store) - 1):
        with pytest.raises(OutOfRangeError, match="no such token"):
            store[index]
    for index in (2.0, True, "1", None):
        for get in (store.__getitem__, store.document):
            with pytest.raises(ArgumentTypeError, match="must be an integer"):
                get(index)
    for i in (0, 7, store.documents - 1, -1):
        start, stop = store.offsets[i % store.documents], store.offsets[i % store.documents + 1]
        np.testing.assert_array_equal(store.document(i), whole[int(start) : int(stop)])
    with pytest.raises(OutOfRangeError, match="no such document"):
        store.document(store.documents)
    assert not store[:10].flags.writeable
    clone = pickle.loads(pickle.dumps(store))
    assert (clone.fingerprint, len(clone)) == (store.fingerprint, len(store))
    assert "tokens=" in repr(store)


def test_what_is_no_store(tmp_path: Path, made: Path) -> None:
    with pytest.raises(MissingFileError, match="foreword prepare"):
        TokenStore.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="not a token store"):
        TokenStore.open(tmp_path)
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(StoreError, match="not a token file"):
        TokenStore.open(tmp_path / "x.txt")
    shutil.copytree(made, tmp_path / "outer" / "val")
    with pytest.raises(StoreError, match="stores inside it: val"):
        TokenStore.open(tmp_path / "outer")


@pytest.mark.parametrize("kind", ["tokens", "offsets"])
def test_files_missing_cut_and_too_long(copy: Path, kind: str) -> None:
    file = copy / f"00001.{kind}"
    data = file.read_bytes()
    for damaged in (data[:-1], data[:-8], b"", data + b"\0\0"):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"wrong size[\s\S]*00001\.{kind}"):
            _ = TokenStore.open(copy).offsets
    file.unlink()
    with pytest.raises(StoreError, match=rf"can't be read[\s\S]*00001\.{kind}"):
        _ = TokenStore.open(copy).offsets


def test_manifests_that_lie(copy: Path) -> None:
    from foreword.tokens.store.manifest import seal

    manifest = json.loads((copy / "manifest.json").read_bytes())
    del manifest["checksum"]
    for change in (
        {"format": "other"},
        {"version": 99},
        {"tokens": 5},
        {"documents": -1},
        {"dtype": "float32"},
        {"shards": None},
        {"shards": [{"tokens": -1}]},
        {"tokenizer": {}},
        {"tokenizer": {"name": "gpt2", "fingerprint": "", "vocab_size": "many"}},
    ):
        (copy / "manifest.json").write_bytes(seal(json.dumps(manifest | change).encode()))
        with pytest.raises(StoreError):
            TokenStore.open(copy)
    for text in (b"", b"[]", b"{}", b"not json", b'{"format":' * 100_000, b"\xff"):
        (copy / "manifest.json").write_bytes(text)
        with pytest.raises(StoreError):
            TokenStore.open(copy)
    (copy / "manifest.json").write_bytes(
        seal(json.dumps(manifest | {"tokenizer": manifest["tokenizer"] | {"fingerprint": "0" * 64}}).encode())
    )
    with pytest.raises(StoreError, match="not the one that made the store"):
        _ = TokenStore.open(copy).tokenizer


def test_a_tokenizer_that_does_not_fit_is_refused(made: Path) -> None:
    with pytest.raises(StoreError, match="not the one that made the store"):
        TokenStore.open(made, tokenizer="bytes")
    assert TokenStore.open(made, tokenizer="gpt2").tokenizer is get_tokenizer("gpt2")


def flip_bits(folder: Path, count: int, seed: int) -> None:
    """Flip one bit at a time anywhere in the store; verify finds each, and the store is whole again after it."""
    rng = random.Random(seed)
    files = [path for path in sorted(folder.iterdir()) if path.name != ".lock"]
    sizes = [path.stat().st_size for path in files]
    assert {path.suffix for path in files} >= {".tokens", ".offsets", ".sums", ".json", ".jsonl", ""}
    for number in range(count):
        # half of the places by size, half in any file, so that the small ones are met
        path = rng.choices(files, sizes)[0] if number % 2 else rng.choice(files)
        data = path.read_bytes()
        place = rng.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        with pytest.raises(StoreError) as error:
            TokenStore.open(folder).verify()
        assert path.name in str(error.value)
        if path.suffix in {".tokens", ".offsets"}:
            low, high = (int(n.replace(",", "")) for n in str(error.value).split("bytes ")[1].split()[0:3:2])
            assert low <= place <= high
        path.write_bytes(data)
    TokenStore.open(folder).verify()


def test_verify_finds_a_flipped_bit(copy: Path) -> None:
    flip_bits(copy, 60, seed=0)


@pytest.mark.slow
def test_verify_finds_a_thousand_flipped_bits(copy: Path) -> None:
    flip_bits(copy, 1000, seed=1)


def test_verify_finds_a_lost_file(copy: Path) -> None:
    store = TokenStore.open(copy)
    (copy / "00001.sums").unlink()
    with pytest.raises(FileError, match=r"00001\.sums"):
        store.verify()


@pytest.fixture(params=FORMATS)
def exported(request, made: Path, tmp_path: Path) -> tuple[str, TokenStore, list[Path]]:
    store = TokenStore.open(made)
    return request.param, store, export(store, tmp_path / "out" / "x", format=request.param)


def test_export_and_open(exported) -> None:
    name, store, files = exported
    foreign = TokenStore.open(files[0])
    np.testing.assert_array_equal(foreign[:], store[:])
    assert foreign.dtype == np.uint16
    if name in {"megatron", "datatrove"}:
        np.testing.assert_array_equal(foreign.offsets, store.offsets)
        np.testing.assert_array_equal(foreign.document(3), store.document(3))
    else:
        assert foreign.documents == 1
    assert np.shares_memory(foreign[10:20], foreign.shards[0]), "not copied"
    with pytest.raises(StoreError, match="does not say which tokenizer"):
        _ = foreign.tokenizer
    foreign = TokenStore.open(files[0], tokenizer="gpt2")
    assert foreign.vocab_size == 50257
    assert foreign.tokenizer.decode(foreign[:20]) == store.tokenizer.decode(store[:20])
    clone = pickle.loads(pickle.dumps(foreign))
    assert clone.fingerprint == foreign.fingerprint
    foreign.verify()


def test_exports_of_a_large_vocabulary(tmp_path: Path) -> None:
    from foreword.tokens.tokenizers.engines import PATTERNS, format_ranks
    from foreword.tokens.tokenizers.tokenizer import RankTokenizer

    ranks = {bytes([i]): i for i in range(256)}
    large = RankTokenizer("large", format_ranks(ranks), PATTERNS["gpt2"], {"<|endoftext|>": 100_000})
    store = prepare(["a", "b"], tmp_path / "s", tokenizer=large)
    assert store.dtype == np.uint32
    for name in ("megatron", "llmc", "datatrove"):
        files = export(store, tmp_path / name, format=name)
        foreign = TokenStore.open(files[0])
        assert foreign[:].tolist() == [97, 100_000, 98, 100_000], name
        assert foreign.dtype == (np.int32 if name == "megatron" else np.uint32)
    with pytest.raises(ArgumentError, match="uint16 ids only"):
        export(store, tmp_path / "n", format="nanogpt")
    with pytest.raises(ArgumentError, match="no such format"):
        export(store, tmp_path / "n", format="tfrecord")
    np.array([1, 70_000], "<u4").tofile(tmp_path / "plain.bin")
    assert TokenStore.open(tmp_path / "plain.bin", dtype="uint32")[:].tolist() == [1, 70_000]
    with pytest.raises(ArgumentError, match="no such dtype"):
        TokenStore.open(tmp_path / "plain.bin", dtype="float16")


def test_export_writes_over_no_other_format(tmp_path: Path) -> None:
    """nanoGPT's .bin over Megatron's left the .idx, and the two were taken for one."""
    store = prepare(["a", "b"], tmp_path / "s")
    for old in FORMATS:
        for new in FORMATS:
            stem = tmp_path / f"{old} {new}" / "x"
            before = {path: path.read_bytes() for path in export(store, stem, format=old)}
            if old != new and "datatrove" not in (old, new):
                with pytest.raises(ArgumentError, match=rf"of another format by that name\n.*x\.bin \({old}\)"):
                    export(store, stem, format=new)
            else:
                export(store, stem, format=new)
            assert {path: path.read_bytes() for path in before} == before
            assert TokenStore.open(next(iter(before)))[:].tolist() == store[:].tolist()
    (tmp_path / "y.idx").write_bytes(b"left alone")
    with pytest.raises(ArgumentError, match=r"y\.idx \(megatron\)"):
        export(store, tmp_path / "y", format="nanogpt")


def test_megatrons_own_reader_and_writer(made: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    store = TokenStore.open(made)
    export(store, tmp_path / "x", format="megatron")
    theirs = indexed.IndexedDataset(str(tmp_path / "x"))
    assert len(theirs) == store.documents
    for i in range(store.documents):
        np.testing.assert_array_equal(theirs[i], store.document(i))
    np.testing.assert_array_equal(theirs.document_indices, np.arange(store.documents + 1))
    for dtype in (np.uint16, np.int32, np.int64, np.uint8):
        builder = indexed.IndexedDatasetBuilder(str(tmp_path / "y.bin"), dtype=dtype)
        builder.add_document(np.arange(10), [4, 6])  # one document of two sequences
        builder.add_document(np.arange(5), [5])
        builder.finalize(str(tmp_path / "y.idx"))
        ours = TokenStore.open(tmp_path / "y.idx")
        assert [ours.document(i).tolist() for i in range(ours.documents)] == [list(range(10)), list(range(5))]
        assert ours.dtype == dtype


def test_datatroves_own_reader_and_writer(made: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pytest.importorskip("datatrove.utils.dataset", exc_type=ImportError)
        tokens = pytest.importorskip("datatrove.pipeline.tokens.tokenizer", exc_type=ImportError)
    store = TokenStore.open(made)
    export(store, tmp_path / "x", format="datatrove")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = dataset.DatatroveFileDataset(str(tmp_path / "x.ds"), seq_len=63, token_size=2)
        got = np.concatenate([np.asarray(theirs[i]["input_ids"]) for i in range(len(theirs))])
        np.testing.assert_array_equal(got, store[: len(got)])
        assert len(theirs) == len(store) // 64
        written = tokens.TokenizedFile(str(tmp_path), "y.ds", upload_block_size=20 << 20, token_size=4)
        for ids in ([1, 2, 3], [70_000], [5, 6]):
            written.write(ids, None)
        written.tokenizer_name_or_path = "mine"
        written.write_final_metadata() if hasattr(written, "write_final_metadata") else None
        written.close()
    ours = TokenStore.open(tmp_path / "y.ds", dtype="uint32")
    assert [ours.document(i).tolist() for i in range(ours.documents)] == [[1, 2, 3], [70_000], [5, 6]]


def test_datatroves_empty_documents(tmp_path: Path) -> None:
    (tmp_path / "x.ds").write_bytes(np.array([5, 6, 7], "<u2").tobytes())
    (tmp_path / "x.ds.index").write_bytes(np.array([0, 2, 2, 3], "<u8").tobytes())
    store = TokenStore.open(tmp_path / "x.ds")
    assert [store.document(i).tolist() for i in range(store.documents)] == [[], [5, 6], [], [7]]


def fuzz(files: list[Path], data: list[bytes], changes: list[tuple[int, int, int]]) -> None:
    """Damage the files, open the first and read all of it: a right kind of error, or ids; never anything else."""
    for path, content in zip(files, data, strict=True):
        path.write_bytes(content)
    for which, place, value in changes:
        path = files[which % len(files)]
        content = bytearray(path.read_bytes())
        if not content:
            continue
        match value % 4:
            case 0:
                content[place % min(len(content), 1100)] = value >> 2 & 255
            case 1:
                del content[place % len(content) :]
            case 2:
                content += bytes(place % 40)
            case 3:
                start = place % max(1, min(len(content), 120) - 8)
                content[start : start + 8] = (value * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "little")
        path.write_bytes(bytes(content))
    try:
        store = TokenStore.open(files[0])
        for i in range(min(store.documents, 50)):
            store.document(i)
        assert len(store[:]) == len(store)
        assert int(store.offsets[-1]) == len(store) if store.documents else True
    except ForewordError:
        pass


@pytest.mark.parametrize(
    ("lengths", "marks", "words"),
    [
        ([5, -2, 3], [0, 3], "do not add up"),
        ([2, 2, 1], [0, 3], "do not add up"),
        ([2, 2, 2], [1, 3], "out of order"),
        ([2, 2, 2], [0, 2, 1, 3], "out of order"),
        ([2, 2, 2], [0, 9, 3], "out of order"),
    ],
)
def test_megatron_indexes_that_lie(tmp_path: Path, lengths, marks, words) -> None:
    """Damage that adds up: a count, a length, a mark that would read elsewhere."""
    np.arange(6, dtype="<u2").tofile(tmp_path / "x.bin")
    starts = np.cumsum([0, *lengths])[:-1] * 2
    head = b"MMIDIDX\0\0" + np.array([1], "<u8").tobytes() + b"\x08" + np.array([3, len(marks)], "<u8").tobytes()
    body = np.array(lengths, "<i4").tobytes() + starts.astype("<i8").tobytes() + np.array(marks, "<i8").tobytes()
    (tmp_path / "x.idx").write_bytes(head + body)
    with pytest.raises(StoreError, match=words):
        TokenStore.open(tmp_path / "x.idx")


CHANGES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5000), st.integers(0, 1 << 40)), min_size=1, max_size=4)


def _fuzz_all(tmp_path: Path, examples: int) -> None:
    small = prepare(["one two three", "four", "five six"], tmp_path / "small")
    for name in FORMATS:
        files = export(small, tmp_path / name / "x", format=name)
        if name == "megatron":
            files.reverse()  # open the index
        _fuzz_one(files, [path.read_bytes() for path in files], examples)


def _fuzz_one(files: list[Path], data: list[bytes], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(CHANGES)
    def check(changes):
        fuzz(files, data, changes)

    check()


def test_fuzzed_foreign_files(tmp_path: Path) -> None:
    _fuzz_all(tmp_path, 40)


@pytest.mark.slow
def test_fuzzed_foreign_files_in_full(tmp_path: Path) -> None:
    _fuzz_all(tmp_path, 5000)


def test_opening_reads_neither_tokens_nor_offsets(made: Path, monkeypatch) -> None:
    """Whatever the size: the manifest is read, the files are mapped, their bytes are not touched."""
    import builtins

    opened = []
    plain = builtins.open

    def watching(file, *args, **kwargs):
        opened.append(Path(str(file)).name)
        return plain(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", watching)
    store = TokenStore.open(made)
    assert sorted(name for name in opened if name != "manifest.json") == [
        f"{i:05}.tokens" for i in range(len(store.shards))
    ]
