"""The command line: parse, call, print.

One module a package holds its commands as plain functions; the table below names them all. A ``ForewordError`` is
printed as its message, with exit code 1; a wrong option is typer's affair, with exit code 2.

Not for: work. Costs: no command imports what another needs.
"""

from __future__ import annotations

import io
import sys
import warnings
from typing import Annotated

import typer

from foreword.cli import embed, explore, tokens, tour, vectors
from foreword.errors import ForewordError, printable

__all__ = ["app", "main"]

app = typer.Typer(
    name="foreword",
    help="Everything before the first transformer block: word vectors, tokens, windows, input embeddings.",
    epilog="New here? Run: foreword tour",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(tour.tour)
app.command()(vectors.similar)
app.add_typer(vectors.app, name="vectors")
app.command()(tokens.prepare)
app.command()(tokens.inspect)
app.command()(tokens.export)
app.add_typer(tokens.app, name="tokens")
app.command()(embed.embed)
app.command()(explore.explore)
app.command()(explore.serve)


def _version(wanted: bool) -> None:
    if wanted:
        from foreword._base.version import __version__

        print(f"foreword {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point of ``foreword`` and of ``python -m foreword``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a word that the terminal can't show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {printable(str(message))}\n"  # where it is, is ours
    try:
        app()
    except ForewordError as error:
        from rich.console import Console

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print("error:", style="bold red", end=" ")
        console.print(str(error), markup=False)
        sys.exit(1)
