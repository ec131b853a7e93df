"""``foreword tour``."""

from __future__ import annotations

import json
import sys
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

    Each step is explained, with the Python that does it and what that returns. The steps about what a model learns need
    torch.

    Example: foreword tour --text my-novel.txt
    """
    from foreword.tour import WITHOUT_TORCH, has_torch, take_tour

    steps = take_tour(text=text, vectors=vectors)
    if as_json:
        print(json.dumps([step.data() for step in steps], indent=1))
        if not has_torch():
            print(WITHOUT_TORCH, file=sys.stderr)
    else:
        from foreword.tour import show

        show(steps)
