"""What a corpus is: suffixes decide, contents that contradict them are refused, what can't be meant is refused."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import http.server
import io
import json
import lzma
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreword import create_dataloader
from foreword.errors import (
    ArgumentError,
    ArgumentTypeError,
    FileError,
    FormatError,
    MissingFileError,
    TextDecodeError,
)
from foreword.tokens import prepare, train_tokenizer
from foreword.tokens.preparing import documents as documents_module
from foreword.tokens.preparing.corpus import open_corpus

from .test_documents import read, read_account

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders, nor links without a right to them")
LINES = b'{"text": "one"}\n{"text": "two"}\n'
ARRAY = json.dumps([{"text": "one"}, {"text": "two"}], indent=1).encode()


def parquet(texts: object) -> bytes:
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table({"text": texts}), sink)
    return sink.getvalue().to_pybytes()


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"), io.BytesIO(b""))
    return packed.getvalue()


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.txt", "text")
    return packed.getvalue()


@pytest.mark.parametrize("name", ["c4.json", "part-00000", "data.records", "c4.json.gz", "part-00000.gz"])
@pytest.mark.parametrize(
    "data",
    [
        LINES,
        b"\n" + LINES,
        b"\xef\xbb\xbf" + LINES,
        ARRAY,
        b'["one", "two"]',
        b'[{"text": "one"},\n {"text": "two"}]\n',
        b'{\n "text": "one"\n}\n{\n "text": "two"\n}',
    ],
)
def test_json_is_told_from_its_contents(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read(tmp_path / name) == ["one", "two"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.text(max_size=40), st.fixed_dictionaries({"text": st.text(max_size=40)}, optional={"n": st.floats()})
        )
    ),
    st.sampled_from([None, 0, 2]),
    st.integers(1, 9),
)
def test_arrays_of_json_against_the_whole(tmp_path_factory, records, indent, chunk) -> None:
    """Whatever the records, the layout and the size of the chunks: the texts are those of json.loads."""
    path = tmp_path_factory.mktemp("j") / "a.json"
    path.write_text(json.dumps(records, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foreword.tokens.preparing.records.CHUNK", chunk)
        documents = read(path)
    texts = [record if isinstance(record, str) else record["text"] for record in records]
    assert documents == [
        text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass") for text in texts if text
    ]


def test_json_that_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for data, words in {
        b'[{"text": "one"}, {"text": ': "record 2",
        b'[{"text": "one"}': "after record 1",
        b'[{"text": "one"}] {"text": "two"}': "after the end of the array",
        b'[{"text": "one"},]': "record 2",
        b'[{"text": "one"} {"text": "two"}]': "after record 1",
        b"plain text": "record 1",
        b'[{"other": "one"}, {"other": "two"}]': "without the field 'text'",
        b'[{"text": 1}]': "no text",
    }.items():
        path.write_bytes(data)
        with pytest.raises(FormatError, match=words) as error:
            read(path)
        assert "a.json" in str(error.value)
    path.write_bytes(b'[{"text": "one"}, null, {"other": 1}, {"text": "two"}]')
    documents, account = read_account(path, bad_records="skip")
    assert (documents, account[0]["skipped"]) == (["one", "two"], 2)
    path.write_bytes(b'[{"text": "caf\xe9"}]')
    with pytest.raises(TextDecodeError, match="byte 14"):
        read(path)
    assert read(path, encoding="latin-1") == ["café"]


def test_a_record_of_json_that_is_too_long(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(documents_module, "LIMIT", 1000)
    (tmp_path / "a.json").write_text('["' + "x" * 5000)
    with pytest.raises(FormatError, match=r"at most 1,000|not JSON"):
        read(tmp_path / "a.json")


def test_files_without_a_known_suffix_are_what_they_hold(tmp_path: Path) -> None:
    for data, expected in {
        b"plain text": ["plain text"],
        b"[1] a title": ["[1] a title"],
        b"{{template}}": ["{{template}}"],
        b"": [],
        parquet(["one"]): ["one"],
        gzip.compress(b"packed"): ["packed"],
        bz2.compress(LINES): ["one", "two"],
        lzma.compress(ARRAY): ["one", "two"],
        pa.compress(b"packed", codec="zstd", asbytes=True): ["packed"],
    }.items():
        for name in ("part-0", "a.rst"):
            (tmp_path / name).write_bytes(data)
            assert read(tmp_path / name) == expected, data
    for data, words in {
        zipped(): "a zip archive",
        archive(): "a tar archive",
        gzip.compress(archive()): "a tar archive",
        b"\x89PNG\r\n\x1a\n\0": "a picture",
        bytes(range(256)): "binary",
        b"%PDF-1.7\n": "a PDF",
        gzip.compress(parquet(["one"])): "parquet",
    }.items():
        (tmp_path / "part-0").write_bytes(data)
        with pytest.raises(FormatError, match=words) as error:
            open_corpus(tmp_path / "part-0")
        assert "--format" in str(error.value)


@pytest.mark.parametrize("suffix", ["txt", "md", "jsonl", "json", "csv", "tsv"])
def test_contents_that_contradict_the_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    for data, words in {
        gzip.compress(b"text"): rf"a\.{suffix}\.gz",
        lzma.compress(b"text"): rf"a\.{suffix}\.xz",
        parquet(["one"]): "--format parquet",
        zipped(): "unpack it",
        archive(): "unpack it",
        b"\x7fELF" + bytes(60): "a program",
    }.items():
        path.write_bytes(data)
        for encoding in ("utf-8", "latin-1"):
            with pytest.raises(FormatError, match=words):
                read(path, encoding=encoding)
        packed = tmp_path / f"a.{suffix}.gz"
        packed.write_bytes(gzip.compress(data))
        with pytest.raises(FormatError):
            read(packed)
    path.write_bytes(b"a\0zero byte")
    with pytest.raises(FormatError, match=f"--format {'text' if suffix in ('txt', 'md') else suffix}"):
        read(path)


def test_other_contradictions(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ARRAY)
    for bad in ("error", "skip"):
        with pytest.raises(FormatError, match="--format json"):
            read(tmp_path / "a.jsonl", bad_records=bad)
    assert read(tmp_path / "a.jsonl", format="json") == ["one", "two"]
    (tmp_path / "a.parquet").write_bytes(LINES)
    with pytest.raises(FormatError, match="parquet"):
        read(tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_bytes(parquet(["one"]))
    assert read(tmp_path / "a.txt", format="parquet") == ["one"]
    (tmp_path / "a.txt").write_bytes(b"a\0b")
    assert read(tmp_path / "a.txt", format="text") == ["a\0b"], "said by the caller, it is text"
    for name in ("a.txt.gz", "a.txt.bz2", "a.txt.xz", "a.txt.zst"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(FormatError, match="damaged or cut short"):
            read(tmp_path / name)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(parquet(["one"])))
    with pytest.raises(FormatError, match="compressed whole"):
        read(tmp_path / "a.parquet.gz")
    (tmp_path / "a.tsv").write_text("n\ttext\n1\ta, b\n")
    assert read(tmp_path / "a.tsv") == ["a, b"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv", "plain"])
def test_wide_encodings(tmp_path: Path, encoding: str, name: str) -> None:
    """The error names the encoding, whatever it was taken for; named, the texts are read."""
    text = {"a.jsonl": LINES, "a.json": ARRAY, "a.csv": b"n,text\n1,one\n2,two\n"}.get(name, b"one\ntwo").decode()
    (tmp_path / name).write_bytes(text.encode(encoding))
    for wrong in ("utf-8", "latin-1"):
        with pytest.raises(TextDecodeError, match=f"--encoding {encoding}$"):
            read(tmp_path / name, encoding=wrong)
    assert read(tmp_path / name, encoding=encoding, documents="line") == ["one", "two"]


def test_utf_16_without_a_mark_is_not_guessed(tmp_path: Path) -> None:
    for data, advice in ((b"plain text", "utf-8"), ("big".encode("utf-16-be"), "utf-16-be")):
        (tmp_path / "a.txt").write_bytes(data)
        with pytest.raises(TextDecodeError, match=f"--encoding {advice}"):
            read(tmp_path / "a.txt", encoding="utf-16")
    (tmp_path / "a.txt").write_bytes(b"")
    assert read(tmp_path / "a.txt", encoding="utf-16") == []


@posix
def test_a_folder_names_what_it_passes_over(tmp_path: Path) -> None:
    corpus = tmp_path / "c"
    files = {
        "a.txt": b"a",
        "c4.json": LINES,
        "part-0": b"p",
        "photo.png": b"\x89PNG\r\n",
        "program": b"\x7fELF\0",
        ".hidden.txt": b"h",
        ".git/x.txt": b"g",
        "config.json": b'{"model": "gpt2"}',
        "sub/b.txt": b"b",
    }
    for name, data in files.items():
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_bytes(data)
    (corpus / "linked").symlink_to(corpus / "sub")
    os.mkfifo(corpus / "pipe.txt")
    with pytest.warns(UserWarning, match="passed over") as warned:
        store = prepare(corpus, tmp_path / "s")
    texts = [store.tokenizer.decode(store.document(i)[:-1]) for i in range(store.documents)]
    assert texts == ["a", "one", "two", "p", "b"]
    named = store.manifest["account"]["passed_over"]
    names = {entry.split(" ")[0] for entry in named["first"]}
    assert names == {"photo.png", "program", ".hidden.txt", ".git/", "linked/", "pipe.txt", "config.json"}
    assert named["count"] == 7
    assert "photo.png" in str(warned[0].message)
    (corpus / "c4.json").write_bytes(b'[{"body": "x"}]')
    with pytest.raises(FormatError, match="--field body"):
        prepare(corpus, tmp_path / "t")


@posix
def test_links(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "real.txt").write_text("real")
    (tmp_path / "c" / "link.txt").symlink_to(tmp_path / "real.txt")
    assert read(tmp_path / "c") == ["real"]
    (tmp_path / "c" / "gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match="leads nowhere"):
        open_corpus(tmp_path / "c")


@posix
def test_what_has_no_end_is_no_corpus(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "pipe.txt", "/dev/zero", [tmp_path / "pipe.txt"], str(tmp_path / "p*.txt")):
        with pytest.raises(FileError, match="no regular file"):
            open_corpus(path)


def test_the_output_is_no_part_of_the_corpus(tmp_path: Path) -> None:
    corpus = tmp_path / "c"
    corpus.mkdir()
    (corpus / "a.txt").write_text("a")
    (corpus / "b.jsonl").write_bytes(LINES)
    for options in ({}, {"split": {"val": 0.4}, "deduplicate": True}):
        out = corpus / f"out{len(options)}"
        with contextlib.ExitStack() as stack:
            if options:
                stack.enter_context(pytest.warns(UserWarning, match=r"out0/ \(a token store\)"))
            store = prepare(corpus, out, **options)
            again = prepare(corpus, out, **options)
            appended = prepare(corpus, out, append=True, **options)
        assert store.fingerprint == again.fingerprint == appended.fingerprint
        with pytest.raises(ArgumentError, match="the corpus is the output, or a token store"):
            prepare(store.path, tmp_path / "other")
    assert [source.name for source in open_corpus(str(corpus / "**" / "*.jsonl"))] == [f"{corpus}/b.jsonl"]


def test_what_can_not_be_meant(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p1.txt").write_text("one")
    (tmp_path / "my notes").write_text("two")
    out = tmp_path / "s"
    for corpus, words in (
        ({"train": ["a"], "test": ["b"]}, r"prepare\(data\['train'\]"),
        ({"text": "a record"}, "mapping"),
        (["p1.txt", "my notes"], "Path objects"),
        (["data/a.jsonl.gz", "data/b.jsonl.gz"], "Path objects"),
        (("s3://bucket/a.txt",), "Path objects"),
        ((name for name in ("p1.txt", "p2.txt")), "Path objects"),
        (["a.parquet"] * 500, "Path objects"),
        (b"text", "bytes"),
        (bytearray(b"text"), "bytes"),
        ({"a", "b"}, "sorted"),
        ([tmp_path / "p1.txt", "text"], "Path objects only"),
        (["text", tmp_path / "p1.txt"], "Path objects only"),
        ((path for path in [tmp_path / "p1.txt"]), "a list of Path"),
        (iter(["text", tmp_path / "p1.txt"]), "a list of Path"),
        (pa.table({"text": ["a"]}), r"table\[\"text\"\]"),
        (None, "NoneType"),
        (5, "int"),
    ):
        once = hasattr(corpus, "__next__")
        for bad in ("skip",) if once else ("error", "skip"):
            with pytest.raises(ArgumentTypeError, match=words):
                prepare(corpus, out, bad_records=bad)
    with open("p1.txt") as file, pytest.raises(ArgumentTypeError, match="open file"):
        prepare(file, out)
    for text in ("", "Every effort moves you.", "a\nb", "word " * 2000, "What?", "x" * 300, "nul\0"):
        with pytest.raises(MissingFileError, match=r"\[text\]") as error:
            prepare(text, out)
        assert len(str(error.value)) < 400
    for item in (None, b"bytes", 5, ["a list"]):
        with pytest.raises(FormatError, match="text 1"):
            prepare(["a", item], out)
    assert not out.exists()
    assert read(["I read p1.txt", "p1.txt"]) == ["I read p1.txt", "p1.txt"], "one text like a name among others"
    assert read([{"text": "p1.txt"}]) == ["p1.txt"]
    pytest.importorskip("tokenizers")
    with pytest.raises(ArgumentTypeError, match="Path objects"):
        train_tokenizer(["p1.txt"], tmp_path / "t.json", vocab_size=300)


def test_hugging_face_dicts_and_tables(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_dict({"text": ["a"]})
    for data in (datasets.DatasetDict(train=part), datasets.IterableDatasetDict(train=part.to_iterable_dataset())):
        with pytest.raises(ArgumentTypeError, match="with the keys train"):
            prepare(data, tmp_path / "s")
    with pytest.raises(ArgumentTypeError, match="its columns would be the texts"):
        prepare(part.to_pandas(), tmp_path / "s")
    assert prepare(part.to_pandas()["text"], tmp_path / "s").documents == 1


def test_create_dataloader_takes_no_path_for_a_text(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verdict.txt").write_text("the verdict of the whole town " * 9)
    (tmp_path / "a.jsonl").write_bytes(LINES)
    prepare(["a b c d e f"], tmp_path / "store")
    options = {"context_length": 2, "batch_size": 1, "stride": 2}
    for text in (
        "verdict.txt",
        "data/verdict.txt",
        "store",
        "https://example.org/verdict.txt",
        str(tmp_path / "a.jsonl"),
    ):
        with pytest.raises(ArgumentError, match="Path"):
            create_dataloader(text, **options)
    for path, words in (
        (tmp_path / "a.jsonl", "prepare"),
        (tmp_path / "store", "TokenStore.open"),
        (tmp_path, "prepare"),
    ):
        with pytest.raises(ArgumentError, match=words):
            create_dataloader(path, **options)
    for wrong in (["a", "b"], b"text", {"text": "a"}, None):
        with pytest.raises(ArgumentTypeError, match="Path"):
            create_dataloader(wrong, **options)
    assert len(create_dataloader(Path("verdict.txt"), **options)) > 10
    assert len(create_dataloader("the verdict of the whole town", **options)) > 1


def test_line_ends_of_windows_part_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\nof two\r\n\r\nthree\r\n \r\n\r\nfour\n\nfive\r\n")
    assert read(tmp_path / "a.txt", documents="blank-line") == ["one\r\nof two", "three", "four", "five"]


@pytest.mark.parametrize("size", [1, 100, 300])
def test_bad_rows_are_named_or_skipped(tmp_path: Path, size: int) -> None:
    texts = [b"fine %d" % i for i in range(size)] + [b"caf\xe9", b"fine"]
    column = pa.array(texts, pa.binary())
    column = pa.Array.from_buffers(pa.string(), len(texts), column.buffers())
    (tmp_path / "a.parquet").write_bytes(parquet(column))
    (tmp_path / "a.csv").write_bytes(b"n,text\n" + b"".join(b"1," + text + b"\n" for text in texts))
    (tmp_path / "a.tsv").write_bytes(b"n\ttext\n" + b"".join(b"1\t" + text + b"\n" for text in texts))
    for name, kind in {"a.parquet": TextDecodeError, "a.csv": FormatError, "a.tsv": FormatError}.items():
        with pytest.raises(kind, match=f"row {size + 1:,}, byte 3"):
            read(tmp_path / name)
        documents, account = read_account(tmp_path / name, bad_records="skip")
        assert documents == [text.decode() for text in texts if text.isascii()]
        assert account[0]["skipped"] == 1


FILES = {"/a.txt": b"text " * 50_000, "/a.jsonl.gz": gzip.compress(LINES * 9_000), "/a.parquet": parquet(["x"] * 9_000)}


class _Cut(http.server.BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_HEAD(self) -> None:
        self.answer(head=True)

    def do_GET(self) -> None:
        self.answer(head=False)

    def answer(self, *, head: bool) -> None:
        data = FILES.get(self.path.partition("?")[0])
        if data is None:
            self.send_error(403 if "secret" in self.path else 404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if not head:
            self.wfile.write(data[: len(data) // 2] if "cut" in self.path else data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    pytest.importorskip("aiohttp")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Cut) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl.gz", "a.parquet"])
@pytest.mark.filterwarnings("ignore")  # of aiohttp, about what a broken transfer leaves open
def test_a_body_that_is_cut_short(server: str, tmp_path: Path, name: str) -> None:
    whole = prepare(f"{server}/{name}?download=true", tmp_path / "whole")
    assert whole.documents == {"a.txt": 1, "a.jsonl.gz": 18_000, "a.parquet": 9_000}[name]
    with pytest.raises(FileError, match="broke off") as error:
        prepare(f"{server}/{name}?cut", tmp_path / "cut")
    assert name in str(error.value)
    assert not (tmp_path / "cut").exists()
    with pytest.raises(FileError):
        prepare(f"{server}/secret-{name}", tmp_path / "cut")
