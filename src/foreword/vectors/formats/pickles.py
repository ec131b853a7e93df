"""Pickles read as data: what a pickle would make, without making it.

A pickle is a program: it names classes and functions, and calls them. This interpreter keeps the opcodes that build
plain values (text, numbers, lists, dicts) and notes the rest: a name becomes a ``Name``, a call of it an ``Inert``
that holds the arguments, the state and the items it would have been given. Nothing is imported, nothing is called, so
a generator of random numbers, a callback or a hash function of the author's own costs nothing and does nothing.

A pickle that calls what no model is made of (``os.system``, ``eval`` …) is refused all the same: somebody wrote it to
run code where it is opened by pickle.

Source of the opcodes: the standard library's pickle and pickletools. Not for: knowing what an object means
(``gensim_native``). Costs: about a microsecond an opcode, in Python; memory for what the pickle really holds, whatever
lengths it claims.
"""

from __future__ import annotations

import io
import pickle
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foreword.errors import ForewordError, FormatError
from foreword.vectors.formats.source import Source
from foreword.vectors.store.blocks import BLOCK_BYTES

__all__ = ["Inert", "Name", "array_of", "is_pickle", "load_inert", "plain"]

_SYSTEM = {
    *("os", "posix", "nt", "sys", "subprocess", "commands", "popen2", "shutil", "socket", "pty", "importlib", "imp"),
    *("runpy", "code", "codeop", "ctypes", "_ctypes", "pdb", "bdb", "timeit", "webbrowser", "pip", "marshal"),
}
"""Modules whose functions no model is made of: they run programs, or reach the system."""

_EVALUATORS = {
    *("eval", "exec", "execfile", "compile", "open", "file", "input", "raw_input", "__import__", "apply", "setattr"),
    *("delattr", "globals", "locals", "vars", "breakpoint"),
}
"""Built-in functions of the same kind."""

_BUILTINS = ("builtins", "__builtin__")

# How objects of the protocols 0 and 1 begin, which have no mark of their own.
_TEXT_PICKLE = re.compile(rb"c(?:copy_reg|copyreg)\n_reconstructor\n")


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the pickle looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Inert:
    """What the pickle would have made by calling ``maker`` with ``args``, and what it then gave it.

    Attributes:
        maker: what would have been called.
        args: its arguments.
        state: the state: of most objects a dict of their attributes.
        entries: what it was given as a dict, or None.
        members: what it was given as a list or a set, or None.
    """

    maker: Name | Inert
    args: tuple[Any, ...]
    state: Any = None
    entries: dict[Any, Any] | None = None
    members: list[Any] | None = None

    @property
    def kind(self) -> str:
        """The class or function that makes it, ``module.name``."""
        maker: Any = self.maker
        # The protocols 0 and 1 make an object by a function that is given its class.
        if isinstance(maker, Name) and maker.name in ("_reconstructor", "__newobj__") and self.args:
            maker = self.args[0]
        return str(maker) if isinstance(maker, Name) else "an object"

    def get(self, *names: str) -> Any:
        """The first of these attributes that the object would have, or None."""
        state = self.state if isinstance(self.state, dict) else {}
        return next((state[name] for name in names if state.get(name) is not None), None)


class _Unhashed:
    """A key of a dict that is no plain value: equal to itself alone, so that hashing it costs nothing."""

    def __init__(self, value: object) -> None:
        self.value = value


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins so is a pickle of an object: of protocol 2 or later, or of 0 or 1."""
    return (len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5) or _TEXT_PICKLE.match(head) is not None


def load_inert(source: Source) -> Any:
    """What the pickle would give: a plain value, or an ``Inert``.

    Raises:
        FormatError: it is damaged, or calls what no model is made of.
    """
    try:
        return _Interpreter(_File(_Stream(source)), source.name).load()
    except ForewordError:
        raise
    except Exception as cause:  # the interpreter trips over damaged bytes in many ways
        raise FormatError(
            "the pickle is damaged",
            got=f"{type(cause).__name__}: {cause}"[:200],
            where=source.name,
            fix="get the file again",
        ) from None


def plain(value: Any) -> Any:
    """A plain value; of a numpy scalar or a range, its numbers or text; anything else as it is.

    Raises:
        ValueError: a scalar whose bytes don't fit its type.
    """
    if not isinstance(value, Inert) or not isinstance(value.maker, Name):
        return value
    name = value.maker.name
    if name == "scalar" and len(value.args) == 2:
        code, order = _dtype(value.args[0])
        data = _bytes(value.args[1])
        if code[:1] == "U":
            return data.decode("utf-32-be" if order == ">" else "utf-32-le").rstrip("\0")
        if code in _NUMBERS:
            return np.frombuffer(data, _number(code, order))[0].item()
    if name in ("range", "xrange") and value.maker.module in _BUILTINS and all(type(n) is int for n in value.args):
        return range(*value.args)
    return value


_NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def array_of(value: Inert) -> NDArray[Any]:
    """An array of numbers as numpy pickles it: ``_reconstruct`` with a state, or ``_frombuffer``.

    Raises:
        ValueError, TypeError, LookupError, AttributeError, OverflowError: it is none, or damaged.
    """
    name = value.maker.name if isinstance(value.maker, Name) else ""
    if name == "_reconstruct":
        _, shape, dtype, fortran, data = value.state
    elif name == "_frombuffer":
        data, dtype, shape, order = value.args
        fortran = order == "F"
    else:
        raise ValueError(f"made by {value.kind}")
    if isinstance(shape, int):
        shape = (shape,)
    code, order = _dtype(dtype)
    if code not in _NUMBERS:
        raise ValueError(f"of dtype {code!r}"[:60])
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("of an impossible shape")
    flat = np.frombuffer(_bytes(data), dtype=_number(code, order))
    return flat.reshape(shape, order="F" if fortran else "C")


def _number(code: str, order: str) -> np.dtype[Any]:
    return np.dtype(order.replace("|", "<").replace("=", "<") + code)


def _dtype(value: Inert) -> tuple[str, str]:
    """The code and the byte order of a pickled dtype."""
    order = value.state[1] if value.state else "<"
    if order not in ("<", ">", "=", "|"):
        raise ValueError(f"of byte order {order!r}"[:60])
    return str(value.args[0]), order


def _bytes(data: Any) -> Any:
    """Bytes as the protocols write them: themselves, text of Python 2, or a call of ``_codecs.encode``."""
    if isinstance(data, Inert) and isinstance(data.maker, Name) and data.maker.name in ("encode", "bytearray"):
        data = _bytes(data.args[0])
    return data.encode("latin1") if isinstance(data, str) else data


_KEPT_OPCODES = """
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT NONE NEWTRUE NEWFALSE
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8
    UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT
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
    readline: Callable[[], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: io.BufferedReader, name: str) -> None:
        super().__init__(file, encoding="latin1")  # as gensim, for text of Python 2
        self._name = name

    def find_class(self, module: str, name: str) -> Name:
        return Name(module, name)

    def _make(self, maker: object, args: object) -> None:
        if not isinstance(maker, Name | Inert) or not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"a call of {type(maker).__name__}")
        if isinstance(maker, Name) and _runs_code(maker, args):
            raise FormatError(
                "the pickle calls something that no model is made of; opened as a pickle, it could run code",
                got=str(maker),
                expected="the objects of a model and numpy arrays",
                where=self._name,
                fix="don't open this file with pickle or gensim unless you trust whoever made it",
            )
        self.append(Inert(maker, args))

    def reduce(self) -> None:
        args = self.stack.pop()
        self._make(self.stack.pop(), args)

    def reduce_with_names(self) -> None:
        self.stack.pop()
        self.reduce()

    def instance(self) -> None:  # protocol 0's, of Python 2's old classes
        module, name = (self.readline()[:-1].decode() for _ in range(2))
        args = self.pop_mark()  # which changes self.append
        self._make(Name(module, name), tuple(args))

    def make_object(self) -> None:
        maker, *args = self.pop_mark()
        self._make(maker, tuple(args))

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Inert):
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
        if isinstance(target, Inert):
            target = _entries(target)
        if type(target) is not dict or len(items) % 2:
            raise pickle.UnpicklingError("items for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Anything deeper could be costly to hash.
            target[key if isinstance(key, str | bytes | int | float | None) else _Unhashed(key)] = value

    def add_one(self) -> None:
        self._extend([self.stack.pop()])

    def add_many(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, members: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target = _members(target)
        if type(target) is not list:
            raise pickle.UnpicklingError("members for what is no list")
        target.extend(members)

    def byte_array(self) -> None:
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def frozen_set(self) -> None:  # sets are kept as lists: nothing here needs them, or needs hashes
        members = self.pop_mark()  # which changes self.append
        self.append(members)

    dispatch |= {
        pickle.REDUCE[0]: reduce,
        pickle.NEWOBJ[0]: reduce,
        pickle.NEWOBJ_EX[0]: reduce_with_names,
        pickle.INST[0]: instance,
        pickle.OBJ[0]: make_object,
        pickle.BUILD[0]: build,
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
        pickle.DICT[0]: make_dict,
        pickle.APPEND[0]: add_one,
        pickle.APPENDS[0]: add_many,
        pickle.EMPTY_SET[0]: dispatch[pickle.EMPTY_LIST[0]],
        pickle.FROZENSET[0]: frozen_set,
        pickle.ADDITEMS[0]: add_many,
        pickle.BYTEARRAY8[0]: byte_array,
    }


def _entries(inert: Inert) -> dict[Any, Any]:
    if inert.entries is None:
        inert.entries = {}
    return inert.entries


def _members(inert: Inert) -> list[Any]:
    if inert.members is None:
        inert.members = []
    return inert.members


def _runs_code(maker: Name, args: tuple[Any, ...]) -> bool:
    if maker.module.partition(".")[0] in _SYSTEM:
        return True
    if maker.module not in _BUILTINS:
        return False
    # A method of an object is pickled as getattr(object, name); of a plain value it is a step towards something else.
    return maker.name in _EVALUATORS or (maker.name == "getattr" and not isinstance(args[:1] and args[0], Name | Inert))


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
