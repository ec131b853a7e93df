"""KeyedVectors: words and their vectors, with the interface of gensim 4.4's class of that name.

Reading order: ``table.py`` keys, vectors, norms, means · ``neighbours.py`` the nearest keys · ``similarity.py``
comparing given keys · ``evaluation.py`` scoring against people's lists · ``editing.py`` changing · ``encoding.py``
texts to vectors. Here: files, and gensim's old names.

Not for: training. Costs: opening a store takes milliseconds and no memory that grows with it.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foreword._base.checks import integer
from foreword._base.files import given_path
from foreword.errors import ArgumentError, FormatError
from foreword.vectors.editing import Editing
from foreword.vectors.encoding import Encoding
from foreword.vectors.evaluation import Evaluation
from foreword.vectors.sources.opening import open_store
from foreword.vectors.store.keys import IndexToKey, KeyToIndex, decode
from foreword.vectors.store.store import VectorStore

if TYPE_CHECKING:
    from foreword.vectors.formats.writers import Format

__all__ = ["KeyedVectors"]

_NOT_KEPT = ("_guard", "_index", "_norms", "_seen", "_texts")
"""What every process, and every copy, makes for itself."""

_GENSIM = "see gensim's guide, Migrating from Gensim 3.x to 4"


class KeyedVectors(Editing, Evaluation, Encoding):
    """Words and their vectors.

    ``foreword.load`` opens pretrained ones; the constructor makes a table to fill:

    >>> wv = KeyedVectors(2)
    >>> wv.add_vectors(["east", "north", "northeast"], [[1, 0], [0, 1], [0.6, 0.8]])
    >>> wv.most_similar("east")
    [('northeast', 0.6...), ('north', 0.0)]

    Args:
        vector_size: D.
        count: rows to allocate at once; ``add_vector`` fills them.
        dtype: of the rows.
        mapfile_path: kept, without effect, as in gensim.
    """

    # Files.

    @classmethod
    def load(cls, fname: str | os.PathLike[str], mmap: str | None = None) -> Self:  # noqa: ARG003
        """The vectors in a file of any format that ``foreword.load`` reads, or in a folder that ``save`` wrote.

        Args:
            fname: the file or folder.
            mmap: nothing to choose: rows are always mapped, and copied before they are changed.
        """
        return cls._from_store(open_store(fname))

    @classmethod
    def load_word2vec_format(
        cls,
        fname: str | os.PathLike[str],
        fvocab: str | os.PathLike[str] | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: DTypeLike = np.float32,
        no_header: bool = False,
    ) -> Self:
        """The vectors in a word2vec file.

        Args:
            fname: the file.
            fvocab: a file of ``word count`` lines, in UTF-8 or else in ``encoding``; sets the attribute "count" of each
                word, 0 for one that isn't there.
            binary: the file is binary.
            encoding: of the words.
            unicode_errors: what becomes of bytes that are no text in it, as in ``bytes.decode``.
            limit: read only the first so many words.
            datatype: float32 or float16.
            no_header: the text file has no first line of counts, as GloVe's; told from its content, except where each
                word has one number.

        Raises:
            ArgumentError: a binary file can't be without a header.
            MissingFileError, FileError, FormatError, TextDecodeError: see ``foreword.load``.
        """
        options: dict[str, Any] = {"encoding": encoding}
        if unicode_errors != "strict":  # which word2vec's files are read by in any case
            options["unicode_errors"] = unicode_errors
        options |= {"limit": limit, "dtype": datatype, "binary": binary, "header": False if no_header else None}
        if no_header and binary:
            raise ArgumentError("a binary file needs its header", got="no_header=True, binary=True")
        table = cls._from_store(open_store(fname, **options))
        if fvocab is not None:
            from foreword.vectors.formats.counts import read_counts

            counts = read_counts(fvocab, encoding=encoding, unicode_errors=unicode_errors)
            table.expandos["count"] = np.fromiter((counts.get(key, 0) for key in table.index_to_key), dtype=np.int64)
        elif "count" not in table.expandos:  # as gensim: the file is in order of frequency, so make counts that fall
            table.expandos["count"] = np.arange(len(table), 0, -1)
        return table

    def save(self, fname_or_handle: str | os.PathLike[str], *_: Any, **__: Any) -> None:
        """Write a store: a folder of plain arrays, which ``load`` maps; whole or not at all. A store there is replaced.

        gensim's further arguments say how to pickle, and have no meaning here.

        Raises:
            FileError: the folder can't be written.
            ArgumentError: a row has no key yet.
        """
        from foreword.vectors.store.saving import save_store

        self.allocate_vecattrs()
        kept: dict[str, Any] = {"subwords": self._subwords, "encoder": self._encoder, "word_ngrams": self._word_ngrams}
        save_store(fname_or_handle, self._named_keys(), self._rows, self.expandos, **kept)

    def export(self, path: str | os.PathLike[str], *, format: Format | None = None) -> Format:  # noqa: A002
        """Write one file that other programs read, and ``load``: word2vec, GloVe, safetensors or ``.npy``; or the
        folder of a static embedding model.

        Args:
            path: the file; packed where it ends in .gz, .bz2, .xz or .zst. A ``.npy`` file gets its words, one a line,
                in NAME.vocab beside it.
            format: "word2vec-binary", "word2vec-text", "glove", "safetensors" or "npy"; None goes by the suffix: .bin
                word2vec-binary, .safetensors, .npy, else word2vec-text; .gz and the like apart. "static": the folder
                that model2vec or sentence-transformers reads, whichever the vectors came from.

        Returns:
            The format.

        Raises:
            FileError: the file can't be written.
            ArgumentError: the format can't hold a key, or there is no such format; "static", and these vectors are of
                no static embedding model.
        """
        from foreword.vectors.formats.writers import write

        if format == "static":
            self._write_static_model(path)
            return format
        return write(path, self._written_keys(), self._rows, format=format)

    def save_word2vec_format(
        self,
        fname: str | os.PathLike[str],
        fvocab: str | os.PathLike[str] | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> None:
        """Write a word2vec file.

        Args:
            fname: the file; packed where it ends in .gz, .bz2, .xz or .zst.
            fvocab: also write ``word count`` lines there; packed likewise.
            binary: write float32 bytes rather than numbers as text.
            total_vec: the count to state in the header, where more will be appended.
            write_header: False leaves the first line out, as GloVe does.
            prefix: what to put before each word.
            append: write after what is there.
            sort_attr: write in falling order of this attribute, where keys have it.

        Raises:
            FileError: the file can't be written.
            ArgumentError: counts are asked for and there are none; or the format can't hold a key.
        """
        from foreword.vectors.formats.counts import write_counts
        from foreword.vectors.formats.writers import write_word2vec

        total_vec = None if total_vec is None else integer("total_vec", total_vec, at_least=0)
        keys, order = self._written_keys(), np.arange(len(self))
        if sort_attr in self.expandos:
            self.allocate_vecattrs()
            order = np.argsort(-self.expandos[sort_attr], kind="stable")
        elif fvocab is not None:
            raise ArgumentError(
                f"can't write counts: keys have no attribute {sort_attr!r}",
                expected=", ".join(self.expandos) or None,
                fix='set it: set_vecattr(key, "count", n)',
            )
        ordered = [keys[row] for row in order]
        if fvocab is not None:
            write_counts(fvocab, ordered, self.expandos[sort_attr][order], prefix=prefix, append=append)
        rows = self._rows if (np.diff(order) == 1).all() else self._rows[order]
        options: dict[str, Any] = {"prefix": prefix, "append": append, "total": total_vec}
        write_word2vec(fname, ordered, rows, binary=binary, header=write_header, **options)

    def to_gensim(self) -> Any:
        """gensim's own ``KeyedVectors`` over the same array of vectors, for code that checks the type.

        Where unknown words get vectors by n-grams (``oov`` "subwords"), a ``FastTextKeyedVectors``. Vectors and n-grams
        are shared: over a store they are mapped and read-only, as after gensim's ``load(mmap="r")``; in memory who
        writes to one writes to both, and calls ``fill_norms(force=True)`` of both afterwards. Keys and attributes are
        copied. Other policies of ``oov`` than "subwords" stay behind.

        Raises:
            MissingPackageError: gensim isn't installed.
            ArgumentError: gensim can't hold the n-grams, or not with such keys.
        """
        from foreword.vectors.gensim_bridge import to_gensim

        return to_gensim(self)

    @classmethod
    def from_gensim(cls, keyed_vectors: Any) -> Self:
        """A table over the vectors of gensim's own ``KeyedVectors`` or ``FastTextKeyedVectors``, the way back.

        The array of vectors is shared, and copied before it is changed if it is read-only; keys and attributes are
        copied.

        Args:
            keyed_vectors: gensim's; of a model its ``wv``, or ``dv`` for documents.

        Raises:
            ArgumentTypeError: it is something else, or vectors of a Poincaré ball.
            ArgumentError: a vector is not finite, a key comes twice, or keys and vectors don't fit together.
        """
        from foreword.vectors.gensim_bridge import from_gensim

        return from_gensim(cls, keyed_vectors)

    def _named_keys(self) -> list[Any]:
        """All keys, of which each row must have one."""
        self._check_rows()
        keys = list(self.index_to_key)
        if None in keys:
            raise ArgumentError(
                "some rows have no key yet", got=f"{keys.count(None)} of {len(keys)}", fix="add_vector fills them"
            )
        return keys

    def _written_keys(self) -> list[str]:
        """All keys as they are written where keys are text; integers as their digits."""
        keys = self._named_keys()
        written = [key if isinstance(key, str) else str(key) for key in keys]
        if self._integer_keys() and len(set(written)) < len(keys):
            raise ArgumentError(
                "a word and an integer would be written alike",
                got=next(word for word, key in zip(written, keys, strict=True) if word != key and word in self),
                fix="save() keeps integers as they are",
            )
        return written

    def intersect_word2vec_format(
        self,
        fname: str | os.PathLike[str],
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> None:
        """Take over the vectors that a word2vec file has for words of this table; other words are left alone.

        Args:
            fname: the file; its vectors must have this table's size.
            lockf: put into ``vectors_lockf`` for each word taken over, where the table has that array.
            binary: as in ``load_word2vec_format``.
            encoding: as there.
            unicode_errors: as there.

        Raises:
            FormatError: the file's vectors have another size.
        """
        taken = 0
        self._to_memory()
        for keys, rows in _read_blocks(fname, self.vector_size, binary, encoding, unicode_errors):
            places = [(i, self.key_to_index[key]) for i, key in enumerate(keys) if key in self.key_to_index]
            if places:
                source, target = np.array(places).T
                self._rows[target] = rows[source]
                locks = getattr(self, "vectors_lockf", None)
                if locks is not None and len(locks) == len(self):
                    locks[target] = lockf
                taken += len(places)
        self._changed()
        self.add_lifecycle_event("intersect_word2vec_format", msg=f"took {taken} of {len(self)} vectors from {fname}")

    # gensim's old names.

    def word_vec(self, *args: Any, **kwargs: Any) -> Any:
        """As in gensim, deprecated: ``get_vector``."""
        warnings.warn("use get_vector() instead of word_vec()", DeprecationWarning, stacklevel=2)
        return self.get_vector(*args, **kwargs)

    def similarity_unseen_docs(self, *_: Any, **__: Any) -> NoReturn:
        """Not for word vectors, in gensim neither."""
        raise NotImplementedError("documents are compared by Doc2Vec models; for lists of words see n_similarity")

    @property
    def vectors_norm(self) -> NoReturn:
        """Gone since gensim 4."""
        raise AttributeError(f"vectors_norm is gone: call get_normed_vectors(); {_GENSIM}")

    @property
    def vocab(self) -> NoReturn:
        """Gone since gensim 4."""
        raise AttributeError(f"vocab is gone: use key_to_index, index_to_key, get_vecattr and set_vecattr; {_GENSIM}")

    @property
    def index2word(self) -> NoReturn:
        """Gone since gensim 4."""
        raise AttributeError(f"index2word is gone: use index_to_key; {_GENSIM}")

    @property
    def index2entity(self) -> NoReturn:
        """Gone since gensim 4."""
        raise AttributeError(f"index2entity is gone: use index_to_key; {_GENSIM}")

    # Copies and other processes.

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process or a copy: a table over a store as the store's place, and what was changed
        of its attributes; a table in memory whole.
        """
        state = {name: value for name, value in vars(self).items() if name not in _NOT_KEPT}
        if self._store is None:
            state |= {"index_to_key": list(self.index_to_key), "key_to_index": dict(self.key_to_index)}
            return state
        for name in ("_rows", "_subwords", "_encoder", "expandos"):
            del state[name]
        if isinstance(self.index_to_key, IndexToKey) and isinstance(self.key_to_index, KeyToIndex):
            del state["index_to_key"], state["key_to_index"]
        stored = self._store.attributes
        changed = {name: values for name, values in self.expandos.items() if stored.get(name) is not values}
        state["_attributes"] = changed, [name for name in stored if name not in self.expandos]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        store = state.pop("_store", None)
        changed, removed = state.pop("_attributes", ({}, []))
        if store is None:
            vars(self).update(state)
            self._hold(state["_rows"])
            return
        if not isinstance(store, VectorStore):  # a pickle made before stores travelled themselves
            store = VectorStore.open(store)
        vars(self).update(vars(type(self)._from_store(store)))
        vars(self).update(state)
        kept = {name: values for name, values in self.expandos.items() if name not in removed}
        self.expandos = kept | changed

    def __copy__(self) -> Self:
        """A table that can be changed on its own; over a store it maps the same files."""
        table = type(self).__new__(type(self))
        state = self.__getstate__()
        for name, value in state.items():
            if isinstance(value, list | dict | np.ndarray):
                state[name] = value.copy()
        if self._store is None:
            state["expandos"] = {name: values.copy() for name, values in self.expandos.items()}
        table.__setstate__(state)
        return table


def _read_blocks(
    fname: str | os.PathLike[str], dim: int, binary: bool, encoding: str, unicode_errors: str
) -> Iterator[tuple[list[str], NDArray[Any]]]:
    """The words and rows of a word2vec file, block by block."""
    from foreword.vectors.formats import Options, open_vectors

    options = Options(binary=binary, encoding=encoding, unicode_errors=unicode_errors)
    with open_vectors(given_path(fname), options) as (_, reader):
        if reader.dim != dim:
            raise FormatError(
                "the file's vectors have another size", got=reader.dim, expected=dim, where=os.fspath(fname)
            )
        for _, make in reader.blocks():
            block = make()
            ends = list(itertools.accumulate(block.lengths.tolist(), initial=0))
            yield [decode(block.blob[a:b]) for a, b in itertools.pairwise(ends)], block.rows


# gensim's other names of the class, and of its loader of fastText files.
Word2VecKeyedVectors = Doc2VecKeyedVectors = EuclideanKeyedVectors = KeyedVectors


def load_facebook_vectors(
    path: str | os.PathLike[str], encoding: str = "utf-8", *, unicode_errors: str | None = None
) -> KeyedVectors:
    """The vectors in a fastText ``.bin`` file.

    Args:
        path: the file.
        encoding: of its words.
        unicode_errors: what becomes of bytes that are no text in it, as in ``bytes.decode``; None keeps them as
            backslashes and digits ("backslashreplace"), as gensim does.
    """
    return KeyedVectors._from_store(open_store(path, encoding=encoding, unicode_errors=unicode_errors))
