"""Judging: a file of analogies or of word pairs → a table for people, for ``foreword vectors evaluate``.

Which of the two a file is, and what parts its columns, is seen from its content.

Not for: the evaluation itself (``evaluation.py``). Costs: the file is read twice.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from foreword._base.files import given_path, read_text
from foreword.errors import FormatError
from foreword.vectors.keyed_vectors import KeyedVectors

__all__ = ["Analogies", "Judgement", "Pairs", "judge"]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of analogies: how many questions there were, and how many of them were answered correctly."""

    name: str
    correct: int
    questions: int


@dataclass(frozen=True, slots=True)
class Analogies:
    """How well vectors answered analogies; the last section is the total."""

    file: str
    sections: list[Section]

    heading = "section|correct >|questions >|share >"

    def rows(self) -> list[tuple[str, str, str, str]]:
        """A row a section."""
        return [(s.name, f"{s.correct:,}", f"{s.questions:,}", _share(s.correct, s.questions)) for s in self.sections]

    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"kind": "analogies", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Pairs:
    """How cosines correlate with people's judgements, each with the probability of that by chance."""

    file: str
    pearson: float
    pearson_p: float
    spearman: float
    spearman_p: float
    unknown_percent: float

    heading = "correlation|r >|p >|unknown pairs >"

    def rows(self) -> list[tuple[str, str, str, str]]:
        """A row a coefficient."""
        unknown = f"{self.unknown_percent:.1f} %"
        return [
            ("Pearson", f"{self.pearson:.4f}", f"{self.pearson_p:.1e}", unknown),
            ("Spearman", f"{self.spearman:.4f}", f"{self.spearman_p:.1e}", unknown),
        ]

    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"kind": "pairs", **asdict(self)}


Judgement: TypeAlias = Analogies | Pairs


def judge(vectors: KeyedVectors, path: str | os.PathLike[str], **options: Any) -> Judgement:
    """Evaluate ``vectors`` by the file ``path``.

    Args:
        vectors: what to judge.
        path: analogies (four words a line, in sections ``: NAME``) or pairs (word, word, number a line).
        options: ``restrict_vocab``, ``case_insensitive``, ``dummy4unknown``; see ``KeyedVectors.evaluate_word_pairs``.

    Raises:
        MissingFileError, FileError, TextDecodeError: the file can't be read.
        FormatError: it is neither, or holds no words that the vectors know.
    """
    file = os.fspath(given_path(path))
    lines = [line for line in read_text(file).splitlines() if line.strip() and not line.startswith("#")]
    if lines and lines[0].startswith(": "):
        _, sections = vectors.evaluate_word_analogies(file, **options)
        counts = [Section(s["section"], len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections]
        return Analogies(file, counts)
    delimiter = next((sign for sign in "\t,; " if any(_is_pair(line, sign) for line in lines)), None)
    if delimiter is None:
        raise FormatError(
            "neither analogies nor word pairs",
            got=repr(lines[0][:60]) if lines else "an empty file",
            expected='sections ": NAME" with four words a line; or lines word, word, number',
            where=file,
        )
    pearson, spearman, unknown = vectors.evaluate_word_pairs(file, delimiter=delimiter, **options)
    return Pairs(file, *map(float, (*pearson, *spearman, unknown)))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _is_pair(line: str, delimiter: str) -> bool:
    try:
        _, _, number = line.split(delimiter)
        float(number)
    except ValueError:
        return False
    return True
