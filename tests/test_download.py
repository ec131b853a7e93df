"""Downloads, from a server of this machine that does all that servers do wrong: the right bytes, or one clear error."""

import contextlib
import gc
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from email.utils import formatdate
from pathlib import Path

import pytest

from faulty_server import change, cut, fail, manners, running, stall
from foreword._base import download as _download
from foreword._base.download import Patience, fetch
from foreword._base.urls import mirrored
from foreword.errors import ArgumentError, DownloadError, FileError, MissingFileError

pytestmark = pytest.mark.portable

DATA = bytes(range(256)) * 12_000  # 3 MB
HASTY = Patience(silence=30, tries=3, pause=0.01, longest=0.2)
DEAF = Patience(silence=0.5, tries=3, pause=0.01, longest=0.2)  # only where a server is silent: a machine may be busy


def sha256(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def server():
    with running() as made:
        made.files["/data"] = DATA
        yield made


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch):
    for name in ("FOREWORD_MIRROR", "FOREWORD_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def names(folder):
    """What lies in a folder, lock files apart."""
    return sorted(path.name for path in Path(folder).iterdir() if path.suffix != ".lock")


# The right bytes.


def test_a_file_arrives(server, tmp_path):
    path = fetch(f"{server.url}/data", tmp_path / "deep" / "file", checksum=sha256(DATA), size=len(DATA))
    assert path == tmp_path / "deep" / "file"
    assert path.read_bytes() == DATA
    assert names(path.parent) == ["file"]
    assert fetch("http://127.0.0.1:1/elsewhere", path) == path  # it is there: nobody is asked
    assert server.asked == [("/data", None)]


def test_an_empty_file_arrives(server, tmp_path):
    server.files["/empty"] = b""
    assert fetch(f"{server.url}/empty", tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_checksums_of_every_kind(server, tmp_path, kind):
    want = hashlib.new(kind, DATA).hexdigest()
    assert fetch(f"{server.url}/data", tmp_path / "file", checksum=f"{kind}:{want.upper()}").read_bytes() == DATA
    server.files["/data"] = DATA[:-1] + b"!"
    with pytest.raises(DownloadError, match="not the one it should be") as caught:
        fetch(f"{server.url}/data", tmp_path / "other", checksum=f"{kind}:{want}")
    assert want in str(caught.value)
    assert names(tmp_path) == ["file"]


def test_a_broken_transfer_goes_on_where_it_broke(server, tmp_path):
    server.faults["/data"] = [cut(1_000_000), cut(500_000)]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == DATA
    assert [asked for _, asked in server.asked] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_tries_that_bring_something_do_not_count(server, tmp_path):
    server.files["/data"] = DATA * 3
    server.faults["/data"] = [cut(1_100_000)] * 8
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == DATA * 3
    server.faults["/data"] = [cut(1_100_000), cut(1000), cut(1000), cut(1000)]
    with pytest.raises(DownloadError, match="1,102,000 bytes are kept"):
        fetch(f"{server.url}/data", tmp_path / "other", patience=HASTY)


def test_a_silent_server_is_left_and_asked_again(server, tmp_path):
    server.faults["/data"] = [stall(70_000)]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=DEAF).read_bytes() == DATA
    assert server.asked[1] == ("/data", "bytes=70000-")


def test_a_server_that_never_answers_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/data"
        with pytest.raises(DownloadError, match="fell silent"):
            fetch(url, tmp_path / "file", patience=DEAF)
    assert names(tmp_path) == []
    with pytest.raises(DownloadError, match="refused"):
        fetch(url, tmp_path / "file", patience=HASTY)


def test_a_server_that_ignores_ranges_is_heard_from_the_start(server, tmp_path):
    server.faults["/data"] = [cut(1_000_000), manners(ranges=False)]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == DATA


def test_a_server_that_ignores_ranges_and_always_breaks_off_is_given_up(server, tmp_path):
    def both(handler, data):
        handler.ranges, handler.cut = False, 2_000_000

    server.faults["/data"] = [both] * 50
    with pytest.raises(DownloadError, match="broke off 1,072,000 bytes before the end"):
        fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)
    assert len(server.asked) == HASTY.tries  # the first brought bytes, but it is the first
    assert not (tmp_path / "file").exists()


OTHER = DATA[::-1]
LONGER, SHORTER = OTHER + b"more", OTHER[:1_500_000]


@pytest.mark.parametrize(
    "new", [OTHER, LONGER, SHORTER, OTHER[:900_000]], ids=["same", "longer", "shorter", "shortest"]
)
@pytest.mark.parametrize(
    "manner",
    [
        {},
        {"ranges": "careless"},
        {"ranges": "careless", "etag": None},
        {"etag": None},
        {"date": False},
        {"etag": 'W/"weak"'},
        {"ranges": "careless", "etag": 'W/"weak"', "date": False},
        {"ranges": "careless", "etag": None, "date": False},
    ],
    ids=str,
)
def test_a_file_that_changes_between_two_parts_is_never_mixed(server, tmp_path, new, manner):
    first = manners(**manner, cut=1_000_000)
    server.faults["/data"] = [first, change("/data", new, manners(**manner)), *[manners(**manner)] * 9]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == new


def test_the_server_is_asked_for_the_rest_of_the_same_version(server, tmp_path):
    server.faults["/data"] = [cut(1_000_000), change("/data", OTHER)]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == OTHER
    assert len(server.asked) == 2  # If-Range made it send the new version at once


@pytest.mark.parametrize("version", [DATA, OTHER], ids=["the old is wanted", "the new is wanted"])
def test_a_checksum_says_which_version_it_must_be(server, tmp_path, version):
    blind = {"ranges": "careless", "etag": None, "date": False}
    server.faults["/data"] = [
        manners(**blind, cut=1_000_000),
        change("/data", OTHER, manners(**blind)),
        manners(**blind),
    ]
    ask = lambda: fetch(f"{server.url}/data", tmp_path / "file", checksum=sha256(version), patience=HASTY)  # noqa: E731
    if version is OTHER:
        assert ask().read_bytes() == OTHER  # the parts did not fit, so it came afresh
    else:
        with pytest.raises(DownloadError, match="not the one it should be"):
            ask()
        assert names(tmp_path) == []


def test_without_a_way_to_tell_versions_apart_nothing_is_pieced_together(server, tmp_path):
    blind = {"etag": None, "date": False}
    server.faults["/data"] = [manners(**blind, cut=1_000_000), manners(**blind)]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == DATA
    assert [asked for _, asked in server.asked] == [None, None]


@pytest.mark.parametrize(
    "header",
    [
        "bytes 5-9/10",
        "bytes 5-9/3072000",
        "bytes */3072000",
        "items 1000000-3071999/3072000",
        "",
        "bytes 1000000-/3072000",
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_not_used(server, tmp_path, header):
    def wrong(handler, data):
        handler.send_response(206)
        handler.send_header("Content-Range", header)
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"wrong")
        return True

    server.faults["/data"] = [cut(1_000_000), wrong]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == DATA


def test_chunks_and_redirects(server, tmp_path):
    server.faults["/start"] = [fail(302, Location="/data?signed=yes")]
    server.faults["/data"] = [manners(chunked=True)]
    assert fetch(f"{server.url}/start", tmp_path / "file").read_bytes() == DATA
    server.faults["/data"] = [manners(chunked=True, cut=1_000_000), manners(chunked=True)]
    assert fetch(f"{server.url}/data", tmp_path / "again", patience=HASTY).read_bytes() == DATA


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "gopher://127.0.0.1/", "//[::1"]
)
def test_a_redirect_leads_to_http_only(server, tmp_path, place):
    server.faults["/data"] = [fail(302, Location=place)] * 9
    with pytest.raises(DownloadError):
        fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)
    assert names(tmp_path) == []
    with warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    assert not left_open


def test_a_redirect_in_circles_ends(server, tmp_path):
    server.faults["/data"] = [fail(302, Location="/data")] * 50
    with pytest.raises(DownloadError, match="status 302"):
        fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)


# What servers refuse.


@pytest.mark.parametrize(
    ("status", "problem"),
    [(401, "who asks"), (403, "refuses"), (404, "no such file"), (410, "no longer"), (418, "doesn't give")],
)
def test_a_refusal_is_one_clear_error(server, tmp_path, status, problem):
    server.faults["/data"] = [fail(status)]
    with pytest.raises(DownloadError, match=problem) as caught:
        fetch(f"{server.url}/data?key=secret", tmp_path / "file", patience=HASTY)
    assert caught.value.status == status
    assert f"{server.url}/data" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(server, tmp_path, status):
    server.faults["/data"] = [fail(status), fail(status)]
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == DATA
    server.faults["/data"] = [fail(status)] * 9
    with pytest.raises(DownloadError, match="the download failed") as caught:
        fetch(f"{server.url}/data", tmp_path / "other", patience=HASTY)
    assert caught.value.status == status


def test_the_server_says_when_to_come_back(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(_download.time, "sleep", waited.append)
    later = formatdate(time.time() + 90, usegmt=True)
    server.faults["/data"] = [fail(429, Retry_After="7"), fail(503, Retry_After=later), fail(503), fail(503)]
    fetch(f"{server.url}/data", tmp_path / "file", patience=Patience(tries=5, pause=1, longest=100))
    assert waited[0] == 7
    assert 80 < waited[1] <= 90
    assert waited[2:] == [4, 8]


def test_a_server_that_asks_for_too_long_a_pause_is_believed(server, tmp_path):
    server.faults["/data"] = [fail(429, Retry_After="3600")]
    with pytest.raises(DownloadError, match="ask again in 3,600 s") as caught:
        fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)
    assert caught.value.status == 429
    assert len(server.asked) == 1


# Never a file that looks complete and is not.


def test_a_file_of_another_length_is_refused_before_it_comes(server, tmp_path):
    with pytest.raises(DownloadError, match="3,072,000 bytes"):
        fetch(f"{server.url}/data", tmp_path / "file", size=5)
    assert names(tmp_path) == []


def test_a_body_without_end_stops_at_the_size(server, tmp_path):
    server.faults["/data"] = [manners(chunked=True)]
    with pytest.raises(DownloadError, match="more than 1,000 bytes"):
        fetch(f"{server.url}/data", tmp_path / "file", size=1000)
    assert not (tmp_path / "file").exists()


def test_a_body_of_no_told_length_needs_a_size_or_checksum(server, tmp_path):
    endless = manners(chunked=None)
    server.faults["/data"] = [endless]
    with pytest.raises(DownloadError, match="doesn't tell how long"):
        fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)
    server.faults["/data"] = [endless]
    assert fetch(f"{server.url}/data", tmp_path / "file", size=len(DATA), patience=HASTY).read_bytes() == DATA
    server.faults["/data"] = [manners(chunked=None, cut=1_000_000), endless]
    assert fetch(f"{server.url}/data", tmp_path / "cut", size=len(DATA), patience=HASTY).read_bytes() == DATA
    server.faults["/data"] = [manners(chunked=None, cut=1_000_000)]
    with pytest.raises(DownloadError, match="not the one it should be"):
        fetch(f"{server.url}/data", tmp_path / "wrong", checksum=sha256(DATA), patience=HASTY)
    assert names(tmp_path) == ["cut", "file"]


def test_a_page_is_not_a_file(server, tmp_path):
    server.files["/page"] = b"<html>Please log in</html>"
    server.faults["/page"] = [manners(kind="text/html; charset=utf-8")]
    with pytest.raises(DownloadError, match="a web page"):
        fetch(f"{server.url}/page", tmp_path / "file")
    assert names(tmp_path) == []


def test_what_is_no_http_is_trouble(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def speak():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = odd.accept()
                    with connection:
                        connection.recv(10_000)
                        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

        threading.Thread(target=speak, daemon=True).start()
        with pytest.raises(DownloadError, match="the download failed"):
            fetch(f"http://127.0.0.1:{odd.getsockname()[1]}/x", tmp_path / "file", patience=HASTY)
        odd.shutdown(socket.SHUT_RDWR)


# The same file, asked for by many, or again after a crash.

CHILD = """
    import sys
    from foreword._base.download import Patience, fetch
    fetch(sys.argv[1], sys.argv[2], checksum=sys.argv[3] or None, patience=Patience(silence=30, tries=2, pause=0.01))
    print("fetched", flush=True)
"""


def child(url, path, checksum=""):
    command = [sys.executable, "-c", textwrap.dedent(CHILD), url, os.fspath(path), checksum]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_processes_make_one_download(server, tmp_path):
    children = [child(f"{server.url}/data", tmp_path / "file", sha256(DATA)) for _ in range(8)]
    for process in children:
        assert process.communicate(timeout=60) == ("fetched\n", "")
    assert len(server.asked) == 1
    assert (tmp_path / "file").read_bytes() == DATA


def _kill_in_the_middle(server, target, at):
    """Run a child that is killed once ``at`` bytes have come."""
    server.faults["/data"] = [stall(at)]
    process = child(f"{server.url}/data", target)
    partial = target.with_name(f".{target.name}.download")
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size == at):
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not target.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_after_a_kill_the_next_call_goes_on(server, tmp_path):
    _kill_in_the_middle(server, tmp_path / "file", 1_234_567)
    assert fetch(f"{server.url}/data", tmp_path / "file").read_bytes() == DATA
    assert server.asked[-1] == ("/data", "bytes=1234567-")
    assert names(tmp_path) == ["file"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_many_kills(server, tmp_path):
    for i in range(30):
        target = tmp_path / f"file{i}"
        _kill_in_the_middle(server, target, i * 100_001)
        assert fetch(f"{server.url}/data", target, checksum=sha256(DATA)).read_bytes() == DATA


def test_a_crash_before_the_check_leaves_nothing_unchecked(server, tmp_path):
    target = tmp_path / "file"
    server.faults["/data"] = [cut(1_000_000), fail(403)]
    with pytest.raises(DownloadError):
        fetch(f"{server.url}/data", target, patience=HASTY)
    with open(tmp_path / ".file.download", "ab") as file:  # as if all had come, a bit of it wrong
        file.write(bytes(len(DATA) - 1_000_000))
    assert fetch(f"{server.url}/data", target, checksum=sha256(DATA), patience=HASTY).read_bytes() == DATA


def test_a_crash_after_the_last_byte_asks_nobody_again(server, tmp_path, monkeypatch):
    server.files["/other"] = OTHER
    for name, url, expected in (("one", "/data", DATA), ("two", "/other", OTHER)):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(_download._Download, "_check", lambda self: signal.default_int_handler(0, None))
            fetch(f"{server.url}/data", tmp_path / name, patience=HASTY)
        server.asked.clear()
        assert fetch(f"{server.url}{url}", tmp_path / name).read_bytes() == expected
        assert server.asked == ([] if url == "/data" else [("/other", None)])


@pytest.mark.parametrize("notes", [b"", b"{", b"[1]", b'{"url": 1}', b"null"])
def test_damaged_notes_start_afresh(server, tmp_path, notes):
    (tmp_path / ".file.download").write_bytes(b"x" * 1000)
    (tmp_path / ".file.download.json").write_bytes(notes)
    assert fetch(f"{server.url}/data", tmp_path / "file").read_bytes() == DATA
    assert server.asked == [("/data", None)]


def test_bytes_of_another_url_are_not_gone_on_from(server, tmp_path):
    server.files["/other"] = OTHER
    server.faults["/data"] = [cut(1_000_000), fail(403)]
    with pytest.raises(DownloadError):
        fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)
    assert fetch(f"{server.url}/other", tmp_path / "file").read_bytes() == OTHER


# The disk.


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
def test_a_full_disk_is_one_clear_error_and_no_file(server, tmp_path):
    code = f"""
        import resource, signal
        from foreword._base.download import fetch
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            fetch({server.url + "/data"!r}, {str(tmp_path / "file")!r})
        except OSError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("FileError can't write the download: file too large"), done
    assert not (tmp_path / "file").exists()
    assert fetch(f"{server.url}/data", tmp_path / "file").read_bytes() == DATA  # room was made: it goes on
    assert server.asked[-1] == ("/data", "bytes=1000000-")


def test_a_disk_without_room_is_seen_first(server, tmp_path, monkeypatch):
    usage = _download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(_download.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(FileError, match=r"(?s)no room.*1 MB free.*3 MB"):
        fetch(f"{server.url}/data", tmp_path / "file")
    assert names(tmp_path) == []


def test_an_unwritable_place(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="make the folder"):
        fetch(f"{server.url}/data", tmp_path / "file" / "inner")


# Certificates.


@pytest.fixture
def secure(server, tmp_path):
    """An https server with a certificate that nobody signed, and the certificate."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl can't make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = f"https://localhost:{server.server_port}"
    return tmp_path / "cert.pem"


def test_certificates_are_checked(server, secure, tmp_path, monkeypatch):
    with pytest.raises(DownloadError, match="can't prove who it is"):
        fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)
    assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(secure))
    assert fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY).read_bytes() == DATA
    with pytest.raises(DownloadError, match=r"(?s)can't prove who it is.*127\.0\.0\.1"):  # right signature, wrong name
        fetch(f"{server.url.replace('localhost', '127.0.0.1')}/data", tmp_path / "other", patience=HASTY)
    server.faults["/data"] = [fail(301, Location="http://127.0.0.1:9/data")]
    with pytest.raises(DownloadError, match="not safe"):
        fetch(f"{server.url}/data", tmp_path / "other", patience=HASTY)
    assert not (tmp_path / "other").exists()


# Where from.


def test_file_urls(tmp_path):
    source = tmp_path / "söurce file"
    source.write_bytes(DATA)
    assert fetch(source.as_uri(), tmp_path / "copy", checksum=sha256(DATA)).read_bytes() == DATA
    with pytest.raises(DownloadError, match="not the one"):
        fetch(source.as_uri(), tmp_path / "other", checksum=sha256(OTHER))
    with pytest.raises(DownloadError, match="not the one"):
        fetch(source.as_uri(), tmp_path / "other", size=1)
    with pytest.raises(MissingFileError, match="missing"):
        fetch((tmp_path / "missing").as_uri(), tmp_path / "other")
    with pytest.raises(ArgumentError, match="this machine"):
        fetch("file://server/share", tmp_path / "other")
    assert names(tmp_path) == ["copy", "söurce file"]


@pytest.mark.parametrize(
    "url", ["data", "ftp://example.org/x", "http:///x", "https://", "http://[::1", "C:/x", "http://me:pw@example.org/x"]
)
def test_what_can_not_be_fetched(tmp_path, url):
    with pytest.raises(ArgumentError, match=r"fetched") as caught:
        fetch(url, tmp_path / "file")
    assert "pw" not in str(caught.value)


def test_a_url_with_letters_and_spaces_is_quoted(server, tmp_path):
    server.files["/w%C3%B6rter%20list"] = b"1"
    assert fetch(f"{server.url}/wörter list", tmp_path / "file").read_bytes() == b"1"


def test_a_mirror_stands_in_for_every_host(server, tmp_path, monkeypatch):
    server.files["/mirror/example.org/a/b"] = b"mirrored"
    monkeypatch.setenv("FOREWORD_MIRROR", f"{server.url}/mirror/")
    assert fetch("https://example.org/a/b?c=d", tmp_path / "file").read_bytes() == b"mirrored"
    assert server.asked == [("/mirror/example.org/a/b?c=d", None)]
    with pytest.raises(DownloadError, match=r"(?s)no such file.*FOREWORD_MIRROR"):
        fetch("https://example.org/missing", tmp_path / "other")
    (tmp_path / "disk" / "example.org").mkdir(parents=True)
    (tmp_path / "disk" / "example.org" / "b").write_bytes(b"shared")
    monkeypatch.setenv("FOREWORD_MIRROR", (tmp_path / "disk").as_uri())
    assert fetch("https://example.org/b", tmp_path / "third").read_bytes() == b"shared"
    assert mirrored("file:///x") == "file:///x"
    monkeypatch.setenv("FOREWORD_MIRROR", "somewhere")
    with pytest.raises(ArgumentError, match="FOREWORD_MIRROR"):
        mirrored("https://example.org/b")


def test_offline_nothing_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_OFFLINE", "1")
    with pytest.raises(DownloadError, match="FOREWORD_OFFLINE"):
        fetch(f"{server.url}/data", tmp_path / "file")
    assert server.asked == []
    (tmp_path / "source").write_bytes(b"here")
    assert fetch((tmp_path / "source").as_uri(), tmp_path / "file").read_bytes() == b"here"
    monkeypatch.setenv("FOREWORD_OFFLINE", "0")
    assert fetch(f"{server.url}/data", tmp_path / "third").read_bytes() == DATA


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    server.files["http://example.org/data"] = b"by proxy"
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    assert fetch("http://example.org/data", tmp_path / "file").read_bytes() == b"by proxy"


def test_progress_is_told(server, tmp_path, monkeypatch):
    told = []

    class Bar:
        def advance(self, amount):
            told.append(amount)

    @contextlib.contextmanager
    def progress(title, total):
        told.append((title, total))
        yield Bar()

    monkeypatch.setattr(_download, "progress", progress)
    server.faults["/data"] = [cut(1_000_000)]
    fetch(f"{server.url}/data", tmp_path / "file", patience=HASTY)
    first, second = (
        told.index(("fetching file", len(DATA))),
        len(told) - told[::-1].index(("fetching file", len(DATA))) - 1,
    )
    assert told[first + 1] == 0
    assert sum(told[first + 1 : second]) == 1_000_000
    assert told[second + 1] == 1_000_000
    assert sum(told[second + 1 :]) == len(DATA)
