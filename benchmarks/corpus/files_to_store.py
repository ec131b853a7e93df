"""Claim: files to a token store, on text that has not been seen, against tiktoken + numpy, HF datasets and datatrove.

Every run is a fresh process, timed inside it from after the imports to the finished file, so that no cache of words
is warm for anyone; each makes its tokenizer in that time. One worker is one encoding thread (Foreword reads, hashes and
writes in its main thread besides); two are two threads, or two processes for the rivals that use processes. Foreword's
time includes checksums and fsync.

    python benchmarks/corpus/files_to_store.py [--megabytes 75] [--repeats 3] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import importlib.resources
import json
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.real_text import real_text
from foreword.tokens.tokenizers.engines import parse_ranks
from runner import Contender, Result, main, race, seconds_of

PREAMBLE = """
import gzip, importlib.resources, sys, time
from pathlib import Path
folder, out, ranks_file = sys.argv[1:4]
import numpy as np
def tiktoken_gpt2():
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    from foreword.tokens.tokenizers.engines import GPT2_PATTERN
    ranks = load_tiktoken_bpe(ranks_file)
    special = {"<|endoftext|>": 50256}
    return tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special)
"""

FOREWORD = """
from foreword.tokens import prepare
start = time.perf_counter()
prepare(folder, out, workers={workers})
print(time.perf_counter() - start)
"""

TIKTOKEN = """
import tiktoken, tiktoken.load, foreword.tokens.tokenizers.engines
start = time.perf_counter()
encoding = tiktoken_gpt2()
with open(out, "wb") as file:
    for path in sorted(Path(folder).iterdir()):
        ids = encoding.encode_ordinary(path.read_text(encoding="utf-8"))
        ids.append(50256)
        np.array(ids, dtype=np.uint16).tofile(file)
print(time.perf_counter() - start)
"""

DATASETS = """
import datasets, tiktoken, tiktoken.load, foreword.tokens.tokenizers.engines
datasets.disable_progress_bars()
start = time.perf_counter()
encoding = tiktoken_gpt2()
data = datasets.Dataset.from_dict({"path": sorted(map(str, Path(folder).iterdir()))})
def work(batch):
    texts = [Path(path).read_text(encoding="utf-8") for path in batch["path"]]
    return {"ids": [ids + [50256] for ids in encoding.encode_ordinary_batch(texts, num_threads=1)]}
data = data.map(work, batched=True, batch_size=100, num_proc=2, remove_columns=["path"],
                features=datasets.Features({"ids": datasets.Sequence(datasets.Value("uint16"))}))
data.save_to_disk(out)
print(time.perf_counter() - start)
"""

DATATROVE = """
import os
from loguru import logger
logger.remove()
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
reader = JsonlReader(folder + "-jsonl")
tokenizer = DocumentTokenizer(out, tokenizer_name_or_path=folder + "-tokenizer.json", eos_token="<|endoftext|>",
                              shuffle_documents=False)
executor = LocalPipelineExecutor(pipeline=[reader, tokenizer], tasks=2, workers=2, logging_dir=out + "-logs")
start = time.perf_counter()
executor.run()
print(time.perf_counter() - start)
"""


def write_for_datatrove(folder: Path, ranks: bytes) -> None:
    """The same documents as two jsonl files, one a worker, and GPT-2 as a tokenizer.json."""
    lines = [json.dumps({"text": path.read_text("utf-8"), "id": path.name}) for path in sorted(folder.iterdir())]
    target = Path(f"{folder}-jsonl")
    target.mkdir()
    for half in (0, 1):
        (target / f"{half}.jsonl").write_text("\n".join(lines[half::2]) + "\n")
    Path(f"{folder}-tokenizer.json").write_text(gpt2_json(parse_ranks(ranks, where="gpt2")))


def gpt2_json(ranks: dict[bytes, int]) -> str:
    """GPT-2 as a tokenizer.json: each token's merge is of the two parts that lower ranks leave of it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    letters |= {byte: chr(256 + i) for i, byte in enumerate(b for b in range(256) if b not in printable)}

    def spelled(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token in ranks:
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 60))
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            merges.append((spelled(parts[0]), spelled(parts[1])))
    made = Tokenizer(models.BPE({spelled(token): rank for token, rank in ranks.items()}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return str(made.to_str())


def measure(options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "corpus"
        folder.mkdir()
        text, origin = real_text(options.megabytes * 1_000_000)
        for number, start in enumerate(range(0, len(text), 20_000)):
            (folder / f"{number:06}.txt").write_text(text[start : start + 20_000], encoding="utf-8")
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        notes = f"{size:.0f} MB of {origin}, in {len(list(folder.iterdir())):,} files; fresh processes"
        ranks = Path(temporary) / "gpt2.tiktoken"
        packed = importlib.resources.files("foreword.tokens").joinpath("data", "gpt2.tiktoken.gz").read_bytes()
        ranks.write_bytes(gzip.decompress(packed))
        write_for_datatrove(folder, ranks.read_bytes())

        def contender(name: str, code: str) -> Contender:
            def run() -> float:
                out = Path(temporary) / "out"
                try:
                    return seconds_of(PREAMBLE + code, folder, out, ranks)
                finally:
                    for path in (out, out.with_name("out-logs")):
                        shutil.rmtree(path, ignore_errors=True)
                        path.unlink(missing_ok=True)

            return Contender(name, run)

        one = [contender("Foreword", FOREWORD.format(workers=1)), contender("tiktoken + tofile", TIKTOKEN)]
        two = [
            contender("Foreword", FOREWORD.format(workers=2)),
            contender("datasets.map, tiktoken, 2 processes", DATASETS),
            contender("datatrove, tokenizers, 2 processes", DATATROVE),
        ]
        return [
            race(f"files → store, {workers}", contenders, repeats=options.repeats, work=size, rate="MB/s", notes=notes)
            for workers, contenders in (("one worker", one), ("two workers", two))
        ]


if __name__ == "__main__":
    needs = ["datasets", "datatrove", "orjson", "tokenizers"]
    main(measure, __doc__, repeats=3, needs=needs, sizes={"megabytes": (75, 2)})
