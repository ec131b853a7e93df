"""A training run: the tables, the threads, and what is known while it goes on.

The state of a run is the two tables, the number of rounds done and the sums of losses; whatever else there is follows
from options, corpus and counts. Threads run segments of rounds, a fifth of a second each; between two segments
nothing moves, so that is when progress is reported, checkpoints are written and Ctrl-C is heard.

Not for: reading text, counting words. Costs: the tables, and 2–20 MB a thread and lane; kernels are compiled once a
machine (some seconds).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base import threads
from foreword._base.checks import integer
from foreword._base.words import counted
from foreword.errors import ArgumentError, FormatError, MissingPackageError, StoreError
from foreword.vectors.store.keys import encode
from foreword.vectors.store.subwords import subword_rows
from foreword.vectors.training import checkpoints
from foreword.vectors.training.helper import Helper
from foreword.vectors.training.options import Layout, TrainingOptions
from foreword.vectors.training.rate import Pace, Progress, mean
from foreword.vectors.training.tables import END_OF_SENTENCE, alias_table, keep_thresholds, with_grams

__all__ = ["Progress", "Trainer"]

SEGMENT = 0.2  # seconds
HOPELESS = 4.0  # times the loss of guessing, beyond which a training has diverged
PAUSE = 5e-5  # seconds that a thread sleeps which has waited for another in vain

Float32 = NDArray[np.float32]


class Trainer:
    """Trains vectors on an encoded corpus; the same bits for any number of ``workers``.

    Args:
        encoded: uint32 [N], the words' indices in order, where a sentence starts with the top bit set; usually a mapped
            file. Read in order.
        counts: int64 [V], how often each word stands in the corpus, the most frequent first.
        options: how to train; what they leave open is filled in by the corpus (``TrainingOptions.settled``).
        words: the words, for subwords.
        tables: input and output rows to go on from, float32 [V (+ buckets), D] and [V, D]; changed in place.
        workers: threads; None for as many as ``FOREWORD_THREADS`` or the processors say. More than
            ``layout.lanes`` are of no use.

    Raises:
        ArgumentError: the corpus, counts, words or tables don't fit together.
        MissingPackageError: numba or llvmlite can't compile here.
    """

    def __init__(
        self,
        encoded: NDArray[np.uint32],
        counts: NDArray[np.int64],
        options: TrainingOptions,
        *,
        words: Sequence[str] | None = None,
        tables: tuple[Float32, Float32] | None = None,
        workers: int | None = None,
    ) -> None:
        try:
            from foreword.vectors.training import kernels
            from foreword.vectors.training.assembly import LANES, step
        except ImportError as cause:
            raise MissingPackageError(
                "training needs compiled kernels",
                got=str(cause),
                fix="pip install numba llvmlite; unset FOREWORD_KERNELS",
            ) from cause
        self._kernels = kernels
        self._encoded, self._counts = _corpus(encoded, counts)
        self.options = options = options.settled(len(self._counts), len(self._encoded))
        self._words = None if words is None else list(words)
        self._workers = workers if workers is None else integer("workers", workers, at_least=1)
        self._control = np.zeros(32, np.int64)  # the counters of the threads, which say how many rounds are done
        self._known: dict[str, Any] | None = None
        self._team: list[Helper] = []
        self._failures: list[BaseException] = []  # of the threads
        self._sums = (0.0, 0.0)  # the losses before the segment
        self._privates: list[Any] = []
        self._step = step(-(-options.dim // LANES) * LANES, -(-(1 + options.shared) // 4) * 4)
        rows = len(self._counts) + (options.subwords.buckets if options.subwords else 0)
        if rows >= 1 << 31:
            raise ArgumentError(
                "the input table would have too many rows", got=counted(rows, "row"), expected=f"fewer than {1 << 31:,}"
            )
        self._plan = self._planned()
        if tables is None:
            tables = (_aligned((rows, options.dim)), _aligned((len(self._counts), options.dim)))
            kernels.fill(tables[0], 0, options.seed, (2.0 if options.subwords else 1.0) / options.dim)
        self.input_table, self.output_table = tables
        for name, table, count in (("input", tables[0], rows), ("output", tables[1], len(self._counts))):
            if table.shape != (count, options.dim) or table.dtype != np.float32 or not table.flags.c_contiguous:
                raise ArgumentError(
                    f"the {name} table does not fit",
                    got=f"{table.dtype} {list(table.shape)}",
                    expected=f"contiguous float32 [{count:,}, {options.dim}]",
                )
        self._model = kernels.Model(*tables, np.zeros(rows, np.int32), np.zeros(len(self._counts), np.int32))
        self._lanes = self._room_of_lanes()

    # What there is to see.

    @property
    def layout(self) -> Layout:
        """How a round is laid out."""
        return self.options.layout(len(self._counts), len(self._encoded))

    @property
    def rounds(self) -> int:
        """Rounds done of all epochs."""
        return int(self._control[self._kernels.PARTS_DONE]) // self._kernels.PARTS

    @property
    def epoch_rounds(self) -> int:
        """Rounds of an epoch: the last may be short."""
        return -(-len(self._encoded) // (self.layout.lanes * self.layout.stretch))

    @property
    def words_read(self) -> int:
        """Words read so far, of all epochs."""
        epoch, rounds = divmod(self.rounds, max(1, self.epoch_rounds))
        return epoch * len(self._encoded) + min(len(self._encoded), rounds * self.layout.lanes * self.layout.stretch)

    @property
    def epoch_words(self) -> int:
        """Words of an epoch: the corpus."""
        return len(self._encoded)

    def loss_sums(self) -> tuple[float, float]:
        """The sum of the losses of all predictions since the run began, and how many there were."""
        total, count = self._lanes.loss.sum(axis=0)
        return float(total), float(count)

    @property
    def loss(self) -> float:
        """The mean loss of a prediction since the run began; NaN before the first."""
        return mean(*self.loss_sums())

    def vectors(self) -> Float32:
        """The words' vectors, float32 [V, D]: their rows; with subwords the means of those and their n-grams'."""
        if self.options.subwords is None or self._words is None:
            return self.input_table[: len(self._counts)].copy()
        return with_grams(self.input_table, self._words, self.options.subwords)

    # Running.

    def run(
        self,
        *,
        epochs: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: float = 60.0,
        report: Callable[[Progress], object] | None = None,
    ) -> None:
        """Train until ``epochs`` epochs are done, from where the run is.

        Args:
            epochs: None for those of the options. The learning rate falls over the options' epochs, and stays at
                ``min_alpha`` thereafter.
            checkpoint: a file to write the run's state to: at the end, every ``every`` seconds, and when interrupted.
            every: seconds between two checkpoints, and between two reports.
            report: called with the progress, and at the end.

        Raises:
            KeyboardInterrupt: Ctrl-C; a checkpoint has been written where one is wanted, and ``run`` can go on.
            FormatError: the corpus holds a word that is not in the vocabulary.
            ArgumentError: the loss is no number any more: the learning rate is too high.
            StoreError: an earlier run has failed in the midst of a round. As after the two above, this run can't go on;
                its last checkpoint is as it was.
            FileError: the checkpoint can't be written.
        """
        epochs = self.options.epochs if epochs is None else integer("epochs", epochs, at_least=0)
        if checkpoint is not None:
            self._identity()  # so that the first checkpoint, which may be one of Ctrl-C, need not wait for it
        goal = epochs * self.epoch_rounds
        pace = Pace(self, goal)
        count = min(self._workers or threads.count(), self.layout.lanes)
        saved = reported = time.monotonic()
        many = 1.0  # rounds a segment
        try:
            while self.rounds < goal:
                start = time.monotonic()
                stop = min(goal, self.rounds + max(1, int(many)))
                done = stop - self.rounds
                self._segment(stop, count)
                now = time.monotonic()
                many = min(2 * many, done * SEGMENT / max(now - start, 1e-6))
                if report is not None and now - reported >= every:
                    report(pace.progress())
                    reported = time.monotonic()
                if checkpoint is not None and now - saved >= every:
                    self.save_checkpoint(checkpoint)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if checkpoint is not None:
                self.save_checkpoint(checkpoint)
            raise
        if checkpoint is not None:
            self.save_checkpoint(checkpoint)
        if report is not None:
            report(pace.progress())

    # Checkpoints.

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write the state of the run to a file, whole or not at all.

        Args:
            path: the file; one that is there is replaced.

        Raises:
            FileError: it can't be written; the file that was there is as it was.
            StoreError, FormatError, ArgumentError: the run has failed, and has no state that is of use.
        """
        self.settle()
        self._check()
        checkpoints.write(
            path,
            {**self._identity(), "rounds": self.rounds},
            [self.input_table, self.output_table, self._lanes.loss],
        )

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        encoded: NDArray[np.uint32],
        counts: NDArray[np.int64],
        *,
        options: TrainingOptions | None = None,
        words: Sequence[str] | None = None,
        workers: int | None = None,
    ) -> Trainer:
        """The run whose state is in a checkpoint; it goes on to the bits of one that was never interrupted.

        Args:
            path: the checkpoint.
            encoded: the corpus, as it was.
            counts: its counts.
            options: None for those of the run; others are refused.
            words: the words, where it has subwords.
            workers: threads; may differ from the run's.

        Raises:
            MissingFileError, FileError: it can't be read.
            FormatError: it is no checkpoint, or a damaged one.
            StoreError: it is of another corpus, of other counts, words or options.
        """
        with checkpoints.read(path) as checkpoint:
            encoded, counts = _corpus(encoded, counts)
            stored = TrainingOptions.from_dict(checkpoint.header["options"]).settled(len(counts), len(encoded))
            header, rounds = {**checkpoint.header, "options": stored.as_dict()}, checkpoint.header["rounds"]
            for name, got in _identity(encoded, counts, words, options or stored).items():
                if header.get(name) != got:
                    raise StoreError(
                        f"the checkpoint is of another training: its {name} differ",
                        got=header.get(name),
                        expected=got,
                        where=os.fspath(path),
                        fix="resume with what the run was started with, or start again",
                    )
            trainer = cls(encoded, counts, stored, words=words, workers=workers)
            checkpoint.fill([trainer.input_table, trainer.output_table, trainer._lanes.loss])
        trainer._sums = trainer.loss_sums()
        trainer._control[trainer._kernels.LANES_DONE] = rounds * trainer.layout.lanes
        trainer._control[trainer._kernels.PARTS_DONE] = rounds * trainer._kernels.PARTS
        return trainer

    def _identity(self) -> dict[str, Any]:
        if self._known is None:
            self._known = _identity(self._encoded, self._counts, self._words, self.options)
        return self._known

    # A segment.

    def _segment(self, stop: int, count: int) -> None:
        """Train the rounds before ``stop``, by ``count`` threads; whole, even where Ctrl-C comes meanwhile."""
        kernels, control = self._kernels, self._control
        self.settle()
        self._check()
        self._sums = self.loss_sums()
        control[kernels.TICKET] = self.rounds * (self.layout.lanes + kernels.PARTS)
        failures = self._failures

        def help_out(private: Any) -> None:
            try:
                while not failures and kernels.work(self._plan, self._model, self._lanes, control, private, stop):
                    time.sleep(PAUSE)
            except BaseException as failure:
                failures.append(failure)

        while len(self._privates) < count:
            self._privates.append(self._room_of_thread())
        self._team = [Helper(help_out, private, i) for i, private in enumerate(self._privates[:count])]
        for helper in self._team:
            helper.start()
        interrupted = self.settle()
        if failures:
            raise failures[0]
        self._check()
        if interrupted:
            raise KeyboardInterrupt

    def _check(self) -> None:
        """Refuse to go on from a segment that failed, or to keep what it left: now, and whenever it is asked again.

        Raises:
            StoreError: a thread failed, in the midst of a round.
            FormatError: the corpus holds a word that is not in the vocabulary.
            ArgumentError: the training has diverged.
        """
        if self._failures:
            raise StoreError(
                "the training has failed in the midst of a round",
                got=repr(self._failures[0]),
                fix="go on from its last checkpoint, or start anew",
            ) from self._failures[0]
        if at := int(self._control[self._kernels.BAD]):
            raise FormatError(
                "the corpus holds a word that is not in the vocabulary",
                got=f"the index {int(self._encoded[at - 1]) & (self._kernels.START - 1):,}",
                expected=f"indices below {len(self._counts):,}",
                where=f"position {at - 1:,}",
            )
        loss, predictions = (now - then for now, then in zip(self.loss_sums(), self._sums, strict=True))
        limit = HOPELESS * math.log(2) * (1 + self.options.shared)  # where nothing was learnt, a target's is log 2
        if not loss <= limit * predictions:
            raise ArgumentError(
                "the training has diverged",
                got=f"a loss of {mean(loss, predictions):g}; alpha={self.options.alpha}",
                expected=f"less than {limit:.0f}",
                fix="a smaller alpha, fewer or shorter lanes, or damping=1",
            )

    def settle(self) -> bool:
        """Wait for the threads of a segment to end; whether Ctrl-C came meanwhile."""
        interrupted = False
        while True:
            try:
                for helper in self._team:
                    helper.settle()
                self._team = []
                return interrupted
            except KeyboardInterrupt:
                interrupted = True

    # Room to work in.

    def _planned(self) -> Any:
        options, layout, words = self.options, self.layout, max(1, len(self._encoded))
        chance, other = alias_table(self._counts, options.ns_exponent)
        offsets, grams = self._subwords()
        return self._kernels.Plan(
            tokens=self._encoded,
            keep=_frozen(keep_thresholds(self._counts, options.sample)),
            chance=_frozen(chance),
            other=_frozen(other),
            gram_offsets=offsets,
            gram_rows=grams,
            lanes=layout.lanes,
            stretch=layout.stretch,
            window=options.window,
            pool=layout.pool,
            shared=options.shared,
            targets=self._step.count,
            damping=layout.damping,
            shrink=int(options.shrink_windows),
            cbow=int(options.method == "cbow"),
            mean=int(options.cbow_mean),
            alpha=options.alpha,
            slope=(options.alpha - options.min_alpha) / (options.epochs * words),
            floor=options.min_alpha,
            seed=np.uint64(options.seed),  # type: ignore[arg-type]
            step=self._step.address,
        )

    def _copies(self) -> tuple[int, int]:
        """The most rows that a lane can touch: of inputs and of outputs."""
        layout = self.layout
        return layout.stretch + 2 * self.options.window, layout.stretch + layout.pool

    def _room_of_lanes(self) -> Any:
        lanes, (inputs, outputs) = self.layout.lanes, self._copies()
        # Of subwords, a lane changes the rows of all its words: at most those of the words that have most.
        sizes = np.diff(self._plan.gram_offsets)
        entries = int(np.sort(sizes)[::-1][:inputs].sum()) if self.options.subwords else inputs
        parts = self._kernels.PARTS + 1
        return self._kernels.Lanes(
            inputs=_aligned((lanes, inputs, self._step.dim)),
            outputs=_aligned((lanes, outputs, self._step.dim)),
            rows_in=np.zeros((lanes, entries), np.int32),
            rows_out=np.zeros((lanes, outputs), np.int32),
            place_in=np.zeros((lanes, entries), np.int32),
            place_out=np.zeros((lanes, outputs), np.int32),
            starts_in=np.zeros((lanes, parts), np.int64),
            starts_out=np.zeros((lanes, parts), np.int64),
            loss=np.zeros((lanes, 2), np.float64),
        )

    def _room_of_thread(self) -> Any:
        options, (inputs, outputs) = self.options, self._copies()
        table = 1 << (2 * max(inputs, outputs) - 1).bit_length()
        contexts = 2 * options.window + 2
        shared = self.layout.lanes * max(inputs, outputs) // 2 + 1
        return self._kernels.Private(
            task=np.full(1, -1, np.int64),
            words=np.zeros(inputs, np.int32),
            places_in=np.zeros(inputs, np.int32),
            places_out=np.zeros(inputs, np.int32),
            sentences=np.zeros(inputs, np.int32),
            draws=np.zeros(inputs, np.uint64),
            rows_in=np.zeros(inputs, np.int32),
            rows_out=np.zeros(outputs, np.int32),
            table_in=np.zeros((2, table), np.int32),
            table_out=np.zeros((2, table), np.int32),
            pool=np.zeros(self.layout.pool, np.int32),
            x=np.zeros(contexts, np.int32),
            k=np.zeros(self._step.count, np.int32),
            before=_aligned((inputs if options.subwords else 0, self._step.dim)),
            centre=_aligned((2, self._step.dim)),
            scratch=_aligned((48 * contexts,)),
            sums=np.zeros((shared, options.dim), np.float32),
            row_of=np.zeros(shared, np.int32),
            many=np.zeros(shared, np.int32),
        )

    def _subwords(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The input rows of each word, its own first, as offsets and rows; none where words are whole."""
        some = self.options.subwords
        if some is None:
            return _frozen(np.zeros(1, np.int64)), _frozen(np.zeros(0, np.int32))
        if self._words is None or len(self._words) != len(self._counts):
            raise ArgumentError(
                "subwords need the words",
                got="none" if self._words is None else counted(len(self._words), "word"),
                expected=counted(len(self._counts), "word"),
            )
        first = len(self._counts)
        offsets, rows = np.zeros(first + 1, np.int64), []
        for i, word in enumerate(self._words):
            found = []
            if word != END_OF_SENTENCE:
                found = subword_rows(encode(word), minn=some.min_n, maxn=some.max_n, bucket=some.buckets)
            rows.append(np.array([i, *(first + gram for gram in found)], np.int32))
            offsets[i + 1] = offsets[i] + len(rows[-1])
        return _frozen(offsets), _frozen(np.concatenate(rows))


def _identity(
    encoded: NDArray[np.uint32], counts: NDArray[np.int64], words: Sequence[str] | None, options: TrainingOptions
) -> dict[str, Any]:
    """What a checkpoint says of its run, and a run that goes on from it must share."""
    return {
        "corpus": checkpoints.corpus_digest(encoded, counts),
        "words": checkpoints.words_digest(words) if options.subwords and words is not None else None,
        "options": options.settled(len(counts), len(encoded)).as_dict(),
    }


def _corpus(encoded: Any, counts: Any) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    encoded, counts = np.asarray(encoded), np.asarray(counts)
    if encoded.dtype != np.uint32 or encoded.ndim != 1 or not encoded.flags.c_contiguous:
        raise ArgumentError(
            "a corpus is an array of words' indices",
            got=f"{encoded.dtype} {list(encoded.shape)}",
            expected="contiguous uint32 [N]",
        )
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or not len(counts) or counts.min() < 0:
        raise ArgumentError(
            "training needs a vocabulary's counts",
            got=f"{counts.dtype} {list(counts.shape)}",
            expected="whole numbers [V], none below 0, for at least one word",
        )
    return _frozen(encoded), np.ascontiguousarray(counts, np.int64)


def _frozen(array: Any) -> Any:
    """A view that can't be written to: the kernels are compiled for such."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def _aligned(shape: tuple[int, ...]) -> Float32:
    """Zeros, float32, that start where a cache line does."""
    size = math.prod(shape)
    room = np.zeros(size + 16, np.float32)
    start = -(room.ctypes.data // 4) % 16
    return room[start : start + size].reshape(shape)
