"""``foreword vectors train``."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from foreword._base.words import counted
from foreword.cli._options import given
from foreword.cli._reading import takes_reading
from foreword.errors import ArgumentError

__all__ = ["train"]


@functools.partial(takes_reading, documents="line")
def train(
    context: typer.Context,
    corpus: Annotated[
        str,
        typer.Argument(
            help="A text file, a line a sentence; what foreword prepare reads; a token store: its ids are the words.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="A folder to make, a store of vectors; or a file .bin, .txt, .vec, .safetensors or .npy.",
            show_default=False,
        ),
    ],
    method: Annotated[
        Literal["skip-gram", "cbow", "fasttext", "fasttext-cbow"],
        typer.Option(
            help="skip-gram: better for rare words. cbow: faster. fasttext: skip-gram with n-grams of letters, so that "
            "unknown words have vectors too; fasttext-cbow: cbow with them."
        ),
    ] = "skip-gram",
    dim: Annotated[int, typer.Option(min=1, help="Numbers in a vector.")] = 100,
    epochs: Annotated[int, typer.Option(min=1, help="How often the corpus is read; more for small ones.")] = 5,
    window: Annotated[int, typer.Option(min=1, help="Words to each side that count as context.")] = 5,
    min_count: Annotated[int, typer.Option(min=0, help="Leave out words that occur less often.")] = 5,
    max_vocab: Annotated[
        int | None, typer.Option(min=1, help="Keep no more words than this, the most frequent.", show_default=False)
    ] = None,
    negative: Annotated[
        int, typer.Option(min=1, max=31, help="Noise words for each right one; more for small corpora.")
    ] = 5,
    sample: Annotated[
        float, typer.Option(min=0, help="Thin out words that are more frequent than this share of the corpus; 0: none.")
    ] = 1e-3,
    alpha: Annotated[float, typer.Option(min=0, help="The learning rate at the beginning.")] = 0.025,
    min_alpha: Annotated[float, typer.Option(min=0, help="The learning rate at the end.")] = 1e-4,
    min_n: Annotated[int, typer.Option(min=1, help="Of fasttext: letters of the shortest n-gram.")] = 3,
    max_n: Annotated[int, typer.Option(min=1, help="Of fasttext: letters of the longest n-gram.")] = 6,
    buckets: Annotated[
        int, typer.Option(min=1, help="Of fasttext: rows for n-grams; each takes 4 bytes times dim.")
    ] = 2_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Of all random numbers.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; the vectors don't depend on it.", show_default="all processors")
    ] = None,
    reading: Any = None,
    format: Any = None,  # noqa: A002 - the option's name
    out_format: Annotated[
        Literal["store", "word2vec-binary", "word2vec-text", "glove", "safetensors", "npy"] | None,
        typer.Option(help="The format of OUT.", show_default="by its suffix; without one a store"),
    ] = None,
    evaluate: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of analogies or word pairs to judge the vectors by after each epoch; may be repeated.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[float, typer.Option(min=0, help="Seconds between two checkpoints.")] = 60.0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an interrupted run has left, and replace OUT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was trained as data.")] = False,
) -> None:
    """Train vectors of the words of a corpus.

    Words are what white space parts, as they stand: lower the case and cut off punctuation beforehand, if you want them
    so. Interrupted or killed, run it again: it goes on where it was, to the same bits, on any number of workers. While
    it runs, what it needs lies in OUT.training, which is removed at the end.

    N-grams of fasttext are kept in a store alone; files hold the words.

    Example: foreword vectors train corpus.txt vectors/ --method skip-gram --epochs 5 --evaluate wordsim353.tsv
    """
    from foreword.recipes import train_vectors

    for option in [] if method.startswith("fasttext") else given(context, "min_n", "max_n", "buckets"):
        raise ArgumentError(
            f"{option} is of fasttext's n-grams",
            got=f"--method {method}",
            fix="leave it out, or choose --method fasttext or fasttext-cbow",
        )

    def evaluated(epoch: int, scores: list[Any]) -> None:
        if not as_json:
            print(f"epoch {epoch}: " + ", ".join(_summary(score) for score in scores), flush=True)

    try:
        done = train_vectors(
            corpus,
            out,
            method=method,
            dim=dim,
            epochs=epochs,
            window=window,
            negative=negative,
            min_count=min_count,
            max_vocab=max_vocab,
            sample=sample,
            alpha=alpha,
            min_alpha=min_alpha,
            min_n=min_n,
            max_n=max_n,
            buckets=buckets,
            seed=seed,
            workers=workers,
            reading=reading,
            format=format,
            out_format=out_format,
            evaluate=evaluate or (),
            evaluated=evaluated,
            every=every,
            restart=restart,
        )
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it goes on from here.", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        about = {name: value for name, value in vars(done).items() if name != "evaluations"}
        scores = [[score.data() for score in each] for each in done.evaluations]
        loss = None if done.loss != done.loss else done.loss
        print(json.dumps({**about, "path": str(done.path), "loss": loss, "evaluations": scores}, indent=1))
        return
    if done.complete:
        print("The vectors are there already: the same corpus, the same options.")
    shown = "" if done.loss != done.loss else f", loss {done.loss:.4f}"
    print(f"{done.path}: {counted(done.words, 'word')} of {counted(done.dim, 'dimension')}, {done.format}{shown}")


def _summary(score: Any) -> str:
    """A judgement in a few words."""
    name = Path(score.file).name
    data = score.data()
    if data["kind"] == "pairs":
        return f"{name} {score.spearman:.3f}"
    total = score.sections[-1]
    share = total.correct / total.questions if total.questions else 0.0
    return f"{name} {share:.3f} of {total.questions:,}"
