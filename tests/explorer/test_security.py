"""What must not get in, and what every answer carries."""

import contextlib
import json
import re
import resource
import select
import socket
import subprocess
import sys
import threading
import time

import pytest

import foreword as fw
from explorer.client import VECTORS, log_of_the_server, serving
from foreword.explorer import Limits, Settings
from foreword.explorer.security import POLICY, host_name

JSON = {"Content-Type": "application/json"}


def _post(path, body):
    head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "evil.example:80",
        "",
        "localhost:x",
        "[::1",
        "0.0.0.0",
    ],
)
def test_another_host_is_refused(client, host):
    answer = client.get("health", headers={"Host": host})
    assert answer.status == 421
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:9", "localhost."])
def test_our_own_names_are_let_in(client, host):
    assert client.get("health", headers={"Host": host}).status == 200


def test_two_hosts_or_none_are_refused(client):
    for head in (b"Host: localhost\r\nHost: evil.example\r\n", b""):
        answer = _raw(client.port, b"GET /api/v1/health HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")
        assert answer.split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:1", "http://localhost", "https://localhost.evil.example"],
)
def test_another_origin_is_refused(client, origin):
    answer = client.post("tokenize", {"text": "a"}, headers={"Origin": origin})
    assert answer.status == 403


def test_our_own_origin_is_let_in(client):
    headers = {"Origin": client.url, "Sec-Fetch-Site": "same-origin"}
    assert client.post("tokenize", {"text": "a"}, headers=headers).status == 200


def test_a_cross_site_request_without_origin_is_refused(client):
    assert client.get("health", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status == 403


def test_a_form_of_another_page_is_not_read_as_json(client):
    body = json.dumps({"text": "a"}).encode()
    assert client.post("tokenize", body, headers={"Content-Type": "text/plain"}).status == 422


@pytest.mark.parametrize("path", ["/", "/words", "/static/flow.js", "/api/v1/health", "/api/v1/nothing", "/no"])
def test_every_answer_carries_the_policy(client, path):
    headers = client.ask("GET", path).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    script = next(part for part in POLICY.split("; ") if part.startswith("script-src"))
    assert script == "script-src 'self'"


def test_the_page_has_no_inline_script_or_style_and_names_no_other_host(client):
    from importlib import resources

    folder = resources.files("foreword.explorer") / "static"
    for file in (path for path in folder.rglob("*") if path.is_file()):
        text = file.read_text(encoding="utf-8")
        assert "eval(" not in text
        assert "innerHTML" not in text
        if file.name.endswith(".html"):
            assert "style=" not in text
            assert " on" + "click=" not in text
            assert not re.search(r"<script(?![^>]* src=)", text)
        stripped = text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in stripped
        assert "https://" not in stripped


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "corpus/../../outside/secret",
        "/etc",
        "corpus/train/../val",
        "corpus/link",
        "link",
        "corpus\\train",
        "",
    ],
)
def test_a_store_outside_what_was_allowed_is_not_opened(client, name):
    for answer in (
        client.get("stores/account", query={"store": name}),
        client.get("stores/read", query={"store": name}),
        client.post("stores/find", {"store": name, "text": "a"}),
    ):
        assert answer.status == 404


def test_links_out_of_the_allowed_folder_are_not_followed(tmp_path):
    """A folder that is a link out, one outside that holds links back inside, a file inside that is a link out."""
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    fw.prepare(["Mine."], allowed / "mine")
    fw.prepare(["Not to be read."], outside / "secret")
    (allowed / "folder").symlink_to(outside / "secret", target_is_directory=True)
    (outside / "back").mkdir()
    for file in (allowed / "mine").iterdir():
        (outside / "back" / file.name).symlink_to(file)
    (allowed / "round").symlink_to(outside / "back", target_is_directory=True)
    (allowed / "files").mkdir()
    for file in (outside / "secret").iterdir():
        (allowed / "files" / file.name).symlink_to(file)
    with serving(Settings(stores=(allowed,))) as client:
        assert [one["name"] for one in client.get("stores").json] == ["allowed/mine"]
        for name in ("allowed/folder", "allowed/round", "allowed/files"):
            assert client.get("stores/read", query={"store": name}).status == 404


@pytest.mark.parametrize("path", ["/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py"])
def test_static_files_do_not_lead_out(client, path):
    assert client.ask("GET", path).status == 404


@pytest.mark.parametrize("name", ["../../etc/passwd", "%2e%2e%2f", "/etc/passwd", "gpt2.json"])
def test_a_tokenizer_is_a_name_not_a_path(client, name):
    answer = client.post("tokenize", {"text": "a", "tokenizer": name})
    assert answer.status == 404
    assert client.get(f"vectors/{name}/similar", query={"key": "king"}).status == 404


def test_large_bodies_are_refused_unread(client):
    head = b"POST /api/v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = _raw(client.port, head + b"Content-Length: 100000000\r\n\r\n" + b"x" * 1000)
    assert answer.split()[1] == b"413"


def test_a_body_without_end_is_cut_off(client):
    """100 MB in chunks: refused after the first megabyte, and the process doesn't grow with them."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(
            b"POST /api/v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _ in range(1600):
                connection.sendall(chunk)
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(100)
    assert not answer or answer.split()[1] == b"413"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kilobytes
    assert client.get("health").status == 200


SLOW = Settings(limits=Limits(head_seconds=0.5, head_bytes=4096, body_seconds=0.5))


def test_slow_and_endless_heads_are_hung_up_on():
    with serving(SLOW) as client:
        for start in (
            b"",
            b"GET / HTTP/1.1\r\nHost: loc",
            b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
        ):
            with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
                connection.sendall(start)
                assert _read_to_end(connection)[1]
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
            sent = 0
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET / HTTP/1.1\r\n")
                while sent < 10_000_000:
                    sent += connection.send(b"X-Long: " + b"x" * 1000 + b"\r\n")
            assert sent < 10_000_000


def test_a_slow_body_is_answered_and_hung_up_on():
    with serving(SLOW) as client:
        head = b"POST /api/v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: 20\r\n\r\n"
        answer = _raw(client.port, head + b'{"te')
        assert answer.split()[1] == b"408"


def test_two_hundred_slow_clients_keep_nobody_out(client):
    """200 connections that send half a head each: everyone else is served meanwhile."""
    held = []
    try:
        for _ in range(200):
            connection = socket.create_connection(("127.0.0.1", client.port), timeout=20)
            connection.sendall(b"POST /api/v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Le")
            held.append(connection)
        for _ in range(20):
            assert client.post("tokenize", {"text": "still here"}).status == 200
    finally:
        for connection in held:
            connection.close()


def test_two_hundred_clients_at_once_are_all_answered(client):
    client.get(f"vectors/{VECTORS}/similar", query={"key": "king"})
    statuses = []
    barrier = threading.Barrier(200)

    def one(i):
        barrier.wait()
        if i % 2:
            answer = client.get(f"vectors/{VECTORS}/similar", query={"key": "king"})
        else:
            answer = client.post("tokenize", {"text": "every effort " * 50})
        statuses.append(answer.status)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 200


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_bounded_under_two_hundred_connections():
    """A server of its own, 200 clients at once with bodies of 0.9 MB, again and again: it comes to rest."""
    server = subprocess.Popen(
        [sys.executable, "-m", "foreword", "serve", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        port = next(int(found[1]) for line in server.stdout if (found := re.search(r"localhost:(\d+)", line)))
        body = json.dumps({"text": "every effort " * 2_000}).encode() + b" " * 850_000
        head = b"POST /api/v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)

        def clients():
            held = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(200)]
            for connection in held:  # all but the end of every body, so that all are held at once
                connection.sendall(head + body[:-1])
            for connection in held:
                connection.sendall(body[-1:])
            answers = [connection.recv(100).split()[1] for connection in held]
            for connection in held:
                connection.close()
            return answers

        start = _settled(server.pid)
        peaks = []
        for _ in range(12):
            assert set(clients()) == {b"200"}
            peaks.append(_memory(server.pid, "VmHWM"))
        assert peaks[-1] - start < 2.1 * Limits().held_bytes / 1000  # kB; the allocator's holes are the rest
        assert peaks[-1] < 1.25 * peaks[7]  # and no longer grows
    finally:
        server.terminate()
        server.communicate(timeout=20)


def _memory(pid, which):
    """Resident memory of a process in kB: VmRSS now, VmHWM at its largest."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which))


def _settled(pid):
    """The memory of a server that has loaded what it loads behind the first answers."""
    seen = [0]
    for _ in range(120):
        seen.append(_memory(pid, "VmRSS"))
        if len(seen) > 6 and max(seen[-6:]) - min(seen[-6:]) < 1_000:
            break
        time.sleep(0.5)
    return seen[-1]


def test_a_body_for_which_there_is_no_room_is_told_so():
    body = json.dumps({"text": "a"}).encode() + b" " * 80_000
    with serving(Settings(limits=Limits(held_bytes=100_000))) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as first:
            first.sendall(_post("tokenize", body)[:-1])
            deadline = time.monotonic() + 60
            while (answer := client.post("tokenize", body, headers=JSON)).status == 200 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert (answer.status, answer.json["fix"]) == (503, "ask again in a moment")
            assert client.get("health").status == 200
            first.sendall(body[-1:])
            assert first.recv(100).split()[1] == b"200"
        # A client that hangs up in the middle gives its room back, and so does one that was refused.
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as second:
            second.sendall(_post("tokenize", body)[:-1])
        deadline = time.monotonic() + 10
        while client.post("tokenize", body, headers=JSON).status != 200:
            assert time.monotonic() < deadline


@pytest.mark.torch
def test_who_sends_or_reads_slowly_keeps_nobody_waiting():
    """One turn, and two clients that don't hold it: one whose body never ends, one that never reads its answer."""
    embed = json.dumps({"ids": [[1] * 256] * 8, "vocab_size": 10, "embedding_dim": 256}).encode()
    with (
        serving(Settings(limits=Limits(working=1, body_seconds=600, request_seconds=600))) as client,
        contextlib.ExitStack() as held,
    ):
        for request in (_post("embed", embed)[:-1], _post("embed", embed)):
            connection = held.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", client.port))
            connection.sendall(request)
        assert connection.recv(100).split()[1] == b"200"  # megabytes are on their way, and will not be read
        assert client.post("embed", embed, headers=JSON).status == 200


def test_more_connections_than_the_limit_are_told_so():
    with serving(Settings(limits=Limits(connections=5))) as client:
        held = [socket.create_connection(("127.0.0.1", client.port), timeout=20) for _ in range(8)]
        try:
            deadline = time.monotonic() + 60
            while len(client.server.server_state.connections) < 8:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            answer = client.get("health")
            assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
        finally:
            for connection in held:
                connection.close()
        for _ in range(100):
            if client.get("health").status == 200:
                break
            time.sleep(0.05)
        else:
            pytest.fail("never served again")


def _flood(port, data, first=b"", *, read=False):
    """Send ``data`` again and again until hung up on; the bytes that were sent, 20 MB at most."""
    sent = 0
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            connection.sendall(first)
            while sent < 20_000_000:
                sent += connection.send(data)
                while read and select.select([connection], [], [], 0)[0] and connection.recv(65536):
                    pass
    return sent


EMBED = json.dumps({"ids": [[1] * 256] * 8, "vocab_size": 10, "embedding_dim": 256}).encode()


@pytest.mark.parametrize(
    ("first", "data", "read"),
    [
        pytest.param(b"", b"GET / HTTP/1.1\r\n\r\n" * 10_000, True, id="requests that wait"),
        pytest.param(
            b"POST /api/v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
            b"a:b\r\n" * 10_000,
            False,
            id="trailers",
        ),
        pytest.param(
            _post("embed", EMBED) + b"GET / HTTP/1.1\r\n",
            b"a:b\r\n" * 10_000,
            False,
            id="a head behind an unread answer",
        ),
        pytest.param(b"GET / HTTP/1.1\r\n", b"x" * 60_000, False, id="a header without end"),
    ],
)
def test_what_is_no_body_is_bounded(first, data, read):
    with serving(Settings()) as client:
        assert _flood(client.port, data, first, read=read) < 15_000_000  # of 20: sockets hold some
        assert client.get("health").status == 200


@pytest.mark.torch
def test_who_reads_nothing_is_hung_up_on(caplog):
    """More such clients than there may be connections; in a moment the server serves again."""
    limits = Limits(connections=4, request_seconds=4, head_seconds=0.5)
    bad_hosts = b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n" * 6
    with serving(Settings(limits=limits)) as client, log_of_the_server(caplog), contextlib.ExitStack() as held:
        while client.post("embed", EMBED, headers=JSON).status != 200:  # torch is being loaded
            time.sleep(0.1)
        for request in (bad_hosts, *[_post("embed", EMBED)] * 7):
            connection = held.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", client.port))
            connection.sendall(request)
        deadline = time.monotonic() + 30
        while len(client.server.server_state.connections) < 4:  # and those that are told it is too many
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while client.server.server_state.connections:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.get("health").status == 200
    assert not caplog.records  # a slow client is no fault of the server's


def test_a_refusal_is_seen_by_who_is_still_sending(client):
    """5 MB, sent whole before any answer is read, as most clients do."""
    body = b" " * 5_000_000
    assert client.post("tokenize", body, headers=JSON).status == 413
    assert client.post("tokenize", body[:900_000], headers={**JSON, "Host": "evil.example"}).status == 421


def test_work_that_nobody_waits_for_keeps_its_turn(monkeypatch, caplog):
    """A request that took too long is told so; its thread still works, and no other takes its place meanwhile."""
    from foreword.explorer.library import Library

    begun, end = threading.Semaphore(0), threading.Event()

    def slow(self, name):
        begun.release()
        end.wait(120)
        raise RuntimeError("slow")

    monkeypatch.setattr(Library, "tokenizer", slow)
    with serving(Settings(limits=Limits(working=1, request_seconds=0.5))) as client, log_of_the_server(caplog):
        assert client.post("tokenize", {"text": "a"}).status == 503
        assert client.post("tokenize", {"text": "a"}).status == 503
        assert begun.acquire(timeout=60)
        assert not begun.acquire(timeout=0.5)  # the second never began
        end.set()
        deadline = time.monotonic() + 60
        while client.get("health").status != 200:
            assert time.monotonic() < deadline
        assert "slow" in caplog.text  # a fault is told in the log, though nobody waits for the answer


def test_a_token_is_asked_for_and_becomes_a_cookie():
    with serving(Settings(token="s3cret token&é")) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "foreword_token=s3cret"}):
            answer = client.get("health", headers=headers)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/", "/static/flow.js", "/api/v1/openapi.json"):
            assert client.ask("GET", path).status == 401
        assert client.get("health", query={"token": "wrong"}).status == 401
        first = client.ask("GET", "/words", query={"token": "s3cret token&é", "a": "b"})
        assert (first.status, first.headers["location"]) == (303, "/words?a=b")
        cookie = first.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "s3cret" not in cookie
        pair = cookie.partition(";")[0]
        assert client.get("health", headers={"Cookie": pair}).status == 200
        # Cookies of others on the same host don't matter, nor how they look, nor how long it would take to read them.
        for other in ('prefs={"a":1}', "k", "x[0]=1", "a=b c", 'a="' + '\\"' * 12_000 + '"'):
            assert client.get("health", headers={"Cookie": f"{other}; {pair}; {other}"}).status == 200
        port = str(client.port)
        assert client.get("health", headers={"Cookie": pair.replace(port, str(client.port + 1))}).status == 401


def test_the_token_never_leads_to_another_host():
    with serving(Settings(token="t")) as client:
        answer = client.ask("GET", "//evil.example/", query={"token": "t"})
        assert answer.headers["location"].startswith("/evil.example")


def test_beyond_this_machine_a_token_is_always_asked_for(monkeypatch):
    from foreword.cli import explore
    from foreword.explorer import server

    seen = []
    monkeypatch.setattr(server, "serve", lambda settings, listener, **_: (seen.append(settings), listener.close()))
    explore.serve(host="0.0.0.0", port=0)
    explore.serve(host="127.0.0.1", port=0)
    assert len(seen[0].token) >= 32
    assert seen[1].token is None


def test_a_port_that_is_taken_is_one_clear_error():
    from foreword.errors import FileError
    from foreword.explorer import server

    with contextlib.closing(server.bind("127.0.0.1", 0)) as listener, pytest.raises(FileError, match="--port 0"):
        server.bind("127.0.0.1", listener.getsockname()[1])


def test_an_unexpected_error_tells_nothing_but_that(monkeypatch, caplog):
    from foreword.explorer.library import Library

    def broken(self, name):
        raise RuntimeError("a secret")

    monkeypatch.setattr(Library, "words", broken)
    with serving(Settings()) as client, log_of_the_server(caplog):
        answer = client.get(f"vectors/{VECTORS}/similar", query={"key": "king"})
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert "a secret" in caplog.text  # the traceback is in the server's log, and only there
        assert answer.headers["content-security-policy"] == POLICY


@pytest.mark.torch
def test_limits_of_size_are_problems_not_faults(client):
    assert client.post("tokenize", {"text": "a" * 100_001}).status == 422
    many = {"ids": [[1] * 4096] * 1024, "embedding_dim": 4096}
    assert client.post("embed", {**many, "ids": [[1] * 500] * 100}).status == 422
    assert client.post("embed", {"ids": [[1]], "vocab_size": 1 << 22, "embedding_dim": 4096}).status == 422
    assert client.get("positions", query={"context_length": 4096, "embedding_dim": 4096}).status == 422
    assert client.post("embed", {"ids": [[1, 2], [3]]}).status == 422


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"text": 1}', b'{"text": "a", "more": 1}', b"\xff\xfe", b"[" * 100_000]
)
def test_broken_bodies_are_problems(client, body):
    answer = client.post("tokenize", body, headers={"Content-Type": "application/json"})
    assert answer.status in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_not_http_is_a_problem_too(client):
    for data, status in ((b"\x16\x03\x01\x02", b"400"), (b"GET / HTTP/1.1\r\nX: " + b"x" * 600_000, b"431")):
        head, _, body = _raw(client.port, data).partition(b"\r\n\r\n")
        assert head.split()[1] == status
        assert b"Content-Type: application/problem+json" in head
        assert json.loads(body)["status"] == int(status)


def test_names_are_compared_as_names():
    with serving(Settings(hosts=frozenset({"Box.example.", "box2:8765", "::1", ""}))) as client:
        for host, status in (("box.example", 200), ("BOX2:99", 200), ("[::1]:1", 200), ("evil:bad", 421), ("x", 421)):
            assert client.get("health", headers={"Host": host}).status == status


def test_an_empty_host_is_refused():
    from foreword.cli import explore
    from foreword.errors import ArgumentError

    with pytest.raises(ArgumentError, match="no address to listen on"):
        explore.serve(host="")


def test_host_name():
    assert host_name("[::1]") == "::1"
    assert host_name("[::1]x") == ""
    assert host_name("a:") == ""


def _raw(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        return _read_to_end(connection)[0]


def _read_to_end(connection):
    """What is sent until the other side hangs up, and whether it did."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    except TimeoutError:
        return b"".join(parts), False
    return b"".join(parts), True
