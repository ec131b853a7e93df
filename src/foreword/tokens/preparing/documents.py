"""Documents: what a source holds, told apart by file, line, blank line, separator or record, a piece at a time.

A document comes as one piece, or, where it is long and the tokenizer allows, as several: a cut stands before a single
space or a CJK stop between two letters, where no token of the known split patterns reaches across. So memory stays
bounded however long the document, and its ids are those of the whole.

Not for: finding files (``corpus``). Costs: one piece, at most LIMIT; decoding at about 1 GB/s, JSON at 300 MB/s.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import IO, Any

from foreword._base.files import explained
from foreword.errors import ArgumentError, FormatError, TextDecodeError
from foreword.tokens.preparing.corpus import (
    CHUNK,
    FileSource,
    HashedReader,
    Source,
    TextsSource,
    sha256_of,
    unpacked,
)

__all__ = ["LIMIT", "PIECE", "Reader", "Reading"]

# Characters: a document longer than PIECE is cut where that is possible; none that can't be cut may exceed LIMIT.
PIECE = 1 << 22
LIMIT = 1 << 26

# Between two letters, a space or a stop that begins a token of every known split pattern.
_CUT = re.compile(r"[ 。，、；：！？](?<=[^\W\d_].)(?=[^\W\d_])")
# In place of True at the end of a fragment: the source ends, and with it a document if there is text left.
_SOURCE_ENDS: Any = 1
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How documents are told apart in a source.

    Args:
        documents: in text files: "file", "line" or "blank-line". (In jsonl, parquet and csv a record is a document.)
        separator: in text files, the text between two documents, instead of ``documents``.
        field: the field, or column, that holds a record's text.
        encoding: of text, jsonl and csv files.
        bad_records: "error", or "skip" and count: lines that are not JSON, records without the field, null texts, rows
            of csv with too few or too many cells.
    """

    documents: str = "file"
    separator: str | None = None
    field: str = "text"
    encoding: str = "utf-8"
    bad_records: str = "error"

    def __post_init__(self) -> None:
        for name, allowed in (("documents", ("file", "line", "blank-line")), ("bad_records", ("error", "skip"))):
            if getattr(self, name) not in allowed:
                raise ArgumentError(f"no such {name}", got=repr(getattr(self, name)), expected=", ".join(allowed))
        if self.separator == "":
            raise ArgumentError(
                "the separator is empty", fix='name the text between two documents, or documents="line"'
            )
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ArgumentError("no such encoding", got=repr(self.encoding), expected="utf-8, latin-1, …") from None


class Reader:
    """Reads sources, one after another, as pieces of documents: (text, whether the document ends here).

    Args:
        reading: how documents are told apart.
        cuttable: whether a long document may be cut between two words.
        advance: called with the stored bytes that were read.
        keep_empty: empty documents (a line with nothing on it, a record with an empty text) are given too.

    Attributes:
        account: of the sources read to their end: name, stored bytes, SHA-256 of them, documents, bad records skipped,
            documents dropped because they were empty.
    """

    def __init__(
        self,
        reading: Reading,
        *,
        cuttable: bool,
        advance: Callable[[int], object] = lambda _: None,
        keep_empty: bool = False,
    ) -> None:
        self._reading, self._cuttable, self._advance, self._keep_empty = reading, cuttable, advance, keep_empty
        self.account: list[dict[str, Any]] = []
        self._documents = self._empty = self._skipped = 0
        self._where = ""

    def read(self, source: Source) -> Iterator[tuple[str, bool]]:
        """The pieces of a source's documents, in order; its account is appended when it has been read to the end.

        Raises (while iterating):
            FileError, FormatError, TextDecodeError: says the file, and the line or the byte.
        """
        self._documents = self._empty = self._skipped = 0
        self._where = source.name if isinstance(source, TextsSource) else source.path
        if isinstance(source, TextsSource):
            digest = yield from self._texts(source)
            size = None
        elif source.format == "parquet":
            yield from self._bounded((text, True) for text in self._parquet(source))
            digest, size = sha256_of(source), source.size
        else:
            with contextlib.closing(HashedReader(source.open_raw())) as raw, unpacked(source, raw) as stream:
                told = _Told(stream, raw, self._advance)
                fragments = {"text": self._text, "jsonl": self._jsonl, "csv": self._csv}[source.format](told)
                yield from self._bounded(fragments)
                digest, size = raw.digest(), raw.bytes
        self.account.append(
            {
                "name": source.name,
                "bytes": size,
                "sha256": digest,
                "documents": self._documents,
                "skipped": self._skipped,
                "empty": self._empty,
            }
        )

    def _bounded(self, fragments: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
        """Fragments of any size put together, and cut, into pieces that memory holds; empty documents dropped."""
        held: list[str] = []
        size = 0
        begun = False  # a piece of this document has been given
        due = PIECE  # characters held, at which a cut is looked for
        for fragment, ends in fragments:
            held.append(fragment)
            size += len(fragment)
            if not ends and size < due:
                continue
            text = "".join(held)
            start = 0
            while self._cuttable and len(text) - start > PIECE and (cut := _last_cut(text, start, start + PIECE)):
                yield text[start:cut], False
                start, begun = cut, True
            text = text[start:]
            if len(text) > LIMIT:
                raise FormatError(
                    "a document is longer than one may be that can't be cut between two words",
                    got=f"more than {LIMIT:,} characters",
                    expected=f"at most {LIMIT:,} ({LIMIT >> 20} Mi)",
                    where=self._where,
                    fix="tell documents apart by line, blank line or separator"
                    if self._cuttable
                    else "tell documents apart by line, blank line or separator; a longer one can only be cut without "
                    "split and de-duplication, by a tokenizer that tiktoken knows",
                )
            if ends:
                if text or begun or (self._keep_empty and ends is True):
                    self._documents += 1
                    yield text, True
                else:
                    self._empty += 1
                held, size, begun, due = [], 0, False, PIECE
            else:
                held, size, due = [text], len(text), min(max(PIECE, 2 * len(text)), LIMIT + 1)

    def _text(self, stream: _Told) -> Iterator[tuple[str, bool]]:
        chunks = self._decoded(stream)
        separator = self._reading.separator
        if separator is None and self._reading.documents == "file":
            yield from ((chunk, False) for chunk in chunks)
        elif separator is None and self._reading.documents == "line":
            held = ""
            for chunk in chunks:
                *lines, rest = (held + chunk).split("\n")
                yield from ((line.removesuffix("\r"), True) for line in lines)
                held = "\r" if rest.endswith("\r") else ""
                yield rest[: len(rest) - len(held)], False
            yield held, False
        else:
            held = ""
            for chunk in chunks:
                text = held + chunk
                *complete, rest = text.split(separator) if separator else _BLANK_LINES.split(_stripped := text.rstrip())
                tail = len(separator) - 1 if separator else 0
                yield from ((document, True) for document in complete)
                keep = max(0, len(rest) - tail)
                held = rest[keep:] if separator else text[len(_stripped) :]
                yield rest[:keep], False
            yield held if separator else "", False
        # Behind the last line end or separator there is no document, but for a whole file, which may be empty.
        yield "", True if separator is None and self._reading.documents == "file" else _SOURCE_ENDS

    def _decoded(self, stream: _Told) -> Iterator[str]:
        encoding = "utf-8-sig" if codecs.lookup(self._reading.encoding).name == "utf-8" else self._reading.encoding
        decoder = codecs.getincrementaldecoder(encoding)()
        offset = 0
        while True:
            data = stream.read(CHUNK)
            pending = decoder.getstate()[0]
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as cause:
                raise self._undecodable(cause, f"byte {offset - len(pending) + cause.start:,}") from cause
            if text:
                yield text
            if not data:
                return
            offset += len(data)

    def _jsonl(self, stream: _Told) -> Iterator[tuple[str, bool]]:
        for number, line in enumerate(_lines(stream, self._where), start=1):
            where = f"{self._where}, line {number:,}"
            try:
                text = line.decode(self._reading.encoding)
                if number == 1:
                    text = text.removeprefix("\ufeff")
                if not text.strip():
                    continue
                record = json.loads(text)
            except UnicodeDecodeError as cause:
                if self._reading.bad_records == "error":
                    raise self._undecodable(cause, f"line {number:,}, byte {cause.start:,} of it") from cause
                self._skipped += 1
            except (ValueError, RecursionError) as cause:
                self._bad("a line that is not JSON", got=str(cause), where=where)
            else:
                yield from self._record(record, where)

    def _record(self, record: Any, where: str) -> Iterator[tuple[str, bool]]:
        """The text of a record, if it has one."""
        field = self._reading.field
        if not isinstance(record, Mapping):
            self._bad("a record that has no fields", got=type(record).__name__, where=where)
        elif field not in record:
            fix = f"name the field that holds the text: --field {next(iter(record), 'NAME')}"
            self._bad(f"a record without the field {field!r}", got=f"fields {list(record)[:20]}", where=where, fix=fix)
        elif not isinstance(record[field], str):
            self._bad(f"the field {field!r} is no text", got=type(record[field]).__name__, where=where)
        else:
            yield record[field], True

    def _csv(self, stream: _Told) -> Iterator[tuple[str, bool]]:
        import pyarrow as pa
        from pyarrow import csv

        def count(_: object) -> str:
            self._skipped += 1
            return "skip"

        field = self._reading.field
        block = 4 * CHUNK
        handler = count if self._reading.bad_records == "skip" else None
        try:
            rows = csv.open_csv(
                stream,
                csv.ReadOptions(use_threads=False, block_size=block, encoding=self._reading.encoding),
                csv.ParseOptions(newlines_in_values=True, invalid_row_handler=handler),
                csv.ConvertOptions(column_types={field: pa.string()}, include_columns=[field]),
            )
            for batch in rows:
                yield from ((text, True) for text in batch.column(0).to_pylist())
        except pa.ArrowKeyError as cause:
            raise FormatError(
                f"a csv without the column {field!r}",
                got=str(cause),
                where=self._where,
                fix="name the column: --field NAME",
            ) from cause
        except pa.ArrowInvalid as cause:
            if "Empty CSV" in str(cause):
                return
            if "straddling" in str(cause):
                raise FormatError(
                    "a row of csv is longer than one may be", expected=f"at most {block:,} bytes", where=self._where
                ) from cause
            raise FormatError("the csv can't be read", got=str(cause).splitlines()[0], where=self._where) from cause

    def _parquet(self, source: FileSource) -> Iterator[str]:
        import pyarrow as pa
        from pyarrow import parquet

        field = self._reading.field
        row = 0
        with contextlib.closing(source.open_raw()) as raw, explained("read the corpus", source.path):
            try:
                file = parquet.ParquetFile(raw, pre_buffer=False)
                if field not in file.schema_arrow.names:
                    raise FormatError(
                        f"a parquet file without the column {field!r}",
                        got=f"columns {file.schema_arrow.names[:20]}",
                        where=source.path,
                        fix="name the column that holds the text: --field NAME",
                    )
                groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
                told = _shares(source.size, groups)
                for group, share in enumerate(told):
                    for batch in file.iter_batches(256, [group], [field], use_threads=False):
                        for text in batch.column(0).to_pylist():
                            row += 1
                            if isinstance(text, bytes):
                                text = self._bytes_text(text, f"row {row:,}")  # noqa: PLW2901
                            if isinstance(text, str):
                                yield text
                            elif text is not None or self._reading.bad_records == "error":
                                got = "null" if text is None else type(text).__name__
                                self._bad(
                                    f"the column {field!r} is no text", got=got, where=f"{self._where}, row {row:,}"
                                )
                            else:
                                self._skipped += 1
                    self._advance(share)
            except (pa.ArrowException, UnicodeDecodeError) as cause:
                if isinstance(cause, TextDecodeError):
                    raise
                raise FormatError(
                    "the parquet file can't be read", got=str(cause).splitlines()[0][:200], where=source.path
                ) from cause
            except OSError as cause:
                if cause.errno is None and not isinstance(cause, FormatError):
                    raise FormatError(
                        "the parquet file is damaged", got=str(cause).splitlines()[0][:200], where=source.path
                    ) from cause
                raise

    def _bytes_text(self, data: bytes, where: str) -> str | None:
        try:
            return data.decode(self._reading.encoding)
        except UnicodeDecodeError as cause:
            if self._reading.bad_records == "error":
                raise self._undecodable(cause, f"{where}, byte {cause.start:,} of it") from cause
            return None

    def _texts(self, source: TextsSource) -> Generator[tuple[str, bool], None, str]:
        """The texts of an iterable; returns the SHA-256 of them all."""
        digest = hashlib.sha256()

        def fragments() -> Iterator[tuple[str, bool]]:
            for number, item in enumerate(source.texts):
                for text, ends in [(item, True)] if isinstance(item, str) else self._record(item, f"text {number:,}"):
                    data = text.encode("utf-8", "surrogatepass")
                    digest.update(b"%d\n" % len(data) + data)
                    self._advance(len(data))
                    yield text, ends

        yield from self._bounded(fragments())
        return digest.hexdigest()

    def _bad(self, problem: str, **facts: object) -> None:
        """Refuse a bad record, or skip and count it."""
        if self._reading.bad_records == "error":
            facts.setdefault("fix", "repair it, or skip and count such records: --bad-records skip")
            raise FormatError(problem, **facts)
        self._skipped += 1

    def _undecodable(self, cause: UnicodeDecodeError, where: str) -> TextDecodeError:
        return TextDecodeError(
            f"not {self._reading.encoding} text",
            cause=cause,
            got=f"the byte 0x{cause.object[cause.start]:02x} ({cause.reason})",
            where=f"{self._where}, {where}",
            fix="convert the file to UTF-8, or name its encoding: --encoding latin-1",
        )


class _Told(io.RawIOBase):
    """A stream that gives full reads, and tells of the stored bytes that were read for them."""

    def __init__(self, stream: IO[bytes], raw: HashedReader, advance: Callable[[int], object]) -> None:
        self._stream, self._raw, self._advance, self._last = stream, raw, advance, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:  # type: ignore[override, unused-ignore]
        parts: list[bytes] = []
        missing = size if size >= 0 else 1 << 62
        while missing and (data := self._stream.read(min(missing, 4 * CHUNK))):
            parts.append(data)
            missing -= len(data)
        self._advance(self._raw.bytes - self._last)
        self._last = self._raw.bytes
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _lines(stream: _Told, where: str) -> Iterator[bytes]:
    buffered = io.BufferedReader(stream, CHUNK)
    while line := buffered.readline(LIMIT + 1):
        if len(line) > LIMIT:
            raise FormatError(
                "a line is longer than a record may be",
                expected=f"at most {LIMIT:,} bytes ({LIMIT >> 20} MiB)",
                where=where,
            )
        yield line


def _last_cut(text: str, start: int, stop: int) -> int:
    """The last place from ``start`` to ``stop`` where ``text`` may be cut, else the first after ``stop``, else 0."""
    width = 4096
    while True:
        low = max(start + 1, stop - width)
        last = 0
        for found in _CUT.finditer(text, low, stop):
            last = found.start()
        if last or low == start + 1:
            break
        width *= 8
    if last:
        return last
    after = _CUT.search(text, stop)
    return after.start() if after else 0


def _shares(size: int, parts: list[int]) -> list[int]:
    """``size`` dealt out in proportion to ``parts``."""
    total = sum(parts) or 1
    return [size * part // total for part in parts]
