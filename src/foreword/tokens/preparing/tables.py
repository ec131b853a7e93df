"""Tables: what the rows of csv, parquet and Arrow files hold, one by one, as ``contents`` says.

Not for: records of JSON (``records``). Costs: one batch of rows in memory; Arrow's speed, and about 1 µs a row.
"""

from __future__ import annotations

import codecs
import contextlib
import csv as plain_csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from foreword._base.files import explained
from foreword._base.words import first_line
from foreword.errors import ForewordError, FormatError
from foreword.tokens.preparing.contents import Text
from foreword.tokens.preparing.quotes import ChunkReader, Quotes
from foreword.tokens.preparing.records import Records
from foreword.tokens.preparing.streams import CHUNK, FileSource, FileStream, decoded, undecodable

__all__ = ["arrow", "csv", "parquet"]

_ROWS = 256  # of a batch of parquet
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def csv(records: Records, stream: FileStream, *, delimiter: str = ",") -> Iterator[str | bytes]:
    """What a table's columns hold; their cells are texts."""
    import pyarrow as pa
    from pyarrow import csv as reader

    row = 0

    def count(_: object) -> str:
        records.skipped += 1
        return "skip"

    fields = list(records.contents.fields)
    kind, block = "csv" if delimiter == "," else "tsv", 4 * CHUNK
    header = _header(stream.ahead(block), records, delimiter)
    for field in fields:
        _refuse_repeated(field, header, field, records.where)
    chunks: Iterator[bytes] = iter(lambda: stream.read(CHUNK // 4), b"")  # which caches hold
    if codecs.lookup(records.encoding).name != "utf-8":
        texts_of = decoded(stream, records.encoding, records.where, chunk=CHUNK // 4)
        chunks = (text.encode("utf-8", "surrogatepass") for text in texts_of)
    quotes = Quotes(delimiter=delimiter, columns=len(header), skips=records.skips, where=records.where)
    try:
        rows = reader.open_csv(
            ChunkReader(quotes.checked(chunks)),
            reader.ReadOptions(use_threads=False, block_size=block),
            reader.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=count if records.skips else None
            ),
            reader.ConvertOptions(column_types=dict.fromkeys(fields, pa.binary()), include_columns=fields),
        )
        for batch in rows:
            for cells in zip(*(batch.column(field).to_pylist() for field in fields), strict=True):
                row += 1
                try:
                    texts = [cell.decode() for cell in cells]  # another encoding became UTF-8 while Arrow read it
                except UnicodeDecodeError as cause:
                    records.bad(
                        "a row that is not utf-8 text",
                        got=f"the byte 0x{cause.object[cause.start]:02x} ({cause.reason})",
                        where=f"{records.where}, row {row:,}, byte {cause.start:,} of its text",
                        fix="name the encoding, --encoding latin-1, or skip such rows: --bad-records skip",
                    )
                else:
                    yield from records.payload(texts, f"{records.where}, row {row:,}")
    except pa.ArrowKeyError as cause:
        raise FormatError(
            f"a {kind} without the column {' or '.join(map(repr, fields))}",
            got=f"columns {header[:20]}",
            where=records.where,
            fix="name the column: --field NAME"
            if len(header) > 1
            else f"name the column: --field NAME; cells are parted by {'commas' if kind == 'csv' else 'tabs'}",
        ) from cause
    except pa.ArrowInvalid as cause:
        if "Empty CSV" in str(cause):
            return
        if "straddling" in str(cause):
            if quotes.open > block:
                raise quotes.unclosed(f"a quoted cell that is not closed within {block:,} bytes") from cause
            raise FormatError(
                "a row of csv is longer than one may be",
                expected=f"at most {block:,} bytes",
                where=records.where,
            ) from cause
        raise FormatError("the csv can't be read", got=first_line(cause), where=records.where) from cause


def _header(data: bytes, records: Records, delimiter: str) -> list[str]:
    """The names of a table's columns, as far as its beginning has them."""
    text = io.TextIOWrapper(io.BytesIO(data), records.encoding, errors="replace", newline="")
    if text.read(1) != "\ufeff":  # before a quotation mark it would hide that
        text.seek(0)
    rows = plain_csv.reader(text, delimiter=delimiter)
    try:
        return next((row for row in rows if row), [])  # Arrow passes over empty lines, too
    except plain_csv.Error as cause:
        raise FormatError(
            "the names of the columns can't be read", got=str(cause), where=f"{records.where}, line 1"
        ) from None


def _refuse_repeated(part: str, names: Sequence[str], field: str, where: str) -> None:
    """Refuse a table of which several columns are called ``part``, so that ``field`` may be any of them.

    Raises:
        FormatError: says which columns they are.
    """
    numbers = [f"{number:,}" for number, name in enumerate(names, start=1) if name == part]
    if len(numbers) > 1:
        raise FormatError(
            f"several columns are called {part!r}",
            got=f"columns {', '.join(numbers[:-1])} and {numbers[-1]} of {len(names):,}",
            expected=f"one that {field!r} stands for",
            where=where,
            fix="give the others another name, or leave them out",
        )


def parquet(records: Records, source: FileSource, advance: Callable[[int], object]) -> Iterator[str | bytes]:
    """What the columns of a parquet file hold."""
    from pyarrow import parquet as reader

    def batches(raw: Any) -> Iterator[Any]:
        file = reader.ParquetFile(raw, pre_buffer=False)
        columns = _columns(records, file.schema_arrow, "parquet", source.path)
        groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
        for group, share in enumerate(_shares(source.size or 0, groups)):
            yield from file.iter_batches(_ROWS, [group], columns, use_threads=False)
            advance(share)

    yield from _rows(records, source, "parquet", batches)


def arrow(records: Records, source: FileSource, advance: Callable[[int], object]) -> Iterator[str | bytes]:
    """What the columns of an Arrow file hold, one of datasets' ``save_to_disk`` among them."""
    import pyarrow as pa

    def batches(raw: Any) -> Iterator[Any]:
        head = raw.read(6)
        raw.seek(-min(len(_END_OF_STREAM), source.size or 0), io.SEEK_END)
        tail = raw.read(len(_END_OF_STREAM))
        raw.seek(0)
        if head != b"ARROW1" and tail != _END_OF_STREAM:  # cut between two batches, it would read as a shorter one
            raise FormatError("the Arrow file is cut short", got="no mark at its end", where=source.path)
        if head == b"ARROW1":
            file = pa.ipc.open_file(raw)
            _columns(records, file.schema, "Arrow", source.path)
            yield from (file.get_batch(i) for i in range(file.num_record_batches))
        else:
            stream = pa.ipc.open_stream(raw)
            _columns(records, stream.schema, "Arrow", source.path)
            yield from stream
        advance(source.size or 0)

    yield from _rows(records, source, "Arrow", batches)


def _columns(records: Records, schema: Any, kind: str, where: str) -> list[str]:
    """The columns that hold the fields; one within a struct by its path.

    Raises:
        FormatError: there is none, or several.
    """
    import pyarrow as pa

    for field in records.contents.fields:
        inner = schema
        for part in [field] if field in schema.names else field.split("."):
            names = inner.names if isinstance(inner, pa.Schema) else [one.name for one in inner]
            _refuse_repeated(part, names, field, where)
            if part not in names:
                what = {"text": "the text"}.get(records.contents.kind, records.contents.kind)
                raise FormatError(
                    f"{'an Arrow' if kind == 'Arrow' else f'a {kind}'} file without the column {field!r}",
                    got=f"columns {schema.names[:20]}",
                    where=where,
                    fix=f"name the column that holds {what}: --field NAME",
                )
            inner = inner.field(part).type
            inner = inner if pa.types.is_struct(inner) else []
    return list(records.contents.fields)


def _rows(
    records: Records, source: FileSource, kind: str, batches: Callable[[Any], Iterable[Any]]
) -> Iterator[str | bytes]:
    """What the rows of a file's batches hold."""
    import pyarrow as pa

    fields = records.contents.fields
    texts = isinstance(records.contents, Text)
    row = 0
    with contextlib.closing(source.open_raw()) as raw, explained("read the corpus", source.path):
        try:
            for batch in batches(raw):
                columns = [_column(batch, field) for field in fields]
                for values in zip(*(_values(column) for column in columns), strict=True):
                    row += 1
                    where = f"{records.where}, row {row:,}"
                    if not texts:
                        yield from records.payload(values, where)
                    elif isinstance(values[0], bytes):
                        yield from _decoded_text(records, values[0], f"row {row:,}")
                    elif isinstance(values[0], str):
                        yield values[0]
                    elif values[0] is None and records.skips:
                        records.skipped += 1
                    else:
                        got = "null" if values[0] is None else type(values[0]).__name__
                        records.refuse(f"the column {fields[0]!r} is no text", got=got, where=where)
        except (pa.ArrowException, ValueError) as cause:  # of a struct with two fields of one name, a ValueError
            if isinstance(cause, ForewordError):
                raise
            raise FormatError(
                f"the {kind} file can't be read",
                got=first_line(cause),
                where=f"{source.path}, after row {row:,}" if row else source.path,
            ) from cause
        except OSError as cause:
            if cause.errno is None and not isinstance(cause, FormatError):
                problem = "encrypted" if "decrypt" in str(cause) else "damaged"
                raise FormatError(f"the {kind} file is {problem}", got=first_line(cause), where=source.path) from cause
            raise


def _decoded_text(records: Records, data: bytes, place: str) -> Iterator[str]:
    """The text of a cell; none where it is not text and such are skipped."""
    try:
        yield data.decode(records.encoding)
    except UnicodeDecodeError as cause:
        if not records.skips:
            where = f"{place}, byte {cause.start:,} of it"
            raise undecodable(cause, records.encoding, records.where, where) from cause
        records.skipped += 1


def _column(batch: Any, field: str) -> Any:
    """A column of a batch, or the field within a struct that a path leads to."""
    import pyarrow as pa
    from pyarrow import compute

    if field in batch.schema.names:
        column = batch.column(field)
    else:
        column, *path = (batch.column(field.split(".")[0]), *field.split(".")[1:])
        column = compute.struct_field(column, path)
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _values(column: Any) -> Iterable[Any]:
    """The values of a column as Python's; of a text that is not UTF-8, its bytes; of numbers in a list, an array."""
    import pyarrow as pa

    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if lists and pa.types.is_integer(kind.value_type):
        return (_numbers(cell) for cell in column)
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        return [cell.as_buffer().to_pybytes() if cell.is_valid else None for cell in column]


def _numbers(cell: Any) -> Any:
    """The integers in a cell, as an array; as a list where one is missing."""
    if not cell.is_valid:
        return None
    return cell.as_py() if cell.values.null_count else cell.values.to_numpy(zero_copy_only=False)


def _shares(size: int, parts: Sequence[int]) -> list[int]:
    """``size`` dealt out in proportion to ``parts``."""
    total = sum(parts) or 1
    return [size * part // total for part in parts]
