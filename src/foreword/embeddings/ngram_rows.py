"""The rows of a table larger than memory, with their moments, learned by Adam in a mapped file.

The file is the memory: rows are read and written where they are mapped, so that the system keeps those that are used,
and writes the rest to disk by and by. What this process has of its own is a few rows at a time.

Not for: tables that fit into memory: a parameter with row-sparse gradients and ``RowAdam``, which does the same
arithmetic. Costs: see ``row_file``; some 0.2 µs a row and step for its checksums.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword._base.checks import integer
from foreword._base.files import explained, output_path
from foreword._base.words import counted
from foreword.embeddings import row_file, row_file_plain
from foreword.embeddings.row_file import PAGE, RowFile
from foreword.embeddings.row_file_plain import places
from foreword.errors import ArgumentError, StoreError

__all__ = ["MappedRows"]

_TOGETHER = 1 << 10  # rows that are updated together, so that they stay in the processor's cache
_ALONE = 1 << 9  # fewer rows are not worth a second thread
_WAITING = 64  # expectations that may wait; what comes to it beyond is read when it is needed

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


class MappedRows:
    """Rows of a table in a folder; made by ``open``.

    Every row begins at zero, its moments too. ``step`` is Adam as ``RowAdam`` has it, by the same arithmetic: the same
    bits, whatever the number of threads. What was done since the last ``checkpoint`` is gone when the process ends,
    however it ends; the checkpoint is whole. Rows that have learned before learn on after ``load_state_dict`` only: a
    model that begins anew would else go on with them by mistake.

    One thread at a time may use it.
    """

    def __init__(self, file: RowFile, *, behind_bytes: int) -> None:
        self._file, self._behind_bytes = file, behind_bytes
        self._layout = np.array(file.layout, np.int64)
        self._kernel = _kernel()
        self._process, self._steps = os.getpid(), file.state.steps
        self._whole = True  # no step has failed in the midst
        self._placed = not file.state.steps  # it is known from which checkpoint the model goes on
        self._unwritten = 0  # bytes that wait to be written, about
        self._behind = _Behind()
        self._finish = weakref.finalize(self, _finish, self._behind, file)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        identity: str,
        rows: int,
        dim: int,
        writable: bool = True,
        behind_bytes: int = 256 << 20,
    ) -> Self:
        """Open the table in ``folder``, at its last checkpoint; make it, of zeros, where there is none.

        Args:
            folder: of the table.
            identity: words ``name=value`` that say what the rows are for, as the hashes that find them; a table of
                another identity is refused.
            rows: how many there are.
            dim: of each.
            writable: whether rows are to be learned. Then no other process may have the table open; else any number
                may read it.
            behind_bytes: about so many bytes may wait to be written; a thread begins to write them then.

        Raises:
            StoreError: the table is damaged, of another shape or identity, or open elsewhere.
            MissingFileError: there is none, and it is not ``writable``.
            FileError: it can't be read or made.
        """
        path = output_path(folder)
        rows, dim = integer("rows", rows, at_least=1), integer("dim", dim, at_least=1)
        behind_bytes = integer("behind_bytes", behind_bytes, at_least=1)
        with explained("open the table", path):
            fresh = not (path.is_dir() and any(path.iterdir())) and not path.is_file()
        if writable and fresh:
            row_file.create(path, identity=identity, rows=rows, dim=dim)
        file = row_file.open_rows(path, writable=writable)
        try:
            _check_same(file, list(dict.fromkeys([*identity.split(), f"rows={rows}", f"dim={dim}"])))
            return cls(file, behind_bytes=behind_bytes)
        except BaseException:
            file.close()
            raise

    @property
    def rows(self) -> int:
        """How many there are."""
        return self._file.rows

    @property
    def dim(self) -> int:
        """The length of a row."""
        return self._file.layout.dim

    @property
    def writable(self) -> bool:
        """Whether rows can be learned."""
        return self._file.writable

    @property
    def steps(self) -> int:
        """How many steps have been taken."""
        return self._steps

    def gather(self, ids: Ids) -> Floats:
        """Rows, float32 [n, dim].

        Args:
            ids: int64 [n], rising.

        Raises:
            ArgumentError: ids that don't rise, or are of no row.
            StoreError: a row is damaged.
            FileError: the table is in memory (tmpfs), and that is full.
        """
        self._check(ids)
        if self._file.in_memory and self.writable:
            self._file.reserve(places(self._layout, ids))
        into = np.empty((1, len(ids), self.dim), np.float32)
        _share(len(ids), lambda start, stop: self._read(ids, into, start, stop))
        found: Floats = into[0]
        return found

    def step(self, ids: Ids, grads: Floats, *, lr: float, betas: tuple[float, float], eps: float) -> None:
        """One step of Adam on some rows; their moments decay only when they have a gradient.

        Args:
            ids: int64 [n], rising.
            grads: float32 [n, dim], the sum of each row's gradients.
            lr: step size.
            betas: decay of the two moments.
            eps: added to the square root of the second.

        Raises:
            ArgumentError: as ``gather``; or gradients of another shape or dtype.
            StoreError: a row is damaged, or the table was opened to be read only. When a step fails in the midst,
                nothing more can be done but to go back to a checkpoint (``load_state_dict``).
            FileError: there is no space left on the disk; nothing has changed.
        """
        self._check(ids)
        self._check_writable()
        if grads.dtype != np.float32 or grads.shape != (len(ids), self.dim):
            raise ArgumentError(
                "these are not the gradients of the rows",
                got=f"{grads.dtype} {list(grads.shape)}",
                expected=f"float32 [{len(ids)}, {self.dim}]",
            )
        grads = np.ascontiguousarray(grads)
        file = self._file
        at = places(self._layout, ids)
        if not file.in_memory:
            fresh = (file.words[at] == 0) & (file.words[at + file.layout.slot] == 0)
            at = at[fresh]
        file.reserve(at)
        if file.state.writing is None:
            file.state = file.state.begun()
        steps = self._steps + 1
        size = lr * math.sqrt(1 - betas[1] ** steps) / (1 - betas[0] ** steps)

        def update(start: int, stop: int) -> None:
            for first in range(start, stop, _TOGETHER):
                some = ids[first : min(first + _TOGETHER, stop)]
                rows = np.empty((3, len(some), self.dim), np.float32)
                self._read(some, rows, 0, len(some))
                own = grads[first : first + len(some)]
                self._kernel.adam(*rows, np.arange(len(some)), own, size, *betas, eps, 0, len(some))
                self._kernel.write(file.words, file.floats, self._layout, file.numbers, some, rows, 0, len(some))

        self._whole = False
        _share(len(ids), update)
        self._steps, self._whole = steps, True
        self._unwritten += len(ids) * PAGE
        if self._unwritten >= self._behind_bytes and self._behind.do(file.sync):
            self._unwritten = 0

    def expect(self, rows: Ids) -> None:
        """Have a thread fetch rows that will soon be wanted; returns at once.

        What it does not come to in time is fetched when it is wanted: what rows hold is the same in any case. Any
        thread may call it.

        Args:
            rows: int64 of any shape, in any order; below 0 is none. They are not changed meanwhile.
        """
        file, layout, kernel, words = self._file, self._layout, self._kernel, self._file.words
        if file.in_memory or not len(words):  # it is closed
            return

        def fetch() -> None:
            ids = np.unique(rows)
            ids = ids[(ids >= 0) & (ids < file.rows)]
            with contextlib.suppress(OSError):  # then it is read by touching alone
                file.read_soon(places(layout, ids))
            kernel.touch(words, layout, ids)  # which stay mapped, though the table be closed meanwhile

        self._behind.do(fetch)

    def checkpoint(self) -> None:
        """Have what was written count, from now on: durably, and all or nothing.

        Call it before the rest of the model is saved. If the process is killed between the two, the model's checkpoint
        is one behind the table's, and ``load_state_dict`` goes back.

        Raises:
            StoreError: the table was opened to be read only; a step failed in the midst.
            FileError: it can't be written; the last checkpoint is whole.
        """
        self._check_usable()
        if self._file.state.writing is not None:
            self._check_process()
            self._file.sync()
            self._file.state = self._file.state.reached(self._steps)
            self._unwritten = 0

    def state_dict(self) -> dict[str, Any]:
        """Which checkpoint the table is at: {"table": its id, "checkpoint": a number}.

        Raises:
            StoreError: rows have been written since the last checkpoint.
        """
        self._check_usable()
        if self._file.state.writing is not None:
            raise StoreError(
                "rows of the table have changed since its last checkpoint",
                where=self._file.folder,
                fix="call checkpoint() before the model is saved",
            )
        return {"table": self._file.id, "checkpoint": self._file.state.checkpoint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a checkpoint: what was written since is given up.

        Args:
            state: of ``state_dict``: the last checkpoint, or the one before it if no row was written since the last.

        Raises:
            StoreError: that checkpoint is of another table, or no longer there.
        """
        self._check_open()
        self._check_process()
        file, found = self._file, self._file.state.given_up()
        if state.get("table") != file.id:
            raise StoreError("the checkpoint is of another table of rows", where=file.folder)
        wanted, previous = state.get("checkpoint"), found.previous
        if previous is not None and wanted == previous[0]:
            found = found.gone_back()
        elif wanted != found.checkpoint:
            there = [str(found.checkpoint), *([] if previous is None else [str(previous[0])])]
            raise StoreError(
                "the table is no longer at that checkpoint",
                got=f"checkpoint {wanted!r}",
                expected=f"checkpoint {' or '.join(there)}: a table keeps its last, and the one before it until rows "
                "are written again",
                where=file.folder,
                fix="go on from the model's checkpoint that was saved with this one, or copy the table with the model",
            )
        file.state = found
        self._steps, self._whole, self._placed = found.steps, True, True

    def close(self) -> None:
        """Let go of the table; what was written since the last checkpoint is given up."""
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MappedRows({self.rows:,} × {self.dim}, {os.fspath(self._file.folder)!r})"

    def _read(self, ids: Ids, into: Floats, start: int, stop: int) -> None:
        """Put the parts of the rows ids[start:stop] into ``into`` [parts, n, dim]."""
        file = self._file
        bad = self._kernel.read(file.words, file.floats, self._layout, file.numbers, ids, into, start, stop)
        if bad >= 0:
            raise StoreError(
                "a row of the table is damaged",
                got=f"row {ids[bad]:,}",
                where=file.folder,
                fix="restore the table from a copy",
            )

    def _check(self, ids: Ids) -> None:
        self._check_usable()
        if ids.dtype != np.int64 or ids.ndim != 1:
            raise ArgumentError("these are not ids of rows", got=f"{ids.dtype} {list(ids.shape)}", expected="int64 [n]")
        if len(ids) and not (ids[0] >= 0 and ids[-1] < self.rows and (ids[1:] > ids[:-1]).all()):
            raise ArgumentError("ids of rows must rise", expected=f"each once, from 0 … {self.rows - 1:,}")

    def _check_open(self) -> None:
        if not self._finish.alive:
            raise StoreError("the table is closed", where=self._file.folder)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise StoreError(
                "the table belongs to the process that opened it", where=self._file.folder, fix="learn there"
            )

    def _check_usable(self) -> None:
        self._check_open()
        where = self._file.folder
        if self._behind.failure is not None:
            raise StoreError(
                "the table could not be written", got=str(self._behind.failure), where=where, fix="open it again"
            ) from self._behind.failure
        if not self._whole:
            raise StoreError(
                "a step of the table stopped in the midst", where=where, fix="go back to a checkpoint: load_state_dict"
            )

    def _check_writable(self) -> None:
        if not self._file.writable:
            raise StoreError("the table is open to be read only", where=self._file.folder, fix="writable=True")
        self._check_process()
        if not self._placed:
            raise StoreError(
                "the rows in the folder have learned, and the model does not say that it goes on from there",
                got=f"checkpoint {self._file.state.checkpoint}, after {counted(self._steps, 'step')}",
                where=self._file.folder,
                fix="load the model's state_dict that was saved with it; without one, begin with an empty folder, or "
                "keep these rows: ngrams.load_state_dict(ngrams.state_dict())",
            )


class _Behind:
    """A thread that does what may be done later, in order; it is started by the first.

    Attributes:
        failure: what the first that failed raised.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._guard = threading.Lock()
        # Simple: a table that is garbage may be closed in the midst of any call of it.
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, task: Callable[[], None]) -> bool:
        """Have ``task`` done; False where too much is waiting."""
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="foreword-rows", daemon=True)
                self._thread.start()
        if self._waiting.qsize() >= _WAITING:
            return False
        self._waiting.put(task)
        return True

    def stop(self) -> None:
        """Wait for what is being done; nothing else is."""
        if self._thread is None or not self._thread.is_alive():  # it isn't in a forked child
            return
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()
        self._waiting.put(None)
        if self._thread is not threading.current_thread():  # in which a table that is garbage may be collected
            self._thread.join()

    def _serve(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                task()
            except Exception as failure:
                self.failure = self.failure or failure
            del task


def _finish(behind: _Behind, file: RowFile) -> None:
    try:
        behind.stop()
    finally:
        file.close()


def _share(n: int, work: Callable[[int, int], None]) -> None:
    """Have threads do ``work`` on parts of 0 … n − 1."""
    if n < 2 * _ALONE:
        work(0, n)
        return

    def take(parts: Iterator[tuple[int, int]]) -> None:
        for part in parts:
            work(*part)

    threads.run(take, threads.split(0, n, pieces=min(threads.count(), n // _ALONE)))


def _kernel() -> Any:
    """The compiled kernels, or the plain ones."""
    try:
        from foreword.embeddings import row_file_kernel
    except ImportError:
        return row_file_plain
    return row_file_kernel


def _check_same(file: RowFile, expected: list[str]) -> None:
    """Nothing, if the table is what was expected; else an error that says in what it differs."""
    got = list(dict.fromkeys([*file.identity.split(), f"rows={file.rows}", f"dim={file.layout.dim}"]))
    if got != expected:
        raise StoreError(
            "the table is another one",
            got=" ".join(word for word in got if word not in expected) or " ".join(got),
            expected=" ".join(word for word in expected if word not in got) or " ".join(expected),
            where=file.folder,
            fix="give the options that it was made with, or another folder",
        )
