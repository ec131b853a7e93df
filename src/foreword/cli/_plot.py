"""The option ``--plot`` that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Plot"]


def _checked(path: Path | None) -> Path | None:
    if path is not None:  # before the work is done, not after it
        from foreword import display

        display.check_picture(path)
    return path


Plot = Annotated[
    Path | None,
    typer.Option("--plot", help="Draw it to a file: .png, .svg or .pdf.", show_default=False, callback=_checked),
]
