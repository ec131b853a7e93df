"""gensim's native format: what ``KeyedVectors.save`` writes, a pickle with large arrays as ``.npy`` files beside it.

A pickle is a program. This one is read as data: the opcodes that build plain values do so, and where the program
would look up a class or call it, the name and the arguments are noted and nothing is called. A name that no such file
needs is refused, for the file would run code if it were opened as a pickle.

Reads ``KeyedVectors`` of gensim 4 and 3, ``FastTextKeyedVectors`` of gensim 4 with their subwords, and the vectors
(``wv``) of whole models. Source of the opcodes: the standard library's pickle and pickletools.

Not for: writing. Costs: the pickle is interpreted in Python, about a microsecond a key; arrays beside it are mapped.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import explained
from foreword.errors import ForewordError, FormatError
from foreword.vectors.formats.base import MAX_DIM, Options, Pending, Reader
from foreword.vectors.formats.source import Source
from foreword.vectors.store.blocks import BLOCK_BYTES, Block, pack
from foreword.vectors.store.keys import encode
from foreword.vectors.store.subwords import Subwords, add_subwords

__all__ = ["is_native", "read_native"]

_MODULES = ("gensim.", "numpy.random.")  # a whole model has a generator of random numbers
_NAMES = {
    (module, name)
    for modules, names in (
        (("numpy.core.multiarray", "numpy._core.multiarray"), ("_reconstruct", "scalar")),
        (("numpy.core.numeric", "numpy._core.numeric"), ("_frombuffer",)),
        (("numpy",), ("ndarray", "dtype")),
        (("_codecs",), ("encode",)),
        (("collections",), ("OrderedDict", "defaultdict")),
        (("copyreg", "copy_reg"), ("_reconstructor",)),
        (
            ("builtins", "__builtin__"),
            ("object", "int", "float", "list", "dict", "set", "frozenset", "bytearray", "hash"),
        ),
    )
    for module in modules
    for name in names
}


@dataclass(frozen=True, slots=True)
class _Global:
    """A name that the pickle looked up."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class _Made:
    """An object that the pickle would have made by calling ``maker`` with ``args``, and the state it gave it."""

    maker: _Global
    args: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)

    def get(self, *names: str) -> Any:
        """The first of these attributes that the object would have, or None."""
        state = self.state if isinstance(self.state, dict) else {}
        return next((state[name] for name in names if state.get(name) is not None), None)


_KEPT_OPCODES = """
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT
    POP DUP MARK POP_MARK GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL PROTO STOP FRAME
"""


class _Interpreter(pickle._Unpickler):
    """An unpickler that calls nothing: of the standard one it keeps the opcodes that build plain values."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _KEPT_OPCODES.split()
    }

    # What the standard class keeps, untold to type checkers.
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: io.BufferedReader, name: str) -> None:
        super().__init__(file, encoding="latin1")
        self._name = name

    def find_class(self, module: str, name: str) -> _Global:
        if (module, name) in _NAMES or module.startswith(_MODULES):
            return _Global(module, name)
        raise FormatError(
            "the pickle names something that vectors don't need; opened as a pickle, it could run code",
            got=f"{module}.{name}",
            expected="classes of gensim and numpy arrays",
            where=self._name,
            fix="don't open this file with pickle or gensim unless you trust whoever made it",
        )

    def _make(self, maker: object, args: object) -> None:
        if not isinstance(maker, _Global) or not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"a call of {type(maker).__name__}")
        self.append(_Made(maker, args))

    def reduce(self) -> None:
        args = self.stack.pop()
        self._make(self.stack.pop(), args)

    def reduce_with_names(self) -> None:
        self.stack.pop()
        self.reduce()

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Made):
            raise pickle.UnpicklingError("a state for a plain value")
        self.stack[-1].state = state

    def set_items(self) -> None:
        self._set(self.pop_mark())

    def set_item(self) -> None:
        value = self.stack.pop()
        self._set([self.stack.pop(), value])

    def make_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        target = target.items if isinstance(target, _Made) else target
        if type(target) is not dict or len(items) % 2:
            raise pickle.UnpicklingError("items for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float | None):  # anything deeper could be costly to hash
                raise pickle.UnpicklingError(f"a key of type {type(key).__name__}")
            target[key] = value

    def byte_array(self) -> None:
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def frozen_set(self) -> None:  # sets are kept as lists: nothing here needs them, or needs hashes
        items = self.pop_mark()  # which changes self.append
        self.append(items)

    def add_items(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError("items for what is no set")
        self.stack[-1].extend(items)

    dispatch |= {
        pickle.REDUCE[0]: reduce,
        pickle.NEWOBJ[0]: reduce,
        pickle.NEWOBJ_EX[0]: reduce_with_names,
        pickle.BUILD[0]: build,
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
        pickle.DICT[0]: make_dict,
        pickle.EMPTY_SET[0]: dispatch[pickle.EMPTY_LIST[0]],
        pickle.FROZENSET[0]: frozen_set,
        pickle.ADDITEMS[0]: add_items,
        pickle.BYTEARRAY8[0]: byte_array,
    }


class _Stream(io.RawIOBase):
    """A source as a raw stream."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _File(io.BufferedReader):
    """A stream that reads what is there, whatever is asked for, before it takes memory for it."""

    def read(self, n: int | None = -1, /) -> bytes:
        if n is not None and 0 <= n <= BLOCK_BYTES:
            return super().read(n)
        pieces = []
        left = sys.maxsize if n is None or n < 0 else n
        while left and (piece := super().read(min(left, BLOCK_BYTES))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)


def is_native(head: bytes) -> bool:
    """Whether a file that begins so is a pickle of protocol 2 or later."""
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def read_native(source: Source, options: Options) -> Reader:
    """A reader of vectors that gensim saved.

    Raises:
        FormatError: the pickle names what no vectors need, is damaged, or holds no vectors; or an array beside it is
        damaged. MissingFileError: an array that should lie beside it does not.
    """
    file = _File(_Stream(source))
    try:
        root = _Interpreter(file, source.name).load()
    except ForewordError:
        raise
    except Exception as cause:  # the interpreter trips over damaged bytes in many ways
        raise _damaged(source, f"{type(cause).__name__}: {cause}"[:200]) from None
    if not isinstance(root, _Made):
        raise _damaged(source, f"a pickle of a {type(root).__name__}")
    table, prefix = root, str(source.path)
    if isinstance(inner := root.get("wv"), _Made):
        table, prefix = inner, f"{prefix}.wv"
    keys = table.get("index_to_key", "index2word", "index2entity")
    if type(keys) is not list or not keys or not all(type(key) is str for key in keys):
        raise _damaged(source, f"{root.maker.module}.{root.maker.name} without a list of keys")

    def array(name: str) -> NDArray[Any] | None:
        return _array(table.get(name), Path(f"{prefix}.{name}.npy"), source)

    subwords = None
    rows = array("vectors_vocab")
    grams = array("vectors_ngrams") if rows is not None else None
    if grams is not None:
        minn, maxn, compatible = table.get("min_n"), table.get("max_n"), table.get("compatible_hash")
        if not (type(minn) is type(maxn) is int and compatible is True and 0 <= minn <= 1 << 10 >= maxn >= 0):
            raise _damaged(source, "subwords of another version of gensim")
        _check(source, grams, None)
        subwords = Subwords(minn, maxn, grams)
    else:
        rows = next((found for name in ("vectors", "syn0") if (found := array(name)) is not None), None)
    if rows is None:
        raise _damaged(source, "no vectors")
    dim = _check(source, rows, len(keys))
    if subwords is not None and subwords.vectors.shape[1] != dim:
        raise _damaged(source, "vectors and subwords of different dimensions")
    counts = _counts(table, keys, source)
    return Reader(dim, "gensim", lambda: _blocks(source, keys, rows, counts, subwords, options), subwords)


def _blocks(
    source: Source,
    keys: list[str],
    vectors: NDArray[Any],
    counts: NDArray[np.int64] | None,
    subwords: Subwords | None,
    options: Options,
) -> Iterator[Pending]:
    wanted = options.most(len(keys))
    at_once = max(1, BLOCK_BYTES // vectors[:1].nbytes)

    def make(start: int, stop: int) -> Block:
        words = [encode(key) for key in keys[start:stop]]
        rows = vectors[start:stop]
        if subwords is not None:
            rows = np.array(rows, dtype=np.float32)
            add_subwords(rows, words, subwords.vectors, minn=subwords.minn, maxn=subwords.maxn, many=wanted)
        part = None if counts is None else counts[start:stop]
        return Block(*pack(words), rows, lambda i: f"{source.name}, row {start + i:,}", part)

    for start in range(0, wanted, at_once):
        stop = min(start + at_once, wanted)
        yield stop - start, functools.partial(make, start, stop)


def _array(value: Any, beside: Path, source: Source) -> NDArray[Any] | None:
    """The array that an attribute holds, or that lies beside the pickle; None where there is neither."""
    if isinstance(value, _Made):
        try:
            return _decoded(value)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as cause:
            raise _damaged(source, f"an array: {cause}"[:200]) from None
    if value is not None:
        raise _damaged(source, f"a {type(value).__name__} instead of an array")
    if not source.plain or not beside.is_file():
        return None
    try:
        with explained("read the vectors", beside):
            return np.asarray(np.load(beside, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as cause:
        raise FormatError("an array of the vectors is damaged", got=str(cause)[:80], where=beside) from None


def _decoded(made: _Made) -> NDArray[Any]:
    """An array as numpy pickles it: ``_reconstruct`` with a state, or ``_frombuffer``."""
    if made.maker.name == "_reconstruct":
        _, shape, dtype, fortran, data = made.state
    elif made.maker.name == "_frombuffer":
        data, dtype, shape, order = made.args
        fortran = order == "F"
    else:
        raise ValueError(f"made by {made.maker.name}")
    if isinstance(data, _Made) and data.maker.name == "encode":  # how protocol 2 writes bytes
        data = data.args[0].encode("latin1")
    if isinstance(data, str):  # Python 2's
        data = data.encode("latin1")
    if isinstance(shape, int):
        shape = (shape,)
    kind = dtype.args[0]
    order = dtype.state[1] if dtype.state else "<"
    if kind not in ("f2", "f4", "f8", "i4", "i8", "u4", "u8") or order not in ("<", ">", "=", "|"):
        raise ValueError(f"of dtype {kind!r}"[:60])
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("of an impossible shape")
    return np.frombuffer(data, dtype=np.dtype(kind).newbyteorder(order)).reshape(shape, order="F" if fortran else "C")


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


def _counts(table: _Made, keys: list[str], source: Source) -> NDArray[np.int64] | None:
    """The words' counts: of gensim 4 among ``expandos``, of gensim 3 in each word's ``Vocab``."""
    told = table.get("expandos")
    if isinstance(told, dict) and isinstance(told.get("count"), _Made):
        counts = _array(told["count"], source.path, source)
        if counts is not None and counts.shape == (len(keys),) and counts.dtype.kind in "iu":
            return counts.astype(np.int64)
    vocab = table.get("vocab")
    if isinstance(vocab, dict):
        found = [entry.get("count") if isinstance(entry := vocab.get(key), _Made) else None for key in keys]
        if all(type(n) is int and abs(n) < 1 << 62 for n in found):
            return np.array(found, dtype=np.int64)
    return None


def _damaged(source: Source, got: str) -> FormatError:
    return FormatError(
        "not vectors that gensim saved, or damaged", got=got, where=source.name, fix="get the file again"
    )
