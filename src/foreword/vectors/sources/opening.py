"""``open_store``: a name, a path or a URL → the store of vectors, fetched and converted where it has to be.

Not for: what happens on the way: ``catalogue`` and ``remote`` resolve names, ``convert`` keeps stores, ``formats`` read
files. Costs: 1–2 ms where the store exists, else the conversion: a second or two for a gigabyte.
"""

from __future__ import annotations

import codecs
import contextlib
import os
from dataclasses import replace
from typing import Literal

from numpy.typing import DTypeLike

from foreword._base.checks import integer
from foreword._base.files import check_whole, explained, given_path
from foreword.errors import ArgumentError, MissingFileError
from foreword.vectors.formats import Options
from foreword.vectors.formats.source import member_of
from foreword.vectors.formats.static_model import model_in
from foreword.vectors.sources import catalogue
from foreword.vectors.sources.convert import cached_store
from foreword.vectors.store.store import VectorStore, is_store, vector_dtype

__all__ = ["open_store"]

_AS_IT_IS = Options(unicode_errors="strict")
"""The options that a store can be opened with."""


def open_store(
    name_or_path: str | os.PathLike[str],
    *,
    limit: int | None = None,
    dtype: DTypeLike | None = None,
    encoding: str = "utf-8",
    unicode_errors: str | None = None,
    binary: bool | None = None,
    vocabulary: str | os.PathLike[str] | None = None,
    vectors: Literal["words", "documents"] = "words",
    header: bool | None = None,
) -> VectorStore:
    """The store of what is named; the arguments and errors are those of ``foreword.load``. ``header`` False: a text
    file has none.
    """
    try:
        "".encode(encoding), b"".decode(encoding), codecs.lookup_error(unicode_errors or "strict")
    except LookupError as cause:
        raise ArgumentError("words can't be decoded so", got=str(cause), fix="name another encoding") from None
    if vectors not in ("words", "documents"):
        raise ArgumentError("there are no such vectors", got=repr(vectors), expected='"words" or "documents"')
    options = Options(
        limit=None if limit is None else integer("limit", limit, at_least=1),
        binary=binary,
        encoding=encoding,
        unicode_errors=unicode_errors,
        vocabulary=None if vocabulary is None else os.fspath(given_path(vocabulary)),
        vectors=vectors,
        header=header,
    )
    return _find(name_or_path, options, dtype)


def _find(name_or_path: str | os.PathLike[str], options: Options, dtype: DTypeLike | None) -> VectorStore:
    path = given_path(name_or_path)
    if "://" in os.fspath(name_or_path):
        from foreword.vectors.sources.remote import obtain

        name_or_path = path = obtain(os.fspath(name_or_path))
    with contextlib.suppress(RuntimeError):  # "~somebody" may be a file's name
        path = path.expanduser()
    if is_store(path):
        if replace(options, unicode_errors=options.unicode_errors or "strict") != _AS_IT_IS or dtype is not None:
            raise ArgumentError("a store is opened as it is", where=path, fix="give the options when it is made")
        return VectorStore.open(path)
    with explained("open the vectors", path):
        folder = path.is_dir()
    check_whole(path, "open the vectors")
    path = (model_in(path) if folder else None) or path
    if member_of(path)[0].is_file():
        return cached_store(path, options, vector_dtype(dtype))
    name = os.fspath(name_or_path)
    if name not in catalogue.CATALOGUE and (path.exists() or path.suffix or len(path.parts) != 1):
        raise MissingFileError(
            "this folder is no store of vectors, nor a static model"
            if path.exists()
            else "there is no such file of vectors",
            where=path,
            fix="check the path, or name vectors of the catalogue (foreword.downloader.info()), a URL or hf://OWNER/REPO",
        )
    local = catalogue.local_file(catalogue.find(name))
    if local.vocabulary is not None:
        options = replace(options, vocabulary=os.fspath(local.vocabulary))
    return cached_store(local.path, options, vector_dtype(dtype), identity=local.identity)
