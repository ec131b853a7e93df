"""What a file is: a suffix that is known says it and the first bytes may not contradict it; else the bytes say it.

    books.txt          text, by its name; refused where it holds gzip, parquet, UTF-16 …
    part-00000         whatever its first bytes say: text, JSON lines, a JSON array, parquet; each also compressed
    photo.png          nothing that holds text: passed over in a folder, refused where it is named

Not for: whether the rest of a file is what its beginning says (``documents``). Costs: the first 4 KiB of a file.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterable, Mapping

from foreword._base import compression
from foreword.errors import ArgumentTypeError, FormatError

__all__ = [
    "FORMATS",
    "FORMAT_NAMES",
    "HEAD",
    "UNFINISHED",
    "content_kind",
    "format_of",
    "format_of_named",
    "is_url",
    "looks_like_a_path",
    "refuse_logged_table",
    "refuse_other_types",
    "signature",
    "suffix_of",
    "wide_encoding",
]

FORMATS = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
}
# What a file is that is named, by its path or a pattern; in a folder these are passed over, as are pictures.
_CODE = """
    .asm .bash .bat .c .cc .cfg .clj .cmake .cpp .cs .css .cu .cuh .cxx .d .dart .el .erl .ex .exs .f .f90 .fish .fs .go
    .gradle .graphql .groovy .h .hh .hpp .hs .hxx .ini .java .jl .js .jsx .kt .kts .less .lisp .lua .m .mjs
    .ml .mli .mm .nim .nix .pas .php .pl .pm .proto .ps1 .py .pyi .pyx .r .rb .rkt .rs .s .sass .scala .scm .scss
    .sh .sol .sql .sv .svelte .swift .tcl .tf .toml .ts .tsx .v .vb .vhd .vhdl .vim .vue .yaml .yml .zig .zsh
"""
_NAMED = {**dict.fromkeys(_CODE.split(), "text"), ".arrow": "arrow"}
FORMAT_NAMES = sorted({*FORMATS.values(), *_NAMED.values()})
# Bytes at the beginning of a file that say what it is.
HEAD = 4096
# The folder in which the jobs of Spark and Hadoop write what they have not finished.
UNFINISHED = "_temporary"

# An object with a key, an array of such objects, or an array of strings.
_JSON = re.compile(rb'\s*(?:(?:\[\s*)?\{\s*(?:"(?:[^"\\]|\\.)*"\s*:|\})|\[\s*["\]])')
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?::|//)\S+")
# What is below the folder of a table whose log says which of its files count, and whose it is.
_LOGS = {
    r"_delta_log": "Delta Lake",
    r"\.hoodie": "Hudi",
    r"_spark_metadata": "Spark's streams",
    r"metadata/(?:v\d+|\d{5}-[0-9a-f-]{36})(?:\.gz)?\.metadata\.json": "Iceberg",
}
_LOG = re.compile("(?:^|/)(?:" + "|".join(f"({pattern})" for pattern in _LOGS) + ")(?:/|$)")
# First bytes, besides those of compressions, and what they are; "parquet" is read, the others are not.
_SIGNATURES = {
    rb"[\x50-\x5f]\x2a\x4d\x18": "zstandard",  # a frame to be skipped, which pzstd writes
    rb"PAR[1E][^\n]*[\x00-\x08\x0e-\x1f]": "parquet",
    rb"PK(?:\x03\x04|\x05\x06|\x07\x08)": "a zip archive",
    rb".{257}ustar[\x00 ]": "a tar archive",
    rb"7z\xbc\xaf'\x1c": "a 7z archive",
    rb"Rar!\x1a\x07": "a rar archive",
    rb"\x04\x22\x4d\x18": "lz4",
    rb"%PDF-\d": "a PDF",
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document",
    rb"ARROW1\x00\x00": "an Arrow file",
    rb"\xff\xff\xff\xff.{3}\x00": "an Arrow stream",
    rb"(?:ORC|Obj\x01)[^\n]*[\x00-\x08\x0e-\x1f]": "an ORC or Avro file",
    rb"SQLite format 3\x00": "an SQLite database",
    rb"\x93NUMPY": "a NumPy array",
    rb"\x89HDF\r\n\x1a\n": "an HDF5 file",
    rb"(?:\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a)": "a picture",
    rb"\x7fELF": "a program",
}
_SIGNATURE = re.compile(b"|".join(b"(%b)" % pattern for pattern in _SIGNATURES), re.DOTALL)
_KINDS = list(_SIGNATURES.values())


def suffix_of(name: str) -> str:
    """The last suffix of a name that is not a compression's.

    >>> suffix_of("a/b.jsonl.gz"), suffix_of("notes.TXT"), suffix_of("part-00000")
    ('.jsonl', '.txt', '')
    """
    return os.path.splitext(compression.stem(name.lower()))[1]  # noqa: PTH122


def format_of(name: str) -> str | None:
    """The format that a name's suffix says, if it is known; whether the file is packed or not.

    >>> format_of("a/b.jsonl.gz"), format_of("notes.TXT"), format_of("picture.png")
    ('jsonl', 'text', None)
    """
    return FORMATS.get(suffix_of(name))


def format_of_named(name: str) -> str | None:
    """As ``format_of``, of a file that is named, and not found in a folder: code is text there.

    >>> format_of_named("src/main.rs"), format_of_named("data-00000-of-00001.arrow"), format_of_named("a.png")
    ('text', 'arrow', None)
    """
    return format_of(name) or _NAMED.get(suffix_of(name))


def signature(head: bytes) -> str | None:
    """What the first bytes of a file are those of, where they are no text: a compression, "parquet", or words for it.

    >>> signature(b"\\x1f\\x8b\\x08\\x00"), signature(b"PK\\x03\\x04"), signature(b"PK is a text")
    ('gzip', 'a zip archive', None)
    """
    packed = compression.by_content(head)
    if packed is not None:
        return packed
    found = _SIGNATURE.match(head)
    return None if found is None else _KINDS[(found.lastindex or 1) - 1]


def wide_encoding(head: bytes) -> str | None:
    """The encoding of text in units of two or four bytes, by its byte-order mark or by where its zero bytes stand.

    >>> wide_encoding("text".encode("utf-16")), wide_encoding("text".encode("utf-16-le")), wide_encoding(b"text")
    ('utf-16', 'utf-16-le', None)
    """
    for mark, encoding in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if head.startswith(mark):
            return encoding
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" not in head:
        return None
    if len(head) % 2:  # no file in UTF-16, unless there is more of it
        if len(head) < HEAD:
            return None
        head = head[:-1]
    zeros = [head[i::4].count(0) / max(1, len(head[i::4])) for i in range(4)]
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    # Latin letters have one zero byte of two, or three of four; a text of them alone has no other.
    guesses = [
        encoding
        for encoding, likely in (
            ("utf-32-le", min(zeros[2:]) > 0.9),
            ("utf-32-be", min(zeros[:2]) > 0.9),
            ("utf-16-le", odd > 0.25 and odd > 4 * even),
            ("utf-16-be", even > 0.25 and even > 4 * odd),
        )
        if likely
    ]
    for encoding in guesses:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(head)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return encoding
    return None


def content_kind(head: bytes) -> str | None:
    """The format of a file without a known suffix, by its first bytes (unpacked); None where they are no text.

    >>> content_kind(b'{"text": "a"}\\n{"text": "b"}'), content_kind(b"[1] A title"), content_kind(b"\\x7fELF\\0")
    ('json', 'text', None)
    """
    kind = signature(head)
    if kind is not None:
        return kind if kind == "parquet" else None
    if b"\0" in head and wide_encoding(head) is None:
        return None
    return "json" if _JSON.match(head.removeprefix(codecs.BOM_UTF8)) else "text"


def is_url(text: str) -> bool:
    """Whether a text as a whole is a URL of any kind.

    >>> is_url("s3://bucket/corpus"), is_url("see https://example.org"), is_url("C:/corpus")
    (True, False, False)
    """
    return _URL.fullmatch(text) is not None


def looks_like_a_path(text: str) -> bool:
    """Whether a text can't be meant as one: it is a URL, or what is there, or ends as the files of corpora do.

    >>> looks_like_a_path("data/corpus.txt"), looks_like_a_path("I read corpus.txt"), looks_like_a_path("Every effort")
    (True, False, False)
    """
    if not text or len(text) > 4096 or "\n" in text or "\0" in text:
        return False
    named = format_of(text) is not None and suffix_of(text) != text.lower() and not re.search(r"\s", text)
    return named or is_url(text) or os.path.exists(text)  # noqa: PTH110 - a Path would not take every text


def refuse_logged_table(name: str, folder: object) -> None:
    """Refuse a table of which a file or folder below ``folder`` is the log, by its name with "/".

    Raises:
        FormatError: rows that were deleted are in its files still, or rows that were written twice.
    """
    found = _LOG.search(name)
    if found is not None:
        raise FormatError(
            f"a table of {list(_LOGS.values())[(found.lastindex or 1) - 1]}: its log says which of its files count",
            got=name,
            where=folder,
            fix="write its rows to a folder of their own with the library that it is of, or pass the files that count, "
            "[Path(name), …]",
        )


def refuse_other_types(corpus: object) -> None:
    """Refuse what would be iterated, but not over texts."""
    kind = type(corpus).__name__
    if isinstance(corpus, Mapping):
        first = repr(next(iter(corpus), "train"))
        raise ArgumentTypeError(
            "a corpus is not a mapping: its keys would be the texts",
            got=f"{kind} with the keys {', '.join(map(str, list(corpus)[:5]))}",
            expected="one dataset, or an iterable of texts or records",
            fix=f"pass one of its parts, prepare(data[{first}], …), or its texts, prepare(list(data.values()), …)",
        )
    if hasattr(corpus, "columns") and hasattr(corpus, "shape"):
        raise ArgumentTypeError(
            "a corpus is not a table: its columns would be the texts",
            got=kind,
            expected="one column of it, or an iterable of texts or records",
            fix='pass the column that holds the texts: prepare(table["text"], …)',
        )
    if isinstance(corpus, bytes | bytearray | memoryview):
        raise ArgumentTypeError(
            "a corpus is not bytes", got=kind, fix="pass a text in a list, [data.decode()], or a path as str or Path"
        )
    if isinstance(corpus, set | frozenset):
        raise ArgumentTypeError(
            "a set has no order, so a store made of it could not be made again", got=kind, fix="sorted(texts)"
        )
    if isinstance(corpus, io.IOBase):
        raise ArgumentTypeError(
            "a corpus is not an open file", got=kind, fix='pass its Path, with documents="line" if a line is a document'
        )
    if not isinstance(corpus, Iterable):
        raise ArgumentTypeError(f"a corpus is a path, a URL or an iterable of texts, got {kind}")
