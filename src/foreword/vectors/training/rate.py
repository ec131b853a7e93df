"""How far a training is, how fast it goes, and what its loss is.

Not for: showing it. Costs: nothing.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foreword.vectors.training.trainer import Trainer

__all__ = ["Pace", "Progress", "mean"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch: of the next word, counted from 0; the number of epochs when the run is over.
        position: of the next word in the corpus.
        words: read so far, of all epochs, kept or not.
        words_per_second: since the last report.
        loss: the mean of −log σ(right) − Σ log σ(−noise) over the predictions since the last report; NaN of none.
        mean_loss: the same since the run began.
        alpha: the learning rate now.
        seconds_left: at the rate of this call of ``run`` so far; NaN before anything was read.
    """

    epoch: int
    position: int
    words: int
    words_per_second: float
    loss: float
    mean_loss: float
    alpha: float
    seconds_left: float


class Pace:
    """How fast a call of ``run`` goes."""

    def __init__(self, trainer: Trainer, goal: int) -> None:
        self.trainer, self.goal = trainer, goal
        self.start = self.last = time.monotonic()
        self.first_rounds = trainer.rounds
        self.last_words, self.last_loss = trainer.words_read, trainer.loss_sums()

    def progress(self) -> Progress:
        """The progress since the last report."""
        trainer, now = self.trainer, time.monotonic()
        words, loss = trainer.words_read, trainer.loss_sums()
        done = trainer.rounds - self.first_rounds
        epoch, position = divmod(words, max(1, trainer.epoch_words))
        options = trainer.options
        fallen = (options.alpha - options.min_alpha) * words / max(1, options.epochs * trainer.epoch_words)
        progress = Progress(
            epoch=epoch,
            position=position,
            words=words,
            words_per_second=(words - self.last_words) / max(now - self.last, 1e-9),
            loss=mean(loss[0] - self.last_loss[0], loss[1] - self.last_loss[1]),
            mean_loss=mean(*loss),
            alpha=max(options.min_alpha, options.alpha - fallen),
            seconds_left=(self.goal - trainer.rounds) * (now - self.start) / done if done else math.nan,
        )
        self.last, self.last_words, self.last_loss = now, words, loss
        return progress


def mean(total: float, count: float) -> float:
    """The mean of ``count`` values; NaN of none."""
    return float(total) / float(count) if count else math.nan
