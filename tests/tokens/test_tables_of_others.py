"""Tables that other tools wrote: what their files hold, or a refusal where a log says which files count."""

from __future__ import annotations

import gzip
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from foreword.errors import FormatError
from foreword.tokens.preparing.corpus import open_corpus

from .test_documents import read

TEXTS = ["one", "zwei\nlines", "漢字"]
LOGS = {
    "Delta Lake": "_delta_log/00000000000000000000.json",
    "Hudi": ".hoodie/hoodie.properties",
    "Spark's streams": "_spark_metadata/0",
    "Iceberg": "metadata/v1.metadata.json",
}


def write(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def table_of(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts}), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize("below", ["", "a/b/"])
def test_a_table_whose_log_says_which_files_count(tmp_path: Path, kind: str, below: str) -> None:
    write(tmp_path, below + "data/0.parquet", table_of(["one"]))
    write(tmp_path, below + "data/1.parquet", table_of(["deleted"]))
    write(tmp_path, below + LOGS[kind], b'{"version": 2}')
    for corpus in (tmp_path, tmp_path.as_uri()):
        with pytest.raises(FormatError, match=f"a table of {kind}"):
            open_corpus(corpus)
    assert read([tmp_path / below / "data/0.parquet"]) == ["one"]


def test_names_that_are_no_log(tmp_path: Path) -> None:
    for name in ("metadata/a.metadata.json", "v1.metadata.json", "metadata/v1.json", "my_delta_log/0.json"):
        write(tmp_path, name, b'{"text": "one"}')
    assert read(tmp_path) == ["one"] * 4


def test_what_a_job_has_not_finished_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "part-00000.txt.gz", gzip.compress(b"one"))
    write(tmp_path, "_SUCCESS", b"")
    write(tmp_path, ".part-00000.txt.gz.crc", b"crc\0")
    write(tmp_path, "_temporary/0/part-00001.txt.gz", gzip.compress(b"two"))
    assert read(tmp_path) == ["one"]
    assert "_temporary/ (not finished)" in open_corpus(tmp_path).passed_over
    memory = fsspec.filesystem("memory")
    for path in tmp_path.rglob("*.gz"):
        memory.pipe(f"/job/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    assert read("memory://job") == ["one"]
    assert open_corpus("memory://job").passed_over == ["_temporary/0/part-00001.txt.gz (not finished)"]
    memory.rm("/job", recursive=True)


def test_a_partitioned_folder_with_what_writers_leave(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "a": [1, 1, 2]})
    pq.write_to_dataset(table, tmp_path, partition_cols=["a"], basename_template="part-{i}.parquet")
    pq.write_metadata(table.schema, tmp_path / "_metadata")
    pq.write_metadata(table.schema, tmp_path / "_common_metadata")
    (tmp_path / "_SUCCESS").touch()
    assert read(tmp_path) == TEXTS


STRINGS = {
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "large": pa.array(TEXTS, pa.large_string()),
    "view": pa.array(TEXTS, pa.string_view()),
    "binary view": pa.array([text.encode() for text in TEXTS], pa.binary_view()),
    "json": pa.ExtensionArray.from_storage(pa.json_(pa.utf8()), pa.array(TEXTS)),
    "run ends": pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array(TEXTS)),
}


@pytest.mark.parametrize("kind", STRINGS)
def test_strings_of_every_type(tmp_path: Path, kind: str) -> None:
    table = pa.table({"text": STRINGS[kind], "meta": pa.StructArray.from_arrays([STRINGS[kind]], ["text"])})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    names = ["a.arrow"]
    if kind != "run ends":  # parquet has none
        pq.write_table(table, tmp_path / "a.parquet")
        names.append("a.parquet")
    for name in names:
        assert read(tmp_path / name) == TEXTS
        assert read(tmp_path / name, field="meta.text") == TEXTS


class Plain(encryption.KmsClient):
    def __init__(self, _: object) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return key.hex().encode()

    def unwrap_key(self, wrapped: bytes, _: str) -> bytes:
        return bytes.fromhex(wrapped.decode())


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_encrypted_parquet(tmp_path: Path, plaintext_footer: bool) -> None:
    keys = encryption.EncryptionConfiguration(
        footer_key="k", column_keys={"k": ["text"]}, plaintext_footer=plaintext_footer
    )
    properties = encryption.CryptoFactory(Plain).file_encryption_properties(encryption.KmsConnectionConfig(), keys)
    table = pa.table({"text": TEXTS})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(FormatError, match="is encrypted"):
        read(tmp_path / "a.parquet")
