"""``foreword explore`` and ``foreword serve``."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreword._base.words import counted
from foreword.cli._options import given
from foreword.errors import ArgumentError, MissingFileError

if TYPE_CHECKING:
    from foreword.explorer.settings import Settings

Host = Annotated[str, typer.Option(help="The address to listen on. Beyond this machine, requests need a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes any that is free.")]
VectorNames = Annotated[
    list[str] | None,
    typer.Option(
        "--vectors", help="Word vectors, by name or path; may be repeated.", show_default="GloVe, 50 dimensions"
    ),
]
TokenizerNames = Annotated[
    list[str] | None,
    typer.Option("--tokenizer", help="A tokenizer, by name or path; may be repeated.", show_default="gpt2, bytes"),
]
Stores = Annotated[
    list[str] | None,
    typer.Option("--store", help="A token store, or a folder of them, that may be opened; may be repeated."),
]
AllowHosts = Annotated[
    list[str] | None, typer.Option("--allow-host", help="Another host name by which browsers may reach this server.")
]
Token = Annotated[
    str | None, typer.Option(help="A token that every request must carry.", envvar="FOREWORD_TOKEN", show_default=False)
]


def explore(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    vectors: VectorNames = None,
    tokenizer: TokenizerNames = None,
    store: Stores = None,
    allow_host: AllowHosts = None,
    token: Token = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the page to a folder as static files, instead of serving it: it works from any web server and "
            "from the disk, and asks nobody for anything.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="With --export: write over a page exported before.")
    ] = False,
) -> None:
    """Show tokens, windows, embeddings and word vectors on a local web page.

    Nothing leaves this machine, and the page can open only what is named here. That is opened before the page is
    served, and downloaded where it has to be.

    Example: foreword explore --store corpus-store --tokenizer gpt2 --tokenizer cl100k_base

    Example: foreword explore --export page
    """
    if export is not None:
        for option in given(context, "host", "port", "allow_host", "token", *(["browser"] if browser else [])):
            raise ArgumentError(
                "nothing is served where the page is exported",
                got=f"{option} with --export",
                fix="leave one of them out",
            )
        _export(export, vectors, tokenizer, store, replace=replace)
        return
    if replace:
        raise ArgumentError("--replace goes with --export", fix="give --export FOLDER too, or leave it out")
    _run(host, port, vectors, tokenizer, store, allow_host, token, page=True, browser=browser)


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8765,
    vectors: VectorNames = None,
    tokenizer: TokenizerNames = None,
    store: Stores = None,
    allow_host: AllowHosts = None,
    token: Token = None,
) -> None:
    """Serve the HTTP API alone, without the page.

    Its OpenAPI document is at /api/v1/openapi.json. A token is sent as the header Authorization: Bearer TOKEN.

    Example: foreword serve --port 9000
    """
    _run(host, port, vectors, tokenizer, store, allow_host, token, page=False, browser=False)


def _export(
    folder: Path, vectors: list[str] | None, tokenizers: list[str] | None, stores: list[str] | None, *, replace: bool
) -> None:
    from foreword.explorer.export import export

    done = export(folder, _named(vectors, tokenizers, stores), replace=replace)
    words = " and ".join(f"{counted(count, 'word')} of {name}" for name, count, _ in done.vectors)
    size, compressed = done.bytes / 1e6, done.compressed / 1e6
    print(f"{done.folder}: {counted(done.files, 'file')}, {size:.1f} MB, compressed {compressed:.1f} MB, with {words}")
    print(f"Open {done.folder / 'index.html'} in a browser, or put the folder on any web server.")


def _run(
    host: str,
    port: int,
    vectors: list[str] | None,
    tokenizers: list[str] | None,
    stores: list[str] | None,
    allow_hosts: list[str] | None,
    token: str | None,
    *,
    page: bool,
    browser: bool,
) -> None:
    """Check every option, open what is named, and only then listen."""
    import secrets
    import socket

    from foreword.explorer.settings import LOOPBACK

    if not host or not host.isprintable():
        fix = "--host 127.0.0.1, or 0.0.0.0 for every network"
        raise ArgumentError("no address to listen on", got=repr(host), fix=fix)
    _check_token(token)
    local = host in LOOPBACK
    names = {host, *map(_host_name, allow_hosts or [])} | ({socket.gethostname().lower()} if not local else set())
    settings = dataclasses.replace(
        _named(vectors, tokenizers, stores),
        hosts=LOOPBACK | names,
        token=token or (None if local else secrets.token_urlsafe(24)),
        page=page,
    )
    from foreword.explorer import server
    from foreword.explorer.library import Library

    Library(settings).open_all()
    listener = server.bind(host, port)
    print(f"Foreword is at {server.address(listener, settings)}  (Ctrl-C ends it)", flush=True)
    server.serve(settings, listener, open_browser=browser)


def _named(vectors: list[str] | None, tokenizers: list[str] | None, stores: list[str] | None) -> Settings:
    """Settings of what the options name, each once."""
    from foreword._base.files import explained
    from foreword.explorer.settings import Settings

    for name in stores or []:
        if "://" in name or not name:
            raise ArgumentError(
                "a store is opened from a folder of this machine",
                got=f"--store {name!r}",
                fix="name the folder; foreword inspect reads a store behind a URL",
            )
        with explained("open the token stores", name):
            there = Path(name).is_dir()
        if not there:
            raise MissingFileError("there is no such folder of stores", where=name)
    defaults = Settings()
    return Settings(
        vectors=tuple(dict.fromkeys(vectors or defaults.vectors)),
        tokenizers=tuple(dict.fromkeys(tokenizers or defaults.tokenizers)),
        stores=tuple(map(Path, dict.fromkeys(stores or []))),
    )


def _check_token(token: str | None) -> None:
    """A header can carry it, and it is not empty: that would ask for nothing."""
    if token is not None and re.fullmatch(r"[!-~]+", token) is None:
        raise ArgumentError(
            "a token that a request can't carry",
            got=repr(token),
            expected="letters, digits and signs of ASCII, without spaces",
            fix='python -c "import secrets; print(secrets.token_urlsafe())" gives one',
        )


def _host_name(name: str) -> str:
    """What a browser may call this server, as it stands in a request: an address has more about it."""
    if re.fullmatch(r"\[?[\w.:-]+\]?", name) is None:
        raise ArgumentError(
            "not the name of a host", got=f"--allow-host {name!r}", expected="a name alone, such as notebook.local"
        )
    return name.lower()
