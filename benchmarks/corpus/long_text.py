"""Claim: one long text goes through GPT-2's tokenizer.json in little memory, with the ids of the whole.

Peak memory of fresh processes: Foreword encoding a text of 100 MB in memory (text and ids are 220 MB of it, but 540
where one character is beyond U+FFFF, since Python then takes four bytes for each) and preparing it from a file; the
library tokenizers given a tenth of that text whole. Linux only.

    python benchmarks/corpus/long_text.py [--megabytes 100] [--repeats 1] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.real_text import real_text
from foreword.tokens import get_tokenizer
from foreword.tokens.tokenizers.engines import parse_ranks
from foreword.tokens.tokenizers.hugging_face import BYTE_OF_LETTER
from foreword.tokens.tokenizers.train import _parts
from runner import Result, fresh_process, main

SAY = """
    seconds = time.perf_counter() - start
    with open("/proc/self/status") as status:
        print(seconds, next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3)
"""
HEAD = "import sys, time\nif True:\n    file, tokenizer, out = sys.argv[1:]\n"
ENCODE = (
    HEAD
    + """
    import foreword
    text = open(file, encoding="utf-8").read()
    start = time.perf_counter()
    ids = foreword.get_tokenizer(tokenizer).encode_ordinary(text)
"""
    + SAY
)
PREPARE = (
    HEAD
    + """
    import foreword
    start = time.perf_counter()
    foreword.prepare(file, out, tokenizer=tokenizer)
"""
    + SAY
)
WHOLE = (
    HEAD
    + """
    import tokenizers
    text = open(file, encoding="utf-8").read()
    start = time.perf_counter()
    ids = tokenizers.Tokenizer.from_file(tokenizer).encode(text).ids
"""
    + SAY
)


def write_tokenizer(path: Path) -> None:
    """GPT-2 as a tokenizer.json, from the ranks that Foreword carries."""
    import tokenizers

    ranks = parse_ranks(get_tokenizer("gpt2")._ranks, where="gpt2")
    letter = {byte: letter for letter, byte in BYTE_OF_LETTER.items()}

    def spelled(token: bytes) -> str:
        return "".join(letter[byte] for byte in token)

    merges = [tuple(map(spelled, _parts(ranks, token, rank))) for token, rank in ranks.items() if len(token) > 1]
    made = tokenizers.Tokenizer(tokenizers.models.BPE({spelled(token): id_ for token, id_ in ranks.items()}, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(path))


def measure(options: argparse.Namespace) -> list[Result]:
    large, small = options.megabytes, max(1, options.megabytes // 10)
    names = {"Foreword, encode": (large, ENCODE), "Foreword, prepare": (large, PREPARE)}
    names[f"tokenizers, {small} MB of it whole"] = (small, WHOLE)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tokenizer(folder / "tokenizer.json")
        text, source = real_text(large * 1_000_000)
        text = (text * (1 + large * 1_000_000 // len(text)))[: large * 1_000_000]
        for size in {large, small}:
            (folder / f"{size}.txt").write_text(text[: size * 1_000_000], encoding="utf-8")
        for _ in range(options.repeats):
            for name, (size, code) in names.items():
                files = folder / f"{size}.txt", folder / "tokenizer.json", folder / "store"
                taken, peak = (float(word) for word in fresh_process(code, *files))
                shutil.rmtree(folder / "store", ignore_errors=True)
                seconds[name].append(taken)
                peaks[name].append(peak)
    claim = f"one text of {large:,} MB through GPT-2's tokenizer.json"
    notes = f"{source}; as Python's text it takes {sys.getsizeof(text) / 1e6:,.0f} MB of each peak"
    return [Result(f"{claim}, peak memory", peaks, unit="MB", notes=notes), Result(claim, seconds, notes=notes)]


if __name__ == "__main__":
    main(measure, __doc__, repeats=1, sizes={"megabytes": (100, 4)})
