"""What training is given besides a corpus: the method, the table's size, and how learning goes.

Names and defaults are word2vec's where it has them (Mikolov et al., 2013), as gensim 4.4 spells what they mean; those
below ``subwords`` are ours, and say how a round is laid out.

Not for: where the corpus comes from, or which words are in the vocabulary. Costs: nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from foreword._base.checks import integer, number
from foreword.errors import ArgumentError, ArgumentTypeError

__all__ = ["METHODS", "Layout", "Subwords", "TrainingOptions"]

METHODS = ("skip-gram", "cbow")
MOST_DIM = 4096
MOST_RATE = 1e3
MOST_NEGATIVES = 31
"""Negatives of a centre word: their products with a context stand in a vector or two of the processor."""

SHORT = 1 << 17
"""Words of a corpus below which a round has one lane: it takes a second anyway."""
FEW, SOME = 500, 20_000
"""Words of a vocabulary below which a round has one lane, and below which it has four short ones."""
AVERAGED = 2000
"""Words of a vocabulary below which the changes of lanes whose number is given are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subwords:
    """fastText's subwords: a word's vector is the mean of its own row and those of its n-grams.

    Attributes:
        min_n: the shortest n-gram, in code points.
        max_n: the longest.
        buckets: rows of the table of n-grams; an n-gram has that of its hash.
    """

    min_n: int = 3
    max_n: int = 6
    buckets: int = 2_000_000

    def __post_init__(self) -> None:
        integer("min_n", self.min_n, at_least=1)
        integer("max_n", self.max_n, at_least=self.min_n, at_most=1000)
        integer("buckets", self.buckets, at_least=1, at_most=(1 << 31) - 1)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a round of a training is laid out; what each means stands at ``TrainingOptions``."""

    lanes: int
    stretch: int
    pool: int
    damping: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How vectors are trained.

    ``negative`` is the number of noise words of which word2vec draws fresh ones for each pair of a centre word and a
    context. Here all contexts of a centre word share one draw, of ``shared_negatives`` noise words: the work becomes
    products of small matrices. To make up for the variety that sharing takes away, more are drawn: by default
    2 · negative + 1, but no more than 31.

    Attributes:
        method: "skip-gram" (each context predicts the centre word, as in word2vec's code) or "cbow" (all together do).
        dim: D, the length of a vector.
        window: the most words between a centre word and a context, on each side, plus one.
        shrink_windows: draw each window's size from 1…window, rather than have all of them the same.
        negative: noise words for each right one; see above.
        ns_exponent: noise words are drawn in proportion to their counts to this power.
        sample: frequent words are left out at random: those above this share of the corpus; 0 keeps all.
        alpha: the learning rate at the beginning, …
        min_alpha: … and at the end; it falls linearly with the words read of all epochs.
        epochs: how often the corpus is read.
        seed: what every random number depends on.
        cbow_mean: whether CBOW takes the mean of the contexts' vectors, rather than their sum.
        subwords: fastText's n-grams, or None for whole words.
        shared_negatives: noise words that the contexts of one centre word share; None for 2 · negative + 1.
        lanes: stretches of text that a round trains on side by side, each against the tables as they were before the
            round; the most threads that can be of use. None for 8; for 4 where the vocabulary has fewer than 20,000
            words; for 1 where it has fewer than 500, or the corpus fewer than 131,072.
        stretch: words of a lane, before frequent ones are left out. None for 512; for 256 where the vocabulary has
            fewer than 20,000 words.
        pool: noise words drawn for a lane, from which those of its centre words are drawn. None for 256; for 48 where
            the vocabulary has fewer than 20,000 words.
        damping: of a row that more than so many lanes of a round have changed, their mean change times this number is
            added, rather than the sum of their changes. None for 4; for 1 where ``lanes`` are given and the vocabulary
            has fewer than 2,000 words, each of which a lane then trains so often that the changes of several, added
            up, might overshoot.

    Raises:
        ArgumentError: a value that can't be used; says which would do.

    >>> TrainingOptions(negative=0)
    Traceback (most recent call last):
        ...
    foreword.errors.ArgumentError: training needs negative sampling
      got:      negative=0
      expected: negative from 1 to 31
      fix:      negative=5; hierarchical softmax is left out, as its centre words share no targets
    """

    method: str = "skip-gram"
    dim: int = 100
    window: int = 5
    shrink_windows: bool = True
    negative: int = 5
    ns_exponent: float = 0.75
    sample: float = 1e-3
    alpha: float = 0.025
    min_alpha: float = 1e-4
    epochs: int = 5
    seed: int = 1
    cbow_mean: bool = True
    subwords: Subwords | None = None
    shared_negatives: int | None = None
    lanes: int | None = None
    stretch: int | None = None
    pool: int | None = None
    damping: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ArgumentError("unknown method of training", got=repr(self.method), expected=", ".join(METHODS))
        if self.negative == 0 and not isinstance(self.negative, bool):
            raise ArgumentError(
                "training needs negative sampling",
                got="negative=0",
                expected=f"negative from 1 to {MOST_NEGATIVES}",
                fix="negative=5; hierarchical softmax is left out, as its centre words share no targets",
            )
        if self.subwords is not None and not isinstance(self.subwords, Subwords):
            raise ArgumentTypeError("subwords must be Subwords, or None", got=repr(self.subwords))
        for name, at_least, at_most in (
            ("dim", 1, MOST_DIM),
            ("window", 1, 1000),
            ("negative", 1, MOST_NEGATIVES),
            ("epochs", 1, (1 << 31) - 1),
            ("seed", 0, (1 << 64) - 1),
            ("lanes", 1, 1024),
            ("stretch", 1, 4096),
            ("pool", 1, 4096),
            ("damping", 1, 1024),
        ):
            if getattr(self, name) is not None or name not in ("lanes", "stretch", "pool", "damping"):
                self._set(name, integer(name, getattr(self, name), at_least=at_least, at_most=at_most))
        if self.shared_negatives is not None:
            most = integer("shared_negatives", self.shared_negatives, at_least=1, at_most=MOST_NEGATIVES)
            self._set("shared_negatives", most)
        for name, low, high in (
            ("ns_exponent", -8.0, 8.0),
            ("sample", 0.0, 1e9),
            ("alpha", 0.0, MOST_RATE),
            ("min_alpha", 0.0, MOST_RATE),
        ):
            self._set(name, number(name, getattr(self, name), at_least=low, at_most=high))
        if self.min_alpha > self.alpha:
            raise ArgumentError(
                "the learning rate can't rise",
                got=f"alpha={self.alpha}, min_alpha={self.min_alpha}",
                fix="a min_alpha that is no more than alpha",
            )
        for name in ("shrink_windows", "cbow_mean"):
            self._set(name, bool(getattr(self, name)))

    @property
    def shared(self) -> int:
        """Noise words that the contexts of a centre word share."""
        return self.shared_negatives or min(2 * self.negative + 1, MOST_NEGATIVES)

    def layout(self, vocabulary: int, words: int) -> Layout:
        """How a round is laid out: as these options say, and by the corpus where they don't.

        Lanes that change the same row know nothing of each other, so what they add to it is worth less, or too much.
        In a small vocabulary that is most rows: there a round has fewer words, and fewer noise words for each lane.

        Args:
            vocabulary: words in the vocabulary.
            words: words of the corpus.

        >>> TrainingOptions(stretch=64).layout(3000, 1_500_000)
        Layout(lanes=4, stretch=64, pool=48, damping=4)
        """
        some = vocabulary < SOME
        lanes = 1 if vocabulary < FEW or words < SHORT else 4 if some else 8
        return Layout(
            lanes=self.lanes or lanes,
            stretch=self.stretch or (256 if some else 512),
            pool=self.pool or (48 if some else 256),
            damping=self.damping or (1 if self.lanes and vocabulary < AVERAGED else 4),
        )

    def settled(self, vocabulary: int, words: int) -> TrainingOptions:
        """These options with the layout filled in that they have for such a corpus (see ``layout``)."""
        return self.replace(**dataclasses.asdict(self.layout(vocabulary, words)))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # plain Python numbers, whatever kind was given

    def replace(self, **changes: Any) -> TrainingOptions:
        """The same options with some of them changed."""
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainingOptions:
        """The options of such a dictionary.

        Raises:
            TypeError: a name that is no option's.
            ArgumentError: a value that can't be used.
        """
        some = data.get("subwords")
        return cls(**{**data, "subwords": None if some is None else Subwords(**some)})
