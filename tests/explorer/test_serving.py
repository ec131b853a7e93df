"""foreword explore and foreword serve: what their options allow, and that they listen before they say so."""

import dataclasses
import re
import socket

import pytest
from typer.testing import CliRunner

from foreword.cli import app
from foreword.errors import (
    ArgumentError,
    DownloadError,
    FileError,
    ForewordError,
    MissingFileError,
    StoreError,
    UnknownNameError,
)
from foreword.explorer import Settings, server


@pytest.fixture
def run(monkeypatch):
    """Runs a command that serves nothing: its settings, the address, whether a browser opens, and what it printed."""
    monkeypatch.delenv("FOREWORD_TOKEN", raising=False)
    calls = []

    def serve(settings, listener, *, open_browser):
        with listener:
            calls.append((settings, listener.getsockname(), open_browser))

    monkeypatch.setattr(server, "serve", serve)

    def running(*arguments):
        result = CliRunner().invoke(app, [*map(str, arguments), "--port", "0"])
        if result.exception:
            raise result.exception
        (call,) = calls
        return *call, result.output

    return running


@pytest.mark.parametrize("command", ["explore", "serve"])
def test_what_is_allowed_by_default(run, command):
    settings, (host, port), browser, output = run(command)
    assert dataclasses.replace(settings, page=True) == Settings()
    assert settings.page == browser == (command == "explore")
    assert host == "127.0.0.1"
    assert output == f"Foreword is at http://localhost:{port}/  (Ctrl-C ends it)\n"


@pytest.mark.parametrize("command", ["explore", "serve"])
def test_every_option_arrives(run, command, tmp_path):
    a, b = tmp_path / "a.txt", tmp_path / "b.txt"
    for path in (a, b):
        path.write_text("1 2\nword 0.5 1.5\n", encoding="utf-8")
    options = ["--vectors", a, "--vectors", b, "--vectors", a, "--tokenizer", "bytes", "--store", tmp_path]
    settings, _, _, output = run(command, *options, "--allow-host", "Notebook.Local", "--token", "s&cret")
    assert settings.vectors == (str(a), str(b))
    assert settings.tokenizers == ("bytes",)
    assert settings.stores == (tmp_path,)
    assert settings.hosts == Settings().hosts | {"notebook.local"}
    assert settings.token == "s&cret"
    assert "?token=s%26cret" in output


def test_no_browser_is_opened_where_none_is_wanted(run):
    assert run("explore", "--no-browser")[2] is False


def test_beyond_this_machine_a_token_is_needed(run):
    settings, (host, _), _, output = run("serve", "--host", "0.0.0.0")
    assert host == "0.0.0.0"
    assert len(settings.token) >= 32
    assert settings.token in output
    assert {"0.0.0.0", "localhost"} < settings.hosts


REFUSED = [
    ("--host", "", ArgumentError),
    ("--host", "\udcff", ArgumentError),
    ("--host", "no such host", FileError),
    ("--host", "192.0.2.1", FileError),  # an address that no machine has
    ("--store", "no/such/folder", MissingFileError),
    ("--store", "", ArgumentError),
    ("--store", "s3://bucket/store", ArgumentError),
    ("--store", "damaged", StoreError),
    ("--vectors", "nope", UnknownNameError),
    ("--vectors", "no/such.txt", ForewordError),
    ("--vectors", "hf://nope", ArgumentError),
    ("--vectors", "ftp://host/file", ForewordError),
    ("--vectors", "https://localhost:1/vectors.bin", DownloadError),
    ("--vectors", "glove-twitter-25", DownloadError),
    ("--tokenizer", "nope", UnknownNameError),
    ("--tokenizer", "", ForewordError),
    ("--tokenizer", "broken.json", ForewordError),
    ("--tokenizer", "owner/repository", ForewordError),
    ("--allow-host", "", ArgumentError),
    ("--allow-host", "*", ArgumentError),
    ("--allow-host", "http://notebook.local/", ArgumentError),
    ("--token", "", ArgumentError),
    ("--token", "two words", ArgumentError),
    ("--token", "gehe\u00edm", ArgumentError),
]


@pytest.mark.parametrize("command", ["explore", "serve"])
@pytest.mark.parametrize(("option", "value", "kind"), REFUSED)
def test_what_can_not_be_served_is_refused_before_anything_listens(
    run, monkeypatch, tmp_path, command, option, value, kind
):
    """Every option, a good value of it before the bad one where it may be repeated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREWORD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FOREWORD_OFFLINE", "1")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{", encoding="utf-8")
    good = {
        "--vectors": "glove-wiki-gigaword-50",
        "--tokenizer": "gpt2",
        "--store": tmp_path,
        "--allow-host": "a.local",
    }
    bound = []
    monkeypatch.setattr(socket.socket, "listen", lambda *_: bound.append(True))
    with pytest.raises(kind):
        run(command, *([option, good[option]] if option in good else []), option, value)
    assert not bound


def test_a_host_that_is_none_is_not_blamed_on_the_port():
    for host in ("no such host", "192.0.2.1"):
        with pytest.raises(FileError, match="name an address of this machine"):
            server.bind(host, 0)


@pytest.mark.parametrize(
    "options", [["--port", "8765"], ["--host", "127.0.0.1"], ["--token", "t"], ["--allow-host", "a"], ["--browser"]]
)
def test_a_page_that_is_exported_is_not_served_too(tmp_path, options):
    out = tmp_path / "out"
    refused = CliRunner().invoke(app, ["explore", "--export", str(out), *options])
    assert isinstance(refused.exception, ArgumentError)
    assert options[0] in str(refused.exception)
    assert not out.exists()


def test_a_port_has_16_bits():
    """Not served: to listen on such a port is an OverflowError of the socket's."""
    refused = CliRunner().invoke(app, ["serve", "--port", "65536"])
    assert refused.exit_code == 2
    assert "65535" in refused.output


@pytest.mark.parametrize("view", ["flow", "words", "store"])
def test_a_view_is_one_script(client, view):
    path = {"flow": "/"}.get(view, f"/{view}")
    page = client.ask("GET", path).body.decode()
    assert re.findall(r'<script[^>]* src="([^"]+)"', page) == ["/static/theme.js", f"/{view}.js"]
    for asked in re.findall(r'<link rel="preload"[^>]* href="([^"]+)"', page):
        assert client.ask("GET", asked).status == 200
    answer = client.ask("GET", f"/{view}.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    text = answer.body.decode()
    assert not re.search(r'^(import .* from "|export )', text, re.MULTILINE)
    assert 'modules["source.js"]' in text  # which asks the server
    same = {"If-None-Match": answer.headers["etag"]}
    again = client.ask("GET", f"/{view}.js", headers=same)
    assert (again.status, again.body) == (304, b"")
    assert client.ask("GET", f"/{view}.js", headers={"If-None-Match": '"other"'}).body == answer.body
