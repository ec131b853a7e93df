"""gensim's native format: what ``save`` writes, a pickle with large arrays as ``.npy`` files beside it.

The pickle is read as data (``pickles``): nothing that it names is called. Of an object the names of its attributes
say what it is, so that subclasses, and models of any gensim since 0.12, are read alike:

    words      of KeyedVectors, Word2Vec, FastText, Doc2Vec: in the object, or in its ``wv``
    documents  of Doc2Vec: in its ``dv`` (gensim 4) or ``docvecs``; keyed by integers, words, or both
    subwords   of FastText: a row a bucket (3.8 and 4), only the buckets in use (``hash2index``, 3.3–3.7), or only the
               n-grams in use (``ngrams``, up to 3.2)

Arrays that the pickle says lie beside it are NAME.vectors.npy, NAME.wv.vectors.npy and so on, of a compressed NAME
``.npz``; a folder in an archive will do.

Not for: writing; topic models, phrases, Poincaré embeddings, which are refused by name. Costs: the pickle is
interpreted in Python, about a microsecond a key, ten where each word has a ``Vocab`` (before gensim 4); arrays beside
it are mapped.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import DAMAGED_ARRAY, explained
from foreword.errors import FormatError, MissingFileError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader, file_state
from foreword.vectors.formats.pickles import Inert, array_of, is_pickle, load_inert, plain
from foreword.vectors.formats.source import Source, open_source
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack
from foreword.vectors.store.keys import Key, encode, is_key
from foreword.vectors.store.subwords import BYTES, CHARACTERS, SPELLING, Subwords, add_subwords, ngram_hash

__all__ = ["NativeModel", "is_native", "read_model", "read_native"]

_KEYS = ("index_to_key", "index2word", "index2entity")
_WORDS = ("vectors", "syn0")
_DOCUMENTS = ("vectors_docs", "doctag_syn0", *_WORDS)
_DOCUMENT_TAGS = ("offset2doctag", "index2doctag")
_WRONG = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What reading a damaged array raises."""

is_native = is_pickle


def read_native(source: Source, options: Options) -> Reader:
    """A reader of vectors that gensim saved.

    Raises:
        FormatError: the pickle is damaged, calls what no model is made of, or holds no such vectors; or an array
        beside it is damaged. MissingFileError: an array that should lie beside it does not.
    """
    root = load_inert(source)
    if not isinstance(root, Inert):
        raise _damaged(source, f"a pickle of a {type(root).__name__}")
    part, name = _part(source, root, options.vectors)
    arrays = _Arrays(source, part, name)
    documents = _holds_documents(part)
    rows = arrays.first(_DOCUMENTS if documents else _WORDS)
    own = None if rows is not None else arrays.first(("vectors_vocab", "syn0_vocab"))
    subwords = _subwords(source, root, part, arrays)
    if rows is None:
        rows = own
    if rows is None:
        raise _damaged(source, f"{part.kind} without vectors")
    _check(source, rows, None)
    keys = _keys(source, part, len(rows))
    dim = _check(source, rows, len(keys))
    if subwords is not None and subwords.vectors.shape[1] != dim:
        raise _damaged(source, "vectors and subwords of different dimensions")
    if own is not None and subwords is not None and not subwords.as_in_fasttext:
        raise _damaged(source, f"{part.kind} without the vectors of its words")
    parts = None if own is None else subwords
    counts = _counts(part, keys, source)
    kept = [row for row, key in enumerate(keys) if key is not None]  # a row that was only allocated has no key
    whole = len(kept) == len(keys)
    return Reader(
        dim,
        lambda: _blocks(source, keys, rows, counts, parts, None if whole else kept, options),
        subwords,
        files=arrays.files,
    )


@dataclass(frozen=True)
class NativeModel:
    """A model of words that gensim saved, or fastText, to train on.

    Attributes:
        kind: its class.
        keys: V words.
        counts: int64 [V], or None where the file has none that can be read.
        vectors: float [V, D]: the words' vectors; of a FastText their own rows.
        output: float [V, D], the table of negative sampling, or None.
        subwords: the n-grams of a FastText, or None.
        fields: what else there is to it, by gensim's names of any version: numbers, text and None alone.
    """

    kind: str
    keys: list[Any]
    counts: NDArray[np.int64] | None
    vectors: NDArray[Any]
    output: NDArray[Any] | None
    subwords: Subwords | None
    fields: Mapping[str, Any]


def read_model(source: Source) -> NativeModel:
    """The model in a file that gensim saved.

    Raises:
        FormatError: as ``read_native``; or it is no model of words. MissingFileError: likewise.
    """
    root = load_inert(source)
    if not isinstance(root, Inert):
        raise _damaged(source, f"a pickle of a {type(root).__name__}")
    part, name = _part(source, root, "words")
    arrays = _Arrays(source, part, name)
    subwords = _subwords(source, root, part, arrays)
    vectors = arrays.first(_WORDS if subwords is None else ("vectors_vocab", "syn0_vocab"))
    if vectors is None:
        raise _damaged(source, f"{part.kind} without the vectors of its words")
    keys = _keys(source, part, len(vectors))
    _check(source, vectors, len(keys))
    outputs = [_Arrays(source, root, source.name)]
    holders = [root]
    for attribute in ("trainables", "vocabulary"):
        if isinstance(inner := root.get(attribute), Inert):
            holders.append(inner)
            outputs.append(_Arrays(source, inner, f"{source.name}.{attribute}"))
    output = next((found for each in outputs if (found := each.first(("syn1neg",))) is not None), None)
    fields: dict[str, Any] = {}
    for holder in (part, *reversed(holders)):
        for label, value in (holder.state if isinstance(holder.state, dict) else {}).items():
            try:
                value = plain(value)  # noqa: PLW2901
            except _WRONG as cause:
                raise _damaged(source, f"{label!r:.40}: {cause}"[:200]) from None
            if isinstance(label, str) and isinstance(value, int | float | str | None):
                fields[label] = value
    return NativeModel(root.kind, keys, _counts(part, keys, source), vectors, output, subwords, fields)


def _part(source: Source, root: Inert, wanted: str) -> tuple[Inert, str]:
    """The object that holds the vectors that are wanted, and what names of files beside begin with."""
    if "Poincare" in root.kind:
        raise FormatError(
            "vectors of a Poincaré ball, whose nearness is no cosine",
            got=root.kind,
            expected="Word2Vec, FastText, Doc2Vec or KeyedVectors",
            where=source.name,
        )
    for attribute in ("dv", "docvecs") if wanted == "documents" else ("wv",):
        if isinstance(inner := root.get(attribute), Inert):
            return inner, f"{source.name}.{attribute}"
    if wanted == "documents" and not _holds_documents(root) and _holds_words(root):
        raise FormatError(
            "the model has no vectors of documents",
            got=root.kind,
            expected="a Doc2Vec",
            where=source.name,
            fix='load its words: vectors="words"',
        )
    if not _holds_documents(root) and root.get(*_KEYS) is None:
        raise FormatError(
            "the file holds no word vectors",
            got=root.kind,
            expected="Word2Vec, FastText, Doc2Vec or KeyedVectors, as gensim saves them",
            where=source.name,
        )
    return root, source.name


def _holds_documents(part: Inert) -> bool:
    """Whether it is what held the documents of a Doc2Vec before gensim 4."""
    return isinstance(part.state, dict) and "doctags" in part.state


def _holds_words(part: Inert) -> bool:
    """Whether its keys are surely words: of a model, or a table with counts or n-grams. A bare one may hold either."""
    return part.get(*_KEYS) is None or "count" in _attributes(part) or part.get("vocab", "wv", "min_n") is not None


def _attributes(part: Inert) -> dict[Any, Any]:
    """The attributes of keys, of gensim 4."""
    found = part.get("expandos")
    return found if isinstance(found, dict) else {}


def _keys(source: Source, part: Inert, count: int) -> list[Key | None]:
    """The keys in the order of their rows, of which there are ``count``."""
    if _holds_documents(part):
        tags = part.get(*_DOCUMENT_TAGS) or []
        last = part.get("max_rawint")
        if type(tags) is not list or not (last is None or type(last) is int):
            raise _damaged(source, f"{part.kind} without a list of tags")
        numbers = range(count - len(tags) if last is None else last + 1)  # integers come first, one for each row
        found: Any = [*numbers, *tags] if len(numbers) + len(tags) == count else None
    else:
        found = part.get(*_KEYS)
        found = [] if found is None and count == 0 else found
    if isinstance(found, Inert):
        try:
            found = plain(found)
            found = array_of(found).tolist() if isinstance(found, Inert) else found
        except _WRONG:
            found = None
    if isinstance(found, range) and len(found) <= count:
        found = list(found)
    if type(found) is not list:
        raise _damaged(source, f"{part.kind} without a list of keys")
    if all(type(key) is str for key in found):
        return found
    try:
        keys = [plain(key) if isinstance(key, Inert) else key for key in found]
    except _WRONG as cause:
        raise _damaged(source, f"a key: {cause}"[:200]) from None
    odd = next((key for key in keys if key is not None and not is_key(key)), None)
    if odd is not None:
        raise _damaged(source, f"a key of type {odd.kind if isinstance(odd, Inert) else type(odd).__name__}")
    return keys


def _blocks(
    source: Source,
    keys: Sequence[Key | None],
    vectors: NDArray[Any],
    counts: NDArray[np.int64] | None,
    subwords: Subwords | None,
    kept: list[int] | None,
    options: Options,
) -> Iterator[Pending]:
    wanted = options.most(len(keys) if kept is None else len(kept))
    at_once = max(1, BLOCK_BYTES // (vectors.shape[1] * vectors.itemsize))

    def make(start: int, stop: int) -> Block:
        chosen: Any = slice(start, stop) if kept is None else kept[start:stop]
        words = [encode(key) for key in (keys[chosen] if kept is None else (keys[row] for row in chosen))]
        rows = vectors[chosen]
        if subwords is not None:
            rows = np.array(rows, dtype=np.float32)
            add_subwords(rows, words, subwords.vectors, minn=subwords.minn, maxn=subwords.maxn, many=wanted)
        part = None if counts is None else counts[chosen]
        return Block(*pack(words), rows, lambda i: f"{source.name}, row {start + i:,}", part)

    for start in range(0, wanted, at_once):
        stop = min(start + at_once, wanted)
        yield stop - start, functools.partial(make, start, stop)


def _subwords(source: Source, root: Inert, part: Inert, arrays: _Arrays) -> Subwords | None:
    """The n-grams of a FastText, of any gensim."""
    minn, maxn = part.get("min_n"), part.get("max_n")
    if minn is None and maxn is None:
        return None
    grams = arrays.first(("vectors_ngrams", "syn0_ngrams", "syn0_all"))
    if grams is None:
        return None
    if not (type(minn) is type(maxn) is int and 0 <= minn <= 1 << 10 >= maxn >= 0):
        raise _damaged(source, f"n-grams of {minn} to {maxn} letters"[:80])
    _check(source, grams, None)
    hashing = BYTES if part.get("compatible_hash") is True else CHARACTERS
    spelt, packed = part.get("ngrams"), part.get("hash2index")
    buckets = next(
        (found for holder in (part, root.get("trainables"), root) if (found := _integer(holder, "bucket"))), len(grams)
    )
    listed: dict[int, int] | None = None
    if isinstance(spelt, dict) and spelt:
        hashing, buckets = SPELLING, 0
        listed = {ngram_hash(gram): row for gram, row in spelt.items() if type(gram) is str}
        wrong = len(listed) != len(spelt)
    else:
        if isinstance(packed, dict) and packed:
            listed = packed
        wrong = listed is None and buckets != len(grams) and len(grams) > 0
    if listed is not None:
        wrong |= not all(type(n) is int for pair in listed.items() for n in pair) or (
            min(listed) < 0 or min(listed.values()) < 0 or max(listed.values()) >= len(grams)
        )
        wrong |= hashing != SPELLING and not wrong and max(listed) >= buckets
    if wrong:
        raise _damaged(source, "n-grams that don't fit their vectors")
    if listed is not None and hashing == BYTES and len(grams) == buckets and all(a == b for a, b in listed.items()):
        listed = None  # every bucket is in use
    return Subwords.of(minn, maxn, grams, hashing=hashing, buckets=buckets, listed=listed)


def _integer(holder: Any, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, Inert) else None
    return value if type(value) is int and value > 0 else None


class _Arrays:
    """The arrays of an object: in the pickle, or beside it.

    Attributes:
        files: the files beside it that were read, and what they were like before.
    """

    def __init__(self, source: Source, part: Inert, name: str) -> None:
        self._source, self._part, self._name = source, part, name
        beside = part.get("__numpys")
        self._beside = beside if isinstance(beside, list) else []
        self.files: dict[str, list[Any]] = {}

    def first(self, names: Sequence[str]) -> NDArray[Any] | None:
        """The first of these arrays that there is."""
        return next((found for name in names if (found := self._array(name)) is not None), None)

    def _array(self, name: str) -> NDArray[Any] | None:
        if name in self._beside:
            return self._read(name)
        value = self._part.get(name)
        if value is None or (isinstance(value, list) and not value):  # gensim 3's ``docvecs`` has such a list
            return None
        if not isinstance(value, Inert):
            raise _damaged(self._source, f"a {type(value).__name__} instead of an array")
        try:
            return array_of(value)
        except _WRONG as cause:
            raise _damaged(self._source, f"an array: {cause}"[:200]) from None

    def _read(self, name: str) -> NDArray[Any]:
        """The array in a file beside the pickle."""
        stems = [self._name]
        for suffix in (".gz", ".bz2", ".xz", ".zst"):
            whole = self._source.name
            if whole.endswith(suffix):  # packed after it was saved
                stems.append(self._name.replace(whole, whole.removesuffix(suffix), 1))
        places = [f"{stem}.{name}{suffix}" for stem in stems for suffix in (".npy", ".npz")]
        packed = stems[1:] and self._source.name.endswith((".gz", ".bz2"))
        expected = places[1 if packed else 0]
        for place in places:
            found = self._open(Path(place))
            if found is not None:
                return found
        raise MissingFileError(
            "a part of the model is missing",
            got=f"no array {name!r} beside {Path(self._source.name).name}",
            where=expected,
            fix="put the file there: gensim wrote it beside the model, and both must keep their names",
        )

    def _open(self, place: Path) -> NDArray[Any] | None:
        """The array in a file: mapped, or unpacked to a temporary file and mapped; None where there is no file."""
        try:
            with explained("read the vectors", place):
                if place.is_file():
                    self.files[os.fspath(place)] = file_state(place)
                    if place.suffix == ".npy":
                        return np.asarray(np.load(place, mmap_mode="r", allow_pickle=False))
                elif self._source.plain or not self._inside(place):
                    return None
            return _unpacked(place / "val.npy" if place.suffix == ".npz" and place.is_file() else place)
        except DAMAGED_ARRAY as cause:
            if isinstance(cause, FormatError):
                raise
            raise FormatError("an array of the vectors is damaged", got=str(cause)[:80], where=place) from None

    def _inside(self, place: Path) -> bool:
        """Whether the archive that holds the model has such a member."""
        if self._source.name == os.fspath(self._source.path):
            return False
        try:
            with open_source(place):
                return True
        except FormatError:
            return False


def _unpacked(place: Path) -> NDArray[Any]:
    """The array of a ``.npy`` file in an archive."""
    with (
        open_source(place) as source,
        explained("unpack the vectors to a temporary file", tempfile.gettempdir()),
        tempfile.TemporaryFile() as file,
    ):
        while piece := source.read(BLOCK_BYTES):
            file.write(piece)
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("an array of objects")
        return np.asarray(np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C"))


def _check(source: Source, rows: NDArray[Any], count: int | None) -> int:
    """The dimension of ``rows``, which must be floats, one row a key."""
    if rows.ndim != 2 or rows.dtype.kind != "f" or not 1 <= rows.shape[1] <= MAX_DIM or count not in (None, len(rows)):
        expected = "float [N, D]" if count is None else f"float [{count:,}, D], a row a key"
        raise FormatError(
            "the vectors don't fit the keys",
            got=f"{rows.dtype} {list(rows.shape)}",
            expected=expected,
            where=source.name,
        )
    return int(rows.shape[1])


def _counts(part: Inert, keys: Sequence[Key | None], source: Source) -> NDArray[np.int64] | None:
    """The words' counts: of gensim 4 among ``expandos``, of gensim 3 in each word's ``Vocab``."""
    if isinstance(found := _attributes(part).get("count"), Inert):
        try:
            counts = array_of(found)
        except _WRONG as cause:
            raise _damaged(source, f"an array: {cause}"[:200]) from None
        if counts.shape == (len(keys),) and counts.dtype.kind in "iu":
            return counts.astype(np.int64)
    vocab = part.get("vocab")
    if isinstance(vocab, dict):
        each = [entry.get("count") if isinstance(entry := vocab.get(key), Inert) else None for key in keys]
        if all(type(n) is int and abs(n) < 1 << 62 for n in each):
            return np.array(each, dtype=np.int64)
    return None


def _damaged(source: Source, got: str) -> FormatError:
    return FormatError(
        "not vectors that gensim saved, or damaged", got=got, where=source.name, fix="get the file again"
    )
