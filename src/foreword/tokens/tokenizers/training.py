"""The process in which a vocabulary is trained, beside the one that reads the corpus.

    standard input   options (a line of JSON), then texts: size (8 bytes, little-endian), UTF-8; size 0 ends them
    standard output  a tokenizer.json, or {"error": the library's message}

It ends when its standard input does: with whoever started it. Ctrl-C ends it at once, which within one process would
wait for the library. Its own bars show the merging, on standard error.

Not for: use as it is (``train``). Costs: memory for the distinct words of the corpus.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["LONGEST_WORD", "main"]

# Bytes of a word that are merged at most; a longer one is counted in parts, as the library's work on it grows with
# the square of its length.
LONGEST_WORD = 1024


def main() -> None:
    """Read options and texts, train, write the result."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    options = json.loads(sys.stdin.buffer.readline())
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)  # while texts come, whoever sends them shows how far it is
    try:
        result = _trained(options, terminal)
    except BaseException as cause:  # a panic of the library is no Exception
        result = json.dumps({"error": str(cause)})
    sys.stdout.buffer.write(result.encode())
    sys.stdout.buffer.flush()


def _trained(options: dict[str, Any], terminal: int) -> str:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    words: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)  # which has GPT-2's pattern
    if options["pattern"] is not None:
        split = pre_tokenizers.Split(Regex(options["pattern"]), "isolated")
        words = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if hasattr(pre_tokenizers, "FixedLength"):
        parts: Any = pre_tokenizers.FixedLength(length=LONGEST_WORD)
    else:
        parts = pre_tokenizers.Split(Regex(f"(?m:.{{1,{LONGEST_WORD}}})"), "isolated")
    library.pre_tokenizer = pre_tokenizers.Sequence([words, parts])
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options["vocab_size"],
        min_frequency=options["min_frequency"],
        special_tokens=options["special_tokens"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=options["show"],
    )

    def texts() -> Iterator[str]:
        yield from _texts(sys.stdin.buffer)
        os.dup2(terminal, 2)
        threading.Thread(target=_end_with_input, daemon=True).start()

    library.train_from_iterator(texts(), trainer)
    library.pre_tokenizer = words
    return str(library.to_str(pretty=True))


def _texts(stream: BinaryIO) -> Iterator[str]:
    while True:
        head = stream.read(8)
        size = int.from_bytes(head, "little")
        if len(head) == 8 and not size:
            return
        data = stream.read(size)
        if len(head) < 8 or len(data) < size:
            os._exit(1)  # whoever sent it is gone
        yield data.decode()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
