"""``load``: a name, a path or a URL → ``KeyedVectors``.

Not for: what happens on the way (``sources.opening``). Costs: 1–2 ms where the store exists, else the conversion: a
second or two for a gigabyte.
"""

from __future__ import annotations

import os
from typing import Any, Literal

from numpy.typing import DTypeLike

from foreword.vectors.keyed_vectors import KeyedVectors
from foreword.vectors.sources.opening import open_store

__all__ = ["load"]


def load(
    name_or_path: str | os.PathLike[str],
    *,
    limit: int | None = None,
    dtype: DTypeLike | None = None,
    encoding: str = "utf-8",
    unicode_errors: str | None = None,
    binary: bool | None = None,
    vocabulary: str | os.PathLike[str] | None = None,
    oov: Literal["error", "skip", "subwords", "lower", "fold"] | None = None,
    vectors: Literal["words", "documents"] = "words",
) -> KeyedVectors:
    """Word vectors by name or from a file, opened in milliseconds once they have been converted.

    The first load of a file converts it to a store in the cache (``FOREWORD_HOME``); later loads map that.

    Args:
        name_or_path: a name of the catalogue (``foreword.downloader.info()``); or a file: word2vec binary or text,
            GloVe text, fastText ``.bin``, ``.ftz`` or ``.vec``, gensim's native format, safetensors or ``.npy`` with a
            vocabulary, told apart by content, also inside gz, bz2, xz, zst, zip or tar
            (``ARCHIVE.zip/MEMBER`` where it holds several); or the folder of a store, or of a static embedding model of
            model2vec or sentence-transformers, whose words are tokens (see ``KeyedVectors.encode``); or a URL, or
            ``hf://OWNER/REPO``.
        limit: read only the first ``limit`` words.
        dtype: what to keep vectors as: float32, or float16 for half the size. None: float32.
        encoding: of the words.
        unicode_errors: what becomes of bytes that are no text in it, as in ``bytes.decode``. None: they are an error
            ("strict"), but in a fastText ``.bin``, whose words fastText cuts anywhere, kept as "backslashreplace".
        binary: whether a word2vec file is binary; None looks at its content.
        vocabulary: the file of words of a ``.npy`` or safetensors file; None looks beside it.
        oov: what stands in for unknown words: nothing ("error"; "skip" leaves them out of lists), fastText's
            "subwords", the word in "lower" case, or also without its accents ("fold"). None: "subwords" where the file
            has them, else "error". ``KeyedVectors.oov`` can be changed later.
        vectors: of gensim's Doc2Vec the vectors of its "words" or of its "documents".

    Raises:
        UnknownNameError: neither a file nor a name of the catalogue.
        MissingFileError, FileError: the file can't be read, or the cache not written.
        DownloadError: it can't be fetched.
        FormatError: the file is damaged, or holds a vector that is not finite.
        TextDecodeError: a word is not text in the encoding.

    >>> wv = load("glove-wiki-gigaword-50")
    >>> wv["king"].shape
    (50,)
    """
    options: dict[str, Any] = {
        "encoding": encoding,
        "unicode_errors": unicode_errors,
        "vocabulary": vocabulary,
        "vectors": vectors,
    }
    table = KeyedVectors._from_store(open_store(name_or_path, limit=limit, dtype=dtype, binary=binary, **options))
    table.oov = oov
    return table
