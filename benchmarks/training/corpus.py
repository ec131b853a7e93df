"""Real English to train vectors on: words of Debian's dictionaries, Bible and manuals, fetched once.

    python benchmarks/training/corpus.py          fetch and write; prints where and how much

Needs apt-get and dpkg (Debian, Ubuntu). The file is $FOREWORD_HOME/benchmark-words/words.txt, else in the user's cache:
a line a paragraph, lower-case words with a space between, at most 5,000 of them (gensim cuts what is longer than
10,000 and drops the rest of what is longer still).
"""

from __future__ import annotations

import collections
import dataclasses
import gzip
import html
import itertools
import pydoc_data.topics
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreword._base.files import atomic_write, cache_folder

PACKAGES = (
    *("dict-gcide", "dict-wn", "dict-foldoc", "dict-jargon", "bible-kjv-text"),
    *("linux-doc-6.1", "python3.11-doc", "postgresql-doc-15"),
)
LONGEST = 5_000

_TAG = re.compile(r"<[^>]+>")
_UNSEEN = re.compile(r"<(script|style|head)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_PARAGRAPH = re.compile(r"\n\s*\n")


def fetch() -> Path:
    """The file of words, fetched and written if it is not there yet."""
    target = cache_folder("benchmark-words") / "words.txt"
    if not target.exists():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True)
            for package in sorted(folder.glob("*.deb")):
                subprocess.run(["dpkg", "-x", str(package), str(folder / package.name.split("_")[0])], check=True)
            with atomic_write(target) as file:
                for text in _texts(folder):
                    for line in _lines(text):
                        file.write(line.encode() + b"\n")
    return target


def _texts(folder: Path) -> Iterator[str]:
    """The packages' texts, in the order of PACKAGES and of their paths."""
    for package in PACKAGES:
        for path in sorted((folder / package).rglob("*")):
            if path.is_symlink() or not path.is_file() or not (kind := _kind(path)):
                continue
            data = path.read_bytes()
            if path.suffix in (".gz", ".dz"):
                data = gzip.decompress(data)
            text = data.decode("utf-8", "replace")
            yield html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text))) if kind == ".html" else text


def _kind(path: Path) -> str:
    """The suffix that says how to read a file; nothing where it is not text to learn from."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if "bible-kjv" in path.name and path.stat().st_size > 100_000:
        return ".txt"
    return suffix if suffix in (".dz", ".html", ".rst", ".txt") else ""


def _lines(text: str) -> Iterator[str]:
    for paragraph in _PARAGRAPH.split(text.lower()):
        words = _WORD.findall(paragraph)
        if len(words) >= 5:
            for start in range(0, len(words), LONGEST):
                yield " ".join(words[start : start + LONGEST])


@dataclasses.dataclass(frozen=True)
class Words:
    """A corpus for both sides: gensim reads the file, Foreword the encoded words, of the same vocabulary."""

    file: Path
    vocabulary: list[str]
    counts: NDArray[np.int64]
    encoded: NDArray[np.uint32]
    origin: str

    @property
    def length(self) -> int:
        """Words of the vocabulary in the text."""
        return len(self.encoded)


def words(folder: Path, *, most: int, min_count: int, vocabulary: int | None = None, quick: bool = False) -> Words:
    """The first ``most`` words of the corpus, by whole lines, as a file in ``folder`` and encoded.

    Args:
        folder: an empty one.
        most: words.
        min_count: of a word that is kept.
        vocabulary: of so many words at most; the others are left out of the file, too.
        quick: take the help topics of the standard library.
    """
    if quick:
        lines = ("\n".join(_lines(text)) for text in pydoc_data.topics.topics.values())
        source: Iterable[str] = "\n".join(lines).splitlines()
        origin = "the standard library's help topics"
    else:
        source = fetch().read_text(encoding="ascii").splitlines()
        origin = f"Debian's {', '.join(PACKAGES)}"
    taken, length = [], 0
    for line in source:
        taken.append(line.split())
        length += len(taken[-1])
        if length >= most:
            break
    counter = collections.Counter(itertools.chain.from_iterable(taken))
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    known = [word for word, count in ordered if count >= min_count][:vocabulary]
    index = {word: i for i, word in enumerate(known)}
    file, pieces = folder / "words.txt", []
    with open(file, "w", encoding="ascii") as out:
        for line in taken:
            kept = [word for word in line if word in index]
            if kept:
                out.write(" ".join(kept) + "\n")
                pieces.append(np.array([index[word] for word in kept], np.uint32))
                pieces[-1][0] |= np.uint32(1 << 31)
    counts = np.array([counter[word] for word in known], np.int64)
    return Words(file, known, counts, np.concatenate(pieces), origin)


if __name__ == "__main__":
    path = fetch()
    with open(path, encoding="ascii") as lines:
        print(f"{path}: {sum(line.count(' ') + 1 for line in lines):,} words, {path.stat().st_size / 1e6:,.1f} MB")
