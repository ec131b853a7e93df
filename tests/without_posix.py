"""The system as Windows has it, as far as Linux can show that: without what only POSIX has, and with Windows' rules.

    FOREWORD_TEST_WITHOUT_POSIX=1 python -m pytest -m "portable and not slow"

For Foreword's modules ``os`` lacks what it lacks on Windows, ``fcntl`` and its like can't be imported, no folder can be
opened, and no file that is open for reading only can be synced. For the whole process

- a file that is open or mapped here can't be removed, renamed or replaced, nor a folder renamed that holds one;
- nothing is renamed to a name that exists.

Not shown: text in another encoding than UTF-8, drives and their letters, names that Windows forbids. Processes that a
test starts have POSIX again.
"""

# It stands below pathlib.
# ruff: noqa: PTH112, PTH115, PTH118, PTH208

import builtins
import contextlib
import errno
import fcntl
import os
import sys
import types

MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# The names of ``os`` that only POSIX has, or only Linux, or that Windows has since Python 3.13 only.
_NAMES = """
chflags chown chroot confstr copy_file_range ctermid environb eventfd eventfd_read eventfd_write fchdir fchmod
fchown fdatasync fork forkpty fpathconf fstatvfs fwalk getegid getenvb geteuid getgid getgrouplist getgroups
getloadavg getpgid getpgrp getpriority getrandom getresgid getresuid getsid getuid getxattr grantpt initgroups
killpg lchflags lchmod lchown listxattr lockf login_tty major makedev memfd_create minor mkfifo mknod nice openpty
pathconf pidfd_open pipe2 posix_fadvise posix_fallocate posix_openpt posix_spawn posix_spawnp pread preadv ptsname
pwrite pwritev readv register_at_fork removexattr sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getparam sched_getscheduler sched_param sched_setaffinity sched_setparam sched_setscheduler sched_yield
sendfile setegid seteuid setgid setgroups setns setpgid setpgrp setpriority setregid setresgid setresuid setreuid
setsid setuid setxattr spawnlp spawnlpe spawnvp spawnvpe splice statvfs sync sysconf tcgetpgrp tcsetpgrp
timerfd_create timerfd_gettime timerfd_settime ttyname uname unlockpt unshare wait wait3 wait4 waitid writev F_LOCK
F_TEST F_TLOCK F_ULOCK NGROUPS_MAX O_ACCMODE O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_EVTONLY O_EXEC
O_EXLOCK O_FSYNC O_LARGEFILE O_NDELAY O_NOATIME O_NOCTTY O_NOFOLLOW O_NOFOLLOW_ANY O_NONBLOCK O_PATH O_RSYNC
O_SEARCH O_SHLOCK O_SYMLINK O_SYNC O_TMPFILE SEEK_DATA SEEK_HOLE WCONTINUED WCOREDUMP WEXITSTATUS WIFCONTINUED
WIFEXITED WIFSIGNALED WIFSTOPPED WNOHANG WSTOPSIG WTERMSIG WUNTRACED
"""
NAMES = set(_NAMES.split())
PREFIXES = (
    "CLD_",
    "CLONE_",
    "EFD_",
    "GRND_",
    "MFD_",
    "PIDFD_",
    "POSIX_",
    "PRIO_",
    "RTLD_",
    "RWF_",
    "SCHED_",
    "SPLICE_",
)
PREFIXES += ("ST_", "TFD_", "XATTR_")


def only_posix(name):
    """Whether ``os.name`` is of POSIX only."""
    return name in NAMES or name.startswith(PREFIXES)


class _PortableOs(types.ModuleType):
    """``os`` as Windows has it; what is set on it is set on ``os``."""

    def __getattr__(self, name):
        if only_posix(name):
            raise AttributeError(f"module 'os' has no attribute {name!r} here")
        return {"fsync": _fsync, "open": _open}.get(name) or getattr(os, name)

    def __setattr__(self, name, value):
        setattr(os, name, value)

    def __delattr__(self, name):
        delattr(os, name)


_PLAIN = {name: getattr(os, name) for name in ("remove", "rename", "replace", "unlink")}
_PLAIN_IMPORT = builtins.__import__
OS = _PortableOs("os")


def take_away():
    """Make it so; before Foreword is imported."""
    assert not any(name.split(".")[0] == "foreword" for name in sys.modules), "foreword has been imported already"
    os.remove = os.unlink = _unlink
    os.rename, os.replace = _rename, _replace
    builtins.__import__ = _import


def give_back():
    """End it, for what pytest removes at the end."""
    for name, function in _PLAIN.items():
        setattr(os, name, function)
    builtins.__import__ = _PLAIN_IMPORT


def _import(name, namespace=None, local=None, fromlist=(), level=0):
    if str((namespace or {}).get("__name__")).split(".")[0] == "foreword":
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name == "os":
            return OS
    return _PLAIN_IMPORT(name, namespace, local, fromlist, level)


def _open(path, flags, mode=0o777, *, dir_fd=None):
    if dir_fd is None and os.path.isdir(path):
        raise _refusal(errno.EACCES, path)
    return os.open(path, flags, mode, dir_fd=dir_fd)


def _fsync(fd):
    number = fd if isinstance(fd, int) else fd.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    os.fsync(number)


def _unlink(path, *, dir_fd=None):
    _check_unused(path, dir_fd)
    _PLAIN["unlink"](path, dir_fd=dir_fd)


def _rename(src, dst, *, src_dir_fd=None, dst_dir_fd=None):
    _check_unused(src, src_dir_fd)
    if os.path.lexists(dst):
        raise _refusal(errno.EEXIST, dst)
    _PLAIN["rename"](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def _replace(src, dst, *, src_dir_fd=None, dst_dir_fd=None):
    _check_unused(src, src_dir_fd)
    _check_unused(dst, dst_dir_fd)
    if os.path.isdir(dst):
        raise _refusal(errno.EACCES, dst)
    _PLAIN["replace"](src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def _check_unused(path, dir_fd):
    """Refuse what this process has open or mapped, and a folder that holds such a file."""
    parent, name = os.path.split(os.fsdecode(path))
    if dir_fd is not None:
        parent = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), parent)
    path = os.path.join(os.path.realpath(parent or "."), name)
    for used in _used():
        if used == path or (used.startswith(path + "/") and not os.path.isdir(used)):
            raise _refusal(errno.EACCES, path)


def _used():
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            yield os.readlink(f"/proc/self/fd/{number}")
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        yield from {line[73:].rstrip("\n") for line in maps}


def _refusal(number, path):
    return OSError(number, os.strerror(number), os.fspath(path))
