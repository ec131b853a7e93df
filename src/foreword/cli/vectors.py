"""``foreword similar`` and ``foreword vectors``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from foreword._base.words import counted
from foreword.cli._options import given
from foreword.cli._plot import Plot, checked
from foreword.cli.training import train

Name = Annotated[str, typer.Argument(help="A catalogue name, a path, a URL, or hf://OWNER/REPO.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the same as data.")]

BUILT_IN = "glove-wiki-gigaword-50"

app = typer.Typer(
    help="Word vectors: list, download, convert, export, evaluate and train them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cache = typer.Typer(help="What conversions have left: list, prune and remove it.", no_args_is_help=True)
app.add_typer(cache, name="cache")
app.command()(train)


def similar(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="Words to add up.", show_default=False)],
    minus: Annotated[
        list[str] | None, typer.Option(help="A word to subtract; may be repeated.", show_default=False)
    ] = None,
    topn: Annotated[int, typer.Option(min=1, help="How many words to print.")] = 10,
    vectors: Annotated[str, typer.Option(help="A catalogue name, a path, a URL, or hf://OWNER/REPO.")] = BUILT_IN,
    map_: Annotated[
        Path | None,
        typer.Option(
            "--map", help="Draw the words on a map, as .png, .svg or .pdf.", show_default=False, callback=checked
        ),
    ] = None,
    method: Annotated[Literal["pca", "tsne", "umap"], typer.Option(help="How words are placed on the map.")] = "pca",
    dark: Annotated[bool, typer.Option("--dark", help="Draw the map on a dark background.")] = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Print the words nearest to a sum of words.

    Each word's score is its cosine with the sum. The query words themselves are left out.

    Example: foreword similar king woman --minus man
    """
    from foreword.errors import ArgumentError
    from foreword.vectors import load

    for option in given(context, "method", "dark") if map_ is None else []:
        raise ArgumentError(f"{option} goes with --map", fix="give --map FILE too, or leave it out")
    if map_ is not None and map_ == plot:
        raise ArgumentError("--map and --plot would write one file", got=str(map_), fix="name two files")
    if sorted(words) == sorted(minus or []):
        raise ArgumentError(
            "the words cancel out: no direction is left to be near to",
            got=" + ".join(words) + " − " + " − ".join(words),
        )
    table = load(vectors)
    found = table.most_similar(positive=words, negative=minus or [], topn=topn)
    title = " − ".join([" + ".join(words), *(minus or [])])
    if as_json:
        results = [{"word": word, "score": round(score, 7)} for word, score in found]
        print(
            json.dumps({"vectors": vectors, "positive": words, "negative": minus or [], "nearest": results}, indent=1)
        )
    else:
        print(f"{title}, in {vectors}\n")
        for word, score in found:
            print(f"  {score:7.4f}  {word}")
    if plot is not None:
        from foreword import display

        display.neighbours(found, title=f"{title}, in {vectors}").plot(plot)
    if map_ is not None:
        from foreword.vectors import draw_word_map, word_map

        near = [word for word, _ in found]
        draw_word_map(word_map(table, words, minus=minus or [], near=near, method=method), map_, title=title, dark=dark)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the vectors of the catalogue, and which are on this machine.

    Example: foreword vectors list
    """
    from foreword.vectors.sources import catalogue

    places = {}
    for name, entry in catalogue.CATALOGUE.items():
        here = "comes with Foreword" if name == catalogue.BUILT_IN else catalogue.on_disk(entry)
        places[name] = str(here) if here else None
    if as_json:
        _print_json([{**_facts(entry), "place": places[name]} for name, entry in catalogue.CATALOGUE.items()])
        return
    rows = [
        (name, f"{entry.words:,}", entry.dim, _size(entry.bytes), "yes" if places[name] else "no", entry.about)
        for name, entry in catalogue.CATALOGUE.items()
    ]
    _print_table("name|words >|dim >|size >|here|what", rows)


@app.command()
def download(names: Annotated[list[str], typer.Argument(help="Catalogue names, URLs, hf://OWNER/REPO.")]) -> None:
    """Download vectors into the cache, and print the path of each.

    What is there already is not downloaded again; an interrupted download resumes.

    Example: foreword vectors download glove-twitter-25
    """
    from foreword import downloader
    from foreword.vectors.sources import catalogue

    for name in names:  # a typing error in the last one, before the first is downloaded
        if "://" not in name:
            catalogue.find(name)
    for name in names:
        print(downloader.load(name, return_path=True))


@app.command()
def info(name: Name, as_json: AsJson = False) -> None:
    """Show facts about vectors: for a catalogue name its size, source and license; for a file, what is in it.

    Example: foreword vectors info word2vec-ruscorpora-300
    """
    from foreword.vectors.sources import catalogue
    from foreword.vectors.sources.opening import open_store

    facts: dict[str, Any]
    if name in catalogue.CATALOGUE:
        entry = catalogue.CATALOGUE[name]
        here = "comes with Foreword" if name == catalogue.BUILT_IN else catalogue.on_disk(entry)
        facts = {**_facts(entry), "place": str(here) if here else None}
    else:
        store = open_store(name)
        rows, dim = store.vectors.shape
        facts = {
            "words": rows,
            "dim": dim,
            "dtype": str(store.vectors.dtype),
            "subwords": store.subwords is not None,
            "first": [store.keys[row] for row in range(min(8, rows))],
            "store": str(store.path),
        }
    if as_json:
        _print_json(facts)
        return
    width = max(map(len, facts))
    for label, value in facts.items():
        if value is None:
            shown = "not on this machine"
        elif isinstance(value, list):
            shown = "  ".join(value)
        else:
            shown = f"{value:,}" if type(value) is int else str(value)
        print(f"{label:>{width}}  {shown}")


@app.command()
def convert(
    name: Name,
    out: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Read only this many words, from the start.", show_default="all")
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16"] | None,
        typer.Option(help="The dtype to store; float16 halves the size.", show_default="float32"),
    ] = None,
    encoding: Annotated[str, typer.Option(help="The encoding of the words.")] = "utf-8",
    unicode_errors: Annotated[
        Literal["strict", "ignore", "replace", "backslashreplace"] | None,
        typer.Option(
            help="What to do with bytes that can't be decoded.",
            show_default="strict; of fastText .bin backslashreplace",
        ),
    ] = None,
) -> None:
    """Convert vectors of any format to a store: a folder that opens in milliseconds, anywhere.

    Example: foreword vectors convert GoogleNews-vectors-negative300.bin.gz news-store --dtype float16
    """
    import shutil

    from foreword._base.files import atomic_folder, check_folder
    from foreword.vectors.sources.opening import open_store

    check_folder(out)
    store = open_store(name, limit=limit, dtype=dtype, encoding=encoding, unicode_errors=unicode_errors)
    with atomic_folder(out) as partial:
        shutil.copytree(store.path, partial, dirs_exist_ok=True)
    rows, dim = store.vectors.shape
    print(f"{out}: {counted(rows, 'word')} of {counted(dim, 'dimension')}")


@app.command()
def export(
    name: Name,
    out: Annotated[
        Path, typer.Argument(help="The file to write; .gz, .bz2, .xz or .zst packs it.", show_default=False)
    ],
    format_: Annotated[
        Literal["word2vec-binary", "word2vec-text", "glove", "safetensors", "npy", "static"] | None,
        typer.Option(
            "--format",
            show_default="by the suffix: .bin word2vec-binary, .safetensors, .npy; else word2vec-text",
            help="The format; static is the folder of a static embedding model.",
        ),
    ] = None,
) -> None:
    """Write vectors in a format that other programs read.

    Example: foreword vectors export glove-wiki-gigaword-50 glove.bin
    """
    from foreword.vectors import load
    from foreword.vectors.formats.writers import check_output

    check_output(out, format_)
    table = load(name)
    chosen = table.export(out, format=format_)
    print(f"{out}: {counted(len(table), 'word')} of {counted(table.vector_size, 'dimension')}, {chosen}")


@app.command()
def evaluate(
    name: Name,
    files: Annotated[list[Path], typer.Argument(help="Files of analogies or of word pairs.", show_default=False)],
    restrict_vocab: Annotated[int, typer.Option(min=1, help="Use only this many words, from the start.")] = 300_000,
    case_sensitive: Annotated[
        bool,
        typer.Option(
            "--case-sensitive",
            help="Distinguish upper from lower case; without it, the first of equal spellings counts.",
        ),
    ] = False,
    count_unknown: Annotated[
        bool, typer.Option("--count-unknown", help="Count unknown words as failures instead of leaving them out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate vectors on analogies (word2vec's questions-words.txt) and on human similarity ratings of word pairs.

    A file of analogies has four words a line, in sections that begin with ": NAME". A file of pairs has two words and a
    number a line, between tabs, commas or spaces. Foreword tells the two apart by their content.

    Example: foreword vectors evaluate glove-wiki-gigaword-50 questions-words.txt wordsim353.tsv
    """
    from foreword.vectors import load
    from foreword.vectors.judging import judge

    table = load(name)
    options = {"restrict_vocab": restrict_vocab, "case_insensitive": not case_sensitive, "dummy4unknown": count_unknown}
    judged = [judge(table, file, **options) for file in files]
    if as_json:
        _print_json([one.data() for one in judged])
        return
    for one in judged:
        _print_table(one.heading, one.rows(), title=str(one.file))


Dry = Annotated[bool, typer.Option("--dry-run", help="Print what would be removed, and remove nothing.")]


@cache.command("list")
def cache_list(as_json: AsJson = False) -> None:
    """List the stores that vectors were converted to, the last used first: size, last use, state, and of what.

    The first load of a file converts it; later loads open the store. A store can always be removed: the next load
    converts again. What was downloaded is not listed.

    States: current; its source has changed, or is gone; damaged; unfinished, left by a process that was killed or being
    made now.

    Example: foreword vectors cache list
    """
    from foreword.vectors.sources.conversions import conversions

    found = conversions()
    _print_conversions(found, as_json=as_json)
    if not found and not as_json:
        print("no file of vectors has been converted yet")


@cache.command("prune")
def cache_prune(
    unused: Annotated[
        int | None,
        typer.Option(min=0, help="Also remove what was not loaded for this many days.", show_default=False),
    ] = None,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Remove the stores that no load will open again: whose source has changed or is gone, damaged and unfinished ones.

    What a process has open, or is converting, stays.

    Example: foreword vectors cache prune --unused 90 --dry-run
    """
    import time

    from foreword.vectors.sources.conversions import conversions

    now = time.time()
    old = [each for each in conversions() if unused is not None and now - each.used >= unused * 86_400]
    _remove([each for each in conversions() if each.state != "current" or each in old], dry_run, as_json)


@cache.command("remove")
def cache_remove(
    names: Annotated[
        list[str], typer.Argument(help="Names of stores, as the list shows them, or their sources.", show_default=False)
    ],
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Remove the stores that are named, or all that a source was converted to.

    What a process has open, or is converting, stays. The source itself is never touched.

    Example: foreword vectors cache remove GoogleNews-vectors-negative300.bin.gz
    """
    from foreword.vectors.sources.conversions import named

    _remove(named(names), dry_run, as_json)


def _remove(chosen: list[Any], dry_run: bool, as_json: bool) -> None:
    from foreword.vectors.sources.conversions import remove

    removed = [each for each in chosen if dry_run or remove(each)]
    _print_conversions(removed, as_json=as_json)
    if as_json:
        return
    size = _size(sum(each.bytes for each in removed))
    print(f"{len(removed):,} {'would be ' if dry_run else ''}removed, {size}")
    for each in chosen:
        if each not in removed:
            print(f"in use, so it stays: {each.name}")


def _print_conversions(found: list[Any], *, as_json: bool) -> None:
    import datetime as dt

    dates = [f"{dt.datetime.fromtimestamp(each.used):%Y-%m-%d %H:%M}" for each in found]
    if as_json:
        pairs = zip(found, dates, strict=True)
        _print_json([{**vars(each), "folder": str(each.folder), "used": date} for each, date in pairs])
        return
    rows = [
        (_size(each.bytes), date, each.state, each.name, " ".join([each.source or "?", *_spelt(each.options)]))
        for each, date in zip(found, dates, strict=True)
    ]
    if rows:
        _print_table("size >|last used|state|name|of", rows)


def _spelt(options: dict[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in options.items()]


def _facts(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.name,
        "about": entry.about,
        "words": entry.words,
        "dim": entry.dim,
        "bytes": entry.bytes,
        "checksum": entry.checksum,
        "license": entry.license,
        "source": entry.source,
    }


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, ensure_ascii=False))


def _print_table(heading: str, rows: Any, title: str | None = None) -> None:
    """Columns under their heading, parted by | there; those whose name ends in > are aligned right.

    Where a terminal has no room for the last column, it stands below the others.
    """
    names = heading.split("|")
    cells = [[name.removesuffix(" >") for name in names], *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["─" * width for width in widths])
    if title:
        print(f"\n{title}\n")
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000
    below = sum(widths) + 2 * len(widths) - 2 > room
    for number, row in enumerate(cells):
        aligned = [
            cell.rjust(width) if name.endswith(">") else cell.ljust(width)
            for cell, width, name in zip(row, widths, names, strict=True)
        ]
        print("  ".join(aligned[:-1] if below else aligned).rstrip())
        if below and number > 1:
            print(textwrap.fill(row[-1], max(20, room), initial_indent="    ", subsequent_indent="    "))
