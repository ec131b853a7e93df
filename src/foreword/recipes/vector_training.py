"""Training vectors from a corpus to a file, in steps that each leave what the next needs, so that a killed run goes on.

    OUT.training/run.json          the corpus and the options: another run's folder is not taken up
    OUT.training/vocabulary.json   the words and their counts
    OUT.training/corpus.u32        the corpus, encoded
    OUT.training/checkpoint        the tables and where the run is
    OUT                            the vectors; then the folder goes. A store says in training.json what run.json said

Not for: the arithmetic (``foreword.vectors.training``). Costs: while it runs, 4 bytes on the disk for each word of the
corpus, and twice the tables.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword._base.checks import integer, number
from foreword._base.compression import stem
from foreword._base.files import atomic_write, explained, given_path, lock, output_path
from foreword._base.progress import Progress as Bar
from foreword._base.progress import progress
from foreword._base.words import counted
from foreword.errors import ArgumentError, ArgumentTypeError, FileError, FormatError, StoreError
from foreword.recipes.word_corpora import StoreCorpus, open_words
from foreword.tokens import Reading
from foreword.vectors import KeyedVectors
from foreword.vectors.judging import Judgement, judge
from foreword.vectors.store.store import is_store
from foreword.vectors.training.corpus import Corpus, Encoded, open_encoded
from foreword.vectors.training.options import Subwords, TrainingOptions
from foreword.vectors.training.result import composed, fill
from foreword.vectors.training.trainer import Trainer
from foreword.vectors.training.vocabulary import choose

__all__ = ["Method", "Trained", "train_vectors"]

Method = Literal["skip-gram", "cbow", "fasttext", "fasttext-cbow"]
FileFormat = Literal["store", "word2vec-binary", "word2vec-text", "glove", "safetensors", "npy"]
Evaluated = Callable[[int, list[Judgement]], object]

MADE = "training.json"
_SUFFIXES = (".bin", ".txt", ".vec", ".npy", ".safetensors")


@dataclasses.dataclass(frozen=True)
class Trained:
    """What was trained.

    Attributes:
        path: the file or folder of the vectors.
        format: "store", or the format of the file.
        words: V.
        dim: D.
        corpus_words: words that were read in an epoch: those of the vocabulary.
        loss: the mean loss of a prediction, of the epochs of this call; NaN where they were done before.
        resumed: whether an earlier run was taken up.
        complete: whether the store was there already, of the same corpus and options; nothing was done.
        evaluations: of each epoch of this call, what its vectors scored.
    """

    path: Path
    format: str
    words: int
    dim: int
    corpus_words: int
    loss: float
    resumed: bool
    evaluations: list[list[Judgement]]
    complete: bool = False


def train_vectors(
    source: object,
    out: str | os.PathLike[str],
    *,
    method: Method = "skip-gram",
    dim: int = 100,
    epochs: int = 5,
    window: int = 5,
    negative: int = 5,
    min_count: int = 5,
    max_vocab: int | None = None,
    sample: float = 1e-3,
    alpha: float = 0.025,
    min_alpha: float = 1e-4,
    min_n: int = 3,
    max_n: int = 6,
    buckets: int = 2_000_000,
    seed: int = 1,
    workers: int | None = None,
    reading: Reading | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    out_format: FileFormat | None = None,
    evaluate: Sequence[str | os.PathLike[str]] = (),
    evaluated: Evaluated = lambda _epoch, _scores: None,
    every: float = 60.0,
    restart: bool = False,
) -> Trained:
    """Train vectors of the words of a corpus, and write them to ``out``.

    Interrupted or killed, the same call goes on where it was, to the same bits; a store that is complete is left as it
    is. What ``out`` is and what the run leaves beside it are no part of the corpus, wherever they are.

    Args:
        source: as ``word_corpus`` takes it; it is read twice, so no generator.
        out: a folder to make, which ``foreword.load`` opens; or a file: .bin, .txt, .vec, .safetensors or .npy.
        method: "skip-gram", "cbow"; "fasttext" is skip-gram with n-grams, "fasttext-cbow" CBOW with them.
        dim: D.
        epochs: how often the corpus is read.
        window: how far from a word its contexts may be.
        negative: noise words; see ``TrainingOptions``.
        min_count: words that occur less often get no vector.
        max_vocab: raise ``min_count`` until no more words than this stay.
        sample: words that are more frequent than this share of the corpus are left out at random.
        alpha: the learning rate at the beginning.
        min_alpha: at the end.
        min_n: the shortest n-gram of fastText.
        max_n: the longest.
        buckets: rows of the table of n-grams.
        seed: of all random numbers.
        workers: threads; None for as many as there are processors, and never more. The vectors don't depend on it.
        reading: how documents, which are sentences, are told apart; None for a line each, in text files.
        format: of the corpus's files, whatever they are called.
        out_format: "store", or the format of the file, whatever it is called.
        evaluate: files of analogies or of word pairs, which the vectors are judged by after each epoch.
        evaluated: called with the number of the epoch and the judgements.
        every: seconds between two checkpoints.
        restart: throw away what an interrupted run has left, and replace what ``out`` is.

    Raises:
        ArgumentError, ArgumentTypeError: an option that can't be used; or there is no word that occurs ``min_count``
            times.
        FileError, FormatError, TextDecodeError: the corpus can't be read, or ``out`` can't be written.
        StoreError: an unfinished run of other options, or of another corpus, is there.
        MissingPackageError: numba can't compile here.
    """
    if method not in get_args(Method):
        raise ArgumentError("no such method", got=repr(method), expected=", ".join(get_args(Method)))
    options = TrainingOptions(
        method="cbow" if method in ("cbow", "fasttext-cbow") else "skip-gram",
        dim=dim,
        window=window,
        negative=negative,
        sample=sample,
        alpha=alpha,
        min_alpha=min_alpha,
        epochs=epochs,
        seed=seed,
        subwords=Subwords(min_n=min_n, max_n=max_n, buckets=buckets) if method.startswith("fasttext") else None,
    )
    count = threads.count() if workers is None else min(integer("workers", workers, at_least=1), threads.count())
    every = number("every", every, at_least=0.0, at_most=1e9)
    min_count = integer("min_count", min_count, at_least=0)
    max_vocab = None if max_vocab is None else integer("max_vocab", max_vocab, at_least=1)
    target = output_path(os.path.abspath(output_path(out)))  # noqa: PTH100 - "." has a name then, and ".." is one
    kind = _format(target, out_format)
    _check_replaceable(target, kind)
    corpus, identity = open_words(source, reading, format, (target, _beside(target)))
    corpus.check_passes(2)
    if options.subwords is not None and isinstance(corpus, StoreCorpus):
        raise ArgumentError("token ids have no n-grams", got=f"method={method!r}", fix="skip-gram or cbow")
    if isinstance(evaluate, str | os.PathLike):
        raise ArgumentTypeError("evaluate is a list of files", got=repr(evaluate), fix=f"evaluate=[{evaluate!r}]")
    for file in evaluate:
        with explained("evaluate by the file", file):
            there = given_path(file).is_file()
        if not there:
            raise FileError("there is no such file to evaluate by", where=os.fspath(file))
    about = {"corpus": identity, "options": options.as_dict(), "min_count": min_count, "max_vocab": max_vocab}
    about = json.loads(json.dumps(about))  # what JSON makes of it, so that it compares
    if not restart and about["corpus"] is not None and _is(target / MADE, about):
        wv = KeyedVectors.load(target)
        count = int(wv.expandos["count"].sum())
        return Trained(target, "store", len(wv), options.dim, count, float("nan"), False, [], complete=True)
    with _folder(target, about, restart=restart) as (folder, resumed):
        words, counts = _vocabulary(folder, corpus, count, min_count, max_vocab)
        encoded = _encoded(folder, corpus, words, count, int(counts.sum()))
        spelt = words if options.subwords is not None else None
        trainer = _trainer(folder / "checkpoint", encoded, counts, options, spelt, count)
        before = trainer.loss_sums()
        scores = []
        first = min(epochs, trainer.words_read // max(1, len(encoded.words)))
        if evaluate and first < epochs:  # what can't be judged by is refused before an epoch has gone by
            wv = _vectors(words, counts, trainer, options)
            for file in evaluate:
                judge(wv, file)
        for epoch in range(first, epochs):
            _run(trainer, epoch + 1, folder / "checkpoint", every)
            if evaluate:
                wv = _vectors(words, counts, trainer, options)
                scores.append([judge(wv, file) for file in evaluate])
                evaluated(epoch + 1, scores[-1])
        wv = _vectors(words, counts, trainer, options)
        total, predictions = (now - then for now, then in zip(trainer.loss_sums(), before, strict=True))
        loss = total / predictions if predictions else float("nan")
        _write(wv, target, kind, about, restart=restart)
        corpus_words = len(encoded.words)
        del encoded, trainer  # the mapped file
    return Trained(target, kind, len(words), options.dim, corpus_words, loss, resumed, scores)


def _format(target: Path, wanted: str | None) -> str:
    """What ``target`` will be."""
    from foreword.vectors.formats.writers import suffix_format

    if wanted is not None and wanted not in get_args(FileFormat):
        raise ArgumentError("no such format to write", got=repr(wanted), expected=", ".join(get_args(FileFormat)))
    if wanted is not None:
        return wanted
    inner = stem(target.name)
    return suffix_format(target) if Path(inner).suffix.lower() in _SUFFIXES else "store"


def _beside(target: Path) -> Path:
    """The folder of what the run leaves."""
    return target.with_name(f"{target.name}.training")


def _check_replaceable(target: Path, kind: str) -> None:
    """Refuse at once what would be refused when the vectors are written: to replace a folder of other things."""
    with explained("write the vectors", target):
        folder = target.is_dir()
    if folder and not (kind == "store" and is_store(target)):
        raise FileError("there is a folder that is no store of vectors", where=target, fix="name another place")


@contextlib.contextmanager
def _folder(target: Path, about: dict[str, Any], *, restart: bool) -> Iterator[tuple[Path, bool]]:
    """The folder of what the run leaves, and whether there was such a run; it goes when the block ends well, or
    leaves nothing to go on with.
    """
    folder = _beside(target)
    if target.exists() and not (restart or _is(folder / "run.json", about)):  # else killed while it was written
        raise FileError(
            "there is something there already",
            where=target,
            fix="name another place, or replace it: restart (--restart)",
        )
    with explained("make the folder of the run", folder):
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as then, lock(folder / "lock"):
        resumed = _begin(folder, about, restart=restart)
        try:
            yield folder, resumed
            _clear(folder, but=("corpus.u32",))  # which Windows keeps as long as it is mapped
        finally:
            if not any((folder / name).exists() for name in ("vocabulary.json", "checkpoint")):
                then.callback(shutil.rmtree, folder, ignore_errors=True)


def _begin(folder: Path, about: dict[str, Any], *, restart: bool) -> bool:
    """Say in the folder what the run is; whether one is taken up.

    Raises:
        StoreError: an unfinished run of another kind is there.
    """
    file = folder / "run.json"
    resumed = not restart and file.exists() and (folder / "vocabulary.json").exists()
    if not resumed:  # nothing was done that could be lost
        _clear(folder)
    elif (found := _read_json(file)) != about:
        was, wanted = _flat(found), _flat(about)
        differs = [name for name in wanted if was.get(name) != wanted[name]]
        shown = [name for name in differs if name not in ("corpus", "subwords")]
        raise StoreError(
            "an unfinished training of another kind is there: it had other " + " and ".join(differs or ["options"]),
            got=", ".join(f"{name}={wanted[name]}" for name in shown) or None,
            expected=", ".join(f"{name}={was.get(name)}" for name in shown) or None,
            where=folder,
            fix="give the options that it was started with, or discard it: restart (--restart)",
        )
    elif about["corpus"] is None:  # objects may be others: they are counted again, and the checkpoint compares
        _clear(folder, but=("run.json", "checkpoint"))
    _write_json(file, about)
    return resumed


def _flat(about: Any) -> dict[str, Any]:
    """What a run is, its options among the rest; nothing of a damaged file."""
    if not isinstance(about, dict) or not isinstance(about.get("options"), dict):
        return {}
    return {**about["options"], **{name: value for name, value in about.items() if name != "options"}}


def _clear(folder: Path, *, but: Sequence[str] = ()) -> None:
    for name in ("run.json", "vocabulary.json", "corpus.u32", "checkpoint"):
        if name not in but:
            (folder / name).unlink(missing_ok=True)


def _is(path: Path, about: dict[str, Any]) -> bool:
    """Whether a file says the same of a run."""
    try:
        return bool(json.loads(path.read_bytes()) == about)
    except (OSError, ValueError):
        return False


def _write_json(path: Path, data: Any) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(data).encode())


def _read_json(path: Path) -> Any:
    with explained("read what the run has left", path):
        try:
            return json.loads(path.read_bytes())
        except ValueError:
            raise FormatError("what the run has left is damaged", where=path, fix="start again: --restart") from None


def _vocabulary(
    folder: Path, corpus: Corpus, workers: int, min_count: int, max_vocab: int | None
) -> tuple[list[Any], NDArray[np.int64]]:
    """The words and their counts, counted or as they were."""
    file = folder / "vocabulary.json"
    if not file.exists():
        with progress("counting words", corpus.size, unit=corpus.unit) as bar:
            found = corpus.count(workers=workers, advance=bar.advance)
        chosen = choose(found, min_count=min_count, max_final_vocab=max_vocab)
        if not found.total:
            raise ArgumentError("the corpus holds no word", where=corpus.name, fix="give text")
        if not len(chosen):
            raise ArgumentError(
                f"no word occurs {counted(chosen.min_count, 'time')}",
                got=f"{counted(found.total, 'word')}, {len(found):,} different, the most frequent "
                f"{counted(int(found.counts.max()), 'time')}",
                where=corpus.name,
                fix="a smaller min_count (--min-count)",
            )
        _write_json(file, {"words": chosen.words, "counts": chosen.counts.tolist()})
    saved = _read_json(file)
    try:
        words, counts = list(saved["words"]), np.array(saved["counts"], dtype=np.int64)
        if not counts.shape == (len(words),) or not words or len(set(words)) < len(words):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise FormatError("what the run has left is damaged", where=file, fix="start again: --restart") from None
    return words, counts


def _encoded(folder: Path, corpus: Corpus, words: list[Any], workers: int, total: int) -> Encoded:
    """The corpus, encoded now or before: ``total`` words."""
    file = folder / "corpus.u32"
    if file.exists():
        encoded = Encoded(open_encoded(file), total)
    else:
        with progress("encoding the corpus", corpus.size, unit=corpus.unit) as bar:
            encoded = corpus.encode(words, file, workers=workers, advance=bar.advance)
    if len(encoded.words) != total:
        raise FormatError(
            "the corpus has changed since its words were counted, or what the run has left is damaged",
            got=counted(len(encoded.words), "word"),
            expected=counted(total, "word"),
            where=corpus.name,
            fix="start again: restart (--restart)",
        )
    return encoded


def _trainer(
    checkpoint: Path,
    encoded: Encoded,
    counts: NDArray[np.int64],
    options: TrainingOptions,
    words: list[Any] | None,
    workers: int,
) -> Trainer:
    if checkpoint.exists():
        return Trainer.resume(checkpoint, encoded.words, counts, options=options, words=words, workers=workers)
    return Trainer(encoded.words, counts, options, words=words, workers=workers)


def _run(trainer: Trainer, epochs: int, checkpoint: Path, every: float) -> None:
    """Train up to so many epochs, and show how it goes."""
    whole = trainer.options.epochs * trainer.epoch_words
    with progress("training", whole, unit="words") as bar:
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(trainer, bar, done), daemon=True)
        watch.start()
        try:
            trainer.run(epochs=epochs, checkpoint=checkpoint, every=every)
        finally:
            done.set()
            watch.join()


def _watch(trainer: Trainer, bar: Bar, done: threading.Event) -> None:
    """Move the bar with the trainer: words read, and the loss of late."""
    seen, before = 0, trainer.loss_sums()
    while True:
        over = done.wait(0.5)
        words, now = trainer.words_read, trainer.loss_sums()
        if now[1] > before[1]:
            loss = (now[0] - before[0]) / (now[1] - before[1])
            bar.note(f"loss {loss:.3f}")
            before = now
        bar.advance(words - seen)
        seen = words
        if over:
            return


def _vectors(words: list[Any], counts: NDArray[np.int64], trainer: Trainer, options: TrainingOptions) -> KeyedVectors:
    wv = KeyedVectors(options.dim)
    fill(wv, words, counts)
    wv.vectors = composed(wv, trainer.input_table, options.subwords)
    return wv


def _write(wv: KeyedVectors, target: Path, kind: Any, about: dict[str, Any], *, restart: bool) -> None:
    if kind == "store":
        if restart and target.is_file():
            target.unlink()
        wv.save(target)
        _write_json(target / MADE, about)
    else:
        wv.export(target, format=kind)
