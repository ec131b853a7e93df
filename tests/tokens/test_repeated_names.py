"""A name that comes twice: which column, key, file or part is meant can't be known, so none is taken."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import foreword as fw
from foreword.errors import ArgumentError, ForewordError, FormatError
from foreword.tokens.preparing.corpus import open_corpus
from foreword.tokens.preparing.documents import Reader, Reading
from foreword.vectors.formats.arrays import read_words
from foreword.vectors.formats.base import Options


def read(corpus: Path, **options: Any) -> list[str]:
    reader, texts = Reader(Reading(**options), cuttable=False), []
    for source in open_corpus(corpus):
        texts += [piece for piece, ends in reader.texts(source) if ends]
    return texts


def write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


CSV = {
    "plain": b"text,n,text\na,1,b\n",
    "quoted": b'"te""xt","text",n,"text"\nz,a,1,b\n',
    "mark": b"\xef\xbb\xbftext,n,text\na,1,b\n",
    "mark and quoted": b'\xef\xbb\xbf"text",n,"text"\na,1,b\n',
    "empty lines first": b"\n\r\ntext,n,text\na,1,b\n",
    "line end in a name": b'"a\nb",text,text\nz,a,b\n',
    "carriage returns": b"text,n,text\ra,1,b\r",
    "names of 20 kB": b"x" * 20_000 + b",text,text\nz,a,b\n",
}


@pytest.mark.parametrize("name", CSV)
def test_columns_of_one_name_in_csv(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_bytes(CSV[name])
    with pytest.raises(FormatError, match="several columns are called 'text'") as refused:
        read(tmp_path / "a.csv")
    numbers = {"quoted": "2 and 4 of 4", "line end in a name": "2 and 3 of 3", "names of 20 kB": "2 and 3 of 3"}
    assert numbers.get(name, "1 and 3 of 3") in str(refused.value)
    if name == "plain":
        assert read(tmp_path / "a.csv", field="n") == ["1"]  # the column that is asked for comes once


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_columns_of_one_name_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.tsv").write_bytes("täxt\tn\ttäxt\na\t1\tb\n".encode(encoding))
    with pytest.raises(FormatError, match="columns 1 and 3 of 3"):
        read(tmp_path / "a.tsv", field="täxt", encoding=encoding)
    assert read(tmp_path / "a.tsv", field="n", encoding=encoding) == ["1"]


def test_names_of_csv_columns_that_are_not_there_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text;n\na;1\n")
    with pytest.raises(FormatError, match=r"\['text;n'\]\n(.|\n)*parted by commas"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_of_one_name_in_tables(tmp_path: Path, kind: str) -> None:
    write = pa.parquet.write_table if kind == "parquet" else write_arrow
    column = pa.array(["a"])
    write(pa.table([column, column, column], names=["text", "n", "text"]), tmp_path / f"a.{kind}")
    with pytest.raises(FormatError, match="columns 1 and 3 of 3"):
        read(tmp_path / f"a.{kind}")
    assert read(tmp_path / f"a.{kind}", field="n") == ["a"]
    inner = pa.StructArray.from_arrays([column, column], names=["text", "text"])
    write(pa.table([inner], names=["meta"]), tmp_path / f"b.{kind}")
    with pytest.raises(FormatError, match=r"several columns are called 'text'(.|\n)*'meta.text'"):
        read(tmp_path / f"b.{kind}", field="meta.text")
    roles = pa.StructArray.from_arrays([column, column], names=["role", "role"])
    write(pa.table([pa.ListArray.from_arrays([0, 1], roles)], names=["messages"]), tmp_path / f"c.{kind}")
    with pytest.raises(FormatError, match="can't be read"):
        fw.prepare(
            tmp_path / f"c.{kind}", tmp_path / "x", records="messages", tokenizer="gpt2", chat_template="{{ 1 }}"
        )


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("record", ['{"text": "a", "text": "b"}', r'{"text": "a", "n": 1, "te\u0078t": "b"}'])
def test_keys_that_come_twice(tmp_path: Path, name: str, record: str) -> None:
    path = tmp_path / name
    lines = ['{"text": "one"}', record, '{"n": 1, "n": 2, "text": "two", "m": {"text": 1, "text": 2}}']
    path.write_text("\n".join(lines) if name == "a.jsonl" else f"[{','.join(lines)}]")
    with pytest.raises(FormatError, match="key 'text' comes twice") as refused:
        read(path)
    assert {"a.jsonl": "line 2", "a.json": "record 2"}[name] in str(refused.value)
    assert read(path, bad_records="skip") == ["one", "two"]  # other keys may come as often as they like


def test_a_key_that_comes_twice_with_one_value(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "text": "one"}\n')
    assert read(path) == ["one"]
    path.write_text('{"text": 1, "text": true}\n')  # equal to Python, and not the same
    with pytest.raises(FormatError, match="key 'text' comes twice"):
        read(path)


def test_keys_that_come_twice_on_the_way_to_a_field(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"meta": {"text": "a"}, "meta": {"text": "b"}}\n{"meta": {"text": "c", "n": 1, "n": 2}}\n')
    with pytest.raises(FormatError, match="key 'meta' comes twice"):
        read(path, field="meta.text")
    assert read(path, field="meta.text", bad_records="skip") == ["c"]


@pytest.mark.parametrize(
    "record",
    [
        '{"messages": [{"role": "user", "role": "assistant", "content": "a"}]}',
        '{"messages": [{"role": "assistant", "content": "a", "x": {"k": 1, "k": 2}}]}',
        '{"messages": [{"role": "assistant", "content": "a"}], "messages": []}',
        '{"messages": [{"role": "assistant", "content": "a"}], "tools": [{"name": 1, "name": 2}]}',
        '{"messages": [{"role": "assistant", "content": "a"}], "tools": "[{\\"name\\": 1, \\"name\\": 2}]"}',
    ],
)
def test_keys_that_come_twice_in_a_conversation(tmp_path: Path, record: str) -> None:
    (tmp_path / "a.jsonl").write_text(record)
    template = "{% for message in messages %}{{ message.content }}{% endfor %}{% generation %}{% endgeneration %}"
    with pytest.raises(FormatError, match="comes twice"):
        fw.prepare(
            tmp_path / "a.jsonl",
            tmp_path / "x",
            records="messages",
            field="messages,tools",
            tokenizer="gpt2",
            chat_template=template,
        )


@pytest.mark.parametrize(("records", "field"), [("completion", "a, a"), ("messages", "messages,messages")])
def test_a_field_named_twice(tmp_path: Path, records: str, field: str) -> None:
    with pytest.raises(ArgumentError, match=f"got: +'{field}'"):
        fw.prepare(
            [{}],
            tmp_path / "x",
            records=records,
            field=field,
            tokenizer="gpt2",
            chat_template=None if records == "completion" else "{{ 1 }}",
        )


def test_a_part_of_a_split_named_twice() -> None:
    from foreword.cli.tokens import _shares

    assert _shares(["val=0.1", "test=0.2"]) == {"val": 0.1, "test": 0.2}
    with pytest.raises(ArgumentError, match="twice"):
        _shares(["val=0.1", "val=0.5"])


def test_keys_that_come_twice_in_a_tokenizer(tmp_path: Path) -> None:
    fw.tokens.train_tokenizer(["a corpus of a few words"], tmp_path / "tokenizer.json", vocab_size=257)
    path, text = tmp_path / "tokenizer.json", (tmp_path / "tokenizer.json").read_text()
    assert fw.get_tokenizer(path).encode("a").tolist()
    vocab = text.index('"vocab"')
    damaged = text[:vocab] + text[vocab:].replace("{", '{"a": 300, ', 1)
    assert json.loads(damaged) == json.loads(text)  # Python's takes the last
    path.write_text(damaged)
    with pytest.raises(FormatError, match="'a' comes twice"):
        fw.get_tokenizer(path)
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "vocab.json").write_text('{"a": 0, "b": 1, "a": 2}')
    (tmp_path / "gpt2" / "merges.txt").write_text("")
    with pytest.raises(FormatError, match="'a' comes twice"):
        fw.get_tokenizer(tmp_path / "gpt2", pattern="gpt2")


VECTORS = b"2 2\na 1 0\nb 0 1\n"


def test_files_of_one_name_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("v.vec", VECTORS)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("v.vec", VECTORS.replace(b"1", b"3"))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for data, name in ((VECTORS, "v.vec"), (VECTORS.replace(b"1 0", b"3 0"), "./v.vec"), (b"", "readme")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    for name in ("a.zip", "a.zip/v.vec", "a.tar/v.vec"):
        with pytest.raises(FormatError, match=r"several files of one name\n  got: +v\.vec, 2 times"):
            fw.load(tmp_path / name)


def test_keys_that_come_twice_in_vectors(tmp_path: Path) -> None:
    header = b'{"v": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}, "v": {"dtype": "F32", "shape": [1, 1], '
    header += b'"data_offsets": [4, 8]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ForewordError, match=r"safetensors file is damaged\n  got: +the key 'v' comes twice"):
        fw.load(path)
    (tmp_path / "words.json").write_text('{"a": 0, "b": 1, "a": 2}')
    with pytest.raises(FormatError, match=r"not a vocabulary\n  got: +the key 'a' comes twice"):
        read_words(tmp_path / "words.json", Options())
