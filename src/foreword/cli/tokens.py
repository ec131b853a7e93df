"""``foreword prepare``, ``inspect``, ``export`` and ``tokens``."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreword._base.words import counted
from foreword.cli import windows as window_options
from foreword.cli._plot import Plot
from foreword.cli._reading import takes_reading

if TYPE_CHECKING:
    from foreword.tokens import Tokenizer, TokenStore
    from foreword.tokens.store.inspection import Inspection

AsJson = Annotated[bool, typer.Option("--json", help="Print the same as data.")]
TokenizerName = Annotated[
    str,
    typer.Option(
        help="gpt2, bytes, a name that tiktoken knows, of a model too; a file: tokenizer.json, .tiktoken, .model; a "
        "folder that holds one; or OWNER/REPO on the Hugging Face hub."
    ),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        help="Of a file of merge ranks: whose split pattern goes with them, or a regular expression.",
        show_default=False,
    ),
]
Corpus = Annotated[
    str,
    typer.Argument(
        help="A file, folder, pattern or URL of txt, md, jsonl, json, parquet, csv, tsv.", show_default=False
    ),
]
Store = Annotated[
    str, typer.Argument(help="A store, or its URL; or a token file of another library.", show_default=False)
]
Given = Annotated[
    str | None, typer.Option("--tokenizer", help="What made the ids, where the store does not say.", show_default=False)
]
Dtype = Annotated[str | None, typer.Option(help="Of a headerless file of ids: uint16 or uint32.", show_default=False)]

app = typer.Typer(
    help="Tokens: show how a text is tokenized, train a vocabulary.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@takes_reading
def prepare(
    corpus: Corpus,
    out: Annotated[str, typer.Argument(help="The folder of the store, or its URL.", show_default=False)],
    tokenizer: Annotated[
        str | None, typer.Option(help="As for foreword tokens show.", show_default="gpt2, for texts")
    ] = None,
    pattern: Pattern = None,
    end_of_text: Annotated[
        bool | None,
        typer.Option(help="Put the end-of-text token after each document.", show_default="yes, but for messages"),
    ] = None,
    end_of_text_token: Annotated[
        str | None, typer.Option(help="The token that ends a document, such as <|im_end|>.", show_default=False)
    ] = None,
    beginning: Annotated[
        str | None, typer.Option(help="A special token to put before each document.", show_default=False)
    ] = None,
    reading: Any = None,
    format: Any = None,  # noqa: A002 - the option's name
    chat_template: Annotated[
        Path | None,
        typer.Option(help="Of messages: a file with the template; else the tokenizer's.", show_default=False),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="A part and its share of documents, such as val=0.01; may be repeated.", show_default=False),
    ] = None,
    deduplicate: Annotated[bool, typer.Option("--deduplicate", help="Drop documents that came before.")] = False,
    append: Annotated[bool, typer.Option("--append", help="Add what a store that is there does not hold.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what an interrupted run has left.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that encode.", show_default="all")] = None,
    engine: Annotated[
        str, typer.Option(help="local: threads; ray: processes of a Ray cluster.", metavar="<local|ray>")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster; else one is started here.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token store from a corpus.

    Interrupted, run it again: it resumes. The bytes of the store are the same at any number of workers. To a URL, such
    as s3://bucket/store, shards are sent as they are completed, and the manifest last.

    Example: foreword prepare books/ store/ --split val=0.01
    """
    from foreword.errors import ArgumentError
    from foreword.tokens.preparing.prepare import SHARD_TOKENS, prepared

    if end_of_text is False and end_of_text_token is not None:
        raise ArgumentError(
            "no token ends a document, and one is named",
            got=f"--no-end-of-text --end-of-text-token {end_of_text_token}",
            fix="leave one of them out",
        )
    try:
        done = prepared(
            corpus,
            out,
            tokenizer=None
            if tokenizer is None and pattern is None
            else _tokenizer("gpt2" if tokenizer is None else tokenizer, pattern),
            append_end_of_text=end_of_text_token or end_of_text,
            beginning=beginning,
            reading=reading,
            chat_template=chat_template,
            format=format,
            split=_shares(split),
            deduplicate=deduplicate,
            append=append,
            restart=restart,
            workers=workers,
            shard_tokens=SHARD_TOKENS,
            engine=engine,
            address=address,
        )
    except KeyboardInterrupt:
        again = " without --restart" if restart else ""
        print(f"\nInterrupted. The same command{again} resumes where it stopped.", file=sys.stderr)
        raise typer.Exit(130) from None
    stores = [
        {"path": str(part.path), "tokens": len(part), "documents": part.documents, **part.manifest["account"]}
        for part in done.stores.values()
    ]
    if as_json:
        about = {"complete_before": done.complete, "passed_over": list(done.passed_over), "already": done.already}
        print(json.dumps({**about, "stores": stores}, indent=1))
        return
    if done.complete:
        print("The store is complete already: the same corpus, the same options.")
    for part in stores:
        print(f"{part['path']}: {counted(part['tokens'], 'token')}, {counted(part['documents'], 'document')}")
    dropped = {key: stores[0][key] for key in ("skipped", "empty", "duplicates") if stores[0][key]}
    if dropped:
        print("dropped: " + ", ".join(counted(count, *_WORDS[key]) for key, count in dropped.items()))
    if done.already:
        print(f"in the store already: {counted(done.already, 'source')}, by their contents")
    if done.renewed:
        print(f"added: {counted(done.renewed, 'source')} of a name that the store has, with other contents")
    for note in done.notes:
        print(note)


def _tokenizer(name: str, pattern: str | None) -> Tokenizer:
    from foreword.tokens import get_tokenizer

    return get_tokenizer(name, pattern=pattern)


_WORDS = {"skipped": ("bad record",), "empty": ("empty document",), "duplicates": ("duplicate",)}


def _shares(split: list[str] | None) -> dict[str, float] | None:
    from foreword.errors import ArgumentError

    shares = {}
    for part in split or []:
        name, _, share = part.partition("=")
        if name in shares:
            raise ArgumentError("a part of the split comes twice", got=f"--split {part}", fix="leave one of them out")
        try:
            shares[name] = float(share)
        except ValueError:
            raise ArgumentError(
                "a split is a name and a share",
                got=part,
                expected="val=0.01",
                fix="of several parts, give each its own: --split val=0.01 --split test=0.01",
            ) from None
    return shares or None


def inspect(
    context: typer.Context,
    store: Store,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every byte with its checksum.")] = False,
    first: Annotated[int, typer.Option(min=0, help="How many tokens of the beginning to print.")] = 30,
    top: Annotated[int, typer.Option(min=0, help="How many of the most frequent tokens to print.")] = 10,
    tokenizer: Given = None,
    pattern: Pattern = None,
    dtype: Dtype = None,
    windows: window_options.Windows = False,
    context_length: window_options.ContextLength = 256,
    stride: window_options.Stride = None,
    batch_size: window_options.BatchSize = 4,
    within: window_options.Within = "stream",
    tail: window_options.Tail = None,
    packing: window_options.Packing = None,
    trace: window_options.Trace = None,
    when: window_options.When = None,
    shuffle: window_options.Shuffle = False,
    seed: window_options.Seed = 0,
    epoch: window_options.Epoch = 0,
    world_size: window_options.WorldSize = 1,
    rank: window_options.Rank = 0,
    state: window_options.State = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Print what is in a token store: its account, its first tokens, its documents' lengths, its top tokens.

    Reads the stores of foreword prepare and the files of Megatron, nanoGPT, llm.c and datatrove.

    Example: foreword inspect store/ --verify

    With --windows it tells what an epoch trains on: tokens seen, repeated, padded, dropped, the first and last batch;
    --plot then draws the windows, and without it the documents by length.

    Example: foreword inspect store/ --windows --context-length 1024 --within document --packing best-fit

    With --trace it prints a step's windows, their files and text; with --when, the steps that train on a document. Both
    take the cut and the loader's options, or a loader's state for what was changed on the way.

    Example: foreword inspect store/ --trace 7 --context-length 16 --batch-size 4 --shuffle
    """
    from foreword.tokens import TokenStore
    from foreword.tokens import inspect as look

    window_options.check(context, windows=windows, trace=trace is not None, when=when is not None)
    tokens = None if tokenizer is None else _tokenizer(tokenizer, pattern)
    opened = TokenStore.open(store, tokenizer=tokens, dtype=dtype)
    if verify:
        opened.verify()
    data = account = None
    if windows or trace is not None or when is not None:
        from foreword.windows import WindowDataset

        cut: dict[str, Any] = {"stride": stride, "within": within, "tail": tail, "packing": packing}
        data = WindowDataset(opened, context_length=context_length, **cut)
    if data is not None and not (trace is when is None):
        options = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed, "world_size": world_size}
        wanted: dict[str, Any] = {"trace": trace, "when": when, "epoch": epoch, "rank": rank, "state": state}
        print(window_options.traced(data, opened, options=options, as_json=as_json, **wanted))
        return
    found = look(opened, first=first, top=top)
    if data is not None:
        account = window_options.report(data, opened, batch_size=batch_size)
    if plot is not None:
        from foreword import display

        (display.store(opened) if data is None else display.windows(data)).plot(plot)
    if as_json:
        data_found = {**dataclasses.asdict(found), "verified": verify}
        if account is not None:
            data_found["windows"] = window_options.as_data(account)
        print(json.dumps(data_found, indent=1, ensure_ascii=False))
        return
    _print_inspection(opened, found, verified=verify)
    if account is not None:
        print(f"\nwindows\n{account}")


def _print_inspection(store: TokenStore, found: Inspection, *, verified: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from foreword.tokens.preparing.corpus import passed_over_text

    console = Console(highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    passed = found.account.get("passed_over", {})
    rows = {
        "store": store.path,
        "tokens": f"{found.tokens:,} of {found.dtype}, {found.bytes / 1e6:,.1f} MB in {counted(found.shards, 'shard')}",
        "trained on": "" if found.trained is None else counted(found.trained, "token"),
        "documents": f"{found.documents:,}",
        "lengths": ", ".join(f"{name} {value:,}" for name, value in found.lengths.items()),
        "tokenizer": f"{found.tokenizer or 'unknown'}, vocab_size {found.vocab_size:,}, of which {found.used:,} occur",
        "dropped": ", ".join(
            f"{found.account[key]:,} {word}" for key, word in _WORDS.items() if found.account.get(key)
        ),
        "passed over": passed_over_text(passed.get("first", ()), count=passed.get("count")),
        "policies": ", ".join(
            f"{key}={value!r}" for key, value in found.policies.items() if value not in (None, False)
        ),
        "checksums": "every byte is as it was written" if verified else "not compared (--verify)",
    }
    for name, value in rows.items():
        if str(value):
            table.add_row(name, str(value))
    console.print(table)
    if found.beginning:
        ids = " ".join(str(id_) for id_, _ in found.beginning)
        console.print(f"\nbegins    {ids if found.text is None else repr(found.text)}", markup=False)
    if found.histogram:
        console.print("\ntokens a document")
        most = max(count for _, _, count in found.histogram)
        for low, high, count in found.histogram:
            bar = "█" * -(-30 * count // most)
            console.print(f"{low:>10,} – {high - 1:<10,} {count:>10,}  {bar}", markup=False)
    if found.top:
        console.print("\nmost frequent")
        for id_, piece, count in found.top:
            reads = "" if piece is None else store.tokenizer.token_text(id_)
            console.print(f"{id_:>10} {count:>12,}  {reads}", markup=False)


def export(
    store: Store,
    out: Annotated[Path, typer.Argument(help="The file to write, without its suffix.", show_default=False)],
    format_: Annotated[
        str, typer.Option("--format", help="The library's.", metavar="<megatron|nanogpt|llmc|datatrove>")
    ] = "megatron",
    tokenizer: Given = None,
    pattern: Pattern = None,
    dtype: Dtype = None,
) -> None:
    """Write a store in another library's format.

    Example: foreword export store/ train --format nanogpt
    """
    from foreword.tokens import TokenStore
    from foreword.tokens import export as write

    for file in write(
        TokenStore.open(store, tokenizer=None if tokenizer is None else _tokenizer(tokenizer, pattern), dtype=dtype),
        out,
        format=format_,
    ):
        print(f"{file}: {counted(file.stat().st_size, 'byte')}")


@app.command()
def show(
    text: Annotated[str, typer.Argument(help="A text; - reads standard input.", show_default=False)],
    tokenizer: TokenizerName = "gpt2",
    pattern: Pattern = None,
    special: Annotated[bool, typer.Option("--special", help="Let special tokens in the text be special.")] = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Print the tokens of a text, with their ids.

    Example: foreword tokens show "Every effort moves you"
    """
    chosen = _tokenizer(tokenizer, pattern)
    words = sys.stdin.read() if text == "-" else text
    ids = chosen.encode(words, allowed_special="all" if special else (), disallowed_special=()).tolist()
    if plot is not None:
        from foreword import display

        display.tokens(chosen, ids).plot(plot)
    if as_json:
        rows = [{"id": id_, "text": chosen.decode([id_]), "reads": chosen.token_text(id_)} for id_ in ids]
        print(json.dumps({"tokenizer": chosen.name, "count": len(ids), "tokens": rows}, indent=1, ensure_ascii=False))
        return
    for id_ in ids:
        print(f"{id_:>8}  {chosen.token_text(id_)}")
    print(f"{counted(len(ids), 'token')} of {chosen.name}, {counted(len(words), 'character')}")


@app.command()
@takes_reading
def train(
    corpus: Corpus,
    out: Annotated[Path, typer.Argument(help="The tokenizer.json to write.", show_default=False)],
    vocab_size: Annotated[int, typer.Option(min=1, help="How many tokens, the 256 bytes included.")] = 32_768,
    pattern: Annotated[
        str, typer.Option(help="What cuts text into words: gpt2, cl100k_base, o200k_base, or a regular expression.")
    ] = "gpt2",
    special_token: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated; they get the first ids.", show_default="<|endoftext|>"),
    ] = None,
    min_frequency: Annotated[int, typer.Option(min=1, help="A pair that comes less often is not merged.")] = 2,
    reading: Any = None,
    format: Any = None,  # noqa: A002 - the option's name
) -> None:
    """Train a byte-pair vocabulary on a corpus, and write it as tokenizer.json and as merge ranks.

    Example: foreword tokens train books/ tokenizer.json --vocab-size 8192
    """
    from foreword.tokens import train_tokenizer

    trained = train_tokenizer(
        corpus,
        out,
        vocab_size=vocab_size,
        pattern=pattern,
        special_tokens=special_token or ("<|endoftext|>",),
        min_frequency=min_frequency,
        reading=reading,
        format=format,
    )
    print(f"{out}: vocab_size {trained.vocab_size:,}; use it: foreword prepare CORPUS STORE --tokenizer {out}")
    if out.with_suffix(".tiktoken").exists():
        print(f"{out.with_suffix('.tiktoken')}: the same as merge ranks; --pattern {pattern}")
