"""What only some systems have, and the portable way beside it: both give the same."""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path

import pytest

import without_posix
from foreword._base import files, system
from foreword.errors import FileError, StoreError

pytestmark = pytest.mark.portable


@pytest.fixture(params=["as it is", "portable"])
def way(request, monkeypatch):
    if request.param == "portable":
        monkeypatch.setattr(system, "os", without_posix.OS)
    return request.param


def test_the_stand_in_for_os_lacks_what_windows_lacks():
    assert not hasattr(without_posix.OS, "memfd_create")
    assert not hasattr(without_posix.OS, "SCHED_OTHER")
    assert without_posix.OS.getpid() == os.getpid()
    with pytest.raises(ImportError):
        without_posix._import("fcntl", {"__name__": "foreword.anything"})


def test_processors(monkeypatch, way):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert system.processors() == (3 if way == "as it is" and hasattr(system.os, "sched_getaffinity") else 64)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.processors() in (1, 3)


@pytest.mark.parametrize("data", [b"", b"\0\xff\r\n\x1a" * 100_000])
def test_bytes_have_a_path(way, data):
    with system.as_path(data) as path:
        assert Path(path).read_bytes() == data
        assert Path(path).read_bytes() == data, "it can be read more than once"
    assert not os.path.exists(path)  # noqa: PTH110


def test_bytes_in_memory_need_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    if hasattr(system.os, "memfd_create"):
        with system.as_path(b"abc") as path:
            assert Path(path).read_bytes() == b"abc"
    else:
        with pytest.raises(OSError), system.as_path(b"abc"):  # noqa: PT011
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_bytes(way):
    if way == "portable" or not hasattr(system.os, "sysconf"):
        assert system.resident_bytes() is None
        return
    code = """
from foreword._base import system
before = system.resident_bytes()
held = b"x" * 50_000_000
print(system.resident_bytes() - before)
"""  # in a process of its own: this one may have so much to reuse
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 40_000_000 < int(done.stdout) < 200_000_000


def test_what_is_no_file_is_not_waited_for(way, tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    with open(tmp_path / "file", "rb", opener=system.open_without_waiting) as file:
        assert file.read() == b"abc"
    if way == "as it is" and hasattr(system.os, "O_NONBLOCK"):
        os.mkfifo(tmp_path / "pipe")
        with open(tmp_path / "pipe", "rb", opener=system.open_without_waiting) as file:
            assert file.read() == b""


def test_files_and_folders_are_synced(way, tmp_path, monkeypatch):
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd)))
    (tmp_path / "file").write_bytes(b"abc")
    system.sync_file(tmp_path / "file")
    system.sync_folder(tmp_path)
    folders = way == "as it is" and hasattr(system.os, "O_DIRECTORY")
    assert synced == [str(tmp_path / "file"), *[str(tmp_path)] * folders]
    assert (tmp_path / "file").read_bytes() == b"abc"


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a full folder", "a file"])
def test_a_folder_moves_over_an_empty_one_only(way, there, tmp_path, monkeypatch):
    if way == "portable":  # as Windows does it
        monkeypatch.setattr(os, "rename", without_posix._rename)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "new").write_bytes(b"")
    if there == "a file":
        target.write_bytes(b"abc")
    elif there != "nothing":
        target.mkdir()
        if there == "a full folder":
            (target / "old").write_bytes(b"abc")
    if there in ("a file", "a full folder"):
        with pytest.raises(OSError):  # noqa: PT011
            system.move_folder(source, target)
        assert (source / "new").exists()
        assert target.is_file() or (target / "old").read_bytes() == b"abc"
    else:
        system.move_folder(source, target)
        assert (target / "new").exists()
        assert not source.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_children_renew(way):
    """In a process of its own: what is registered is so for good."""
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
import without_posix
from foreword._base import system
if sys.argv[2] == "portable":
    system.os = without_posix.OS
system.after_fork(lambda: print("renewed", flush=True))
if not os.fork():
    os._exit(0)
os.wait()
print("parent")
"""
    run = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent), way]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == ("renewed\n" if way == "as it is" else "") + "parent\n"


@pytest.mark.skipif(not hasattr(system.os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_thread_holds_a_guard_does_not_wait_for_it(tmp_path):
    """Of each kind of object that has one: the other thread holds them all."""
    import foreword as fw
    from foreword._base.remote import RemoteFolder
    from foreword.tokens.tokenizers import opening
    from vectors.static_models import rows_of, save_model2vec, wordpiece

    save_model2vec(tmp_path / "m", wordpiece(), rows_of(wordpiece()))
    wv, tokenizer, remote = fw.load(tmp_path / "m"), fw.get_tokenizer("gpt2"), RemoteFolder(tmp_path.as_uri())
    text = "Every effort moves you."
    expected = list(tokenizer.encode(text)), wv.encode(["the king"]).tolist(), wv.most_similar("king")
    guards = [wv._guard, opening._fetching, remote._opening]
    guards += [lock for lock in system._guards if lock not in guards]
    assert len(guards) > 4
    held, over = threading.Event(), threading.Event()

    def hold():
        with contextlib.ExitStack() as stack:
            for lock in guards:
                stack.enter_context(lock)
            held.set()
            over.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(20)
            found = list(tokenizer.encode(text)), wv.encode(["the king"]).tolist(), wv.most_similar("king")
            fw.load(tmp_path / "m").most_similar("king")
            remote.read("m/config.json")
            code = 0 if found == expected and not any(lock.locked() for lock in guards) else 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    over.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def test_one_port_has_one_server(monkeypatch):
    with socket.socket() as first, socket.socket() as second:
        system.own_port(first)
        first.bind(("127.0.0.1", 0))
        first.listen()
        system.own_port(second)
        with pytest.raises(OSError, match="in use"):
            second.bind(first.getsockname())
    # Windows would let two have it by that option, and has another against it
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with socket.socket() as listener:
        system.own_port(listener)
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_a_file_that_is_in_use_says_so():
    error = PermissionError(13, "The process cannot access the file because it is being used by another process")
    error.winerror = 32
    with pytest.raises(FileError, match="close what has it open"), files.explained("replace it", "there"):
        raise error


def test_a_store_that_is_being_prepared_is_refused_to_others(tmp_path):
    from foreword.tokens.preparing.journal import exclusive

    with exclusive(tmp_path / "store"):
        (tmp_path / "store" / "shard").write_bytes(b"")
        with pytest.raises(StoreError, match="another process"), exclusive(tmp_path / "store"):
            pass
    assert sorted(path.name for path in (tmp_path / "store").iterdir())[-1] == "shard"
    with pytest.raises(ValueError, match="as it was"), exclusive(tmp_path / "fresh"):
        raise ValueError("as it was")
    assert not (tmp_path / "fresh").exists()


def test_a_lock_that_is_forgotten_is_free(tmp_path):
    """As where Ctrl-C comes after it was taken and before who took it knows."""
    path = tmp_path / "lock"
    path.touch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert system.lock_file(path, shared=False) is not None
        gc.collect()
    release = system.lock_file(path, shared=False)
    assert release is not None
    release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_holds_no_lock_of_its_parent(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    release = system.lock_file(path, shared=False)
    goes, over = os.pipe()
    child = os.fork()
    if not child:
        status = 0 if system.lock_file(path, shared=False) is None else 2  # the parent has it still
        os.read(goes, 1)
        os._exit(status if system.lock_file(path, shared=False) is not None else 1)
    release()
    os.write(over, b".")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(goes)
    os.close(over)
    assert status in (0, 2)  # 2: the parent was quicker
