"""Real text for benchmarks: Debian's documentation packages, fetched once, kept outside the repository.

    python benchmarks/corpus/real_text.py          fetch and unpack; prints where and how much

Needs apt-get and dpkg (Debian, Ubuntu). The folder is $FOREWORD_HOME/benchmark-text, else in the user's cache.
Where it has not been fetched, the other benchmarks use the help topics of the standard library, and say so.
"""

from __future__ import annotations

import pydoc_data.topics
import shutil
import subprocess
import tempfile
from pathlib import Path

from foreword._base.files import atomic_folder, cache_folder

PACKAGES = ["python3.11-doc", "postgresql-doc-15"]
SUFFIXES = {".txt", ".html", ".rst", ".md"}


def fetch() -> Path:
    """The folder of documents, fetched and unpacked if it is not there yet."""
    folder = cache_folder("benchmark-text")
    for package in PACKAGES:
        if (folder / package).exists():
            continue
        with tempfile.TemporaryDirectory() as temporary, atomic_folder(folder / package) as target:
            subprocess.run(["apt-get", "download", package], cwd=temporary, check=True)
            (archive,) = Path(temporary).glob("*.deb")
            subprocess.run(["dpkg", "-x", str(archive), temporary], check=True)
            for number, file in enumerate(sorted(Path(temporary).rglob("*"))):
                if file.suffix in SUFFIXES and file.is_file() and not file.is_symlink():
                    shutil.copy(file, target / f"{number:05}-{file.name}")
    return folder


def files() -> list[Path]:
    """The documents that have been fetched, by path; none before ``fetch``."""
    return sorted(file for file in cache_folder("benchmark-text").glob("*/*") if file.suffix in SUFFIXES)


def real_text(size: int) -> tuple[str, str]:
    """``size`` characters of text (repeated where there is less), and where they come from."""
    documents = [file.read_text("utf-8", "replace") for file in files()]
    origin = f"Debian documentation ({', '.join(PACKAGES)})"
    if not documents:
        documents, origin = list(pydoc_data.topics.topics.values()), "the standard library's help topics, repeated"
    text = "\n".join(documents)
    return (text * (size // len(text) + 1))[:size], origin


if __name__ == "__main__":
    folder = fetch()
    found = files()
    print(f"{folder}: {len(found):,} files, {sum(file.stat().st_size for file in found) / 1e6:,.1f} MB")
