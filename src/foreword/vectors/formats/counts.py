"""word2vec's files of counts: ``word count`` lines, which gensim calls fvocab.

Not for: the vectors, which are in another file. Costs: the file is held in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import read_bytes
from foreword.errors import FormatError, TextDecodeError
from foreword.vectors.formats.text import BOM
from foreword.vectors.formats.writers import key_bytes, opened

__all__ = ["read_counts", "write_counts"]

PathLike = str | os.PathLike[str]

_LINE = re.compile(rb"[ \t]*(.*?)[ \t]+([^ \t]+)[ \t\r]*", re.DOTALL)


def read_counts(path: PathLike, *, encoding: str = "utf-8", unicode_errors: str = "strict") -> dict[str, int]:
    """word → count of a file of counts, also packed; of a word that comes twice the last.

    A line's count stands after its last blanks, spaces or tabs; those around the word are no part of it. Words are
    UTF-8, as gensim has it, decoded with ``unicode_errors``; those of a file that isn't UTF-8 are in ``encoding``.

    Raises:
        MissingFileError, FileError: it can't be read.
        TextDecodeError: a word is not text in the encoding.
        FormatError: a line is not a word and a count.
    """
    data = read_bytes(path, "read the counts").removeprefix(BOM)
    try:
        data.decode()
        encoding = "utf-8"
    except UnicodeDecodeError:
        pass
    found: dict[str, int] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{os.fspath(path)}, line {number:,}"
        parts = _LINE.fullmatch(line)
        try:
            if parts is None or not parts[1]:
                raise ValueError
            count = int(parts[2])
        except ValueError:
            raise FormatError("not a word and its count", got=repr(line[:60]), where=where) from None
        try:
            found[parts[1].decode(encoding, unicode_errors)] = count
        except UnicodeDecodeError as cause:
            raise TextDecodeError(
                f"a word is not {encoding} text",
                cause=cause,
                got=repr(line[:60]),
                where=where,
                fix='name its encoding, or pass unicode_errors="replace" or "ignore"',
            ) from cause
    return found


def write_counts(
    path: PathLike, keys: Sequence[str], counts: NDArray[Any], *, prefix: str = "", append: bool = False
) -> None:
    """Write a file of counts, packed as its name says; ``append``: after what is there.

    Raises:
        ArgumentError: a key is not text, or the name is that of an archive.
        FileError: it can't be written.
    """
    numbers = np.asarray(counts).tolist()
    with opened(path, append=append) as file:
        file.write(b"".join(b"%b %d\n" % (key_bytes(prefix + key), n) for key, n in zip(keys, numbers, strict=True)))
