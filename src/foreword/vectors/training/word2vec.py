"""Word2Vec: words' vectors trained on a corpus, with the interface of gensim 4.4's class of that name.

    counting ──▶ build_vocab ──▶ tables: input, output ── train ──▶ wv, a KeyedVectors over the input table

The training itself is ``trainer``'s: the same bits for any number of workers. docs/training.md lists what differs from
gensim's.

Not for: hierarchical softmax. Costs: two tables of float32 [V, D], and on the disk 4 bytes for each word of the corpus
while ``train`` runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np

from foreword._base.checks import integer, number
from foreword._base.files import explained
from foreword.errors import ArgumentError, ArgumentTypeError
from foreword.vectors.keyed_vectors import KeyedVectors
from foreword.vectors.training.building import Building
from foreword.vectors.training.corpus import Corpus, Encoded
from foreword.vectors.training.options import MOST_DIM, MOST_RATE, Subwords, TrainingOptions
from foreword.vectors.training.result import Float32
from foreword.vectors.training.token_lists import corpus_of
from foreword.vectors.training.vocabulary import TrimRule

__all__ = ["Word2Vec"]

_CALLED = ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")
_NO_SOFTMAX = "hierarchical softmax is not there: a word's path through the tree can't be shared out among lanes"

logger = logging.getLogger(__name__)


class Word2Vec(Building):
    """Vectors of words, trained by skip-gram or CBOW with negative sampling.

    >>> sentences = [["cat", "say", "meow"], ["dog", "say", "woof"]]
    >>> model = Word2Vec(sentences, vector_size=8, min_count=1)
    >>> model.wv.most_similar("cat", topn=2)
    [(..., 0...), (..., ...)]

    Args:
        sentences: an iterable of lists of words, gone through ``epochs`` + 1 times; or a ``Corpus``, as
            ``foreword.recipes.word_corpus`` makes of what ``prepare`` reads and of token stores. None leaves the model
            without a vocabulary.
        corpus_file: instead, a file of text: a line a sentence, words parted by white space.
        vector_size: D.
        alpha: the learning rate at the beginning.
        window: how far from a word its contexts may be.
        min_count: words that occur less often get no vector.
        max_vocab_size: while counting, drop rare words whenever there are more than this.
        sample: words that are more frequent than this share of the corpus are left out at random.
        seed: of all random numbers.
        workers: threads; the vectors don't depend on it.
        min_alpha: the learning rate at the end.
        sg: 1 for skip-gram, else CBOW.
        hs: must be 0.
        negative: noise words, see ``TrainingOptions``.
        ns_exponent: noise words are drawn in proportion to their counts to this power.
        cbow_mean: 1 takes the mean of the contexts, 0 their sum.
        hashfxn: must be ``hash``; without effect.
        epochs: how often the corpus is read.
        null_word: must be 0.
        trim_rule: has the last word on each word; see ``vocabulary.TrimRule``.
        sorted_vocab: 1 has the most frequent words first.
        batch_words: without effect.
        compute_loss: keep ``running_training_loss``.
        callbacks: objects with some of gensim's methods: on_train_begin, on_epoch_begin, on_epoch_end, on_train_end.
        comment: kept with the model.
        max_final_vocab: raise ``min_count`` until no more words than this stay.
        shrink_windows: draw each window's size from 1 … ``window``.

    Attributes:
        kind: what files call its class.
        wv: the words and their vectors.
        syn1neg: the output table, float32 [V, D].
        corpus_count: sentences of the corpus the vocabulary comes from; ``corpus_total_words`` its words.
        running_training_loss: the sum of the losses of this call of ``train``, in float64, where that is computed.

    Raises:
        ArgumentError, ArgumentTypeError: an argument that can't be used, or is not followed; says which.
        MissingFileError, FileError, TextDecodeError: the file can't be read.
        MissingPackageError: numba can't compile here.
    """

    kind = "Word2Vec"

    def __init__(
        self,
        sentences: Iterable[Any] | Corpus | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        vector_size: int = 100,
        alpha: float = 0.025,
        window: int = 5,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int = 3,
        min_alpha: float = 0.0001,
        sg: int = 0,
        hs: int = 0,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: int = 1,
        hashfxn: Any = hash,
        epochs: int = 5,
        null_word: int = 0,
        trim_rule: TrimRule | None = None,
        sorted_vocab: int = 1,
        batch_words: int = 10_000,
        compute_loss: bool = False,
        callbacks: Iterable[Any] = (),
        comment: str | None = None,
        max_final_vocab: int | None = None,
        shrink_windows: bool = True,
    ) -> None:
        _refuse("hs", hs, 0, _NO_SOFTMAX)
        _refuse("hashfxn", hashfxn, hash, "first vectors are drawn by seed and row, and no word is hashed")
        _refuse("null_word", null_word, 0, "only gensim's Doc2Vec has a use for it")
        callbacks = _callbacks(callbacks)
        self.vector_size = self.layer1_size = integer("vector_size", vector_size, at_least=1, at_most=MOST_DIM)
        self.workers = integer("workers", workers, at_least=1)
        self.epochs, self.seed, self.window, self.negative = epochs, seed, window, negative
        self.alpha, self.min_alpha, self.sample = _rate("alpha", alpha), _rate("min_alpha", min_alpha), sample
        self.sg, self.hs, self.cbow_mean = _switch("sg", sg), 0, _switch("cbow_mean", cbow_mean)
        self.ns_exponent = ns_exponent
        self.shrink_windows, self.compute_loss = bool(shrink_windows), bool(compute_loss)
        self.min_count = self.effective_min_count = integer("min_count", min_count, at_least=0)
        self.max_vocab_size = None if max_vocab_size is None else integer("max_vocab_size", max_vocab_size, at_least=0)
        self.max_final_vocab = max_final_vocab
        if not isinstance(comment, str | None):
            raise ArgumentTypeError("the comment is a text", got=f"{comment!r:.60} ({type(comment).__name__})")
        self.sorted_vocab, self.null_word, self.batch_words, self.comment = sorted_vocab, 0, batch_words, comment
        self.running_training_loss = 0.0
        self.min_alpha_yet_reached = self.alpha
        self.train_count, self.total_train_time = 0, 0.0
        self.corpus_count = self.corpus_total_words = 0
        self.raw_vocab: dict[Any, int] | None = None
        self.wv = KeyedVectors(self.vector_size)
        self._input: Float32 = np.zeros((0, self.vector_size), dtype=np.float32)
        self._output: Float32 = self._input
        self._words: list[Any] = []
        self.load = _not_here  # type: ignore[method-assign]
        self._options()  # says now what can't be used
        if sentences is None and corpus_file is None:
            if trim_rule is not None or callbacks:
                logger.warning("trim_rule and callbacks are for the corpus; there is none, so they are dropped")
            return
        corpus = corpus_of(sentences, corpus_file, passes=epochs + 1)
        self.build_vocab(corpus, trim_rule=trim_rule)
        counted: dict[str, Any] = {"total_examples": self.corpus_count, "total_words": self.corpus_total_words}
        self.train(corpus, **counted, epochs=self.epochs, compute_loss=self.compute_loss, callbacks=callbacks)

    def _subwords(self) -> Subwords | None:
        return None

    def _options(self) -> TrainingOptions:
        """The options of a run.

        Raises:
            ArgumentError, ArgumentTypeError: one can't be used.
        """
        return TrainingOptions(
            method="skip-gram" if self.sg == 1 else "cbow",
            dim=self.vector_size,
            window=self.window,
            shrink_windows=self.shrink_windows,
            negative=self.negative,
            ns_exponent=self.ns_exponent,
            sample=self.sample or 0.0,
            alpha=self.alpha,
            min_alpha=min(self.min_alpha, self.alpha),
            epochs=self.epochs,
            seed=self.seed,
            cbow_mean=bool(self.cbow_mean),
            subwords=self._subwords(),
        )

    # Training.

    def train(
        self,
        corpus_iterable: Iterable[Any] | Corpus | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        word_count: int = 0,  # noqa: ARG002
        queue_factor: int = 2,  # noqa: ARG002
        report_delay: float = 1.0,
        compute_loss: bool = False,
        callbacks: Iterable[Any] = (),
    ) -> tuple[int, int]:
        """Train on a corpus, with the words of the vocabulary.

        Args:
            corpus_iterable: sentences, as in the constructor.
            corpus_file: or a file of text.
            total_examples: the number of sentences; it or ``total_words`` must be given, as in gensim, and is compared
                with what is there. The learning rate goes by the words that are read.
            total_words: the number of words.
            epochs: how often the corpus is read; must be given.
            start_alpha: the learning rate at the beginning, from now on.
            end_alpha: at the end.
            word_count: without effect.
            queue_factor: without effect.
            report_delay: seconds between two lines of progress in the log.
            compute_loss: keep ``running_training_loss``.
            callbacks: as in the constructor.

        Returns:
            Words trained on: those of the vocabulary, before frequent ones are left out; and words read.

        Raises:
            ArgumentError: there is no vocabulary, or ``wv`` has other words; neither total is given; no epochs; vectors
                are locked; the loss is no number any more.
        """
        if not len(self.wv):
            raise ArgumentError(
                "there is no vocabulary to train",
                fix="build_vocab first, of sentences that have words; or a smaller min_count",
            )
        self._check_words()
        _check_unlocked(self.wv)
        if total_examples is None and total_words is None:
            raise ArgumentError(
                "training needs total_examples or total_words",
                fix="total_examples=model.corpus_count, if it is the corpus of build_vocab",
            )
        if epochs is None:
            raise ArgumentError("training needs epochs", fix="epochs=model.epochs")
        for name, total in (("total_examples", total_examples), ("total_words", total_words)):
            if total is not None:
                integer(name, total, at_least=0)
        callbacks = _callbacks(callbacks)
        self.epochs = integer("epochs", epochs, at_least=1)
        self.alpha = _rate("start_alpha", start_alpha or self.alpha)
        self.min_alpha = _rate("end_alpha", end_alpha or self.min_alpha)
        if self.min_alpha > self.alpha:
            logger.warning("the learning rate stays at %g: it doesn't rise to %g", self.alpha, self.min_alpha)
        options = self._options()
        corpus = corpus_of(corpus_iterable, corpus_file, passes=1)
        if self.alpha > self.min_alpha_yet_reached:
            logger.warning("the learning rate begins higher than the last call of train ended")
        self.compute_loss, self.running_training_loss = compute_loss, 0.0
        _call(callbacks, "on_train_begin", self)
        start = time.monotonic()
        with _room() as folder:
            encoded = corpus.encode(self.wv.index_to_key, folder / "corpus.u32", workers=self._threads())
            _compare(encoded, total_examples, total_words)
            self._run(encoded, options, report_delay, callbacks)
            trained = len(encoded.words) * self.epochs
        self.total_train_time += time.monotonic() - start
        self.min_alpha_yet_reached = options.min_alpha
        self.train_count += 1
        _call(callbacks, "on_train_end", self)
        return trained, encoded.total * self.epochs

    def _run(self, encoded: Encoded, options: TrainingOptions, every: float, callbacks: list[Any]) -> None:
        from foreword.vectors.training.trainer import Progress, Trainer

        def report(now: Progress) -> None:
            logger.info(
                "epoch %d, word %d: %.0f words/s, loss %.4f, %.0f s left",
                *(now.epoch, now.position, now.words_per_second, now.loss, now.seconds_left),
            )

        self._input = self._trained_input()
        words = list(self.wv.index_to_key) if options.subwords else None
        tables = (self._input, self._output)
        trainer = Trainer(encoded.words, self._counts(), options, words=words, tables=tables, workers=self._threads())
        for epoch in range(self.epochs):
            _call(callbacks, "on_epoch_begin", self)
            trainer.run(epochs=epoch + 1, every=every, report=report)
            if self.compute_loss:
                self.running_training_loss = float(trainer.loss_sums()[0])
            if callbacks or epoch == self.epochs - 1:
                self.wv.vectors = self._vectors()
            _call(callbacks, "on_epoch_end", self)

    def _trained_input(self) -> Float32:
        """The table that training changes."""
        return self._input_of_words()

    def get_latest_training_loss(self) -> float:
        """The sum of the losses of the last call of ``train``; 0 unless ``compute_loss`` was set."""
        return self.running_training_loss

    # Use.

    def predict_output_word(self, context_words_list: Iterable[Any], topn: int = 10) -> list[tuple[Any, float]] | None:
        """The words that are most probable amid others, with their probabilities; None where none of those is known.

        Args:
            context_words_list: words, or indices.
            topn: how many.

        Raises:
            ArgumentTypeError: a text, whose words would be its letters.
            ArgumentError: ``wv`` has other words than the model was built with.
        """
        if isinstance(context_words_list, str):
            raise ArgumentTypeError("context words are a list", got=repr(context_words_list))
        self._check_words()
        rows = [self.wv.get_index(word) for word in context_words_list if word in self.wv]
        if not rows:
            logger.warning("none of the context words is in the vocabulary")
            return None
        hidden = self.wv.vectors[rows].sum(axis=0, dtype=np.float64)
        if self.cbow_mean:
            hidden /= len(rows)
        scores = self._output @ hidden
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        best = np.argsort(-chances, kind="stable")[: integer("topn", topn, at_least=0)]
        return [(self.wv.index_to_key[row], float(chances[row])) for row in best]

    def score(self, *_: Any, **__: Any) -> NoReturn:
        """Not there, as for gensim's models of negative sampling: it needs hierarchical softmax."""
        raise ArgumentError("score needs hierarchical softmax", got="a model of negative sampling", where=_NO_SOFTMAX)

    def init_sims(self, replace: bool = False) -> None:
        """As in gensim, obsolete: ``wv`` knows its norms."""
        self.wv.init_sims(replace=replace)

    def estimate_memory(self, vocab_size: int | None = None, report: dict[str, int] | None = None) -> dict[str, int]:
        """The bytes that a model takes: of ``vectors``, ``syn1neg``, and in ``total``.

        Args:
            vocab_size: of so many words; None for those that there are.
            report: further parts, which count in the total.
        """
        count = len(self.wv) if vocab_size is None else vocab_size
        size = count * self.vector_size * 4
        report = (report or {}) | {"vocab": 500 * count, "vectors": size, "syn1neg": size}
        report["total"] = sum(report.values())
        return report

    # Files.

    def save(self, fname: str | os.PathLike[str], *_: Any, **__: Any) -> None:
        """Write the model to a folder, whole or not at all; a model that is there is replaced.

        gensim's further arguments say how to pickle, and have no meaning here.

        Raises:
            FileError: it can't be written, or something else is there.
            ArgumentError: ``wv`` has other words than the model was built with.
        """
        from foreword.vectors.training.model_files import save_model

        self._check_words()
        save_model(fname, self)

    @classmethod
    def load(cls, fname: str | os.PathLike[str], mmap: str | None = None, rethrow: bool = False) -> Self:  # noqa: ARG003
        """The model in a folder that ``save`` wrote, or in a file that gensim's class of this name saved; for
        ``FastText`` also in fastText's own ``.bin``, packed or not.

        gensim's file is read as data: nothing that it names is called.

        Args:
            fname: the folder or file.
            mmap: without effect: the tables are read into memory, to be trained on.
            rethrow: without effect.

        Raises:
            MissingFileError, FileError: it can't be read.
            FormatError: it is damaged, or no model.
            ArgumentError: it is a model that can't be trained here; says why.
        """
        from foreword.vectors.training.model_files import load_model

        return load_model(cls, fname)

    def __str__(self) -> str:
        sizes = f"vocab={len(self.wv)}, vector_size={self.vector_size}, alpha={self.alpha}"
        return f"{type(self).__name__}<{sizes}>"

    __repr__ = __str__


def _refuse(name: str, value: Any, expected: Any, why: str) -> None:
    if value is not expected and value != expected:
        shown = getattr(expected, "__name__", repr(expected))
        raise ArgumentError(f"{name} is not followed: {why}", got=f"{name}={value!r}", expected=f"{name}={shown}")


def _not_here(*_: Any, **__: Any) -> NoReturn:
    raise ArgumentError(
        "load makes a new model, and would leave this one as it is",
        fix="call it on the class: model = Word2Vec.load(path), or FastText.load(path)",
    )


def _rate(name: str, value: Any) -> float:
    return number(name, value, at_least=0.0, at_most=MOST_RATE)


def _switch(name: str, value: Any) -> int:
    if value not in (0, 1):
        raise ArgumentError(f"{name} is 0 or 1", got=repr(value))
    return int(value)


def _check_unlocked(wv: KeyedVectors) -> None:
    """Refuse what would have gensim leave vectors as they are.

    Raises:
        ArgumentError: some factor is not 1.
    """
    for name in ("vectors_lockf", "vectors_vocab_lockf", "vectors_ngrams_lockf"):
        if (np.asarray(getattr(wv, name, 1.0)) != 1).any():
            raise ArgumentError(
                f"{name} is not followed: every vector is trained",
                got="factors other than 1",
                fix=f"del model.wv.{name}; keep a copy of the vectors that should stay, and put them back after train",
            )


def _callbacks(some: Any) -> list[Any]:
    """The objects that are called.

    Raises:
        ArgumentTypeError: one has none of the methods, or it is no list.
    """
    if not isinstance(some, Iterable):
        raise ArgumentTypeError("callbacks is a list of objects", got=repr(some), fix="callbacks=[…]")
    several = list(some)
    for callback in several:
        if not any(hasattr(callback, method) for method in _CALLED):
            raise ArgumentTypeError(
                "a callback has no method that is called", got=type(callback).__name__, expected=", ".join(_CALLED)
            )
    return several


def _call(callbacks: Iterable[Any], method: str, model: Word2Vec) -> None:
    for callback in callbacks:
        if hasattr(callback, method):
            getattr(callback, method)(model)


@contextlib.contextmanager
def _room() -> Iterator[Path]:
    """A folder for the encoded corpus, which goes with the block."""
    fix = "set TMPDIR to a folder that you can write to"
    with explained("make a temporary folder", tempfile.gettempdir(), fix=fix):
        room = tempfile.TemporaryDirectory(prefix="foreword-training-", ignore_cleanup_errors=True)
    with room as name:
        yield Path(name)


def _compare(encoded: Encoded, total_examples: int | None, total_words: int | None) -> None:
    """Say where the corpus is not as long as was said."""
    if not len(encoded.words):
        logger.warning("the corpus has no word of the vocabulary: nothing is trained")
    if total_words is not None and total_words != encoded.total:
        logger.warning("the corpus has %d words, not %d as total_words says", encoded.total, total_words)
    if total_words is None and total_examples is not None and total_examples < encoded.sentences:
        logger.warning("the corpus has more sentences than %d, as total_examples says", total_examples)
