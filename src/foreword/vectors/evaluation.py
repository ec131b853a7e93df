"""Evaluation: how well vectors answer analogies, and how their cosines follow human judgements.

Word lists are those of word2vec (questions-words.txt) and of WordSim-353, SimLex-999 and their like. Results are those
of gensim's methods of the same names.

Not for: searching (``analogies.py`` answers all questions at once). Costs: questions-words.txt over 400,000 × 50 about
a second, most of it the products.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword._base.checks import integer
from foreword._base.files import read_text
from foreword.errors import ArgumentError, FormatError
from foreword.vectors.neighbours import Neighbours
from foreword.vectors.oov import spellings
from foreword.vectors.search import kernels
from foreword.vectors.search.analogies import nearest_of_analogies
from foreword.vectors.similarity import Similarities

__all__ = ["Correlation", "Evaluation"]

logger = logging.getLogger(__name__)

Quad = tuple[str, str, str, str]
Section = dict[str, Any]

_MANY_KEYS = 100_000
_TOPN = 5  # of how many neighbours the first that isn't a word of the question is the answer, as in gensim


class Correlation(NamedTuple):
    """A coefficient of correlation, −1…1, and the probability of one as far from 0 by chance (two-sided)."""

    statistic: float
    pvalue: float


@dataclass(frozen=True, slots=True)
class _Known:
    """The words that count: as they are compared, by row, and the first row of each."""

    words: list[str]
    rows: dict[str, int]
    case_insensitive: bool
    restrict_vocab: int | None
    oov: str

    def compared(self, text: str) -> str:
        return text.upper() if self.case_insensitive else text

    def standing_for(self, word: str) -> str:
        """The word, or if it isn't known a spelling that stands in for it by the policy."""
        if word in self.rows:
            return word
        others = map(self.compared, spellings(self.oov, word))
        return next((other for other in others if other in self.rows), word)


class Evaluation(Neighbours, Similarities):
    """Scoring vectors against lists made by people.

    The vocabulary is judged: words out of it are unknown, inferred vectors of fastText's included, as in gensim; other
    spellings stand in for them where ``oov`` says so.
    """

    def evaluate_word_analogies(
        self,
        analogies: str | os.PathLike[str],
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
    ) -> tuple[float, list[Section]]:
        """The share of questions "a is to b as c is to ?" that the vectors answer right.

        Args:
            analogies: a file of four words a line, in sections that begin with ``: NAME``.
            restrict_vocab: know only the first so many words; None all.
            case_insensitive: compare words in upper case; of words that are equal then the first counts.
            dummy4unknown: count questions with unknown words as wrong, rather than leave them out.
            similarity_function: the method that answers: "most_similar", all questions at once; or another one, such as
                "most_similar_cosmul", one by one.

        Returns:
            The share, and the sections: dicts of "section" (its name), "correct" and "incorrect", lists of questions
            (a, b, c, d); the last is "Total accuracy" over all.

        Raises:
            MissingFileError, FileError: the file can't be read.
            FormatError: questions stand before the first section.
        """
        if len(self) >= _MANY_KEYS:
            kernels.hasten()  # they load while keys and questions are read
        known = self._known(restrict_vocab, case_insensitive)
        sections, questions, places = _read_questions(analogies, known, dummy4unknown)
        if similarity_function == "most_similar":
            predicted = self._answers(questions, known)
        else:
            answer = getattr(self, similarity_function, None)
            if not callable(answer):
                raise ArgumentError("there is no such method", got=similarity_function, expected="most_similar_cosmul")
            predicted = [self._answer(answer, question, known) for question in questions]
        right = {place for place, word, q in zip(places, predicted, questions, strict=True) if word == q[3]}
        for section in sections:
            for place, question in section.pop("questions"):
                section["correct" if place in right else "incorrect"].append(question)
        total: Section = {
            "section": "Total accuracy",
            "correct": [question for section in sections for question in section["correct"]],
            "incorrect": [question for section in sections for question in section["incorrect"]],
        }
        sections.append(total)
        for section in sections:
            self.log_accuracy(section)
        return _share(total), sections

    def evaluate_word_pairs(
        self,
        pairs: str | os.PathLike[str],
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[Correlation, Correlation, float]:
        """How the cosines of word pairs correlate with people's judgements.

        Args:
            pairs: a file of lines word, word, number; lines that begin with ``#``, and others, are passed over.
            delimiter: what stands between the three.
            encoding: of the file.
            restrict_vocab: as in ``evaluate_word_analogies``.
            case_insensitive: as there.
            dummy4unknown: give pairs with unknown words the cosine 0, rather than leave them out.

        Returns:
            Pearson's coefficient, Spearman's, each with its p-value, and the percentage of pairs with unknown words.

        Raises:
            MissingFileError, FileError: the file can't be read.
            TextDecodeError: it is not text in the encoding.
            FormatError: it holds no pair of known words with a number.
        """
        known = self._known(restrict_vocab, case_insensitive)
        gold: list[float] = []
        ours: list[float] = []
        unknown = 0
        for line in read_text(pairs, encoding=encoding).splitlines():
            if line.startswith("#"):
                continue
            try:
                first, second, number = known.compared(line).split(delimiter)
                value = float(number)
            except ValueError:
                logger.info("passed over: %r", line)
                continue
            rows = tuple(known.rows.get(known.standing_for(word), -1) for word in (first, second))
            if min(rows) < 0:
                unknown += 1
                if not dummy4unknown:
                    continue
            gold.append(value)
            ours.append(self._cosine(self._rows[rows[0]], self._rows[rows[1]]) if min(rows) >= 0 else 0.0)
        if not gold:
            raise FormatError(
                "no pair of known words",
                where=os.fspath(pairs),
                expected=f"lines of word{delimiter!r}word{delimiter!r}number with words of {self}",
            )
        share = 100.0 * unknown / (len(gold) if dummy4unknown else len(gold) + unknown)
        results = pearson(gold, ours), pearson(_ranks(gold), _ranks(ours)), share
        self.log_evaluate_word_pairs(*results, os.fspath(pairs))
        return results

    @staticmethod
    def log_accuracy(section: Section) -> None:
        """Log the share of right answers of one section."""
        right, wrong = len(section["correct"]), len(section["incorrect"])
        if right + wrong:
            logger.info("%s: %.1f%% (%i/%i)", section["section"], 100 * right / (right + wrong), right, right + wrong)

    @staticmethod
    def log_evaluate_word_pairs(pearson: Any, spearman: Any, oov: float, pairs: Any) -> None:
        """Log the result of ``evaluate_word_pairs``."""
        logger.info("%s: Pearson %.4f, Spearman %.4f, unknown %.1f%%", pairs, pearson[0], spearman[0], oov)

    def _known(self, restrict_vocab: int | None, case_insensitive: bool) -> _Known:
        if restrict_vocab is not None:
            restrict_vocab = integer("restrict_vocab", restrict_vocab, at_least=0)
        words = [str(key) for key in itertools.islice(self.index_to_key, restrict_vocab)]
        if case_insensitive:
            words = [word.upper() for word in words]
        rows = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
        return _Known(words, rows, case_insensitive, restrict_vocab, self.oov)

    def _answers(self, questions: Sequence[Quad], known: _Known) -> list[str | None]:
        """The predicted word of each question."""
        if not questions:
            return []
        stop = self._range(0, None, known.restrict_vocab)[1]
        rows = np.array([[known.rows[word] for word in question[:3]] for question in questions], dtype=np.int64)
        of, left = np.repeat(np.arange(len(rows)), 3), rows.ravel()  # words of the question are no answers
        others = self._other_forms(questions, known)
        if others:
            pairs = [(i, row) for i, q in enumerate(questions) for word in q[:3] for row in others.get(word, ())]
            more_of, more_left = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
            of, left = np.concatenate([of, more_of]), np.concatenate([left, more_left])
        found = nearest_of_analogies(self._search(), rows, stop, (of, left))
        crowded = np.bincount(of, minlength=len(rows)) - 3 >= _TOPN
        return [
            # Where other forms of the words alone might fill gensim's few neighbours, ask as gensim does.
            self._answer(self.most_similar, question, known) if full or row < 0 else known.words[row]
            for question, full, row in zip(questions, crowded.tolist(), found.tolist(), strict=True)
        ]

    def _other_forms(self, questions: Sequence[Quad], known: _Known) -> dict[str, list[int]]:
        """The rows of words that compare equal to one asked about, but aren't its first."""
        others: dict[str, list[int]] = {}
        if len(known.rows) < len(known.words):
            wanted = {word for question in questions for word in question[:3]}
            for row, word in enumerate(known.words):
                if word in wanted and row != known.rows[word]:
                    others.setdefault(word, []).append(row)
        return others

    def _answer(
        self,
        method: Callable[..., list[tuple[str, float]]],
        question: Quad,
        known: _Known,
    ) -> str | None:
        """The first of few neighbours that isn't a word of the question; where all are, the last."""
        a, b, c = (self.index_to_key[known.rows[word]] for word in question[:3])
        predicted = None
        for key, _ in method(positive=[b, c], negative=[a], topn=_TOPN, restrict_vocab=known.restrict_vocab):
            predicted = known.compared(str(key))
            if predicted not in question[:3]:
                break
        return predicted


def _read_questions(
    path: str | os.PathLike[str], known: _Known, dummy4unknown: bool
) -> tuple[list[Section], list[Quad], list[int]]:
    """The sections of a file of analogies with their questions, those to be answered, and the lines these stand in."""
    sections: list[Section] = []
    questions: list[Quad] = []
    places: list[int] = []
    count = unknown = 0
    for place, line in enumerate(read_text(path).splitlines()):
        if line.startswith(": "):
            sections.append({"section": line[2:].strip(), "correct": [], "incorrect": [], "questions": []})
            continue
        if not sections:
            where = f"{os.fspath(path)}, line {place + 1}"
            raise FormatError("a question stands before the first section", where=where, expected=": NAME")
        words = known.compared(line).split()
        if len(words) != 4:
            logger.info("passed over: %r", line)
            continue
        words = list(map(known.standing_for, words))
        question: Quad = (words[0], words[1], words[2], words[3])
        count += 1
        if all(word in known.rows for word in words):
            questions.append(question)
            places.append(place)
        else:
            unknown += 1
            if not dummy4unknown:
                continue
        sections[-1]["questions"].append((place, question))
    logger.info("%d of %d questions have unknown words", unknown, count)
    return sections, questions, places


def _share(section: Section) -> float:
    right, wrong = len(section["correct"]), len(section["incorrect"])
    return right / (right + wrong) if right + wrong else 0.0


def pearson(x: Sequence[float] | NDArray[Any], y: Sequence[float] | NDArray[Any]) -> Correlation:
    """Pearson's coefficient of two samples; NaN where one doesn't vary. Its p-value is that of Student's t with n − 2
    degrees.

    >>> pearson([1, 2, 3, 4], [1, 2, 3, 5])
    Correlation(statistic=0.98..., pvalue=0.01...)
    """
    a, b = (np.asarray(v, dtype=np.float64) - np.mean(v) for v in (x, y))
    size = math.sqrt(float(a @ a) * float(b @ b))
    if size == 0.0:
        return Correlation(math.nan, math.nan)
    r = max(-1.0, min(1.0, float(a @ b) / size))
    freedom = len(a) - 2
    if freedom < 1:
        return Correlation(r, 1.0)
    # With t² = n r²/(1 − r²) for n degrees, n/(n + t²) = 1 − r²; P(|T| > t) = I_{n/(n + t²)}(n/2, ½).
    return Correlation(r, _incomplete_beta(freedom / 2, 0.5, 1 - r * r))


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks from 1; equals share the mean of theirs."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22), Lentz's way."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + step * d)
            c = 1 + step / c
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value
