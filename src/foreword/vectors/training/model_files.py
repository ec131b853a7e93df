"""Models on disk: Foreword's own folders, and files that gensim's classes or fastText saved, read as data.

    model.json     what it is, and its options; written with the rest, whole or not at all
    vectors/       a store of the vectors, which ``foreword.load`` opens: words, counts, n-grams
    output.npy     float32 [V, D], the output table
    own.npy        float32 [V, D], of FastText: the words' own rows

Not for: checkpoints of a run (``checkpoints``). Costs: writing and reading the tables.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import DAMAGED_ARRAY, check_whole, explained, given_path, replaced_folder
from foreword._base.words import counted
from foreword.errors import ArgumentError, FileError, FormatError, StoreError
from foreword.vectors.formats.fasttext import is_fasttext, read_fasttext_model
from foreword.vectors.formats.gensim_native import NativeModel, is_native, read_model
from foreword.vectors.formats.source import open_source
from foreword.vectors.store.saving import save_store
from foreword.vectors.store.store import VectorStore
from foreword.vectors.store.subwords import BYTES, Subwords

if TYPE_CHECKING:
    from foreword.vectors.training.word2vec import Word2Vec

__all__ = ["load_model", "save_model"]

FORMAT = "foreword model of word vectors"
VERSION = 1
MODEL = "model.json"

M = TypeVar("M", bound="Word2Vec")

# Attributes of a model that are written besides its constructor's arguments.
_STATE = (
    *("corpus_count", "corpus_total_words", "train_count", "total_train_time", "running_training_loss"),
    *("min_alpha_yet_reached", "effective_min_count"),
)
_NOT_KEPT = ("sentences", "corpus_file", "callbacks", "trim_rule", "hashfxn")

# Of gensim's older versions.
_OLD_NAMES = {"iter": "epochs"}


def save_model(path: str | os.PathLike[str], model: Word2Vec) -> None:
    """Write a model to the folder ``path``; one that is there is replaced.

    Raises:
        FileError: it can't be written, or something else is there.
        FormatError: a vector is not finite.
    """
    folder = given_path(path)
    with explained("save the model", folder):
        taken = folder.exists() and not (folder / MODEL).is_file()
    if taken:
        raise FileError("can't save here", got="something else than a model", where=folder, fix="name another folder")
    count = len(model.wv)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "class": model.kind,
        "words": count,
        "options": {name: _as_json(getattr(model, name)) for name in _arguments(type(model))},
        "state": {name: _as_json(getattr(model, name)) for name in _STATE},
    }
    with replaced_folder(folder, "model") as partial:
        wv = model.wv
        kept = {name: values for name, values in wv.expandos.items() if len(values) == count}
        save_store(partial / "vectors", list(wv.index_to_key), wv.vectors, kept, wv._subwords)
        _write(partial / "output.npy", model.syn1neg)
        if (own := getattr(model, "vectors_vocab", None)) is not None:
            _write(partial / "own.npy", own)
        (partial / MODEL).write_text(json.dumps(about, indent=1), encoding="utf-8")


def load_model(cls: type[M], path: str | os.PathLike[str]) -> M:
    """The model in a folder that ``save_model`` wrote, or in a file of gensim's or fastText's.

    Raises:
        MissingFileError, FileError: it can't be read.
        FormatError: it is damaged, or no model.
        ArgumentError: it is a model of another class, or one that can't be trained here.
    """
    folder = given_path(path)
    with explained("read the model", folder):
        own = folder.is_dir()
    check_whole(folder, "read the model")
    if own:
        return _load_own(cls, folder)
    with open_source(folder) as source:
        if is_native(source.head):
            return _of_gensim(cls, read_model(source), source.name)
        if is_fasttext(source.head):
            return _of_gensim(cls, read_fasttext_model(source), source.name)
        raise FormatError(
            "no model that gensim or fastText saved",
            where=source.name,
            expected="a file of Word2Vec.save or FastText.save, fastText's .bin, or a folder of Foreword's",
            fix="vectors alone are opened by foreword.load",
        )


# Foreword's own.


def _load_own(cls: type[M], folder: Path) -> M:
    try:
        with explained("read the model", folder / MODEL, fix="name a folder that save() wrote"):
            about = json.loads((folder / MODEL).read_bytes())
        if (about["format"], about["version"]) != (FORMAT, VERSION):
            raise FormatError(
                "not a model of this version",
                got=f"{about['format']!r} version {about['version']!r:.20}",
                expected=f"{FORMAT!r} version {VERSION}",
                where=folder / MODEL,
            )
        kind, count = about["class"], about["words"]
        options, state = dict(about["options"]), dict(about["state"])
    except (ValueError, KeyError, TypeError) as cause:
        if isinstance(cause, FormatError):
            raise
        raise _damaged(folder / MODEL, f"{type(cause).__name__}: {cause}") from None
    _check_kind(cls, kind, folder)
    if not (type(count) is int and options.keys() <= set(_arguments(cls)) and state.keys() <= set(_STATE)):
        raise _damaged(folder / MODEL, "fields that no model has")
    model = _made(cls, options, folder / MODEL)
    for label, value in state.items():
        if type(value) not in (int, float):
            raise _damaged(folder / MODEL, f"{label}: {value!r}")
        setattr(model, label, value)
    try:
        store = VectorStore.open(folder / "vectors")
        words = list(store.keys)
    except StoreError as cause:
        raise FormatError("the model's vectors are damaged", got=cause.problem, where=folder / "vectors") from cause
    dim = model.vector_size
    if store.vectors.shape != (count, dim) or (store.counts is None and count):
        raise _damaged(folder / "vectors", f"vectors {list(store.vectors.shape)} of {counted(count, 'word')}")
    counts = np.zeros(0, dtype=np.int64) if store.counts is None else np.array(store.counts, dtype=np.int64)
    output = _read(folder / "output.npy", (count, dim))
    rows = np.array(store.vectors, dtype=np.float32)
    if hasattr(model, "vectors_vocab"):
        rows = _with_grams(model, _read(folder / "own.npy", (count, dim)), store.subwords, folder)
    model._hold(rows, output, words, counts)
    return model


def _write(path: Path, rows: NDArray[np.float32]) -> None:
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(rows, dtype="<f4"), allow_pickle=False)


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A table, in memory."""
    try:
        with explained("read the model", path), path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("of another version")
            found, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if (found, fortran, dtype) != (shape, False, np.dtype("<f4")):
                raise ValueError(f"{dtype} {list(found)}")
            rows = np.fromfile(file, dtype="<f4", count=shape[0] * shape[1]).reshape(shape)
    except DAMAGED_ARRAY as cause:
        raise _damaged(path, str(cause)) from None
    if not np.isfinite(rows).all():
        raise _damaged(path, "NaN or infinity")
    return rows


def _with_grams(model: Any, own: NDArray[Any], grams: Any, where: Path) -> NDArray[np.float32]:
    """A FastText's input table: the words' own rows, then those of n-grams."""
    shape = (model.bucket, model.vector_size)
    rows = np.empty((0, model.vector_size), dtype=np.float32) if grams is None else grams.vectors
    lengths = (model.min_n, model.max_n) if grams is None else (grams.minn, grams.maxn)
    if rows.shape != shape or lengths != (model.min_n, model.max_n):
        raise _damaged(where, f"n-grams {list(rows.shape)}, expected {list(shape)}")
    return np.concatenate([own, rows]).astype(np.float32, copy=False)


# gensim's and fastText's.


def _of_gensim(cls: type[M], found: NativeModel, name: str) -> M:
    fields = {_OLD_NAMES.get(label, label): value for label, value in found.fields.items()}
    fields |= {"vector_size": found.vectors.shape[1]}
    if found.output is None or fields.get("hs") or not fields.get("negative"):
        softmax = bool(fields.get("hs"))
        raise ArgumentError(
            "this model can't be trained on" if softmax else "there is nothing to train on: the file has vectors alone",
            got=f"{found.kind}, trained by hierarchical softmax" if softmax else found.kind,
            expected="a Word2Vec or FastText of negative sampling",
            where=name,
            fix="foreword.load opens its vectors",
        )
    if found.kind.endswith(".Doc2Vec"):
        raise ArgumentError(
            "a Doc2Vec can't be trained on", got=found.kind, where=name, fix="foreword.load opens its vectors"
        )
    if found.counts is None or found.output.shape != found.vectors.shape or found.output.dtype.kind != "f":
        raise _damaged(
            Path(name), f"counts or an output table that don't fit {counted(found.vectors.shape[0], 'word')}"
        )
    if None in found.keys or len(set(found.keys)) < len(found.keys) or (found.counts < 0).any():
        raise _damaged(Path(name), "words that come twice, or counts below 0")
    if not (np.isfinite(found.vectors).all() and np.isfinite(found.output).all()):
        raise _damaged(Path(name), "NaN or infinity")
    grams = found.subwords
    if grams is not None and grams.hashing != BYTES:
        raise ArgumentError(
            "the n-grams of this model are not hashed as fastText's, so they can't be trained on",
            got=f"{found.kind}, of gensim before 3.8",
            where=name,
            fix="foreword.load opens its vectors; gensim 3.8 can save the model again",
        )
    _check_kind(cls, "Word2Vec" if fields.get("min_n") is None else "FastText", Path(name))
    options = {label: fields[label] for label in _arguments(cls) if fields.get(label) is not None}
    if cls.kind == "FastText":
        options["bucket"] = 0 if grams is None else grams.buckets
    model = _made(cls, options, Path(name))
    for label in _STATE:
        if type(fields.get(label)) in (int, float):
            setattr(model, label, fields[label])
    rows = np.array(found.vectors, dtype=np.float32, order="C")
    if grams is not None and grams.numbers is not None:  # only n-grams in use have a row: the others are drawn
        table = np.zeros((grams.buckets, model.vector_size), dtype=np.float32)
        model._draw(table, 0)
        table[grams.numbers] = grams.vectors[grams.rows_of]
        grams = Subwords.of(grams.minn, grams.maxn, table)
    if hasattr(model, "vectors_vocab"):
        rows = _with_grams(model, rows, grams, Path(name))
    model._hold(rows, np.array(found.output, dtype=np.float32, order="C"), list(found.keys), found.counts.copy())
    return model


# Classes and options.


def _check_kind(cls: type[Word2Vec], found: object, where: Path) -> None:
    """Whether a model is of the class that is to load it, or of one it is a subclass of."""
    if found not in ("Word2Vec", "FastText"):
        raise _damaged(where, f"a model of class {found!r}")
    if found != cls.kind:
        raise ArgumentError(f"the model is no {cls.kind}", got=found, where=where, fix=f"{found}.load(…)")


def _arguments(cls: type[Word2Vec]) -> list[str]:
    return [name for name in inspect.signature(_base(cls)).parameters if name not in _NOT_KEPT]


def _base(cls: type[Word2Vec]) -> type[Word2Vec]:
    """``Word2Vec`` or ``FastText``, of which the class is, or which it is a subclass of."""
    return next(each for each in cls.__mro__ if each.__module__.startswith(f"{__package__}."))


def _made(cls: type[M], options: Mapping[str, Any], where: Path) -> M:
    """A model without words; as when gensim loads one, the constructor of a subclass is not called."""
    model = cls.__new__(cls)
    try:
        _base(cls).__init__(model, **options)
    except ArgumentError as cause:
        raise FormatError(
            "the model has options that can't be used", got=cause.problem, expected=cause.fact("got"), where=where
        ) from cause
    return model


def _as_json(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _damaged(where: Path, got: str) -> FormatError:
    return FormatError("the model is damaged", got=got[:200], where=where, fix="save it again, or get the file again")
