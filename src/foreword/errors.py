"""The errors of Foreword: one tree, each error also the built-in that a user would catch.

    ForewordError
    ├── ArgumentError          ValueError          an argument that can't be used (stride=0, topn=-1)
    │   └── ArgumentTypeError  TypeError           … because it is of another type (topn=2.5)
    ├── UnknownKeyError        KeyError            a word that the vectors don't hold
    ├── UnknownNameError       ValueError          a catalogue or tokenizer name that doesn't exist
    ├── SpecialTokenError      ValueError          text holds a special token that was not allowed
    ├── TooShortError          ValueError          fewer tokens than one window needs
    ├── TokenIdError           IndexError          a token id outside the vocabulary
    ├── OutOfRangeError        IndexError          a token, document or window that isn't there (store[10**9])
    ├── FormatError            ValueError          a file that is not what it says it is
    ├── TextDecodeError        UnicodeDecodeError  a file that is not text in its encoding
    ├── FileError              OSError             a file or folder that can't be read or written
    │   ├── MissingFileError   FileNotFoundError   … because it is not there
    │   └── DownloadError      OSError             a file that can't be fetched, or is not the right one
    ├── StoreError             ValueError          a store that is damaged, or does not fit its use
    └── MissingPackageError    ImportError         an optional package that is not installed

An error is made of a *problem* and up to four facts, printed one a line: what was ``got``, what was
``expected``, ``where``, and the ``fix``. A fact may be a callable: it is called when the message is
shown, so raising stays cheap where finding the nearest spellings is not.

Not for: errors of a wrong type of Python object, which stay ``TypeError``.
"""

from __future__ import annotations

import errno as _errno
import re
from collections.abc import Callable
from typing import Any

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "DownloadError",
    "FileError",
    "ForewordError",
    "FormatError",
    "MissingFileError",
    "MissingPackageError",
    "OutOfRangeError",
    "SpecialTokenError",
    "StoreError",
    "TextDecodeError",
    "TokenIdError",
    "TooShortError",
    "UnknownKeyError",
    "UnknownNameError",
]

Fact = object | Callable[[], object] | None
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""A text from elsewhere, as a file's name, without what would steer a terminal: such characters as escapes.

    >>> printable("\x1b[31mred\u202e.txt"), printable("two\nlines")
    ('\\x1b[31mred\\u202e.txt', 'two\nlines')
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class ForewordError(Exception):
    """The base of every error that Foreword raises on purpose.

    Args:
        problem: what went wrong, in one line.
        got: what was given; like the three below an object, or a callable that gives one when the message is shown.
            What is (or gives) None is not printed.
        expected: what would have done.
        where: the file, line or argument.
        fix: what to do about it.
    """

    def __init__(
        self, problem: str, *, got: Fact = None, expected: Fact = None, where: Fact = None, fix: Fact = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self._facts: dict[str, Fact] = {"got": got, "expected": expected, "where": where, "fix": fix}

    def fact(self, name: str) -> object:
        """The fact ``name`` ("got", "expected", "where" or "fix"), computed now if it was lazy."""
        value = self._facts[name]
        if callable(value):
            value = self._facts[name] = value()
        return value

    def advise(self, fix: Fact) -> None:
        """Name another fix, where more is known than where the error was raised."""
        self._facts["fix"] = fix

    def __str__(self) -> str:
        lines = [printable(self.problem)]
        for name in self._facts:
            value = self.fact(name)
            if value is not None:
                lines.append(f"  {name + ':':<10}{printable(str(value))}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers send errors home by pickle: compute the lazy facts, keep the rest by value.
        facts = {name: self.fact(name) for name in self._facts}
        state = {key: value for key, value in vars(self).items() if key != "_facts"}
        return _rebuild, (type(self), self.args, {**state, "_facts": facts})


def _rebuild(cls: type[ForewordError], args: tuple[Any, ...], state: dict[str, Any]) -> ForewordError:
    error = cls.__new__(cls, *args)
    Exception.__init__(error, *args)
    for name, value in state.items():
        setattr(error, name, value)
    return error


class ArgumentError(ForewordError, ValueError):
    """An argument that can't be used."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument of a type that can't be used."""


class UnknownKeyError(ForewordError, KeyError):
    """A key (word) that the vectors don't hold."""


class UnknownNameError(ForewordError, ValueError):
    """A name of vectors or of a tokenizer that doesn't exist."""


class SpecialTokenError(ForewordError, ValueError):
    """Text that holds a special token which was neither allowed nor declared ordinary."""


class TooShortError(ForewordError, ValueError):
    """Fewer tokens than one window needs."""


class OutOfRangeError(ForewordError, IndexError):
    """An index of a token, document or window that isn't there."""


class TokenIdError(ForewordError, IndexError):
    """A token id that is negative, or not below vocab_size."""


class FormatError(ForewordError, ValueError):
    """A file whose bytes are not what its format promises: cut short, miscounted, of another kind."""


class StoreError(ForewordError, ValueError):
    """A store that is damaged, incomplete, or does not fit what it is used with."""


class MissingPackageError(ForewordError, ImportError):
    """An optional package that is not installed."""


class TextDecodeError(ForewordError, UnicodeDecodeError):
    """Bytes that are not text in the encoding they were read with.

    Has the attributes of UnicodeDecodeError: ``encoding``, ``object``, ``start``, ``end``, ``reason``;
    ``start`` and ``end`` count from the beginning of ``object``, which is the damaged piece only.
    """

    def __init__(self, problem: str, *, cause: UnicodeDecodeError, **facts: Fact) -> None:
        piece = cause.object[cause.start : cause.end]
        UnicodeDecodeError.__init__(self, cause.encoding, piece, 0, len(piece), cause.reason)
        self.problem = problem
        self._facts = {name: facts.get(name) for name in ("got", "expected", "where", "fix")}

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {name: self.fact(name) for name in self._facts}
        cause = (self.encoding, self.object, self.start, self.end, self.reason)
        return _rebuild_decode, (self.problem, cause, facts)


def _rebuild_decode(problem: str, cause: tuple[Any, ...], facts: dict[str, Fact]) -> TextDecodeError:
    return TextDecodeError(problem, cause=UnicodeDecodeError(*cause), **facts)


class FileError(ForewordError, OSError):
    """A file or folder that can't be read or written.

    Has the attributes ``errno``, ``strerror`` and ``filename`` of the OSError that caused it.
    """

    def __init__(self, problem: str, *, cause: OSError | None = None, **facts: Fact) -> None:
        super().__init__(problem, **facts)
        if cause is not None:
            self.errno, self.strerror, self.filename = cause.errno, cause.strerror, cause.filename

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, (cls, args, state) = super().__reduce__()
        # OSError keeps these outside the instance's dict.
        kept = {"errno": self.errno, "strerror": self.strerror, "filename": self.filename}
        return rebuild, (cls, args, {**state, **kept})


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder that is not there."""

    def __init__(self, problem: str, *, cause: OSError | None = None, **facts: Fact) -> None:
        super().__init__(problem, cause=cause, **facts)
        self.errno = _errno.ENOENT


class DownloadError(FileError):
    """A file that can't be fetched, or that is not the right one.

    Attributes:
        status: the HTTP status that the server answered with, where that is the reason.
    """

    status: int | None = None
