"""``foreword tour``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def tour(
    text: Annotated[
        Path | None,
        typer.Option(help="A text file to use.", show_default="the prose of Python's own help topics"),
    ] = None,
    vectors: Annotated[
        str, typer.Option(help="Word vectors: a catalogue name, or the path of a file.")
    ] = "glove-wiki-gigaword-50",
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as data.")] = False,
) -> None:
    """Go through every step, from words to input embeddings, on real data.

    Each step is explained, with the Python that does it and what that returns.

    Example: foreword tour --text my-novel.txt
    """
    from foreword.tour import take_tour

    steps = take_tour(text=text, vectors=vectors)
    if as_json:
        print(json.dumps([step.data() for step in steps], indent=1))
    else:
        from foreword.tour import show

        show(steps)
