"""foreword explore and foreword serve: what their options allow, and that they listen before they say so."""

import dataclasses
import re

import pytest
from typer.testing import CliRunner

from foreword.cli import app
from foreword.errors import ArgumentError, ForewordError, MissingFileError, UnknownNameError
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
    options = ["--vectors", a, "--vectors", b, "--tokenizer", "cl100k_base", "--store", tmp_path]
    settings, _, _, output = run(command, *options, "--allow-host", "Notebook.Local", "--token", "s&cret")
    assert settings.vectors == (str(a), str(b))
    assert settings.tokenizers == ("cl100k_base",)
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


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--host", ""], ArgumentError),
        (["--store", "no/such/folder"], MissingFileError),
        (["--vectors", "nope"], UnknownNameError),
        (["--vectors", "glove-wiki-gigaword-50", "--vectors", "no/such.txt"], ForewordError),
    ],
)
def test_what_can_not_be_served_is_refused(run, options, kind):
    with pytest.raises(kind):
        run("serve", *options)


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
