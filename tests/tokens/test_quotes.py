"""Quotes of csv and tsv: cells that swallow rows are refused, with their line; all else is read as it is written."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import FormatError, TextDecodeError
from foreword.tokens.preparing import tables
from foreword.tokens.preparing.quotes import ChunkReader, Quotes

from .test_documents import read, read_account

HEADER = "text,b\n"


class Row(NamedTuple):
    cells: list[str]
    bad: bool


class RefusedError(Exception):
    """The line on which a cell can't be read."""


def plain_rows(text: str, *, skips: bool) -> list[Row]:
    """The rows of a csv, character by character."""
    rows, cells, cell = [], [], ""
    quoted = after = bad = False  # in a quoted cell; in one after its end
    start, line, opened, swallows, i = True, 1, 0, False, 0
    while i <= len(text):
        char = text[i] if i < len(text) else ""
        line_end = "\r\n" if text.startswith("\r\n", i) else char if char in ("\r", "\n") else ""
        if quoted and char == '"' and text[i + 1 : i + 2] == '"':
            swallows = swallows or "\n" in cell or "\r" in cell
            cell, i = cell + char, i + 2
            continue
        if quoted and char == '"':
            quoted, after = False, True
            if text[i + 1 : i + 2] not in ("", ",", "\r", "\n"):
                swallows = "\n" in cell or "\r" in cell
                if not skips or re.search(r"[\r\n]+[^\r\n]", cell):
                    raise RefusedError(line)
                bad = True
        elif quoted and not char:
            if not skips or re.search(r"[\r\n]+[^\r\n]", cell):
                raise RefusedError(opened)
            quoted, after, bad = False, True, True
            continue
        elif quoted:
            cell += line_end or char
        elif start and char == '"':
            quoted, start, opened = True, False, line
        elif char == ",":
            cells, cell, start = [*cells, cell], "", True
        elif line_end or not char:
            if cells or cell or after:
                rows.append(Row([*cells, cell], bad))
            cells, cell, start, after, bad = [], "", True, False, False
        else:
            cell, start = cell + char, False
        line += bool(line_end)
        i += len(line_end) or 1
    return rows


def checked(data: bytes, sizes: list[int], **options: object) -> bytes:
    """The bytes that pass, given in chunks of these sizes, over and over."""

    def chunks():
        place = turn = 0
        while place < len(data):
            size = sizes[turn % len(sizes)]
            yield data[place : place + size]
            place, turn = place + size, turn + 1

    options = {"delimiter": ",", "columns": 2, "skips": False, "where": "a.csv"} | options
    return ChunkReader(Quotes(**options).checked(chunks())).read()


ODD = st.text(st.sampled_from('a",\n\r'), max_size=24)
WELL_QUOTED = st.lists(
    st.tuples(*2 * [ODD.map(lambda cell: '"' + cell.replace('"', '""') + '"') | st.sampled_from(["", "b", 'b"c'])]),
    max_size=6,
).map(lambda rows: "".join(f"{a},{b}\r\n" for a, b in rows))
TABLES = st.one_of(ODD, WELL_QUOTED, st.tuples(WELL_QUOTED, ODD, WELL_QUOTED).map("".join))


@settings(max_examples=300, deadline=None)
@given(TABLES, st.lists(st.integers(1, 9), min_size=1, max_size=3), st.booleans())
def test_quotes_are_followed_as_by_a_plain_reader(tmp_path_factory, table: str, sizes: list[int], skips: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "quotes.csv"
    path.write_bytes((HEADER + table).encode())
    bad = "skip" if skips else "error"
    try:
        rows = plain_rows(HEADER + table, skips=skips)[1:]
    except RefusedError as refused:
        for attempt in (lambda: checked(path.read_bytes(), sizes, skips=skips), lambda: read(path, bad_records=bad)):
            with pytest.raises(FormatError, match=rf"csv, line {refused}\b"):
                attempt()
        return
    if not any(row.bad for row in rows):
        assert checked(path.read_bytes(), sizes, skips=skips) == path.read_bytes()
    good = [row.cells[0] for row in rows if len(row.cells) == 2 and not row.bad]
    if skips or len(good) == len(rows):
        texts, (account,) = read_account(path, bad_records=bad)
        assert texts == [text for text in good if text]
        assert account["skipped"] == len(rows) - len(good)
    else:
        with pytest.raises(FormatError, match="can't be read"):
            read(path)


UNCLOSED = {
    "at the end": ('1,"one\n', 2),
    "in the last cell": ('1,"one"\n2,"two\n3,three\n', 3),
    "in a cell that is not read": ('"1,one\n2,two\n', 2),
    "after a doubled quote": ('1,"one""\n2,two\n', 2),
    "in the names": ("1,one\n", 1),
    "after cells of several lines": ('1,"a\r\nb"\r\n2,"c\rd"\r3,"e\n4,f\n', 6),
}


@pytest.mark.parametrize("name", UNCLOSED)
@pytest.mark.parametrize(
    ("suffix", "encoding"), [("csv", "utf-8"), ("csv.gz", "utf-8"), ("tsv", "utf-16"), ("csv", "latin-1")]
)
def test_an_unclosed_quote_is_refused_by_line(tmp_path: Path, name: str, suffix: str, encoding: str) -> None:
    rows, line = UNCLOSED[name]
    text = ('n,"text\n' if name == "in the names" else "n,text\n") + rows
    text = text.replace(",", "\t") if suffix == "tsv" else text
    data = text.encode(encoding)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    field = "n" if name == "in the names" else "text"
    with pytest.raises(FormatError, match=rf"never closed.*\n(?:.*\n)*.*line {line}\b") as refused:
        read(path, field=field, encoding=encoding)
    assert "--bad-records" in str(refused.value) or name not in ("at the end",)
    if name not in ("at the end",):
        with pytest.raises(FormatError, match="can't be skipped"):
            read(path, field=field, encoding=encoding, bad_records="skip")


def test_the_quote_opens_blocks_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many good blocks, one quote, and rows behind it: within a block, and longer than one."""
    monkeypatch.setattr(tables, "CHUNK", 1 << 12)
    good = "".join(f'{i},"say ""{i}"" and\nmore"\n' for i in range(10_000))
    path = tmp_path / "a.csv"
    path.write_text("n,text\n" + good)
    assert read(path) == [f'say "{i}" and\nmore' for i in range(10_000)]
    path.write_text("n,text\n" + good + '0,"open\n' + "1,one\n" * 100)
    with pytest.raises(FormatError, match=r"never closed[\s\S]*line 20,002\b"):
        read(path)
    path.write_text("n,text\n" + good + '0,"open\n' + "1,one\n" * 500_000)
    with pytest.raises(FormatError, match=r"not closed within 16,384 bytes[\s\S]*line 20,002\b"):
        read(path)


def test_a_stray_quote_ends_no_cell(tmp_path: Path) -> None:
    """It would swallow the rows up to the next quote, or lose quotes of the text."""
    path = tmp_path / "a.csv"
    path.write_text('n,text\n1,"one\n2,two\n3,"three"\n4,four\n')
    with pytest.raises(FormatError, match=r"neither its end[\s\S]*line 4, in the cell that begins on line 2"):
        read(path)
    with pytest.raises(FormatError, match="can't be skipped"):
        read(path, bad_records="skip")
    path.write_text('n,text\n1,one\n2,"He said "hi" there"\n3,"a\nb"\n4,"\\"no\\""\n5,six 6"\n')
    with pytest.raises(FormatError, match=r"neither its end[\s\S]*line 3\b[\s\S]*--bad-records skip"):
        read(path)
    texts, (account,) = read_account(path, bad_records="skip")
    assert (texts, account["skipped"]) == (["one", "a\nb", 'six 6"'], 2)
    path.write_text('"n"x,text\n1,one\n')
    with pytest.raises(FormatError, match="line 1"):
        read(path, bad_records="skip")


def test_quotes_after_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeff"text","b"\n"one\ntwo",1\n'.encode())
    assert read(path) == ["one\ntwo"]
    path.write_bytes('\ufeff"text","b"\n"one\ntwo,1\n'.encode())
    with pytest.raises(FormatError, match="line 2"):
        read(path)


def test_a_byte_that_is_not_the_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text\none\nz\xe4h\n")
    with pytest.raises(TextDecodeError, match=r"byte 10\b"):
        read(path, encoding="ascii")
