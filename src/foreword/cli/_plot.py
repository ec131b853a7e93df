"""The options that write pictures: ``--plot``, which commands share, and what else takes a picture's path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Plot", "checked"]


def checked(path: Path | None) -> Path | None:
    """The path, where a picture can be written to it: known before the work is done, not after it."""
    if path is not None:
        from foreword._base.pictures import check_picture

        check_picture(path)
    return path


Plot = Annotated[
    Path | None,
    typer.Option("--plot", help="Save a picture of it: .png, .svg or .pdf.", show_default=False, callback=checked),
]
