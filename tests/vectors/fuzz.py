"""Fuzzing of the readers: damaged files of every format, for a given time; anything but our errors is a finding.

    python tests/vectors/fuzz.py FORMAT SECONDS [SEED]

Each round damages a small right file in a few places (flipped, cut, repeated, inserted bytes; extreme integers), at
times packs it, and reads all its blocks. The process may not take more than 3 GB of address space beyond
its start, nor more than ten seconds for an input, so that a blow-up or a hang is found too. Prints the rounds done.
"""

import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from foreword.errors import ForewordError
from vectors.formats import fasttext, native, product_quantised, read, safetensors, text, word2vec_binary

WORDS = [f"w{i}é" if i % 3 == 0 else f"w {i}" if i % 7 == 0 else f"word{i}" for i in range(12)]
BYTES = [word.encode() for word in WORDS]
PLAIN = [word.replace(b" ", b"_") for word in BYTES]
ROWS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
MATRIX = np.random.default_rng(1).normal(size=(12 + 11, 3)).astype(np.float32)


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _own():
    offsets = np.cumsum([0, *map(len, BYTES)]).astype("<i8").tobytes()
    blob = b"".join(BYTES)
    return {"key_offsets": ("I64", (13,), offsets), "keys": ("U8", (len(blob),), blob)}


_STATE = {"index_to_key": WORDS, "vectors": ROWS, "expandos": {"count": np.arange(12)}, "norms": None}
_GRAMS = {"vectors_vocab": ROWS, "vectors_ngrams": MATRIX[12:], "min_n": 2, "max_n": 4, "bucket": 11}
_NUMBERED = {**_STATE, "index_to_key": [*range(10), "a", np.int64(77)]}
_OLD = {"index2word": WORDS, "syn0": ROWS}
_PACKED = {**_OLD, **_GRAMS, "hash2index": {n: n - 1 for n in range(1, 7)}, "bucket": 20}
_SPELT = {**_OLD, "syn0_ngrams": MATRIX[12:], "ngrams": {"<wo": 0, "wor": 10}, "min_n": 3, "max_n": 3}
_DOCUMENTS = {"doctag_syn0": ROWS, "doctags": {}, "offset2doctag": ["a", "b"], "max_rawint": 9, "count": 12}
_FT = {"minn": 2, "maxn": 4, "bucket": 11}
_FTZ = {**_FT, "dim": 3, "quantised": 1, "model": 3}
_TOKENS = {"model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": WORDS[0]}}
SEEDS = {
    "word2vec-binary": [word2vec_binary(PLAIN, ROWS), word2vec_binary(PLAIN, ROWS, newline=b"")],
    "text": [text(BYTES, ROWS), text(BYTES, ROWS, blank=b"\t", end=b" \r\n")],
    "glove": [text(BYTES, ROWS, header=False)],
    "fasttext": [fasttext(BYTES, range(12), MATRIX, **_FT), fasttext(BYTES, range(12), MATRIX, old=True, **_FT)],
    "ftz": [
        fasttext(BYTES, range(12), product_quantised(23, 3, 2, qnorm=False)[0], **_FTZ),
        fasttext(
            BYTES, range(12), product_quantised(14, 3, 2, qnorm=True)[0], pruned=2, pairs=[(3, 1), (7, 0)], **_FTZ
        ),
    ],
    "gensim": [
        *(native(_STATE, protocol=protocol) for protocol in range(6)),
        native({**_STATE, **_GRAMS, "vectors": None, "compatible_hash": True}, name="FastTextKeyedVectors"),
        *(native(state, protocol=2) for state in (_NUMBERED, _PACKED, _SPELT, _DOCUMENTS)),
    ],
    "npy": [_npy(ROWS), _npy(np.asfortranarray(ROWS.astype("f8")))],
    "safetensors": [
        safetensors(_own() | {"vectors": ("F32", (12, 3), ROWS.tobytes())}),
        safetensors({"w": ("F16", (12, 3), ROWS.astype("<f2").tobytes())}),
    ],
    "static": [
        safetensors({"embedding.weight": ("F32", (12, 3), ROWS.tobytes())}),
        safetensors(
            {
                "embeddings": ("I8", (4, 3), bytes(range(12))),
                "mapping": ("I64", (12,), (np.arange(12) % 4).tobytes()),
                "weights": ("F64", (12,), np.ones(12).tobytes()),
            }
        ),
    ],
}
INTEGERS = [0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF]
PIECES = [
    b"\n",
    b" ",
    b"\0",
    b"nan",
    b"1e999",
    b"-",
    b"999999999999",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b"\t",
    b"BZh91AY&SY",
    b"\x95",
    b"R",
    b"b",
    b"(",
    b"\x93",
]


def _tar(data):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("v.bin")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _zip(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v.bin", data)
    return file.getvalue()


PACKINGS = [
    lambda data: gzip.compress(data, 1),
    lambda data: bz2.compress(data, 1),
    lambda data: lzma.compress(data, preset=0),
    lambda data: pa.compress(data, codec="zstd", asbytes=True),
    lambda data: bz2.compress(data[:50], 1) + bz2.compress(data[50:], 1),
    _tar,
    _zip,
    lambda data: gzip.compress(_tar(data), 1),
]


def damaged(data, draw):
    """``data`` with one to four damages."""
    data = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        at = min(at, draw.randrange(len(data) + 1))  # more often near the start, where headers are
        kind = draw.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = draw.randrange(256)
        elif kind == 2:
            del data[at : at + draw.choice([1, 1, 2, 4, 8, 1 << 20])]
        elif kind == 3:
            size = draw.choice([1, 2, 4, 8])
            data[at : at + size] = (draw.choice(INTEGERS) & (256**size - 1)).to_bytes(size, "little")
        elif kind == 4:
            data[at:at] = draw.choice(PIECES)
        elif kind == 5:
            other = draw.randrange(len(data) + 1)
            data[at:at] = data[other : other + draw.randrange(1, 40)]
        else:
            data[at:at] = bytes([draw.randrange(256)]) * draw.choice([1, 3, 1000])
    return bytes(data)


def fuzz(format_, *, rounds=None, seconds=None, seed=0):
    """Read damaged files of a format; gives the rounds done and how many were read all the same."""
    draw = random.Random(f"{format_} {seed}")
    done = accepted = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("model.safetensors" if format_ == "static" else "v.bin")
        path.with_name("v.vocab").write_bytes(b"".join(word + b"\n" for word in BYTES))
        while (rounds is None or done < rounds) and (seconds is None or time.monotonic() - began < seconds):
            data = damaged(draw.choice(SEEDS[format_]), draw)
            if draw.random() < 0.1:
                data = draw.choice(PACKINGS)(data)
                data = damaged(data, draw) if draw.random() < 0.5 else data
            path.write_bytes(data)
            if format_ == "static":
                for name, content in ("tokenizer.json", _TOKENS), ("config.json", {"max_length": 9, "normalize": True}):
                    beside = json.dumps(content).encode()
                    path.with_name(name).write_bytes(damaged(beside, draw) if draw.random() < 0.2 else beside)
            options = draw.choice([{}, {}, {"limit": 3}, {"unicode_errors": "replace"}, {"encoding": "latin1"}])
            if format_ == "gensim" and draw.random() < 0.3:
                options = {"vectors": "documents"}
            done += 1
            try:
                read(path, **options)
            except ForewordError as refused:
                str(refused)
                pickle.dumps(refused)
            except BaseException:
                Path(f"fuzz-{format_}-{seed}-{done}.bin").write_bytes(data)
                print(f"finding: {format_}, seed {seed}, round {done}, {options}, {data!r}", file=sys.stderr)
                raise
            else:
                accepted += 1
    return done, accepted


class TooSlowError(Exception):
    """An input took more than ten seconds."""


def main():
    format_, seconds, seed = sys.argv[1], float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "0"
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (3 << 30), resource.RLIM_INFINITY))

    def late(*_):
        raise TooSlowError

    signal.signal(signal.SIGALRM, late)
    real = damaged

    def watched(data, draw):
        signal.alarm(10)
        return real(data, draw)

    globals()["damaged"] = watched
    done, accepted = fuzz(format_, seconds=seconds, seed=seed)
    print(f"{format_}: {done} inputs in {seconds:g} s, {accepted} of them read, the others refused by our errors")


if __name__ == "__main__":
    main()
