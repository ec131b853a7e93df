"""Corpora: from files, folders, globs, URLs and iterables to sources.

A *source* is what is opened once: a file, or an iterable of texts. Its documents are told apart in ``documents``.
Sources come in the order of their names, so that a corpus reads the same everywhere.

Not for: documents, or tokenizing. Costs: a listing, and the first bytes of files whose names don't say what they are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import glob
import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from foreword._base import compression
from foreword._base.files import explained
from foreword._base.remote import whole_url
from foreword.errors import (
    ArgumentError,
    ArgumentTypeError,
    FileError,
    FormatError,
    MissingFileError,
    MissingPackageError,
    printable,
)
from foreword.tokens.preparing.kinds import (
    FORMAT_NAMES,
    FORMATS,
    HEAD,
    UNFINISHED,
    content_kind,
    format_of,
    format_of_named,
    is_url,
    refuse_logged_table,
    refuse_other_types,
    signature,
    suffix_of,
)
from foreword.tokens.preparing.saved import saved_files
from foreword.tokens.preparing.streams import CHUNK, FileSource, HashedReader, reached, sha256_of, unpacked
from foreword.tokens.store.manifest import FORMAT

__all__ = ["CHUNK", "Corpus", "FileSource", "HashedReader", "Source", "TextsSource", "open_corpus", "sha256_of"]


@dataclasses.dataclass(frozen=True)
class TextsSource:
    """An iterable of texts, or of records that hold a text in a field (a Hugging Face dataset is one)."""

    name: str
    texts: Iterable[Any]
    size: None = None


Source = FileSource | TextsSource


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The sources of a corpus, by name; iterating gives them.

    Attributes:
        sources: what is read.
        passed_over: names of what is in its folder and is not read, with the reason.
    """

    sources: Sequence[Source]
    passed_over: Sequence[str] = ()

    def __iter__(self) -> Iterator[Source]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)


def open_corpus(
    corpus: object,
    *,
    format: str | None = None,  # noqa: A002 - the option's name
    out: Sequence[str | os.PathLike[str]] = (),
) -> Corpus:
    """The sources of a corpus, by name.

    A suffix that is known says what a file is; a file without a known suffix is what its first bytes say. In a folder,
    what can't be read, what begins with a dot, what has a suffix that is not known, links to folders, and token
    stores are passed over, and named.

    Args:
        corpus: a path, a folder (one of datasets' ``save_to_disk`` too), a glob, a URL that fsspec knows (a file, a
            folder or a glob), a list of ``Path`` objects, or an iterable of texts or records.
        format: "text", "jsonl", "json", "parquet", "arrow", "csv" or "tsv", whatever the files are called.
        out: folders and files that are passed over: what is made of the corpus goes there.

    Raises:
        MissingFileError: there is no such file or folder, or no file matches.
        FileError: the folder holds nothing that can be read, or a path is no regular file.
        FormatError: a file that is named is none that holds text.
        ArgumentTypeError: an object that can't be meant as a corpus; says what to write.
        ArgumentError: the corpus is the output.
        MissingPackageError: a URL whose package is not installed.
    """
    outs = [Path(each) for each in out]
    if format is not None and format not in FORMAT_NAMES:
        raise ArgumentError("no such format", got=repr(format), expected=", ".join(FORMAT_NAMES))
    if isinstance(corpus, str) and is_url(corpus):
        return _remote(corpus, format)
    if isinstance(corpus, str | os.PathLike):
        return _apart(_local(os.fspath(corpus), format, outs), outs)
    refuse_other_types(corpus)
    if isinstance(corpus, list | tuple) and any(isinstance(item, os.PathLike) for item in corpus):
        if not all(isinstance(item, os.PathLike) for item in corpus):
            raise ArgumentTypeError(
                "a list of paths and of other things",
                got=", ".join(sorted({type(item).__name__ for item in corpus})),
                expected="Path objects only, or texts only",
                fix="Path(name) for each file",
            )
        names = [os.fspath(item) for item in corpus]
        return _apart(
            Corpus([_file(name, label, format) for name, label in zip(names, _labels(names), strict=True)]), outs
        )
    return Corpus([TextsSource("texts", corpus)])  # type: ignore[arg-type]


def _labels(names: Sequence[str]) -> list[str]:
    """What the store calls the files: their paths below the folder that holds all; whole, if they have two drives."""
    whole = [Path(os.path.abspath(name)) for name in names]  # noqa: PTH100 - without ".."
    try:
        common = os.path.commonpath([path.parent for path in whole])
    except ValueError:  # on Windows
        return [path.as_posix() for path in whole]
    written = [Path(name).absolute() for name in names]
    return [
        (path if path.is_relative_to(common) else plain).relative_to(common).as_posix()
        for path, plain in zip(written, whole, strict=True)
    ]


def _apart(found: Corpus, outs: Sequence[Path]) -> Corpus:
    """A corpus of files without those that are the output."""
    names = {out.name for out in outs}
    kept = [
        source
        for source in found
        if not (isinstance(source, FileSource) and Path(source.path).name in names and _same(source.path, outs))
    ]
    if not kept and found.sources:
        raise ArgumentError("the corpus is the output", where=outs[0], fix="write to another place")
    return Corpus(kept, found.passed_over)


def _local(corpus: str, format: str | None, outs: Sequence[Path]) -> Corpus:  # noqa: A002
    path = Path(corpus)
    if not corpus or "\0" in corpus or "\n" in corpus or len(corpus.encode("utf-8", "replace")) > 4096:
        raise _no_corpus(corpus)
    with explained("read the corpus", path):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            mode = None
        except OSError as cause:
            if cause.errno not in (errno.ENAMETOOLONG, errno.EINVAL):
                raise
            raise _no_corpus(corpus) from None
    if mode is not None and stat.S_ISDIR(mode):
        if _is_output(path, outs):
            raise ArgumentError(
                "the corpus is the output, or a token store", where=path, fix="name the text that it is made of"
            )
        if format is None and (saved := saved_files(path)) is not None:
            return Corpus([_file(os.fspath(path / name), name, None) for name in saved])
        listing = _Listing(format, outs)
        taken = (listing.take(name, file) for name, file in sorted(listing.below(os.fspath(path))))
        sources = [source for source in taken if source is not None]
        if not sources:
            raise FileError(
                "the folder holds no file that can be read as text",
                got=passed_over_text(listing.passed_over) or None,
                expected=f"files that end in {', '.join(FORMATS)}, also with {', '.join(compression.SUFFIXES)}",
                where=path,
                fix="name the format, if they are called otherwise: --format text; or a pattern of names: "
                f"{path / '**' / '*.py'}",
            )
        return Corpus(sources, sorted(listing.passed_over))
    if mode is not None:
        return Corpus([_file(corpus, path.name, format)])
    if not glob.has_magic(corpus):
        raise _no_corpus(corpus)
    found, passed_over = {}, set()
    is_output = functools.cache(lambda folder: _is_output(folder or ".", outs))
    for name in glob.glob(corpus, recursive=True):  # noqa: PTH207 - a Path would drop "./"
        if os.path.isdir(name):  # noqa: PTH112
            if not _same(name, outs, inside=True):
                passed_over.add(f"{name} (a folder)")
        elif is_output(os.path.dirname(name)):  # noqa: PTH120
            if not _same(name, outs, inside=True):
                passed_over.add(f"{name} (part of a token store)")
        else:
            found[name.replace(os.sep, "/")] = name
    if not found:
        raise MissingFileError(
            "no file matches the pattern", where=corpus, fix="for a text itself, pass a list: [text]"
        )
    return Corpus([_file(found[name], name, format) for name in sorted(found)], sorted(passed_over))


def _no_corpus(corpus: str) -> MissingFileError:
    if corpus == "-":
        return MissingFileError(
            "a corpus is no stream: it is read twice, to prove that it is the same",
            got="-, standard input",
            fix="write it to a file first, or name the folder it came from",
        )
    return MissingFileError(
        "there is no such corpus",
        where=corpus if 0 < len(corpus) < 200 else f"{corpus[:80]!r}{'…' if len(corpus) > 80 else ''}",
        fix="name a file, a folder, a pattern or a URL; for a text itself, pass a list: [text]",
    )


class _Listing:
    """What is below a folder: the files to read, and those that are passed over, with the reason."""

    def __init__(self, format: str | None, outs: Sequence[Path]) -> None:  # noqa: A002
        self._format, self._outs = format, outs
        self.passed_over: list[str] = []

    def below(self, folder: str) -> Iterator[tuple[str, str]]:
        """(name, path) of every file that may be read."""

        def refuse(error: OSError) -> None:  # a folder that can't be listed is not passed over
            with explained("list the corpus", error.filename):
                raise error

        root = os.path.join(folder, "")  # noqa: PTH118 - strings: a corpus has many files
        for parent, folders, files in os.walk(folder, onerror=refuse):
            kept = []
            for name in sorted(folders):
                path = os.path.join(parent, name)  # noqa: PTH118
                refuse_logged_table(path[len(root) :].replace(os.sep, "/"), folder)
                reason = "hidden" if name.startswith(".") else "not finished" if name == UNFINISHED else None
                if reason is None and os.path.islink(path):  # noqa: PTH114
                    reason = "a link to a folder"
                elif reason is None and _is_store(path):
                    reason = "a token store"
                if _same(path, self._outs):
                    continue  # what is made of the corpus is no part of it
                if reason is None:
                    kept.append(name)
                else:
                    self._pass_over(path[len(root) :] + "/", reason)
            folders[:] = kept
            for name in sorted(files):
                path = os.path.join(parent, name)  # noqa: PTH118
                relative = path[len(root) :]
                refuse_logged_table(relative.replace(os.sep, "/"), folder)
                if name.startswith("."):
                    self._pass_over(relative, "hidden")
                else:
                    yield relative.replace(os.sep, "/"), path

    def take(self, name: str, path: str) -> FileSource | None:
        """The source that a file is; none where it is passed over."""
        known = self._format or format_of(name)
        if known is None and (suffix := suffix_of(name)):
            self._pass_over(name, f"{suffix} is no known format")
            return None
        try:
            found = os.stat(path)  # noqa: PTH116
        except FileNotFoundError as cause:
            raise MissingFileError(
                "a link in the corpus leads nowhere",
                where=path,
                fix="fetch what it leads to, or remove it",
                cause=cause,
            ) from None
        if not stat.S_ISREG(found.st_mode):
            self._pass_over(name, "no regular file")
            return None
        source = _source(path, name, found, known, given=self._format is not None, listed=True)
        if known is not None:
            return source
        kind, source_by_content = _by_content(source)
        if source_by_content is None:
            self._pass_over(name, kind)
        return source_by_content

    def _pass_over(self, name: str, reason: str) -> None:
        self.passed_over.append(f"{name} ({reason})")


def warn_passed_over(found: Corpus, doing: str, *, stacklevel: int = 2) -> None:
    """Warn the caller of the caller of what was passed over in a corpus."""
    if found.passed_over:
        warnings.warn(f"{doing}: {passed_over_text(found.passed_over)}", stacklevel=stacklevel + 1)


def passed_over_text(names: Sequence[str], *, count: int | None = None, shown: int = 5) -> str:
    """What was passed over, in a line; ``count`` where there are more than ``names``.

    >>> passed_over_text(["a.png (.png is no known format)"])
    '1 passed over: a.png (.png is no known format)'
    """
    if not names:
        return ""
    count = count or len(names)
    return f"{count:,} passed over: {printable(', '.join(names[:shown]))}{', …' if count > shown else ''}"


def _is_store(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is a token store, or one that prepare is at work on."""
    with contextlib.suppress(OSError):
        if os.path.exists(os.path.join(folder, ".journal")):  # noqa: PTH110, PTH118
            return True
        with open(os.path.join(folder, "manifest.json"), "rb") as file:  # noqa: PTH118
            return FORMAT.encode() in file.read(HEAD)
    return False


def _is_output(folder: str | os.PathLike[str], outs: Sequence[Path]) -> bool:
    return _is_store(folder) or _same(folder, outs)


def _same(path: str | os.PathLike[str], outs: Sequence[Path], *, inside: bool = False) -> bool:
    """Whether a path leads to one of ``outs``; or ``inside`` it."""
    for out in outs:
        with contextlib.suppress(OSError):
            one, other = Path(path).resolve(), out.resolve()
            if one == other or (inside and other in one.parents):
                return True
    return False


def _file(path: str, name: str, format: str | None) -> FileSource:  # noqa: A002
    """The source of a file that the caller named, one by one or by a pattern."""
    with explained("read the corpus", path):
        found = os.stat(path)  # noqa: PTH116
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise FileError(
            "the corpus is no regular file",
            got="a pipe, a socket or a device, which can't be read twice",
            where=path,
            fix="write it to a file first, or pass its texts as an iterable",
        )
    known = format or format_of_named(name)
    source = _source(path, name, found, known, given=format is not None, listed=False)
    return _named(source) if known is None else source


def _source(path: str, name: str, found: os.stat_result, known: str | None, *, given: bool, listed: bool) -> FileSource:
    return FileSource(
        name,
        path,
        found.st_size,
        known or "text",
        compression.by_name(name),
        given=given,
        listed=listed,
        stamp=f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}",
    )


def _named(source: FileSource) -> FileSource:
    """The source of a named file as what its first bytes say.

    Raises:
        FormatError: they are no text's.
    """
    kind, source_by_content = _by_content(source)
    if source_by_content is None:
        raise FormatError(
            "what the file holds can't be told, or is no text",
            got=kind,
            where=source.path,
            fix="leave it out of the list or pattern, or say what it is: --format " + ", ".join(FORMAT_NAMES),
        )
    return source_by_content


def _by_content(source: FileSource) -> tuple[str, FileSource | None]:
    """What the first bytes of a source are those of, and the source as that; none where they are no text's."""
    head = _head(source)
    kind = signature(head)
    if kind in compression.SUFFIXES.values() and source.compression is None:
        source = dataclasses.replace(source, compression=kind)
        head = _head(source)
    found = content_kind(head)
    if found is None or (found == "parquet" and source.compression):
        return signature(head) or "binary data", None
    return found, dataclasses.replace(source, format=found)


def _head(source: FileSource) -> bytes:
    with contextlib.closing(HashedReader(source.open_raw())) as raw, unpacked(source, raw) as stream:
        return stream.read(HEAD)


def _remote(url: str, format: str | None) -> Corpus:  # noqa: A002
    try:
        import fsspec  # type: ignore[import-untyped, unused-ignore]
    except ImportError as cause:
        raise MissingPackageError("URLs need the package fsspec", fix="pip install fsspec") from cause
    url = whole_url(url)
    try:
        with explained("reach the corpus", url), reached(url):
            try:
                files, root = fsspec.core.url_to_fs(url)
            except ValueError as cause:
                raise ArgumentError("a URL that fsspec does not know", got=str(cause), where=url) from cause
            folder = False
            if glob.has_magic(root):
                found, base = files.glob(root, detail=True), ""
                found = {name: info for name, info in found.items() if info.get("type") != "directory"}
            elif files.isdir(root):
                found, base, folder = files.find(root, detail=True), root.rstrip("/") + "/", True
            elif files.exists(root):
                found, base = {root: files.info(root)}, root.rpartition("/")[0] + "/"
            else:
                found, base = {}, ""
            sources: list[Source] = []
            passed_over: list[str] = []
            for path in sorted(found):
                name = path.removeprefix(base)
                if folder:
                    refuse_logged_table(name, url)
                    parts = name.split("/")
                    if any(part.startswith(".") or part == UNFINISHED for part in parts):
                        passed_over.append(f"{name} ({'not finished' if UNFINISHED in parts else 'hidden'})")
                        continue
                source = _remote_file(files, path, name, found[path], format, listed=folder)
                known, suffix = (
                    format or (format_of if folder else format_of_named)(_plain(path)),
                    suffix_of(_plain(path)),
                )
                if known is None and not folder:
                    source = _named(source)
                elif known is None:
                    kind, found_kind = (f"{suffix} is no known format", None) if suffix else _by_content(source)
                    if found_kind is None:
                        passed_over.append(f"{name} ({kind})")
                        continue
                    source = found_kind
                sources.append(source)
            if not sources:
                raise MissingFileError(
                    "there is nothing to read at the URL", got=passed_over_text(passed_over) or None, where=url
                )
            return Corpus(sources, passed_over)
    except ImportError as cause:
        if isinstance(cause, MissingPackageError):
            raise
        raise MissingPackageError(
            "the URL needs a package that is not installed", got=str(cause), fix="install it with pip"
        ) from cause


def _remote_file(
    files: Any,
    path: str,
    name: str,
    info: Mapping[str, Any],
    format: str | None,  # noqa: A002
    *,
    listed: bool,
) -> FileSource:
    size = info.get("size")
    if size is None:
        size = files.size(path)
    marks = ("ETag", "etag", "LastModified", "Last-Modified", "mtime", "updated", "last_modified", "created")
    said = [f"{mark}={info[mark]}" for mark in marks if info.get(mark)]
    return FileSource(
        name,
        path,
        None if size is None else int(size),
        format or (format_of if listed else format_of_named)(_plain(path)) or "text",
        compression.by_name(_plain(path)),
        files,
        given=format is not None,
        listed=listed,
        stamp=f"{size} {' '.join(said)}" if said else None,
    )


def _plain(path: str) -> str:
    """The path of a remote file; over HTTP without what follows it in the URL, which is no part of a file's name."""
    return path.partition("#")[0].partition("?")[0] if is_url(path) else path
