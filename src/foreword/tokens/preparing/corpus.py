"""Corpora: from files, folders, globs, URLs and iterables to sources, and the bytes of each.

A *source* is what is opened once: a file, or an iterable of texts. Its documents are told apart in ``documents``.
Sources come in the order of their names, so that a corpus reads the same everywhere.

Not for: documents, or tokenizing. Costs: a listing; 1 MiB of a file at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from foreword._base import compression
from foreword._base.files import explained
from foreword.errors import ArgumentError, FileError, MissingFileError, MissingPackageError

__all__ = ["FileSource", "Source", "TextsSource", "open_corpus"]

FORMATS = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
}
CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class FileSource:
    """A file on this machine, or behind a URL where ``remote`` holds its fsspec file system."""

    name: str  # below the corpus folder, with "/"; the file's own name where the corpus is one file
    path: str
    size: int
    format: str  # a value of FORMATS
    compression: str | None
    remote: Any = None

    def open_raw(self) -> IO[bytes]:
        """The bytes of the file as they are stored."""
        with explained("read the corpus", self.path):
            if self.remote is None:
                return open(self.path, "rb", buffering=0)
            try:
                return cast("IO[bytes]", self.remote.open(self.path, "rb"))
            except ImportError as cause:
                raise _missing(str(cause)) from cause


@dataclasses.dataclass(frozen=True)
class TextsSource:
    """An iterable of texts, or of records that hold a text in a field (a Hugging Face dataset is one)."""

    name: str
    texts: Iterable[Any]
    size: None = None


Source = FileSource | TextsSource


def open_corpus(corpus: object, *, format: str | None = None) -> list[Source]:  # noqa: A002 - the option's name
    """The sources of a corpus, by name.

    Args:
        corpus: a path, a folder (every file below it that FORMATS names, also compressed), a glob, a URL that fsspec
            knows (a file, a folder or a glob), a list of paths (``Path`` objects), or an iterable of texts or records.
        format: "text", "jsonl", "parquet" or "csv", whatever the files are called; by their names where it is None.

    Raises:
        MissingFileError: there is no such file or folder, or no file matches.
        FileError: the folder holds nothing that can be read.
        MissingPackageError: a URL whose package is not installed.
    """
    if format is not None and format not in FORMATS.values():
        raise ArgumentError("no such format", got=repr(format), expected=", ".join(sorted({*FORMATS.values()})))
    if isinstance(corpus, str) and "://" in corpus:
        return _remote(corpus, format)
    if isinstance(corpus, str | os.PathLike):
        return _local(os.fspath(corpus), format)
    if not isinstance(corpus, Iterable):
        raise TypeError(f"a corpus is a path, a URL or an iterable of texts, got {type(corpus).__name__}")
    if isinstance(corpus, list | tuple) and corpus and all(isinstance(item, os.PathLike) for item in corpus):
        names = [os.fspath(item) for item in corpus]
        common = os.path.commonpath([os.path.dirname(os.path.abspath(name)) for name in names])  # noqa: PTH100, PTH120
        return [_file(name, Path(name).absolute().relative_to(common).as_posix(), format) for name in names]
    return [TextsSource("texts", corpus)]


def _local(corpus: str, format: str | None) -> list[Source]:  # noqa: A002
    path = Path(corpus)
    if path.is_dir():
        found = dict(_below(os.fspath(path), format))
        if not found:
            raise FileError(
                "the folder holds no file that can be read as text",
                expected=f"files that end in {', '.join(FORMATS)}, also with {', '.join(compression.SUFFIXES)}",
                where=path,
                fix="name the format, if they are called otherwise: --format text",
            )
    elif path.exists():
        return [_file(corpus, path.name, format)]
    elif glob.has_magic(corpus):
        found = {
            name.replace(os.sep, "/"): name
            for name in glob.glob(corpus, recursive=True)  # noqa: PTH207 - a Path would drop "./"
            if Path(name).is_file()
        }
        if not found:
            raise MissingFileError("no file matches the pattern", where=corpus)
    else:
        raise MissingFileError(
            "there is no such corpus",
            where=path,
            fix="name a file, a folder, a pattern or a URL; for a text itself, pass a list: [text]",
        )
    return [_file(found[name], name, format) for name in sorted(found)]


def _below(folder: str, format: str | None) -> Iterator[tuple[str, str]]:  # noqa: A002
    """(name, path) of every file below a folder that can be read; what begins with a dot is left out."""

    def refuse(error: OSError) -> None:  # a folder that can't be listed is not passed over
        with explained("list the corpus", error.filename):
            raise error

    root = os.path.join(folder, "")  # noqa: PTH118 - strings: a corpus has many files
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            path = os.path.join(parent, file)  # noqa: PTH118
            if (format or _format(file)) and not file.startswith(".") and os.path.isfile(path):  # noqa: PTH113
                yield path[len(root) :].replace(os.sep, "/"), path


def _file(path: str, name: str, format: str | None) -> FileSource:  # noqa: A002
    with explained("read the corpus", path):
        size = os.stat(path).st_size  # noqa: PTH116
    return FileSource(name, path, size, format or _format(name) or "text", compression.by_name(name))


def _remote(url: str, format: str | None) -> list[Source]:  # noqa: A002
    try:
        import fsspec  # type: ignore[import-untyped, unused-ignore]
    except ImportError as cause:
        raise MissingPackageError("URLs need the package fsspec", fix="pip install 'foreword[remote]'") from cause
    try:
        with explained("reach the corpus", url):
            files, root = fsspec.core.url_to_fs(url)
            if glob.has_magic(root):
                found = [name for name in files.glob(root) if files.isfile(name)]
                base = ""
            elif files.isdir(root):
                found = [name for name in files.find(root) if format or _format(name)]
                base = root.rstrip("/") + "/"
            elif files.exists(root):
                found, base = [root], root.rpartition("/")[0] + "/"
            else:
                found, base = [], ""
            if not found:
                raise MissingFileError("there is nothing to read at the URL", where=url)
            return [
                FileSource(
                    name.removeprefix(base),
                    name,
                    int(files.size(name) or 0),
                    format or _format(name) or "text",
                    compression.by_name(name),
                    files,
                )
                for name in sorted(found)
            ]
    except ImportError as cause:  # fsspec says which package the protocol needs
        raise _missing(str(cause)) from cause
    except ValueError as cause:
        raise ArgumentError("a URL that fsspec does not know", got=str(cause), where=url) from cause


def _missing(what: str) -> MissingPackageError:
    return MissingPackageError("the URL needs a package that is not installed", got=what, fix="install it with pip")


def _format(name: str) -> str | None:
    """The format that a file's name tells, whether it is packed or not.

    >>> _format("a/b.jsonl.gz"), _format("notes.TXT"), _format("picture.png")
    ('jsonl', 'text', None)
    """
    return FORMATS.get(os.path.splitext(compression.stem(name.lower()))[1])  # noqa: PTH122


class HashedReader(io.RawIOBase):
    """A file's stored bytes, with the SHA-256 of all that was read."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._hash = raw, hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes (CHUNK where it is negative), fewer at the end; none after it."""
        data = self._raw.read(CHUNK if size < 0 else size) or b""
        self._hash.update(data)
        self.bytes += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def digest(self) -> str:
        """The SHA-256 of the whole file; reads what is left of it."""
        while self.read(CHUNK):
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        self._raw.close()
        super().close()


def sha256_of(source: FileSource) -> str:
    """The SHA-256 of a source's stored bytes."""
    with explained("read the corpus", source.path), contextlib.closing(HashedReader(source.open_raw())) as file:
        return file.digest()


@contextlib.contextmanager
def unpacked(source: FileSource, raw: HashedReader) -> Iterator[IO[bytes]]:
    """The bytes of ``raw`` as ``source.compression`` packed them.

    Raises (in the block, while reading):
        FormatError: the packed data is damaged or cut short; FileError: it can't be read.
    """
    stream = cast("IO[bytes]", raw)
    with explained("read the corpus", source.path):
        if source.compression is not None:
            stream = cast("IO[bytes]", compression.Unpacked(stream, source.compression, source.path))
        yield stream
