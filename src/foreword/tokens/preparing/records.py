"""Records: what lines of JSON, JSON arrays and iterables hold, one by one, as ``contents`` says.

A bad record is an error that says where, or is skipped and counted, as ``Reading.bad_records`` says.

Not for: text files (``documents``), tables (``tables``). Costs: JSON at 300 MB/s; one record in memory.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from foreword._base.json_objects import with_repeats
from foreword._base.words import counted
from foreword.errors import ArgumentTypeError, FormatError
from foreword.tokens.preparing.contents import Contents, Text, look_up
from foreword.tokens.preparing.kinds import looks_like_a_path
from foreword.tokens.preparing.streams import CHUNK, FileStream, decoded, is_wide, undecodable

__all__ = ["Records"]

# Texts of an iterable that are looked at before the first is believed to be a text, where all look like paths.
_SUSPECTS = 100
_JSON = json.JSONDecoder(object_pairs_hook=with_repeats)


class Records:
    """Reads the records of one source.

    Args:
        contents: what a record holds.
        encoding: of the source's bytes.
        bad: "error", or "skip".
        where: the source, for errors.
        limit: characters, or bytes, that a record may have.

    Attributes:
        skipped: bad records so far.
        passed_over: whether the source is no corpus file: one JSON object, found in a folder, without the field.
    """

    def __init__(self, *, contents: Contents, encoding: str, bad: str, where: str, limit: int) -> None:
        self.contents, self.encoding, self.skips = contents, encoding, bad == "skip"
        self.where, self._limit = where, limit
        self.skipped = 0
        self.passed_over = False

    def items(self, items: Iterable[Any]) -> Iterator[str | bytes]:
        """What an iterable holds, of records or of what would stand in their only field."""
        for number, item in enumerate(_believed(items)):
            if isinstance(item, str) and isinstance(self.contents, Text):
                yield item
            elif isinstance(item, os.PathLike):
                raise ArgumentTypeError(
                    "a path among texts",
                    got=f"{type(item).__name__} {os.fspath(item)!r}",
                    where=f"text {number:,}",
                    fix="pass a list of Path objects, and nothing else: prepare(sorted(paths), …)",
                )
            elif isinstance(item, Mapping):
                yield from self._record(item, f"text {number:,}")
            elif isinstance(item, str) or isinstance(self.contents, Text) or len(self.contents.fields) > 1:
                kind = self.contents.kind
                self.bad(
                    f"an item that is neither {'a text' if kind == 'text' else kind} nor a record",
                    got=type(item).__name__,
                    expected=f"{'str, or a' if kind == 'text' else 'a'} mapping with the field that holds the {kind}",
                    where=f"text {number:,}",
                )
            else:
                yield from self.payload([item], f"text {number:,}")

    def jsonl(self, stream: FileStream) -> Iterator[str | bytes]:
        """What JSON lines hold."""
        for record, where in self._json_lines(stream):
            yield from self._record(record, where)

    def json(self, stream: FileStream, *, listed: bool) -> Iterator[str | bytes]:
        """What an array of records or of strings, JSON lines, or one record after another hold."""
        alone = listed and not stream.head().removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
        pairs = self._json_lines(stream) if self._is_lines(stream) else self._json_values(stream)
        beginning = list(itertools.islice(pairs, 2))
        if alone and len(beginning) == 1 and isinstance(beginning[0][0], dict) and self._is_none(beginning[0][0]):
            self.passed_over = True
            return
        for record, where in itertools.chain(beginning, pairs):
            if isinstance(record, str) and isinstance(self.contents, Text):
                yield record
            else:
                yield from self._record(record, where)

    def _is_lines(self, stream: FileStream) -> bool:
        """Whether the first line is a record, whole."""
        if is_wide(self.encoding):
            return False
        if not stream.head().removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
            return False
        try:
            first = stream.line(self._limit).decode(self.encoding).removeprefix("\ufeff").strip()
            return not first or isinstance(json.loads(first), dict)
        except (ValueError, RecursionError):
            return False

    def _json_lines(self, stream: FileStream) -> Iterator[tuple[Any, str]]:
        """(record, where) of each line."""
        for number, line in enumerate(self._lines(stream), start=1):
            where = f"{self.where}, line {number:,}"
            try:
                text = line if isinstance(line, str) else line.decode(self.encoding)
                if number == 1:
                    text = text.removeprefix("\ufeff")
                if not text.strip():
                    continue
                record = _JSON.decode(text)
            except UnicodeDecodeError as cause:
                if not self.skips:
                    place = f"line {number:,}, byte {cause.start:,} of it"
                    raise undecodable(cause, self.encoding, self.where, place) from cause
                self.skipped += 1
            except (ValueError, RecursionError) as cause:
                self.bad("a line that is not JSON", got=str(cause), where=where)
            else:
                yield record, where

    def _lines(self, stream: FileStream) -> Iterator[bytes | str]:
        lines: Iterator[bytes | str]
        if is_wide(self.encoding):
            lines = _text_lines(decoded(stream, self.encoding, self.where), self._limit + 1)
        else:
            buffered = io.BufferedReader(stream, CHUNK)
            lines = iter(lambda: buffered.readline(self._limit + 1), b"")
        for line in lines:
            if len(line) > self._limit:
                raise FormatError(
                    "a line is longer than a record may be",
                    expected=f"at most {counted(self._limit, 'byte')} ({self._limit >> 20} MiB)",
                    where=self.where,
                )
            yield line

    def _json_values(self, stream: FileStream) -> Iterator[tuple[Any, str]]:
        """(record, where) of each element of an array, or of values one after another."""
        values = _Values(decoded(stream, self.encoding, self.where), self._limit, self.where)
        if values.take("["):
            if values.take("]"):
                values.end()
                return
            while True:
                yield values.value(), f"{self.where}, record {values.count:,}"
                if values.take("]"):
                    values.end()
                    return
                values.need(",")
        while not values.at_end():
            yield values.value(), f"{self.where}, record {values.count:,}"

    def _record(self, record: Any, where: str) -> Sequence[str | bytes]:
        """What a record holds, if it is a good one."""
        if not isinstance(record, Mapping):
            self.bad("a record that has no fields", got=type(record).__name__, where=where)
            return ()
        try:
            values = [self._value(record, field) for field in self.contents.fields]
        except KeyError as missing:
            what = {"text": "the text"}.get(self.contents.kind, self.contents.kind)
            texts_first = sorted(
                record, key=lambda name: self.contents.kind == "text" and type(record[name]) is not str
            )
            self.bad(
                f"a record without the field {missing.args[0]!r}",
                got=f"fields {list(record)[:20]}",
                where=where,
                fix=f"name the field that holds {what}: --field {next(iter(texts_first), 'NAME')}",
            )
            return ()
        except FormatError as repeated:
            self.bad(repeated.problem, where=where)
            return ()
        return self.payload(values, where)

    def _value(self, record: Mapping[str, Any], field: str) -> Any:
        try:
            return look_up(record, field)
        except KeyError:
            if field in self.contents.optional:
                return None
            raise

    def _is_none(self, record: Mapping[str, Any]) -> bool:
        """Whether a record lacks a field."""
        try:
            for field in self.contents.fields:
                self._value(record, field)
        except KeyError:
            return True
        except FormatError:  # it is there, twice
            return False
        return False

    def payload(self, values: Sequence[Any], where: str) -> Sequence[str | bytes]:
        """What the values of the fields come to, if they can be meant."""
        try:
            return (self.contents.payload(values),)
        except FormatError as bad:
            facts = {name: fact for name in ("got", "expected", "fix") if (fact := bad.fact(name)) is not None}
            self.bad(bad.problem, where=where, **facts)
            return ()

    def bad(self, problem: str, **facts: object) -> None:
        """Refuse a bad record, or skip and count it."""
        if not self.skips:
            self.refuse(problem, **facts)
        self.skipped += 1

    def refuse(self, problem: str, **facts: object) -> None:
        """Raise the error that a bad record is."""
        facts.setdefault("fix", "repair it, or skip and count such records: --bad-records skip")
        raise FormatError(problem, **facts)


class _Values:
    """JSON values in a text that comes in chunks, parsed one by one."""

    def __init__(self, chunks: Iterator[str], limit: int, where: str) -> None:
        self._chunks, self._limit, self._where = chunks, limit, where
        self._text, self._place, self._line = "", 0, 1
        self._ended = False
        self._decode = _JSON.raw_decode
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
                expected=f"at most {counted(self._limit, 'character')}",
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
