"""``foreword explore`` and ``foreword serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    list[Path] | None,
    typer.Option("--store", help="A token store, or a folder of them, that may be opened; may be repeated."),
]
AllowHosts = Annotated[
    list[str] | None, typer.Option("--allow-host", help="Another host name by which browsers may reach this server.")
]
Token = Annotated[
    str | None, typer.Option(help="A token that every request must carry.", envvar="FOREWORD_TOKEN", show_default=False)
]


def explore(
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

    Nothing leaves this machine, and the page can open only what is named here.

    Example: foreword explore --store corpus-store --tokenizer gpt2 --tokenizer cl100k_base

    Example: foreword explore --export page
    """
    if export is not None:
        _export(export, vectors, tokenizer, store, replace=replace)
        return
    if replace:
        from foreword.errors import ArgumentError

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
    folder: Path, vectors: list[str] | None, tokenizers: list[str] | None, stores: list[Path] | None, *, replace: bool
) -> None:
    from foreword.explorer.export import export
    from foreword.explorer.settings import Settings

    defaults = Settings()
    settings = Settings(
        vectors=tuple(vectors or defaults.vectors),
        tokenizers=tuple(tokenizers or defaults.tokenizers),
        stores=tuple(stores or []),
    )
    done = export(folder, settings, replace=replace)
    words = " and ".join(f"{count:,} words of {name}" for name, count, _ in done.vectors)
    size, compressed = done.bytes / 1e6, done.compressed / 1e6
    print(f"{done.folder}: {done.files} files, {size:.1f} MB, compressed {compressed:.1f} MB, with {words}")
    print(f"Open {done.folder / 'index.html'} in a browser, or put the folder on any web server.")


def _run(
    host: str,
    port: int,
    vectors: list[str] | None,
    tokenizers: list[str] | None,
    stores: list[Path] | None,
    allow_hosts: list[str] | None,
    token: str | None,
    *,
    page: bool,
    browser: bool,
) -> None:
    import secrets
    import socket

    from foreword._base.files import explained
    from foreword.errors import ArgumentError, MissingFileError
    from foreword.explorer.settings import LOOPBACK, Settings

    if not host:
        raise ArgumentError("the address to listen on is empty", fix="--host 127.0.0.1, or 0.0.0.0 for every network")
    for path in stores or []:
        with explained("open the token stores", path):
            there = path.is_dir()
        if not there:
            raise MissingFileError("there is no such folder of stores", where=path)
    for name in vectors or []:
        _check_vectors(name)
    local = host in LOOPBACK
    names = {host, *(name.lower() for name in allow_hosts or [])} | (
        {socket.gethostname().lower()} if not local else set()
    )
    defaults = Settings()
    settings = Settings(
        vectors=tuple(vectors or defaults.vectors),
        tokenizers=tuple(tokenizers or defaults.tokenizers),
        stores=tuple(stores or []),
        hosts=LOOPBACK | names,
        token=token or (None if local else secrets.token_urlsafe(24)),
        page=page,
    )
    from foreword.explorer import server

    listener = server.bind(host, port)
    print(f"Foreword is at {server.address(listener, settings)}  (Ctrl-C ends it)", flush=True)
    server.serve(settings, listener, open_browser=browser)


def _check_vectors(name: str) -> None:
    """Fail now, and not in every panel, where there are no such vectors.

    What the catalogue has may still have to be downloaded, which is done when the page asks for it.
    """
    from foreword.vectors import load
    from foreword.vectors.sources.catalogue import CATALOGUE

    if name not in CATALOGUE and "://" not in name:
        load(name)
