"""Records: the texts that lines of JSON, JSON arrays, tables and iterables hold, one by one.

A bad record is an error that says where, or is skipped and counted, as ``Reading.bad_records`` says.

Not for: text files (``documents``). Costs: JSON at 300 MB/s; one record in memory, and one batch of rows.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from foreword._base.files import explained
from foreword.errors import ArgumentTypeError, FormatError, TextDecodeError
from foreword.tokens.preparing.kinds import looks_like_a_path
from foreword.tokens.preparing.streams import CHUNK, FileSource, FileStream, decoded, is_wide, undecodable

__all__ = ["Records"]

# Texts of an iterable that are looked at before the first is believed to be a text, where all look like paths.
_SUSPECTS = 100


class Records:
    """Reads the records of one source.

    Args:
        field: what holds a record's text.
        encoding: of the source's bytes.
        bad: "error", or "skip".
        where: the source, for errors.
        limit: characters, or bytes, that a record may have.

    Attributes:
        skipped: bad records so far.
        passed_over: whether the source is no corpus file: one JSON object, found in a folder, without the field.
    """

    def __init__(self, *, field: str, encoding: str, bad: str, where: str, limit: int) -> None:
        self._field, self._encoding, self._skips = field, encoding, bad == "skip"
        self._where, self._limit = where, limit
        self.skipped = 0
        self.passed_over = False

    def texts(self, items: Iterable[Any]) -> Iterator[str]:
        """The texts of an iterable of texts or records."""
        for number, item in enumerate(_believed(items)):
            if isinstance(item, str):
                yield item
            elif isinstance(item, os.PathLike):
                raise ArgumentTypeError(
                    "a path among texts",
                    got=f"{type(item).__name__} {os.fspath(item)!r}",
                    where=f"text {number:,}",
                    fix="pass a list of Path objects, and nothing else: prepare(sorted(paths), …)",
                )
            elif isinstance(item, Mapping):
                yield from self._text(item, f"text {number:,}")
            else:
                self._bad(
                    "an item that is neither a text nor a record",
                    got=type(item).__name__,
                    expected="str, or a mapping with the field that holds the text",
                    where=f"text {number:,}",
                )

    def jsonl(self, stream: FileStream) -> Iterator[str]:
        """The texts of JSON lines."""
        for record, where in self._json_lines(stream):
            yield from self._text(record, where)

    def json(self, stream: FileStream, *, listed: bool) -> Iterator[str]:
        """The texts of an array of records or of strings, of JSON lines, or of one record after another."""
        alone = listed and not stream.head().removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
        pairs = self._json_lines(stream) if self._is_lines(stream) else self._json_values(stream)
        beginning = list(itertools.islice(pairs, 2))
        if alone and len(beginning) == 1 and isinstance(beginning[0][0], dict) and self._field not in beginning[0][0]:
            self.passed_over = True
            return
        for record, where in itertools.chain(beginning, pairs):
            if isinstance(record, str):
                yield record
            else:
                yield from self._text(record, where)

    def _is_lines(self, stream: FileStream) -> bool:
        """Whether the first line is a record, whole."""
        if is_wide(self._encoding):
            return False
        if not stream.head().removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
            return False
        try:
            first = stream.line(self._limit).decode(self._encoding).removeprefix("\ufeff").strip()
            return not first or isinstance(json.loads(first), dict)
        except (ValueError, RecursionError):
            return False

    def _json_lines(self, stream: FileStream) -> Iterator[tuple[Any, str]]:
        """(record, where) of each line."""
        for number, line in enumerate(self._lines(stream), start=1):
            where = f"{self._where}, line {number:,}"
            try:
                text = line if isinstance(line, str) else line.decode(self._encoding)
                if number == 1:
                    text = text.removeprefix("\ufeff")
                if not text.strip():
                    continue
                record = json.loads(text)
            except UnicodeDecodeError as cause:
                if not self._skips:
                    place = f"line {number:,}, byte {cause.start:,} of it"
                    raise undecodable(cause, self._encoding, self._where, place) from cause
                self.skipped += 1
            except (ValueError, RecursionError) as cause:
                self._bad("a line that is not JSON", got=str(cause), where=where)
            else:
                yield record, where

    def _lines(self, stream: FileStream) -> Iterator[bytes | str]:
        lines: Iterator[bytes | str]
        if is_wide(self._encoding):
            lines = _text_lines(decoded(stream, self._encoding, self._where), self._limit + 1)
        else:
            buffered = io.BufferedReader(stream, CHUNK)
            lines = iter(lambda: buffered.readline(self._limit + 1), b"")
        for line in lines:
            if len(line) > self._limit:
                raise FormatError(
                    "a line is longer than a record may be",
                    expected=f"at most {self._limit:,} bytes ({self._limit >> 20} MiB)",
                    where=self._where,
                )
            yield line

    def _json_values(self, stream: FileStream) -> Iterator[tuple[Any, str]]:
        """(record, where) of each element of an array, or of values one after another."""
        values = _Values(decoded(stream, self._encoding, self._where), self._limit, self._where)
        if values.take("["):
            if values.take("]"):
                values.end()
                return
            while True:
                yield values.value(), f"{self._where}, record {values.count:,}"
                if values.take("]"):
                    values.end()
                    return
                values.need(",")
        while not values.at_end():
            yield values.value(), f"{self._where}, record {values.count:,}"

    def _text(self, record: Any, where: str) -> Iterator[str]:
        """The text of a record, if it has one."""
        field = self._field
        if not isinstance(record, Mapping):
            self._bad("a record that has no fields", got=type(record).__name__, where=where)
        elif field not in record:
            fix = f"name the field that holds the text: --field {next(iter(record), 'NAME')}"
            self._bad(f"a record without the field {field!r}", got=f"fields {list(record)[:20]}", where=where, fix=fix)
        elif not isinstance(record[field], str):
            self._bad(f"the field {field!r} is no text", got=type(record[field]).__name__, where=where)
        else:
            yield record[field]

    def csv(self, stream: FileStream, *, delimiter: str = ",") -> Iterator[str]:
        """The texts of a table's column."""
        import pyarrow as pa
        from pyarrow import csv

        row = 0

        def count(_: object) -> str:
            self.skipped += 1
            return "skip"

        field = self._field
        block = 4 * CHUNK
        try:
            rows = csv.open_csv(
                stream,
                csv.ReadOptions(use_threads=False, block_size=block, encoding=self._encoding),
                csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=count if self._skips else None
                ),
                csv.ConvertOptions(column_types={field: pa.binary()}, include_columns=[field]),
            )
            for batch in rows:
                for data in batch.column(0).to_pylist():
                    row += 1
                    try:
                        text = data.decode()  # another encoding has become UTF-8 while Arrow read it
                    except UnicodeDecodeError as cause:
                        self._bad(
                            "a row that is not utf-8 text",
                            got=f"the byte 0x{data[cause.start]:02x} ({cause.reason})",
                            where=f"{self._where}, row {row:,}, byte {cause.start:,} of its text",
                            fix="name the encoding, --encoding latin-1, or skip such rows: --bad-records skip",
                        )
                    else:
                        yield text
        except pa.ArrowKeyError as cause:
            raise FormatError(
                f"a {'csv' if delimiter == ',' else 'tsv'} without the column {field!r}",
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
        except UnicodeDecodeError as cause:
            if isinstance(cause, TextDecodeError):
                raise
            raise undecodable(cause, self._encoding, self._where, "in a row that Arrow does not name") from cause

    def parquet(self, source: FileSource, advance: Callable[[int], object]) -> Iterator[str]:
        """The texts of a parquet file's column."""
        import pyarrow as pa
        from pyarrow import parquet

        field = self._field
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
                for group, share in enumerate(_shares(source.size or 0, groups)):
                    for batch in file.iter_batches(256, [group], [field], use_threads=False):
                        for value in _values(batch.column(0)):
                            row += 1
                            if isinstance(value, bytes):
                                yield from self._decoded_text(value, f"row {row:,}")
                            elif isinstance(value, str):
                                yield value
                            elif value is None and self._skips:
                                self.skipped += 1
                            else:
                                got = "null" if value is None else type(value).__name__
                                self._refuse(
                                    f"the column {field!r} is no text", got=got, where=f"{self._where}, row {row:,}"
                                )
                    advance(share)
            except (pa.ArrowException, UnicodeDecodeError) as cause:
                if isinstance(cause, TextDecodeError):
                    raise
                raise FormatError(
                    "the parquet file can't be read",
                    got=str(cause).splitlines()[0][:200],
                    where=f"{source.path}, after row {row:,}" if row else source.path,
                ) from cause
            except OSError as cause:
                if cause.errno is None and not isinstance(cause, FormatError):
                    raise FormatError(
                        "the parquet file is damaged", got=str(cause).splitlines()[0][:200], where=source.path
                    ) from cause
                raise

    def _decoded_text(self, data: bytes, place: str) -> Iterator[str]:
        """The text of a cell; none where it is not text and such are skipped."""
        try:
            yield data.decode(self._encoding)
        except UnicodeDecodeError as cause:
            if not self._skips:
                where = f"{place}, byte {cause.start:,} of it"
                raise undecodable(cause, self._encoding, self._where, where) from cause
            self.skipped += 1

    def _bad(self, problem: str, **facts: object) -> None:
        """Refuse a bad record, or skip and count it."""
        if not self._skips:
            self._refuse(problem, **facts)
        self.skipped += 1

    def _refuse(self, problem: str, **facts: object) -> None:
        facts.setdefault("fix", "repair it, or skip and count such records: --bad-records skip")
        raise FormatError(problem, **facts)


class _Values:
    """JSON values in a text that comes in chunks, parsed one by one."""

    def __init__(self, chunks: Iterator[str], limit: int, where: str) -> None:
        self._chunks, self._limit, self._where = chunks, limit, where
        self._text, self._place, self._line = "", 0, 1
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode
        self.count = 0  # values so far

    def value(self) -> Any:
        """The next value."""
        self._skip_blanks()
        self.count += 1
        while True:
            try:
                value, stop = self._decode(self._text, self._place)
            except (ValueError, RecursionError) as cause:
                # what is cut at the end of the text read so far may become whole with more of it
                far = len(self._text) - getattr(cause, "pos", 0)
                cut = isinstance(cause, ValueError) and (far < 16 or "Unterminated string" in str(cause))
                if not cut or not self._more():
                    raise self._broken(str(cause)) from cause
            else:
                if stop < len(self._text) or not self._more():
                    self._place = stop
                    return value

    def take(self, mark: str) -> bool:
        """Whether ``mark`` comes next; it is taken."""
        self._skip_blanks()
        if self._text[self._place : self._place + 1] != mark:
            return False
        self._place += 1
        return True

    def need(self, mark: str) -> None:
        if not self.take(mark):
            raise self._broken(f"expected {mark!r} or ']' after record {self.count:,}")

    def at_end(self) -> bool:
        self._skip_blanks()
        return self._place == len(self._text)

    def end(self) -> None:
        """Refuse what comes after an array."""
        if not self.at_end():
            raise self._broken("text after the end of the array")

    def _skip_blanks(self) -> None:
        while True:
            while self._text[self._place : self._place + 1] in (" ", "\t", "\r", "\n"):
                self._place += 1
            if self._place < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Read as much again as is held; whether there was more."""
        held = self._text[self._place :]
        if len(held) > self._limit:
            raise FormatError(
                "a record is longer than one may be, or the file is not JSON",
                expected=f"at most {self._limit:,} characters",
                where=f"{self._where}, record {self.count:,}",
            )
        self._line += self._text.count("\n", 0, self._place)
        parts, wanted = [held], max(1, len(held))
        while wanted > 0 and (chunk := next(self._chunks, None)) is not None:
            parts.append(chunk)
            wanted -= len(chunk)
        self._text, self._place = "".join(parts), 0
        return len(parts) > 1

    def _broken(self, reason: str) -> FormatError:
        line = self._line + self._text.count("\n", 0, self._place)
        return FormatError(
            "the file is not JSON",
            got=reason,
            where=f"{self._where}, record {self.count:,}, which begins on line {line:,}",
            fix="repair it, or, if it is text, say so: --format text",
        )


def _believed(items: Iterable[Any]) -> Iterator[Any]:
    """The items, unless all of them, or the first many, are texts that can only be meant as paths."""
    iterator = iter(items)
    suspects = []
    for item in iterator:
        suspects.append(item)
        if not (isinstance(item, str) and looks_like_a_path(item)):
            break
        if len(suspects) == _SUSPECTS:
            raise _paths(suspects)
    else:
        if suspects:
            raise _paths(suspects)
    yield from suspects
    yield from iterator


def _paths(texts: list[str]) -> ArgumentTypeError:
    return ArgumentTypeError(
        "the texts are names of files, not what is in them",
        got=", ".join(map(repr, texts[:3])) + (", …" if len(texts) > 3 else ""),
        fix="pass paths as Path objects, [Path(name) for name in names], or one path, folder, glob or URL as it is; if "
        'the names are the texts, as records: [{"text": name}]',
    )


def _text_lines(chunks: Iterable[str], limit: int) -> Iterator[str]:
    """The lines of a text, the line ends left out; one that is longer than ``limit`` comes in pieces."""
    held = ""
    for chunk in chunks:
        *lines, held = (held + chunk).split("\n")
        yield from lines
        if len(held) >= limit:
            yield held
            held = ""
    if held:
        yield held


def _values(column: Any) -> Iterable[Any]:
    """The values of a column as Python's; of a text that is not UTF-8, its bytes."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        return [cell.as_buffer().to_pybytes() if cell.is_valid else None for cell in column]


def _shares(size: int, parts: list[int]) -> list[int]:
    """``size`` dealt out in proportion to ``parts``."""
    total = sum(parts) or 1
    return [size * part // total for part in parts]
