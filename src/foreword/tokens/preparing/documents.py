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
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from foreword._base.words import counted
from foreword.errors import ArgumentError, FileError, FormatError
from foreword.tokens.preparing import tables
from foreword.tokens.preparing.contents import FIELDS, Contents, Text
from foreword.tokens.preparing.corpus import Source, TextsSource
from foreword.tokens.preparing.records import Records
from foreword.tokens.preparing.streams import (
    CHUNK,
    FileSource,
    FileStream,
    HashedReader,
    decoded,
    refuse_other_kind,
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
_TABLES = {"parquet": tables.parquet, "arrow": tables.arrow}
_BLANK_LINES = re.compile(r"\r?\n(?:[^\S\n]*\n)+")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How documents are told apart in a source.

    Args:
        documents: in text files: "file", "line" or "blank-line". (In jsonl, parquet and csv a record is a document.)
        separator: in text files, the text between two documents, instead of ``documents``.
        field: the field, or column, that holds a record's text, "meta.text" of one within another; where it is None,
            the one that is usual for ``records``.
        encoding: of text, jsonl and csv files.
        bad_records: "error", or "skip" and count: lines that are not JSON, records without the field, null texts, rows
            of csv with too few or too many cells.
        records: what a record holds: "text"; "ids", a text that was tokenized already; "messages", a conversation; or
            "completion", a prompt and its completion in two fields, whose names a comma parts; with "messages" too, a
            second field may name the tools that a template writes: "messages,tools".
    """

    documents: str = "file"
    separator: str | None = None
    field: str | None = None
    encoding: str = "utf-8"
    bad_records: str = "error"
    records: str = "text"

    def __post_init__(self) -> None:
        choices = {
            "documents": ("file", "line", "blank-line"),
            "bad_records": ("error", "skip"),
            "records": tuple(FIELDS),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ArgumentError(f"no such {name}", got=repr(getattr(self, name)), expected=", ".join(allowed))
        if self.field is None:
            object.__setattr__(self, "field", FIELDS[self.records])
        if self.separator == "":
            raise ArgumentError(
                "the separator is empty", fix='name the text between two documents, or documents="line"'
            )
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ArgumentError("no such encoding", got=repr(self.encoding), expected="utf-8, latin-1, …") from None

    def described(self) -> dict[str, Any]:
        """The options as a manifest has them: those that came later only where they are used."""
        options = dataclasses.asdict(self)
        return {name: value for name, value in options.items() if name != "records" or value != "text"}


class Reader:
    """Reads sources, one after another, as pieces of documents: (payload, whether the document ends here).

    The payload of a text is the text itself; of other contents, what they come to, and never in pieces.

    Args:
        reading: how documents are told apart.
        cuttable: whether a long document may be cut between two words.
        advance: called with the stored bytes that were read.
        keep_empty: empty documents (a line with nothing on it, a record with an empty text) are given too.
        contents: what a record holds; a text where it is None.

    Raises:
        ArgumentError: the reading is of other contents, and none are given.

    Attributes:
        account: of the sources read to their end: name, stored bytes, SHA-256 of them, documents, bad records skipped,
            documents dropped because they were empty; ``passed_over`` of one that turned out to be no corpus file.
    """

    def __init__(
        self,
        reading: Reading,
        *,
        cuttable: bool,
        advance: Callable[[int], object] = lambda _: None,
        keep_empty: bool = False,
        contents: Contents | None = None,
    ) -> None:
        if contents is None:
            if reading.records != "text":
                raise ArgumentError("only texts can be read here", got=f"records={reading.records!r}", expected="text")
            contents = Text(reading.field or "text")
        self._contents = contents
        self._reading, self._cuttable, self._advance, self._keep_empty = reading, cuttable, advance, keep_empty
        self.account: list[dict[str, Any]] = []
        self._documents = self._empty = self._characters = 0
        self._where = ""
        self._so_far: Callable[[], tuple[int | None, str]] = lambda: (None, "")

    def consumed(self) -> dict[str, Any]:
        """What has been read of the source that is being read: enough to know it again.

        ``bytes`` and ``sha256`` of its stored bytes, of all of them where it is parquet; of an iterable, the SHA-256
        of its texts, and None. ``characters`` and ``documents``: what the pieces given so far hold.
        """
        size, digest = self._so_far()
        return {"bytes": size, "sha256": digest, "characters": self._characters, "documents": self._documents}

    def texts(self, source: Source) -> Iterator[tuple[str, bool]]:
        """As ``read``, of texts alone."""
        for piece, ends in self.read(source):
            assert isinstance(piece, str)
            yield piece, ends

    def read(self, source: Source) -> Iterator[tuple[str | bytes, bool]]:
        """The pieces of a source's documents, in order; its account is appended when it has been read to the end.

        Raises (while iterating):
            FileError, FormatError, TextDecodeError: says the file, and the line or the byte.
        """
        self._documents = self._empty = self._characters = 0
        self._where = source.name if isinstance(source, TextsSource) else source.path
        reading = self._reading
        records = Records(
            contents=self._contents,
            encoding=reading.encoding,
            bad=reading.bad_records,
            where=self._where,
            limit=LIMIT,
        )
        if isinstance(source, TextsSource):
            yield from self._bounded((item, True) for item in self._hashed(records.items(source.texts)))
        elif source.format in _TABLES:
            yield from self._table(source, records)
        else:
            with contextlib.closing(HashedReader(source.open_raw())) as raw, unpacked(source, raw) as stream:
                self._so_far = lambda: (raw.bytes, raw.so_far())
                text_stream = FileStream(stream, raw, self._advance)
                refuse_other_kind(text_stream.head(), source, reading.encoding)
                yield from self._bounded(self._fragments(source, text_stream, records))
                raw.digest()
                if source.remote is not None and source.size is not None and raw.bytes < source.size:
                    raise FileError(
                        "the corpus ends before its end: its server broke off",
                        got=counted(raw.bytes, "byte"),
                        expected=f"{source.size:,}",
                        where=source.path,
                        fix="run the same command again; it resumes",
                    )
        size, digest = self._so_far()
        account = {
            "name": source.name,
            "bytes": size,
            "sha256": digest,
            "documents": self._documents,
            "skipped": records.skipped,
            "empty": self._empty,
        }
        self.account.append(account | ({"passed_over": True} if records.passed_over else {}))

    def _fragments(
        self, source: FileSource, stream: FileStream, records: Records
    ) -> Iterator[tuple[str | bytes, bool]]:
        if source.format == "text":
            if not isinstance(self._contents, Text):
                raise FormatError(
                    f"a text file holds no records, and so no {self._contents.kind}",
                    where=source.path,
                    expected="jsonl, json, parquet or Arrow",
                    fix="leave it out, or say what it is: --format jsonl",
                )
            return self._text(stream)
        if source.format in ("csv", "tsv") and self._contents.kind in ("token ids", "messages"):
            raise FormatError(
                f"the cells of a {source.format} are texts, not {self._contents.kind}",
                where=source.path,
                expected="jsonl, json, parquet or Arrow",
            )
        items = {
            "jsonl": lambda: records.jsonl(stream),
            "json": lambda: records.json(stream, listed=source.listed),
            "csv": lambda: tables.csv(records, stream),
            "tsv": lambda: tables.csv(records, stream, delimiter="\t"),
        }[source.format]()
        return ((item, True) for item in items)

    def _table(self, source: FileSource, records: Records) -> Iterator[tuple[str | bytes, bool]]:
        if source.compression is not None:
            raise FormatError(
                f"a file of {source.format} that was compressed whole",
                got=source.compression,
                where=source.path,
                fix="unpack it",
            )
        # Its end is read first: what has been read is known by the digest of the whole.
        digest = sha256_of(source)
        self._so_far = lambda: (source.size, digest)
        yield from self._bounded((item, True) for item in _TABLES[source.format](records, source, self._advance))

    def _hashed(self, items: Iterable[str | bytes]) -> Iterator[str | bytes]:
        """The payloads of an iterable, hashed as they come."""
        digest = hashlib.sha256()
        self._so_far = lambda: (None, digest.copy().hexdigest())
        for item in items:
            data = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
            digest.update(b"%d\n" % len(data) + data)
            self._advance(len(data))
            yield item

    def _bounded(self, fragments: Iterable[tuple[str | bytes, bool]]) -> Iterator[tuple[str | bytes, bool]]:
        """Fragments of any size put together, and cut, into pieces that memory holds; empty documents dropped.

        A payload that is no text is a document, whole.
        """
        if isinstance(self._contents, Text):
            yield from self._pieces(fragments)  # type: ignore[arg-type]
            return
        for payload, _ in fragments:
            if payload or self._keep_empty:
                self._documents += 1
                self._characters += len(payload)
                yield payload, True
            else:
                self._empty += 1

    def _pieces(self, fragments: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
        held: list[str] = []
        size = 0
        started = False  # a piece of this document has been given
        due = PIECE  # characters held, at which a cut is looked for
        for fragment, ends in fragments:
            held.append(fragment)
            size += len(fragment)
            if not ends and size < due:
                continue
            text = "".join(held)
            start = 0
            while self._cuttable and len(text) - start > PIECE and (cut := _last_cut(text, start, start + PIECE)):
                self._characters += cut - start
                yield text[start:cut], False
                start, started = cut, True
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
                if text or started or (self._keep_empty and ends is True):
                    self._documents += 1
                    self._characters += len(text)
                    yield text, True
                else:
                    self._empty += 1
                held, size, started, due = [], 0, False, PIECE
            else:
                held, size, due = [text], len(text), min(max(PIECE, 2 * len(text)), LIMIT + 1)

    def _text(self, stream: FileStream) -> Iterator[tuple[str, bool]]:
        chunks = decoded(stream, self._reading.encoding, self._where, chunk=CHUNK)
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
