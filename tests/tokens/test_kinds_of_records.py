"""What people have: fields within fields, columns of ids, folders of ``save_to_disk``, code; against the libraries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foreword as fw
from foreword.errors import ArgumentError, FileError, FormatError, StoreError

from .test_documents import read, read_account

EOT = 50256


def bytes_of(store: Path) -> list[bytes]:
    return [(store / f"00000.{kind}").read_bytes() for kind in ("tokens", "offsets", "sums")]


def table(path: Path, **columns: object) -> Path:
    pa.parquet.write_table(pa.table(columns), path)
    return path


# Fields within fields


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow", "records"])
def test_fields_within_fields(tmp_path: Path, kind: str) -> None:
    rows = [{"meta": {"text": f"text {i}", "n": {"deep": f"deep {i}"}}, "x": i} for i in range(300)]
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "parquet":
        table(path, meta=[row["meta"] for row in rows])
    elif kind == "arrow":
        data = pa.table({"meta": [row["meta"] for row in rows]})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, data.schema) as writer:
            writer.write_table(data, 100)
    corpus = rows if kind == "records" else path
    assert read(corpus, field="meta.text") == [row["meta"]["text"] for row in rows]
    assert read(corpus, field="meta.n.deep") == [row["meta"]["n"]["deep"] for row in rows]
    for field in ("meta.other", "meta.text.more", "other"):
        with pytest.raises(FormatError, match=f"without the (field|column) '{field}'"):
            read(corpus, field=field)
    with pytest.raises(FormatError, match="no text"):
        read(corpus, field="meta")


def test_a_field_that_is_called_like_a_path(tmp_path: Path) -> None:
    rows = [{"meta.text": "whole", "meta": {"text": "within"}}]
    assert read(rows, field="meta.text") == ["whole"]
    both = table(tmp_path / "a.parquet", **{"meta.text": ["whole"], "meta": [{"text": "within"}]})
    assert read(both, field="meta.text") == ["whole"]
    (tmp_path / "a.csv").write_text("meta.text,b\nwhole,x\n")
    assert read(tmp_path / "a.csv", field="meta.text") == ["whole"]


# Columns of ids


ROWS = [[1, 2, 3], [50256], [], [7, 50256], [50255]]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow", "records", "arrays"])
def test_a_column_of_ids(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in ROWS))
    elif kind == "json":
        path.write_text(json.dumps([{"input_ids": row} for row in ROWS]))
    elif kind == "parquet":
        table(path, input_ids=pa.array(ROWS, pa.list_(pa.int32())))
    elif kind == "arrow":
        data = pa.table({"input_ids": pa.array(ROWS, pa.large_list(pa.uint16()))})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data)
    records = [np.array(row, np.uint16) for row in ROWS] if kind == "arrays" else [{"input_ids": row} for row in ROWS]
    corpus = records if kind in ("records", "arrays") else path
    store = fw.prepare(corpus, tmp_path / "s", records="ids", tokenizer="gpt2")
    # an end of text that is there is not put twice; a document without a token is none
    assert [store.document(i).tolist() for i in range(store.documents)] == [[1, 2, 3, EOT], [7, EOT], [50255, EOT]]
    assert store.manifest["account"]["empty"] == 2
    store.verify()
    plain = fw.prepare(corpus, tmp_path / "p", records="ids", tokenizer="gpt2", append_end_of_text=False)
    assert plain[:].tolist() == [id_ for row in ROWS for id_ in row]
    assert fw.prepare(corpus, tmp_path / "s", records="ids", tokenizer="gpt2").fingerprint == store.fingerprint


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1))
def test_ids_give_the_store_that_their_texts_give(tmp_path_factory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("t")
    tokenizer = fw.get_tokenizer("gpt2")
    if not any(texts):
        return
    of_texts = fw.prepare([{"text": text} for text in texts], folder / "t")
    rows = [{"ids": tokenizer.encode_ordinary(text)} for text in texts]
    of_ids = fw.prepare(rows, folder / "i", records="ids", field="ids", tokenizer="gpt2", workers=2)
    assert bytes_of(folder / "t") == bytes_of(folder / "i")
    assert len(of_texts) == len(of_ids)


def test_ids_that_are_none(tmp_path: Path) -> None:
    def prepare(*rows: object, **options: object) -> fw.TokenStore:
        name = f"s{len(list(tmp_path.iterdir()))}"
        options = {"records": "ids", "tokenizer": "gpt2"} | options
        return fw.prepare([{"input_ids": row} for row in rows], tmp_path / name, **options)

    for row, words in (
        ([1, 50257], r"50,257 at place 1 of 2"),
        ([-1], "-1 at place 0"),
        ([1.0], "no token ids"),
        ([[1, 2], [3, 4]], "2 dimensions"),
        ("text", "no token ids"),
        (None, "null"),
        ([True], "no token ids"),
        ([True, 2], "no token ids"),
        ([1, None], "no token ids"),
        ([2**70], "no token ids|none of the tokenizer"),
        (3, "no token ids"),
    ):
        with pytest.raises(FormatError, match=words):
            prepare([1], row)
        store = prepare([1], row, bad_records="skip")
        assert (store[:].tolist(), store.manifest["account"]["skipped"]) == ([1, EOT], 1)
    with pytest.raises(ArgumentError, match="which tokenizer"):
        prepare([1], tokenizer=None)
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(FormatError, match="holds no records"):
        fw.prepare(tmp_path / "a.txt", tmp_path / "x", records="ids", tokenizer="gpt2")
    (tmp_path / "a.csv").write_text("input_ids\n1 2 3\n")
    with pytest.raises(FormatError, match="cells of a csv"):
        fw.prepare(tmp_path / "a.csv", tmp_path / "x", records="ids", tokenizer="gpt2")
    with pytest.raises(FormatError, match="without the field 'input_ids'"):
        fw.prepare([{"text": "a"}], tmp_path / "x", records="ids", tokenizer="gpt2")
    with pytest.raises(FormatError, match="neither token ids nor a record"):
        fw.prepare(["a text"], tmp_path / "x", records="ids", tokenizer="gpt2")
    with pytest.raises(ArgumentError, match="only texts"):
        fw.tokens.train_tokenizer(["a"], tmp_path / "t.json", vocab_size=300, reading=fw.tokens.Reading(records="ids"))


def test_a_store_of_ids_is_none_of_texts(tmp_path: Path) -> None:
    """Another kind of records on the same folder is refused, both ways; a store of texts says nothing of it."""
    ids, texts = [{"input_ids": [1, 2]}], [{"text": "a"}]
    fw.prepare(ids, tmp_path / "i", records="ids", field="input_ids", tokenizer="gpt2")
    with pytest.raises(StoreError, match=r"another (field|records)"):
        fw.prepare(texts, tmp_path / "i", append=True)
    with pytest.raises(StoreError, match="another records"):
        fw.prepare(ids, tmp_path / "i", field="input_ids", append=True)
    store = fw.prepare(texts, tmp_path / "t")
    assert "records" not in store.manifest["policies"]
    with pytest.raises(StoreError, match="another records"):
        fw.prepare(ids, tmp_path / "t", records="ids", field="text", tokenizer="gpt2", append=True)


# Folders of save_to_disk


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def test_a_saved_dataset(tmp_path: Path, datasets) -> None:
    texts = [f"text {i}" for i in range(2500)]
    rows = datasets.Dataset.from_dict({"text": texts, "input_ids": [[i] for i in range(2500)]})
    rows.save_to_disk(str(tmp_path / "d"), num_shards=3)
    documents, accounts = read_account(tmp_path / "d")
    assert documents == datasets.load_from_disk(str(tmp_path / "d"))["text"][:] == texts
    assert [account["name"] for account in accounts] == [f"data-0000{i}-of-00003.arrow" for i in range(3)]
    store = fw.prepare(tmp_path / "d", tmp_path / "s", records="ids", tokenizer="gpt2")
    assert store[::2].tolist() == list(range(2500))
    rows.shuffle(seed=1).select(range(5)).save_to_disk(str(tmp_path / "few"))
    assert read(tmp_path / "few") == datasets.load_from_disk(str(tmp_path / "few"))["text"][:]
    assert read(tmp_path / "d" / "data-00001-of-00003.arrow") == texts[834:1667]
    with pytest.raises(FormatError, match="an Arrow file without the column 'other'"):
        read(tmp_path / "d", field="other")


def test_a_saved_dataset_dict(tmp_path: Path, datasets) -> None:
    parts = {name: datasets.Dataset.from_dict({"text": [name]}) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(ArgumentError, match="several datasets") as error:
        read(tmp_path / "d")
    assert str(tmp_path / "d" / "train") in str(error.value)
    assert read(tmp_path / "d" / "test") == ["test"]


def test_saved_datasets_that_are_refused(tmp_path: Path, datasets) -> None:
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(str(tmp_path / "d"))
    state = tmp_path / "d" / "state.json"
    whole = json.loads(state.read_text())
    for change, words in (
        ({"_data_files": [{"filename": "../x.arrow"}]}, "list of a saved dataset's files"),
        ({"_indices_files": [{"filename": "i.arrow"}]}, "an order of its own"),
    ):
        state.write_text(json.dumps(whole | change))
        with pytest.raises((FormatError, ArgumentError), match=words):
            read(tmp_path / "d")
    state.write_text("{")
    with pytest.raises(FormatError, match="what a saved dataset says"):
        read(tmp_path / "d")
    state.write_text(json.dumps(whole))
    (file,) = (tmp_path / "d").glob("*.arrow")
    data = file.read_bytes()
    for cut in (len(data) // 2, len(data) - 8, 3, 0):  # the second: after a whole batch
        file.write_bytes(data[:cut])
        with pytest.raises((FormatError, FileError), match=r"can't be read|damaged|cut short"):
            read(tmp_path / "d")
    file.unlink()
    with pytest.raises(FileError):
        read(tmp_path / "d")


# Code


def test_code(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    code = {"a.py": "print(1)\n", "b.rs": "fn main() {}\n", "c.js": '{"text": "no record"}\n'}
    for name, text in code.items():
        (tmp_path / "src" / name).write_text(text)
    for name, text in code.items():  # a suffix that says code: what looks like JSON is text all the same
        assert read(tmp_path / "src" / name) == [text]
        assert read(str(tmp_path / "src" / f"*{name[-3:]}")) == [text]
    assert read([tmp_path / "src" / name for name in code]) == list(code.values())
    assert read(str(tmp_path / "src" / "*")) == list(code.values())
    with pytest.raises(FileError, match=r"3 passed over.*no known format") as error:
        read(tmp_path / "src")
    assert "*.py" in str(error.value)
    (tmp_path / "src" / "d.py").write_bytes(b"\x7fELF\x02\0")
    with pytest.raises(FormatError, match="not text"):
        read(tmp_path / "src" / "d.py")
