"""Documents are what the corpus says, whatever the file's format, packing, encoding and size."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreword.errors import ArgumentError, FileError, FormatError, MissingFileError, TextDecodeError
from foreword.tokens import get_tokenizer
from foreword.tokens.preparing import documents as documents_module
from foreword.tokens.preparing.corpus import open_corpus
from foreword.tokens.preparing.documents import Reader, Reading, _last_cut

from .conftest import odd_strings, real_text

TEXTS = ["Every effort moves you.", "Zwölf Boxkämpfer\njagen Viktor", "quer über den\n\ngroßen Sylter Deich", "漢字 🙂"]


def read(corpus: object, **options: object) -> list[str]:
    """The documents of a corpus, whole."""
    return read_account(corpus, **options)[0]


def read_account(corpus, *, cuttable=True, format=None, **options):  # noqa: A002 - the option's name
    reader = Reader(Reading(**options), cuttable=cuttable)
    documents, parts = [], []
    for source in open_corpus(corpus, format=format):
        for text, ends in reader.read(source):
            parts.append(text)
            if ends:
                documents.append("".join(parts))
                parts = []
    assert not parts, "the last document has no end"
    assert sum(account["documents"] for account in reader.account) == len(documents)
    return documents, reader.account


def zstandard(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard}


@pytest.mark.parametrize("packing", PACKERS)
def test_every_format_packed_every_way(tmp_path: Path, packing: str) -> None:
    pack = PACKERS[packing]
    jsonl = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)).encode()
    (tmp_path / f"a.jsonl{packing}").write_bytes(pack(jsonl))
    assert read(tmp_path / f"a.jsonl{packing}") == TEXTS
    assert read(str(tmp_path / f"a.jsonl{packing}"), cuttable=False) == TEXTS
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(pa.table({"n": [1, 2, 3, 4], "text": TEXTS}), sink)
    (tmp_path / f"a.csv{packing}").write_bytes(pack(sink.getvalue().to_pybytes()))
    assert read(tmp_path / f"a.csv{packing}") == TEXTS
    (tmp_path / f"a.txt{packing}").write_bytes(pack("\n".join(TEXTS).encode()))
    assert read(tmp_path / f"a.txt{packing}") == ["\n".join(TEXTS)]
    assert read(tmp_path / f"a.txt{packing}", documents="line") == "\n".join(TEXTS).replace("\n\n", "\n").split("\n")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"body": TEXTS * 100, "n": range(400)}), path, row_group_size=7)
    assert read(path, field="body") == TEXTS * 100
    with pytest.raises(FormatError, match="without the column 'text'") as error:
        read(path)
    assert "body" in str(error.value)
    with pytest.raises(FormatError, match="no text"):
        read(path, field="n")
    pa.parquet.write_table(pa.table({"text": pa.array(["a", None, "b"])}), path)
    with pytest.raises(FormatError, match="row 2"):
        read(path)
    documents, account = read_account(path, bad_records="skip")
    assert (documents, account[0]["skipped"]) == (["a", "b"], 1)
    pa.parquet.write_table(pa.table({"text": pa.array([b"caf\xe9"], pa.binary())}), path)
    assert read(path, encoding="latin-1") == ["café"]
    with pytest.raises(TextDecodeError, match="row 1"):
        read(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FormatError, match="parquet"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="parquet"):
        read(path)


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.txt").write_text("a")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FileError, match="locked"):
        open_corpus(tmp_path)


def test_folders_globs_and_lists_come_by_name(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "sub/c.txt", "sub/.hidden/d.txt", ".e.txt", "sub/f.bin", "sub/g.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"text": "g"}' if name.endswith("jsonl") else name)
    assert read(tmp_path) == ["a.md", "b.txt", "sub/c.txt", "g"]
    assert [source.name for source in open_corpus(tmp_path)] == ["a.md", "b.txt", "sub/c.txt", "sub/g.jsonl"]
    assert read(str(tmp_path / "**" / "*.txt")) == ["b.txt", "sub/c.txt"]
    assert read([tmp_path / "sub/c.txt", tmp_path / "a.md"]) == ["sub/c.txt", "a.md"]
    assert read(tmp_path / "sub/f.bin") == ["sub/f.bin"]
    assert read(tmp_path, format="text")[-1] == '{"text": "g"}'


def test_files_of_a_list_are_called_by_what_they_do_not_share(tmp_path: Path, monkeypatch) -> None:
    for place in ("here/sub", "there"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("here/a.txt", "here/sub/b.txt", "there/c.txt"):
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path / "here" / "sub")

    def called(*names: str) -> list[str]:
        return [source.name for source in open_corpus([Path(name) for name in names])]

    assert called("b.txt", "../a.txt") == ["sub/b.txt", "sub/../a.txt"]
    assert called("../../there/c.txt") == ["c.txt"]  # outside of where we are
    assert called("../../there/c.txt", "b.txt") == ["here/sub/../../there/c.txt", "here/sub/b.txt"]
    monkeypatch.setattr(
        os.path, "commonpath", lambda _: (_ for _ in ()).throw(ValueError("Paths don't have the same drive"))
    )
    assert called("b.txt", "../a.txt") == [(tmp_path / "here" / name).as_posix() for name in ("sub/b.txt", "a.txt")]


def test_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such corpus"):
        open_corpus(tmp_path / "nowhere.txt")
    with pytest.raises(MissingFileError, match="no file matches"):
        open_corpus(str(tmp_path / "*.txt"))
    with pytest.raises(FileError, match="no file that can be read as text"):
        open_corpus(tmp_path)
    with pytest.raises(TypeError, match="int"):
        open_corpus(3)
    with pytest.raises(ArgumentError, match="no such format"):
        open_corpus(tmp_path, format="docx")
    for wrong in ({"documents": "word"}, {"bad_records": "ignore"}, {"separator": ""}, {"encoding": "klingon"}):
        with pytest.raises(ArgumentError):
            Reading(**wrong)


def test_url() -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe({"/corpus/b.txt": b"two", "/corpus/a.jsonl.gz": gzip.compress(b'{"text": "one"}\n')})
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table({"text": ["three"]}), sink)
    memory.pipe("/corpus/sub/c.parquet", sink.getvalue().to_pybytes())
    assert read("memory://corpus") == ["one", "two", "three"]
    assert read("memory://corpus/*.txt") == ["two"]
    assert read("memory://corpus/b.txt") == ["two"]
    with pytest.raises(MissingFileError):
        open_corpus("memory://corpus/nothing")
    with pytest.raises(ArgumentError, match="fsspec does not know"):
        open_corpus("gopher://corpus/nothing")


def test_iterables_and_records() -> None:
    assert read(["a", "", "b"]) == ["a", "b"]
    assert read({"text": text} for text in TEXTS) == TEXTS
    assert read([{"body": "x"}], field="body") == ["x"]
    with pytest.raises(FormatError, match="text 1"):
        read(["a", 7])
    assert read(["a", 7, {"text": "b"}, {"other": "c"}], bad_records="skip") == ["a", "b"]


def test_hugging_face_dataset() -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"text": TEXTS, "n": [1, 2, 3, 4]})
    assert read(data) == TEXTS
    assert read(data.to_iterable_dataset()) == TEXTS


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text("ab \n\r\t.", max_size=60),
    st.integers(1, 12),
    st.sampled_from(["file", "line", "blank-line", "||", "\n.", "aba"]),
)
def test_separating_against_the_obvious_way(tmp_path_factory, text: str, chunk: int, by: str) -> None:
    """Any text, any size of chunk: the documents are those of the whole text split at once."""
    path = tmp_path_factory.mktemp("c") / "a.txt"
    path.write_bytes(text.encode())
    expected = {
        "file": lambda: [text],
        "line": lambda: text.replace("\r\n", "\n").split("\n"),
        "blank-line": lambda: re.split(r"\n(?:[^\S\n]*\n)+", text),
    }.get(by, lambda: text.split(by))()
    options = {"documents": by} if by in {"file", "line", "blank-line"} else {"separator": by}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents_module, "CHUNK", chunk)
        documents = read(path, **options)
    if by == "blank-line":  # white space at the end of a file belongs to its last document
        documents = [d.rstrip() for d in documents if d.strip()]
        expected = [d.rstrip() for d in expected if d.strip()]
    assert documents == [document for document in expected if document]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd_strings, st.integers(1, 30))
def test_a_cut_document_has_the_ids_of_the_whole(text: str, piece: int) -> None:
    for name in ("gpt2", "bytes"):
        tokenizer = get_tokenizer(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(documents_module, "PIECE", piece)
            pieces = [text for text, _ in Reader(Reading(), cuttable=True)._bounded([(text, True)])]
        assert "".join(pieces) == text
        ids = [id_ for part in pieces for id_ in tokenizer.encode_ordinary(part).tolist()]
        assert ids == tokenizer.encode_ordinary(text).tolist()


def test_long_documents_are_cut_where_words_part(monkeypatch) -> None:
    text = real_text()[:200_000]
    monkeypatch.setattr(documents_module, "PIECE", 1000)
    reader = Reader(Reading(), cuttable=True)
    pieces = [piece for piece, _ in reader._bounded((text[i : i + 777], False) for i in range(0, 200_000, 777))]
    pieces += [piece for piece, _ in reader._bounded([("", True)])]
    assert len(pieces) > 100
    assert _last_cut("nospaces:here", 0, 8) == 0
    assert _last_cut("one two three", 0, 9) == 7
    assert _last_cut("onetwo three", 0, 4) == 6, "failing that, the first one after"


def test_a_document_that_can_not_be_cut_and_is_too_long(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(documents_module, "PIECE", 100)
    monkeypatch.setattr(documents_module, "LIMIT", 1000)
    path = tmp_path / "a.txt"
    path.write_text("x" * 5000)
    with pytest.raises(FormatError, match="1,000") as error:
        read(path)
    assert "a.txt" in str(error.value)
    path.write_text("two words " * 500)
    assert read(path) == ["two words " * 500]
    with pytest.raises(FormatError, match="1,000"):
        read(path, cuttable=False)
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text(json.dumps({"text": "two words " * 500}))
    with pytest.raises(FormatError, match="at most 1,000 bytes"):
        read(jsonl)


def test_broken_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = '{"text": "ok"}\n'
    for line, words in {
        "{broken\n": ["not JSON", "line 2"],
        '["a list"]\n': ["no fields", "line 2"],
        '{"other": 1}\n': ["without the field 'text'", "--field other"],
        '{"number": 1, "body": "x"}\n': ["without the field 'text'", "--field body"],
        '{"text": 5}\n': ["no text", "int"],
        '{"text": null}\n': ["no text", "null"],
        '{"a":' * 100_000 + "\n": ["not JSON"],
        '"\ud800'.encode("utf-8", "surrogatepass") + b"\n": ["not utf-8 text", "line 2"],
    }.items():
        data = line if isinstance(line, bytes) else line.encode()
        path.write_bytes(good.encode() + data + b"\n  \n" + good.encode())
        with pytest.raises((FormatError, TextDecodeError)) as error:
            read(path)
        for word in [*words, "a.jsonl"]:
            assert word in str(error.value)
        documents, account = read_account(path, bad_records="skip")
        assert documents == ["ok", "ok"]
        assert account[0]["skipped"] == 1
    path.write_bytes(b"\xef\xbb\xbf" + good.encode())
    assert read(path) == ["ok"]


def test_csv_oddities(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('n,text\n1,"a ""quoted"", text\nover lines"\n2,plain\n')
    assert read(path) == ['a "quoted", text\nover lines', "plain"]
    path.write_text("n,text\n1,a\n2,b,c\n3,d\n")
    with pytest.raises(FormatError, match="Expected 2 columns, got 3"):
        read(path)
    assert read(path, bad_records="skip") == ["a", "d"]
    with pytest.raises(FormatError, match="column 'body'"):
        read(path, field="body")
    path.write_bytes(b"")
    assert read(path) == []
    path.write_bytes("text\ncafé\n".encode("latin-1"))
    assert read(path, encoding="latin-1") == ["café"]
    with pytest.raises(FormatError, match=r"a\.csv"):
        read(path)


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
def test_damaged_packing(tmp_path: Path, packing: str) -> None:
    data = PACKERS[packing](real_text()[:300_000].encode())
    path = tmp_path / f"a.txt{packing}"
    damages = [data[: len(data) // 2], data[:-4], data[:3], b"not packed at all"]
    if packing != ".zst":  # written without a checksum, as by pyarrow: what is then damaged may be another text
        damages.append(data[:200] + b"\0\xff" * 40 + data[280:])
    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises((FormatError, TextDecodeError)) as error:
            read(path)
        assert path.name in str(error.value)


def test_undecodable_text_says_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 3_000_000 + b"\xe9t\xe9")
    with pytest.raises(TextDecodeError, match=r"byte 3,000,000") as error:
        read(path)
    assert "latin-1" in str(error.value)
    assert read(path, encoding="latin-1") == ["x" * 3_000_000 + "été"]
    path.write_bytes("ab\U0001f642".encode()[:-1])
    with pytest.raises(TextDecodeError, match="byte 2"):
        read(path)
    path.write_bytes("\ufeffété".encode("utf-16"))
    assert read(path, encoding="utf-16")[0].endswith("été")
    path.write_bytes(b"\xef\xbb\xbfbom")
    assert read(path) == ["bom"]


def test_the_account_has_the_hash_of_the_stored_bytes(tmp_path: Path) -> None:
    import hashlib

    for name, data in {"a.txt": b"text", "b.jsonl.gz": gzip.compress(b'{"text":"x"}\n{"text":""}') + b""}.items():
        (tmp_path / name).write_bytes(data)
        account = read_account(tmp_path / name)[1][0]
        assert account["sha256"] == hashlib.sha256(data).hexdigest()
        assert account["bytes"] == len(data)
    assert account["empty"] == 1


def test_s3_through_a_loopback_server(tmp_path: Path, monkeypatch) -> None:
    """A bucket on a server of this machine: listed, read, prepared; the same store as from the disk."""
    pytest.importorskip("s3fs")
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    from foreword.tokens import prepare

    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.start()
        try:
            host, port = server.get_host_and_port()
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
            client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
            client.create_bucket(Bucket="corpus")
            for name, data in {
                "b.txt": real_text()[:100_000].encode(),
                "sub/a.jsonl.gz": gzip.compress(b'{"text": "one"}\n'),
            }.items():
                client.put_object(Bucket="corpus", Key=name, Body=data)
                (tmp_path / "disk" / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "disk" / name).write_bytes(data)
            remote = prepare("s3://corpus/", tmp_path / "remote")
            local = prepare(tmp_path / "disk", tmp_path / "local")
            assert remote.fingerprint == local.fingerprint
            with pytest.raises(MissingFileError):
                open_corpus("s3://corpus/nothing")
        finally:
            server.stop()
