"""Claim: text to GPT-2 token ids, in memory, one thread, against tiktoken.

The text is Debian's documentation packages where corpus.py has fetched them, else the standard library's help
topics. "new text" gives each round a fresh engine, so that no word has been seen; "again" is the second pass.

    python benchmarks/corpus/text_to_ids.py [--megabytes 20] [--repeats 5] [--json]
"""

from __future__ import annotations

import gzip
import importlib.resources
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tiktoken

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.real_text import real_text
from foreword.tokens.tokenizers.engines import GPT2_PATTERN, make_engine, parse_ranks
from runner import Contender, arguments, race, report


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--megabytes", type=int, default=20)
    options = parser.parse_args()

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
        return seconds(lambda: engine.encode(text))

    warm_engine = make_engine(ranks)
    warm_engine.encode(text)
    size = len(text.encode()) / 1e6
    common = {"repeats": options.repeats, "units": size, "unit": "MB/s", "notes": f"{size:.1f} MB of {origin}"}
    results = [
        race(
            "text → ids, new text",
            [
                Contender("Foreword", fresh),
                Contender("tiktoken, list", lambda: seconds(lambda: rival.encode_ordinary(text))),
                Contender(
                    "tiktoken, numpy", lambda: seconds(lambda: rival.encode_to_numpy(text, disallowed_special=()))
                ),
            ],
            **common,
        ),
        race(
            "text → ids, again",
            [
                Contender("Foreword", lambda: seconds(lambda: warm_engine.encode(text))),
                Contender("tiktoken, list", lambda: seconds(lambda: rival.encode_ordinary(text))),
            ],
            **common,
        ),
    ]
    report(results, packages=["foreword", "gigatoken", "tiktoken", "numpy"], as_json=options.json)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
