"""Pictures by matplotlib: files, fonts and colours that all pictures share.

Not for: what is drawn. Costs: matplotlib is imported where a picture is begun.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreword._base.files import atomic_write, explained, output_path
from foreword.errors import ArgumentError, FileError, MissingFileError, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_picture", "figure", "fonts", "quiet", "save", "writable"]

logger = logging.getLogger(__name__)

FORMATS = (".png", ".svg", ".pdf")
DPI = 150
BLUE, RUST, GREY = "#2c6e8f", "#b4532a", "#8a8a8a"
LONGEST = 28  # characters of a label; the rest is cut off


# ---------------------------------------------------------------- files


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise what ``save`` would, before the work is done.

    Raises:
        ArgumentError: a picture can't be of that kind, or ``path`` is a URL.
        MissingPackageError: matplotlib isn't installed.
        FileError: there is no such folder, or it can't be written to.
    """
    path = output_path(path)
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError("unknown kind of picture", got=os.fspath(path), expected=", ".join(FORMATS))
    if importlib.util.find_spec("matplotlib") is None:
        raise _no_matplotlib()
    with explained("write the picture", path):
        folder, taken = path.parent.is_dir(), path.is_dir()
    if not folder:
        raise MissingFileError(
            "there is no such folder to write a picture to", where=path.parent, fix="make it, or name another"
        )
    if taken or not os.access(path.parent, os.W_OK):
        raise FileError("a picture can't be written there", where=path, fix="name another file")


def save(drawn: Figure, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a figure to ``path``, whole or not at all."""
    with atomic_write(path) as file, quiet():
        drawn.savefig(file, format=Path(path).suffix.lower()[1:], dpi=DPI, **options)


def figure(size: tuple[float, float]) -> Figure:
    """An empty figure, in inches, that a notebook shows by itself.

    Raises:
        MissingPackageError: matplotlib isn't installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise _no_matplotlib() from None

    class ShownFigure(Figure):
        """A notebook shows other figures only where pyplot made them."""

        def _repr_png_(self) -> bytes:
            out = io.BytesIO()
            with quiet():
                self.savefig(out, format="png", dpi=100)
            return out.getvalue()

    return ShownFigure(figsize=size, layout="constrained")


def _no_matplotlib() -> MissingPackageError:
    return MissingPackageError("pictures need matplotlib", fix="pip install matplotlib")


# ---------------------------------------------------------------- letters


def writable(text: str, longest: int = LONGEST) -> str:
    """A text on one line, of so many characters at most, each of which can be written."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def fonts(text: str) -> list[str]:
    """Families of installed fonts that together can write ``text``, matplotlib's own first."""
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    missing = {ord(letter) for letter in text if not letter.isspace()}
    families = ["DejaVu Sans"]
    missing -= get_font(fontManager.findfont(FontProperties(family=families))).get_charmap().keys()
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)):
        if not missing:
            break
        plain = entry.style == "normal" and entry.weight in (400, "normal", "regular")
        if plain and entry.name not in families and not entry.name.startswith(("Last Resort", "STIX", "cm")):
            found = missing & get_font(entry.fname).get_charmap().keys()
            if found:
                missing -= found
                families.append(entry.name)
    if missing:
        logger.warning("no font of this machine has: %s", " ".join(map(chr, sorted(missing)[:20])))
    return families


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep matplotlib from warning of each missing glyph and bold face: ``fonts`` has warned once of what matters."""
    font_log = logging.getLogger("matplotlib.font_manager")
    level = font_log.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*missing from font.*")
        font_log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            font_log.setLevel(level)
