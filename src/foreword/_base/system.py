"""The operating system: what only some have, each with a portable way beside it.

What only POSIX or only Linux has is used in this file and nowhere else. Whether a system has it is asked of the name
itself (``hasattr(os, …)``), when it is needed: so the tests can take the names away and run the portable way on Linux.

Not for: files as such (``files``). Costs: nothing until a function is called.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mmap
    import socket

__all__ = [
    "after_fork",
    "as_path",
    "exchange",
    "guard",
    "hold",
    "limit_memory",
    "lock_file",
    "move_folder",
    "move_unless_held",
    "open_without_waiting",
    "own_port",
    "processors",
    "read_at_random",
    "read_soon",
    "reserve",
    "resident_bytes",
    "sync_file",
    "sync_folder",
    "sync_mapped",
]


def processors() -> int:
    """How many processors this process may run on; where the system does not say that, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resident_bytes() -> int | None:
    """How much memory this process holds, in bytes; None where the system does not say (all but Linux)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None


def after_fork(renew: Callable[[], None]) -> None:
    """Call ``renew`` in every forked child; where there is no fork, never."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


def guard() -> threading.Lock:
    """A lock that is free in a forked child, also where another thread of its parent held it just then, which the child
    has not, and would wait for for ever. What it guards must be of use at every moment at which it is held.
    """
    lock = threading.Lock()
    _guards.add(lock)
    return lock


@contextlib.contextmanager
def as_path(data: bytes) -> Iterator[str]:
    """A path that reads as ``data`` inside the block: in memory on Linux, elsewhere a temporary file."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("foreword"), "wb") as memory:
            memory.write(data)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.TemporaryDirectory(prefix="foreword-") as folder:
            path = Path(folder, "data")
            path.write_bytes(data)  # closed before it is read: Windows lends no file twice
            yield str(path)


def open_without_waiting(path: str, flags: int) -> int:
    """An ``opener`` for ``open``: a pipe that lies where a file should be is opened at once, not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def sync_file(path: str | os.PathLike[str]) -> None:
    """Make what was written to the file ``path`` durable."""
    with open(path, "r+b") as file:  # Windows syncs no file that is open for reading only
        os.fsync(file.fileno())


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in the folder ``path`` durable; Windows opens no folder, and sees to it itself."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold(owner: object, path: Path) -> None:
    """Hold the file ``path``, with whoever else does, as long as ``owner`` lives; nothing where it can't be held, as on
    Windows, where a folder can't be renamed that holds a file which is mapped.
    """
    locks = _locks()
    if locks is None:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(owner, os.close, descriptor).atexit = False
        locks.flock(descriptor, locks.LOCK_SH | locks.LOCK_NB)


def move_unless_held(folder: Path, file: str, target: Path) -> bool:
    """Rename ``folder``, unless somebody holds its ``file``; whether that was done.

    Raises:
        OSError: it can't be renamed.
    """
    locks = _locks()
    if locks is None:
        try:
            os.rename(folder, target)
        except PermissionError:
            return False
        return True
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):
            held = stack.enter_context(open(folder / file, "rb"))
            try:
                locks.flock(held, locks.LOCK_EX | locks.LOCK_NB)
            except OSError:
                return False
        os.rename(folder, target)
    return True


def lock_file(path: Path, *, shared: bool) -> Callable[[], None] | None:
    """Lock the file ``path``, which is there: shared with whoever shares it, or for this process alone; never waits.

    Where files can't be locked so, as on Windows, nobody shares: the lock is one of ``filelock``, beside the file.

    Returns:
        What lets go of the lock, which else is kept until the process ends; None where somebody else has it.

    Raises:
        OSError: it can't be opened.
    """
    locks = _locks()
    if locks is None:
        import filelock

        lock = filelock.FileLock(f"{path}.held", blocking=False, thread_local=False)  # any thread may let go
        try:
            lock.acquire()
        except filelock.Timeout:
            return None
        return lock.release
    # For a lock of one alone NFS wants a file that may be written. A file, not a descriptor: it is closed when it is
    # forgotten, as where Ctrl-C comes before the caller has it.
    file = open(path, "rb" if shared else "r+b", buffering=0)  # noqa: SIM115
    try:
        locks.flock(file, (locks.LOCK_SH if shared else locks.LOCK_EX) | locks.LOCK_NB)
    except BaseException as cause:
        file.close()
        if isinstance(cause, BlockingIOError):
            return None
        raise
    if not shared:
        _alone.add(file)
    return file.close


def reserve(descriptor: int, offset: int, length: int) -> None:
    """Have the disk keep space for a range of a file that has holes; what it holds stays as it is.

    Nobody may write to the range meanwhile, not by a mapping either.

    Raises:
        OSError: there is no space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, length)
        return
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = os.read(descriptor, length)
    os.lseek(descriptor, offset, os.SEEK_SET)
    os.write(descriptor, data)


def in_memory(path: Path) -> bool:
    """Whether a file is in memory rather than on a disk (tmpfs), where even a read of a hole by a mapping takes space,
    and ends the process where there is none.
    """
    if sys.platform != "linux" or not hasattr(os, "major"):
        return False
    device = path.stat().st_dev
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return any(line.split()[2] == wanted and " - tmpfs " in line for line in lines)


def read_at_random(mapped: mmap.mmap) -> None:
    """Tell the system that no page of a mapped file says which is read next, where it can be told."""
    import mmap

    if hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined, unused-ignore]


def sync_mapped(mapped: mmap.mmap, descriptor: int) -> None:
    """Make what was written to a mapped file durable; on Linux, and where there is ``fdatasync``, by its descriptor."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        mapped.flush()
        os.fsync(descriptor)


def read_soon(descriptor: int, offset: int, length: int) -> None:
    """Have the system fetch a range of a file meanwhile, without waiting for it; nothing where it can't be told."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)  # type: ignore[attr-defined, unused-ignore]


def _locks() -> Any:
    """The module of file locks; None on Windows, which has none."""
    try:
        import fcntl
    except ImportError:
        return None
    return fcntl


def move_folder(source: Path, target: Path) -> None:
    """Rename the folder ``source``, in one step; ``target`` may be there if it is an empty folder.

    Raises:
        OSError: ``target`` is something else, or a file in ``source`` is open (on Windows).
    """
    try:
        os.rename(source, target)
    except FileExistsError:  # Windows renames to no name that exists, POSIX over an empty folder
        os.rmdir(target)  # which fails on all but an empty folder  # noqa: PTH106
        os.rename(source, target)


def exchange(one: Path, other: Path) -> bool:
    """Have two files or folders change places, at once; whether that was done, which only Linux can do, and there not
    every file system.
    """
    if sys.platform != "linux" or not hasattr(os, "O_DIRECTORY"):
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0


def own_port(listener: socket.socket) -> None:
    """Have ``listener`` bind a port that nobody else has: at once after a server has ended, never beside one."""
    import socket

    # On Windows SO_REUSEADDR would let two servers have one port; what it is needed for elsewhere is always so there.
    option = "SO_EXCLUSIVEADDRUSE" if hasattr(socket, "SO_EXCLUSIVEADDRUSE") else "SO_REUSEADDR"
    listener.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)


def limit_memory(size: int) -> None:
    """Have this process get no more than ``size`` bytes of memory, where its system can see to that."""
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


_alone: weakref.WeakSet[Any] = weakref.WeakSet()  # files that this process has locked for itself
_guards: weakref.WeakSet[threading.Lock] = weakref.WeakSet()


def _let_go() -> None:
    """In a forked child: its copies of its parent's locks would hold them as long as it lives, also against itself."""
    for file in list(_alone):
        file.close()
    for lock in list(_guards):
        if lock.locked():
            lock.release()


after_fork(_let_go)
