"""Claim: text to GPT-2 token ids, in memory, one thread, against tiktoken.

The text is Debian's documentation packages where real_text.py has fetched them, else the standard library's help
topics. "new text" gives each round a fresh engine, so that no word has been seen; "again" is the second pass.

    python benchmarks/corpus/text_to_ids.py [--megabytes 20] [--repeats 5] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import importlib.resources
import sys
from pathlib import Path

import tiktoken

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.real_text import real_text
from foreword.tokens.tokenizers.engines import GPT2_PATTERN, make_engine, parse_ranks
from runner import Contender, Result, main, race, timed


def measure(options: argparse.Namespace) -> list[Result]:
    text, origin = real_text(options.megabytes * 1_000_000)
    ranks = gzip.decompress(
        importlib.resources.files("foreword.tokens").joinpath("data", "gpt2.tiktoken.gz").read_bytes()
    )
    rival = tiktoken.Encoding(
        "gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=parse_ranks(ranks, where="gpt2"), special_tokens={}
    )
    assert make_engine(ranks).encode(text).tolist() == rival.encode_ordinary(text), "the ids differ"

    def fresh() -> float:
        engine = make_engine(ranks)
        return timed(lambda: engine.encode(text))()

    warm_engine = make_engine(ranks)
    warm_engine.encode(text)
    size = len(text.encode()) / 1e6
    common = {"repeats": options.repeats, "work": size, "rate": "MB/s", "notes": f"{size:.1f} MB of {origin}"}
    as_list = Contender("tiktoken, list", timed(lambda: rival.encode_ordinary(text)))
    as_numpy = Contender("tiktoken, numpy", timed(lambda: rival.encode_to_numpy(text, disallowed_special=())))
    return [
        race("text → ids, new text", [Contender("Foreword", fresh), as_list, as_numpy], **common),
        race("text → ids, again", [Contender("Foreword", timed(lambda: warm_engine.encode(text))), as_list], **common),
    ]


if __name__ == "__main__":
    main(measure, __doc__, sizes={"megabytes": (20, 1)})
