"""Training a vocabulary: a corpus to a tokenizer.json and a file of merge ranks, by the library tokenizers.

    corpus ── this process reads ──▶ texts ── a process beside it trains (``training``) ──▶ OUT.json, OUT.tiktoken

Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019): the 256 bytes are the first tokens, then the
pair of neighbours that is most frequent is merged, over and over, until there are enough.

Not for: other algorithms. Costs: a few seconds for each 10 MB of text, and memory for its distinct words.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from foreword._base.checks import integer
from foreword._base.files import atomic_write, explained, output_path
from foreword._base.progress import progress
from foreword._base.words import counted
from foreword.errors import ArgumentError, ForewordError, MissingPackageError
from foreword.tokens.preparing.corpus import open_corpus, warn_passed_over
from foreword.tokens.preparing.documents import Reader, Reading
from foreword.tokens.tokenizers.engines import CL100K_PATTERN, GPT2_PATTERN, PATTERNS, format_ranks
from foreword.tokens.tokenizers.hugging_face import BYTE_OF_LETTER
from foreword.tokens.tokenizers.opening import get_tokenizer
from foreword.tokens.tokenizers.tokenizer import Tokenizer, to_utf8

__all__ = ["train_tokenizer"]

# tiktoken's patterns as the library tokenizers writes them: $ ends a line there, and {1,3}+ is no limit.
_LIBRARY_PATTERNS = {
    GPT2_PATTERN: None,  # its own
    CL100K_PATTERN: CL100K_PATTERN.replace(r"\p{N}{1,3}+", r"(?>\p{N}{1,3})").replace("$", r"\z"),
}


def train_tokenizer(
    corpus: object,
    out: str | os.PathLike[str],
    *,
    vocab_size: int,
    pattern: str = "gpt2",
    special_tokens: Sequence[str] = ("<|endoftext|>",),
    min_frequency: int = 2,
    reading: Reading | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
) -> Tokenizer:
    """Train a byte-pair vocabulary on ``corpus``, write it as the tokenizer.json ``out``, and open it.

    The same vocabulary is written beside it as tiktoken's merge ranks, ``out`` with the suffix .tiktoken, with the
    same ids. It is opened with this ``pattern`` and the ids of the special tokens:
    ``get_tokenizer("out.tiktoken", pattern="gpt2", special_tokens={"<|endoftext|>": 0})``.

    Args:
        corpus: as for ``prepare``.
        out: the file to write; it ends in ".json".
        vocab_size: V, the 256 bytes and the special tokens included; fewer where the text does not give as many pairs.
        pattern: what cuts text into words, of which no token holds more than one: the name of a tokenizer ("gpt2",
            "cl100k_base", "o200k_base"), or a regular expression without ^, $ and {n,m}+, which libraries read
            differently.
        special_tokens: they get the first ids, in this order.
        min_frequency: a pair that comes less often is not merged.
        reading: how documents are told apart; see ``foreword.tokens.Reading``.
        format: "text", "jsonl", "parquet" or "csv", whatever the files are called.

    Raises:
        ArgumentError: a vocab_size that can't hold the bytes and special tokens; special tokens or a pattern that can't
            be used; ``out`` is called otherwise.
        MissingPackageError: the package tokenizers is not installed.
        MissingFileError, FileError, FormatError, TextDecodeError: the corpus can't be read.
        ForewordError: the training was ended, for want of memory perhaps.
    """
    try:
        import tokenizers  # noqa: F401 - the process beside needs it
    except ImportError as cause:
        raise MissingPackageError("training needs the package tokenizers", fix="pip install tokenizers") from cause
    path, special = output_path(out), _checked_special(special_tokens)
    options = {
        "vocab_size": _checked_size(vocab_size, special),
        "min_frequency": integer("min_frequency", min_frequency, at_least=0),
        "special_tokens": special,
        "pattern": _library_pattern(pattern),
        "show": sys.stderr.isatty(),
    }
    if path.suffix != ".json":
        raise ArgumentError("a tokenizer's file ends in .json", got=path.name, fix="tokenizer.json")
    with explained("write the tokenizer", path.parent):
        os.stat(path.parent)  # noqa: PTH116 - before hours of training
    sources = open_corpus(corpus, format=format)
    warn_passed_over(sources, "train_tokenizer")
    sizes = [source.size for source in sources]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    some = False
    with _process(options) as send:
        with progress("reading", total) as bar:
            reader = Reader(reading or Reading(), cuttable=True, advance=bar.advance)
            for source in sources:
                for text, _ in reader.texts(source):
                    some = some or bool(text)
                    send(to_utf8(text))
        if not some:
            raise ArgumentError("the corpus holds no text", got=counted(len(sizes), "source"), fix="give text")
        data = send(None)
    ranks = _plain_ranks(json.loads(data), set(special))
    with atomic_write(path) as file:
        file.write(data)
    if ranks is not None:
        with atomic_write(path.with_suffix(".tiktoken")) as file:
            file.write(format_ranks(ranks))
    return get_tokenizer(path)


def _checked_special(special_tokens: Sequence[str]) -> list[str]:
    special = [special_tokens] if isinstance(special_tokens, str) else list(special_tokens)
    wrong = [text for text in special if not isinstance(text, str) or not text or text in BYTE_OF_LETTER]
    if wrong or len(set(special)) < len(special):
        raise ArgumentError(
            "special tokens that can't be used",
            got=repr(wrong[0] if wrong else special),
            expected="texts of several letters, each once",
        )
    return special


def _checked_size(vocab_size: int, special: list[str]) -> int:
    vocab_size, least = integer("vocab_size", vocab_size), 256 + len(special)
    if vocab_size < least:
        raise ArgumentError(
            "vocab_size is too small", got=vocab_size, expected=f"at least {least}: every byte is a token"
        )
    return vocab_size


def _library_pattern(pattern: str) -> str | None:
    """The split pattern as the library writes it; None: GPT-2's, its own."""
    if pattern in PATTERNS:
        return _LIBRARY_PATTERNS.get(PATTERNS[pattern], PATTERNS[pattern])
    plain = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "", pattern)  # without classes and what is escaped
    if re.search(r"[\^$]|\}\+", plain) or not pattern:
        raise ArgumentError(
            "a split pattern that can't be used",
            got=repr(pattern),
            expected=f"one of {', '.join(PATTERNS)}, or a regular expression without ^, $ and {{n,m}}+",
        )
    from tokenizers import Regex

    try:
        Regex(pattern)
    except Exception as cause:
        raise ArgumentError("a split pattern that can't be used", got=f"{pattern!r}: {cause}") from cause
    return pattern


@contextlib.contextmanager
def _process(options: dict[str, Any]) -> Iterator[Any]:
    """A process that trains; yields what sends it a text, and with None gives what it made. It ends with the block."""
    code = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from %s import main; main()"
    command = [sys.executable, "-c", code % "foreword.tokens.tokenizers.training", json.dumps(sys.path)]
    error = None if options["show"] else subprocess.DEVNULL
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=error) as process:  # noqa: S603 - ourselves
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def send(text: bytes | None) -> bytes:
            if text == b"":
                return b""
            try:
                stdin.write(len(text or b"").to_bytes(8, "little") + (text or b""))
                if text is not None:
                    return b""
                stdin.flush()
            except OSError:  # it has ended, and said why
                pass
            return _result(stdout.read(), process)

        try:
            stdin.write(json.dumps(options).encode() + b"\n")
            yield send
        finally:
            process.kill()
            with contextlib.suppress(OSError):
                stdin.close()


def _result(data: bytes, process: subprocess.Popen[bytes]) -> bytes:
    if not data:
        raise ForewordError(
            "training was ended before it was done",
            got=f"exit status {process.wait()}",
            fix="give it more memory, or a smaller corpus",
        )
    error = json.loads(data).get("error")
    if error is not None:
        raise ForewordError("the library tokenizers can't train on this corpus", got=str(error)[:200])
    return data


def _plain_ranks(spec: dict[str, Any], special: set[str]) -> dict[bytes, int] | None:
    """The vocabulary as merge ranks that encode every text as the merges do; None where ranks can't say it.

    Ranks merge two neighbours wherever the result is a token. That is what a list of merges does exactly if, for each
    token, the merges before its own leave of its bytes the two parts that its own puts together.
    """
    ids: dict[str, int] = spec["model"]["vocab"]
    ranks = {_bytes(token): id_ for token, id_ in ids.items() if token not in special}
    before: int = max((ranks[bytes([byte])] for byte in range(256)), default=0)
    for merge in spec["model"]["merges"]:
        left, right = (_bytes(part) for part in (merge.split(" ") if isinstance(merge, str) else merge))
        rank = ranks.get(left + right)
        if rank is None or rank <= before or _parts(ranks, left + right, rank) != [left, right]:
            return None
        before = rank
    return ranks


def _bytes(token: str) -> bytes:
    return bytes([BYTE_OF_LETTER[letter] for letter in token])


def _parts(ranks: dict[bytes, int], token: bytes, below: int) -> list[bytes]:
    """The bytes of ``token`` after all merges of a rank below ``below``."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 1:
        rank, place = min((ranks.get(parts[i] + parts[i + 1], below), i) for i in range(len(parts) - 1))
        if rank >= below:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
