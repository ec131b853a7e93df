"""The option ``--plot`` that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Plot"]

Plot = Annotated[Path | None, typer.Option("--plot", help="Draw it to a file: .png, .svg or .pdf.", show_default=False)]
