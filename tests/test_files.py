"""Files: whole or not at all, whatever happens; the cache folder; locks; text."""

import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import interrupts
from foreword._base import files as _files
from foreword._base import system
from foreword.errors import ArgumentError, FileError, MissingFileError, TextDecodeError

pytestmark = pytest.mark.portable


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_write_appears_whole(tmp_path):
    target = tmp_path / "file"
    with _files.atomic_write(target) as file:
        file.write(b"half")
        assert not target.exists()
        file.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert names(tmp_path) == ["file"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "file"
    target.write_bytes(b"before")
    with pytest.raises(error), _files.atomic_write(target) as file:
        file.write(b"after")
        raise error
    assert target.read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "deep" / "folder"
    with _files.atomic_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_bytes(b"x")
        assert not target.exists()
    assert (target / "inner" / "file").read_bytes() == b"x"
    assert names(tmp_path / "deep") == ["folder"]


def test_a_folder_that_exists_is_not_overwritten(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_bytes(b"x")
    with pytest.raises(FileError, match="write the folder"), _files.atomic_folder(tmp_path / "folder") as folder:
        (folder / "new").write_bytes(b"y")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["old"]


def fill(write, place):
    with write(place):
        pass


def refusal(attempt):
    """The class of the error that it raises, or None."""
    try:
        attempt()
    except (FileError, ArgumentError) as error:
        return type(error)
    return None


PLACES = [
    "new",
    "file",
    "full",
    "empty",
    "no/such",
    "file/new",
    "full/new",
    "to-file",
    "to-full",
    "to-nothing",
    "s3://a/b",
]


@pytest.mark.skipif(os.name == "nt", reason="needs links")
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("place", PLACES)
def test_a_check_raises_what_a_write_would(tmp_path, monkeypatch, place, kind):
    monkeypatch.chdir(tmp_path)
    for name in ("full", "empty"):
        Path(name).mkdir()
    for name in ("file", "full/old"):
        Path(name).touch()
    for name, target in (("to-file", "file"), ("to-full", "full"), ("to-nothing", "nothing")):
        Path(name).symlink_to(target)
    before = names(tmp_path)
    check, write = getattr(_files, f"check_{kind}"), getattr(_files, f"atomic_{'write' if kind == 'file' else kind}")
    refused = refusal(lambda: check(place))
    assert names(tmp_path) == before
    if (place, kind) != ("to-full", "file") or os.environ.get("FOREWORD_TEST_WITHOUT_POSIX") != "1":
        assert refused == refusal(lambda: fill(write, place))  # Windows replaces no link to a folder by a file


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_kill_in_the_middle_of_a_write(tmp_path):
    code = f"""
        import sys, time
        from foreword._base.files import atomic_write
        with atomic_write({str(tmp_path / "file")!r}) as file:
            file.write(b"half")
            file.flush()
            print("now", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "file").exists()
    with _files.atomic_write(tmp_path / "file") as file:
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_full_disk_is_one_clear_error(tmp_path):
    # A limit on file size stands in for a full disk: both fail in write(2).
    code = f"""
        import resource, signal
        from foreword._base.files import atomic_write
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with atomic_write({str(tmp_path / "file")!r}) as file:
                file.write(bytes(100_000))
        except OSError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("FileError can't write the file: file too large")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "fix"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "permissions"), (errno.EROFS, "read-only")]
)
def test_the_fix_fits_the_fault(number, fix):
    with pytest.raises(FileError, match=fix), _files.explained("do it", "there"):
        raise OSError(number, os.strerror(number))


def test_the_cache_folder_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    assert _files.cache_folder("a", "b") == tmp_path / "home" / "a" / "b"
    monkeypatch.delenv("FOREWORD_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert _files.cache_folder("a") == tmp_path / "xdg" / "foreword" / "a"


def test_an_unwritable_cache_folder_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "file" / "home"))  # fails for root too
    with pytest.raises(FileError, match="set FOREWORD_HOME") as caught:
        _files.cache_folder("vectors")
    assert str(tmp_path / "file" / "home" / "vectors") in str(caught.value)


def test_a_lock_lets_one_in_at_a_time(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(20):
            with _files.lock(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_text_is_read_as_it_is(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffeins\r\nzwei\u2028drei".encode())
    assert _files.read_text(path) == "eins\r\nzwei\u2028drei"


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"one\ncaf\xe9 two\n")
    with pytest.raises(TextDecodeError) as caught:
        _files.read_text(path)
    assert "byte 0xe9" in str(caught.value)
    assert f"{path}, byte 7, line 2" in str(caught.value)
    assert _files.read_text(path, encoding="latin-1") == "one\ncafé two\n"


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        _files.read_text(tmp_path / "nothing")
    with pytest.raises(MissingFileError):
        _files.sha256(tmp_path / "nothing")


def test_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")  # the example of FIPS 180-2
    assert _files.sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


URLS = [
    "s3://bucket/out",
    "gs://bucket/out",
    "file:///out",
    "memory://out",
    "simplecache::s3://bucket/out",
    "HTTPS://host/out",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_no_place_to_write(tmp_path, monkeypatch, url):
    """It became a local folder of such a name, also where Path had made one slash of the two."""
    monkeypatch.chdir(tmp_path)
    for out in (url, Path(url)):
        with pytest.raises(ArgumentError, match="not to a URL"), _files.atomic_write(out):
            pass
        with pytest.raises(ArgumentError, match="not to a URL"), _files.atomic_folder(out):
            pass
    monkeypatch.setenv("FOREWORD_HOME", url)
    with pytest.raises(ArgumentError, match="not to a URL"):
        _files.cache_folder("vectors")
    assert not list(tmp_path.iterdir())
    for name in ("C:/out", "C:\\out", "./s3:/bucket", "a:b", "out", "/s3://x", "s3:"):
        assert _files.output_path(name) == Path(name)
    with pytest.raises(ArgumentError, match="a path is empty"):
        _files.output_path("")


def test_a_text_where_a_path_belongs():
    import foreword as fw

    text = "Every effort moves you. " * 300
    for use in (fw.load, fw.TokenStore.open, fw.get_tokenizer, fw.KeyedVectors(2).save):
        with pytest.raises(FileError) as caught:
            use(text)
        assert "give a path, not a text" in str(caught.value)


def test_ctrl_c_at_any_line_leaves_the_old_folder_or_the_new_one(tmp_path):
    folder, written = tmp_path / "folder", 0

    def work():
        nonlocal written
        written += 1
        with _files.replaced_folder(folder) as fresh:
            (fresh / "file").write_text(str(written))

    work()
    for number in interrupts.at_each_line([_files], work):
        found = int((folder / "file").read_text())
        assert found in (written, written - 1), number
        written = found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]


def test_a_folder_that_was_being_replaced_when_its_process_was_killed_is_kept_until_there_is_a_new_one(tmp_path):
    folder = tmp_path / "folder"
    old = tmp_path / ".folder.old"
    old.mkdir()
    (old / "file").write_text("old")

    def fails():
        with _files.replaced_folder(folder):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (folder / "file").read_text() == "old"


@pytest.fixture(params=["at once", "by two renames"])
def exchanging(request, monkeypatch):
    """How two folders change places."""
    if request.param == "by two renames":
        monkeypatch.setattr(system, "exchange", lambda *_: False)
    elif sys.platform != "linux" or not hasattr(system.os, "O_DIRECTORY"):
        pytest.skip("folders don't change places at once here")
    return request.param


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_at_any_line_the_folder_is_there_or_said_to_be_beside_its_place(tmp_path, exchanging):
    folder, missing = tmp_path / "folder", 0

    def work():
        with _files.replaced_folder(folder) as fresh:
            (fresh / "file").write_text("new")

    for number in itertools.count(1):
        for left in tmp_path.iterdir():
            with contextlib.suppress(OSError):
                (left / "file").unlink()
            left.rmdir()
        folder.mkdir()
        (folder / "file").write_text("old")
        if not interrupts.killed_at_line([_files], work, number):
            break
        if folder.exists():
            assert (folder / "file").read_text() in ("old", "new"), number
            _files.check_whole(folder, "read")
        else:
            missing += 1
            with pytest.raises(MissingFileError, match=r"can't read: a process was ended[^🙂]*\.folder\.old"):
                _files.check_whole(folder, "read")
            assert (tmp_path / ".folder.old" / "file").read_text() == "old"
        work()  # the next one finds its way
        assert (folder / "file").read_text() == "new"
        assert not [name for name in names(tmp_path) if name.endswith((".old", ".new"))]
    assert number > 30
    assert (missing > 0) == (exchanging == "by two renames")


def test_readers_say_where_a_folder_is_that_was_being_replaced(tmp_path, monkeypatch):
    import foreword as fw

    vectors = fw.KeyedVectors(2)
    vectors.add_vectors(["a"], [[1.0, 2.0]])
    vectors.save(tmp_path / ".store.old")
    monkeypatch.chdir(tmp_path)
    for use in (fw.load, fw.KeyedVectors.load, fw.Word2Vec.load):
        for path in (tmp_path / "store", "store"):
            with pytest.raises(MissingFileError, match=r"rename \.store\.old to store"):
                use(path)
    vectors.save(tmp_path / "store")
    assert names(tmp_path) == ["store"]


def test_what_a_link_leads_to_is_replaced(tmp_path, exchanging, monkeypatch):
    (tmp_path / "there").mkdir()
    folder = tmp_path / "there" / "folder"
    link = tmp_path / "link"
    try:
        link.symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    for number in range(3):
        with _files.replaced_folder(link) as fresh:
            (fresh / "file").write_text(str(number))
        assert (folder / "file").read_text() == str(number)
    monkeypatch.chdir(folder)
    with _files.replaced_folder(".") as fresh:
        (fresh / "file").write_text("here")
    assert (folder / "file").read_text() == "here"
    assert (names(tmp_path), names(tmp_path / "there"), link.is_symlink()) == (["link", "there"], ["folder"], True)


def test_folders_change_places(tmp_path, exchanging):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    assert not system.exchange(one, other)
    other.write_text("a file")
    swapped = system.exchange(one, other)
    assert swapped == (exchanging == "at once")
    assert (one if swapped else other).read_text() == "a file"
