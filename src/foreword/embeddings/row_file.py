"""A table of rows in a folder: the file of rows, and how far it counts.

    TABLE/rows    a page that says what the table is, then the rows: a mapped file with holes
    TABLE/state   which checkpoints count, replaced whole at each
    TABLE/lock    held by the one process that writes, or shared by those that read

A row has two slots, each with the number of the checkpoint that it belongs to. Between two checkpoints a row is written
under the number of the coming one, and never over the slot that holds it at the last: so nothing need be undone after
a kill, and a checkpoint is what says that a number counts. The numbers of checkpoints that never came are listed as
dead, and no number is used twice. After a checkpoint, until a row is written again, the one before it is whole as well.

Slots (``row_file_plain`` has their words) never reach over the end of a page, unless two don't fit into one. A row that
was never written is a hole, takes no space, and reads as zeros.

Not for: what is computed with rows (``ngram_rows``). Costs: two slots a row on disk, once it is written; a rename and
two fsyncs a checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import secrets
import stat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword._base import system
from foreword._base.files import atomic_folder, atomic_write, explained, output_path, read_regular
from foreword._base.words import counted
from foreword.errors import ArgumentError, FileError, MissingFileError, StoreError

__all__ = ["PAGE", "Layout", "RowFile", "State", "create", "open_rows"]

PAGE = 4096
_MAGIC = b"foreword rows 1\n"
_ROWS, _STATE, _LOCK = "rows", "state", "lock"
_LARGEST = 1 << 32  # a number has 32 bits


class Layout(NamedTuple):
    """Where rows stand.

    Attributes:
        dim: of a row.
        per: rows a unit.
        unit: words of 8 bytes a unit, whole pages.
        slot: words a slot.
        origin: the word of the first unit.
    """

    dim: int
    per: int
    unit: int
    slot: int
    origin: int

    @classmethod
    def of(cls, dim: int) -> Layout:
        """That of rows of ``dim``.

        >>> Layout.of(64)
        Layout(dim=64, per=2, unit=512, slot=98, origin=512)
        """
        slot = 2 + -(-3 * dim // 2)
        page = PAGE // 8
        unit = -(-2 * slot // page) * page
        return cls(dim, unit // (2 * slot), unit, slot, origin=unit)

    def size(self, rows: int) -> int:
        """Bytes of a file of so many rows, its holes counted."""
        return 8 * (self.origin + -(-rows // self.per) * self.unit)


@dataclasses.dataclass(frozen=True)
class State:
    """Which numbers count.

    Attributes:
        checkpoint: the last checkpoint's number; 0 for a table that nothing was written to.
        steps: how many steps had been taken.
        previous: number and steps of the checkpoint before, while it is whole.
        writing: the number under which rows are written since; None before the first.
        dead: numbers below these that don't count.
    """

    checkpoint: int = 0
    steps: int = 0
    previous: tuple[int, int] | None = None
    writing: int | None = None
    dead: tuple[int, ...] = ()

    def begun(self) -> State:
        """After which rows are written."""
        number = max((self.checkpoint, *self.dead)) + 1
        return dataclasses.replace(self, previous=None, writing=number)

    def reached(self, steps: int) -> State:
        """What was written counts."""
        assert self.writing is not None
        return dataclasses.replace(
            self, checkpoint=self.writing, steps=steps, previous=(self.checkpoint, self.steps), writing=None
        )

    def given_up(self) -> State:
        """What was written since the last checkpoint is dead."""
        if self.writing is None:
            return self
        return dataclasses.replace(self, writing=None, dead=(*self.dead, self.writing))

    def gone_back(self) -> State:
        """The last checkpoint is dead, too."""
        assert self.previous is not None
        assert self.writing is None
        checkpoint, steps = self.previous
        return State(checkpoint, steps, dead=(*self.dead, self.checkpoint))

    @property
    def numbers(self) -> NDArray[np.uint64]:
        """The highest number that counts, and those below it that don't, as the kernels take them."""
        return np.array([self.writing or self.checkpoint, *sorted(self.dead)], np.uint64)


class RowFile:
    """An open table: its mapped words, and its state.

    Args:
        folder: of the table.
        header: what its first page says.
        writable: whether this process has it alone.
        release: lets go of the lock.

    Attributes:
        words, floats: the mapped file, uint64 and float32.
        layout: of the rows.
        in_memory: whether it is no file on a disk, so that a row takes space when it is read.
        numbers: the highest number that counts, and those below it that don't, as the kernels take them.
    """

    def __init__(self, folder: Path, header: dict[str, Any], *, writable: bool, release: Any) -> None:
        self.folder, self.id, self.identity = folder, str(header["id"]), str(header["identity"])
        self.rows, self.writable = int(header["rows"]), writable
        self.layout, self._release = Layout.of(int(header["dim"])), release
        state = _read_state(folder, self.id).given_up()  # what was written when its process ended is dead
        path = folder / _ROWS
        with explained("open the table", path):
            self.descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | getattr(os, "O_BINARY", 0))
            try:
                _check_size(path, os.fstat(self.descriptor).st_size, self.layout.size(self.rows))
                access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
                self._map: mmap.mmap | None = mmap.mmap(self.descriptor, 0, access=access)
            except BaseException:
                os.close(self.descriptor)
                raise
        system.read_at_random(self._map)
        self.in_memory = system.in_memory(path)
        self.words = np.frombuffer(self._map, np.uint64)
        self.floats = np.frombuffer(self._map, np.float32)
        self._state = state
        self.numbers = state.numbers

    @property
    def state(self) -> State:
        """Which numbers count; what is assigned is durable, unless the table is only read."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        if max(state.checkpoint, state.writing or 0) >= _LARGEST:
            raise StoreError("the table has had as many checkpoints as can be numbered", where=self.folder)
        try:
            if self.writable:
                _write_state(self.folder, self.id, state)
            self._state, self.numbers = state, state.numbers
        except BaseException:  # it may stand on the disk all the same, and what stands there counts
            with contextlib.suppress(FileError, StoreError):
                if _read_state(self.folder, self.id) == state:
                    self._state, self.numbers = state, state.numbers
            raise

    def sync(self) -> None:
        """Make the rows durable."""
        with explained("write the table", self.folder / _ROWS):
            if self._map is not None:
                system.sync_mapped(self._map, self.descriptor)

    def reserve(self, words: NDArray[np.int64]) -> None:
        """Have space on the disk for the rows that begin at ``words``, rising."""
        with explained("make room for rows of the table", self.folder / _ROWS):
            for offset, length in self._runs(words):
                system.reserve(self.descriptor, offset, length)

    def read_soon(self, words: NDArray[np.int64]) -> None:
        """Have the rows fetched that begin at ``words``, rising."""
        for offset, length in self._runs(words):
            system.read_soon(self.descriptor, offset, length)

    def _runs(self, words: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Offset and length of what must be read for rows that begin at ``words``: every unit is some whole pages."""
        return runs(words // self.layout.unit, 8 * self.layout.unit)

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self._map is not None:
            self.words = self.floats = np.empty(0)  # type: ignore[assignment]
            with contextlib.suppress(BufferError):  # whoever still has ``words`` has it mapped
                self._map.close()
            self._map = None
            os.close(self.descriptor)
            self._release()


def runs(units: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Offset and length of each run of units of ``size`` bytes, given rising, some more than once.

    >>> runs(np.array([3, 3, 4, 9]), 10)
    [(30, 20), (90, 10)]
    """
    if not len(units):
        return []
    ends = np.flatnonzero(np.diff(units) > 1)
    first, last = units[np.r_[0, ends + 1]], units[np.r_[ends, len(units) - 1]]
    return list(zip((first * size).tolist(), ((last - first + 1) * size).tolist(), strict=True))


def create(folder: Path, *, identity: str, rows: int, dim: int) -> None:
    """Make a table of which no row was written.

    Raises:
        FileError: ``folder`` is there and not empty, or can't be written.
    """
    table = secrets.token_hex(7)
    page = _page({"id": table, "identity": identity, "rows": rows, "dim": dim})
    with atomic_folder(folder) as partial:
        with open(partial / _ROWS, "xb") as file:
            file.write(page)
            file.truncate(Layout.of(dim).size(rows))
        _write_state(partial, table, State())
        (partial / _LOCK).touch()


def open_rows(folder: Path, *, writable: bool) -> RowFile:
    """The table in ``folder``.

    Raises:
        MissingFileError: there is none.
        StoreError: it is damaged, or another process writes to it, or reads it while it is to be written to.
    """
    folder = output_path(folder)
    if not (folder / _ROWS).is_file():
        raise MissingFileError(
            "there is no table of rows",
            where=folder,
            fix="name its folder; a new table needs one that is not there yet",
        )
    header = _read_header(folder / _ROWS)
    with explained("lock the table", folder / _LOCK):
        release = system.lock_file(folder / _LOCK, shared=not writable)
    if release is None:
        raise StoreError(
            "the table is open already" if writable else "the table is being written to",
            got="it is open in this process or in another one",
            where=folder,
            fix="close it there, or copy the table" if writable else "close it there: rows change meanwhile",
        )
    try:
        return RowFile(folder, header, writable=writable, release=release)
    except BaseException:
        release()
        raise


def _page(header: dict[str, Any]) -> bytes:
    """The first page of the file of rows."""
    text = json.dumps(header).encode()
    head = _MAGIC + len(text).to_bytes(4, "little") + text
    page = head + hashlib.sha256(head).digest()
    if len(page) > PAGE:
        raise ArgumentError(
            "the identity of a table is too long", got=counted(len(text), "byte"), expected="up to 4,000"
        )
    return page.ljust(PAGE, b"\0")


def _read_header(path: Path) -> dict[str, Any]:
    with explained("read the table", path), open(path, "rb", opener=system.open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StoreError("the rows of a table are no regular file", where=path)
        page = file.read(PAGE)
    if not page.startswith(_MAGIC):
        raise StoreError(
            "not a table of rows, or one of another version",
            got=repr(page[: len(_MAGIC)]),
            expected=repr(_MAGIC),
            where=path,
        )
    length = int.from_bytes(page[len(_MAGIC) : len(_MAGIC) + 4], "little")
    end = len(_MAGIC) + 4 + length
    if hashlib.sha256(page[:end]).digest() != page[end : end + 32] or page[end + 32 :].strip(b"\0"):
        raise StoreError("the first page of a table is damaged", where=path, fix="restore it from a copy")
    header: dict[str, Any] = json.loads(page[len(_MAGIC) + 4 : end])
    return header


def _check_size(path: Path, got: int, expected: int) -> None:
    if got != expected:
        raise StoreError(
            "the rows of a table have been cut short" if got < expected else "the rows of a table are too many",
            got=counted(got, "byte"),
            expected=counted(expected, "byte"),
            where=path,
            fix="restore them from a copy",
        )


def _write_state(folder: Path, table: str, state: State) -> None:
    text = json.dumps({"table": table, **dataclasses.asdict(state)})
    with atomic_write(folder / _STATE) as file:
        file.write(f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n".encode())


def _read_state(folder: Path, table: str) -> State:
    """The state, as it is on the disk."""
    path = folder / _STATE
    text, _, rest = read_regular(path, "read the state of the table").partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() + b"\n" != rest:
        raise StoreError("the state of a table is damaged", where=path, fix="restore the table from a copy")
    saved = json.loads(text)
    if saved.pop("table") != table:
        raise StoreError("the state is that of another table", where=path, fix="restore the table from a copy")
    previous = saved["previous"] and (int(saved["previous"][0]), int(saved["previous"][1]))
    return State(**{**saved, "previous": previous, "dead": tuple(saved["dead"])})
