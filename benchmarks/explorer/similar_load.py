"""Claim: answers a second of `similar` over HTTP on loopback, 400,000 × 50, against ten lines of FastAPI around gensim.

Each server is one process, uvicorn with httptools and uvloop; gensim's also with one BLAS thread a query, since its
requests come from many threads; wrk asks both for the neighbours of 2,000 words in
turn, over 16 connections, from one thread. A round is SECONDS of load on one and then on the other.

    python benchmarks/explorer/similar_load.py [--seconds 5] [--repeats 5] [--quick] [--json FILE]      needs wrk
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import foreword as fw
from runner import Contender, NotInstalled, Result, main, race

NAME = "glove-wiki-gigaword-50"
RIVAL = """
from fastapi import FastAPI
from gensim.models import KeyedVectors

wv = KeyedVectors.load("vectors.kv", mmap="r")
app = FastAPI()

@app.get("/similar")
def similar(key: str, topn: int = 10):
    return [{"key": key, "score": score} for key, score in wv.most_similar(key, topn=topn)]
"""
WRK = """
words = {%s}
turn = 0
request = function()
  turn = turn %% #words + 1
  return wrk.format("GET", "%s?key=" .. words[turn])
end
done = function(summary, latency)
  io.write(string.format("p99 %%.6f\\n", latency:percentile(99) / 1e6))
end
"""


def measure(options: argparse.Namespace) -> list[Result]:
    if not shutil.which("wrk"):
        raise NotInstalled("wrk: apt-get install wrk")
    wv = fw.load(NAME)
    words = [word for word in wv.index_to_key[:4000] if word.isascii() and word.isalpha()][:2000]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rival_vectors(wv, work)
        ours = [sys.executable, "-m", "foreword", "serve", "--port"]
        theirs = [sys.executable, "-m", "uvicorn", "rival:app", "--log-level", "warning", "--no-access-log", "--port"]
        with serving(ours, work) as port, serving(theirs, work) as many, serving(theirs, work, blas="1") as single:
            urls = {
                "Foreword": f"http://127.0.0.1:{port}/api/v1/vectors/{NAME}/similar",
                "gensim + FastAPI": f"http://127.0.0.1:{many}/similar",
                "gensim + FastAPI, one BLAS thread": f"http://127.0.0.1:{single}/similar",
            }
            p99: dict[str, list[float]] = {name: [] for name in urls}

            def load(name: str) -> float:
                answers, slowest = wrk(urls[name], words, options.seconds, work)
                p99[name].append(slowest)
                return 1 / answers

            for name in urls:
                wrk(urls[name], words, min(2, options.seconds), work)
            claim = "similar over HTTP, 16 connections"
            contenders = [Contender(name, lambda name=name: load(name)) for name in urls]
            result = race(claim, contenders, repeats=options.repeats, warmup=0, work=1, rate="answers/s")
    return [result, Result(f"{claim}, 99th percentile of the waiting time", p99)]


def rival_vectors(wv: fw.KeyedVectors, work: Path) -> None:
    from gensim.models import KeyedVectors

    theirs = KeyedVectors(wv.vector_size)
    theirs.add_vectors(list(wv.index_to_key), wv.vectors)
    theirs.fill_norms()
    theirs.save(str(work / "vectors.kv"))
    (work / "rival.py").write_text(RIVAL)


@contextlib.contextmanager
def serving(command: list[str], work: Path, *, blas: str | None = None) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = {"OPENBLAS_NUM_THREADS": blas} if blas else {}
    environment = {**os.environ, **threads}
    process = subprocess.Popen([*command, str(port)], cwd=work, env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json"):
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/vectors"):
                break
            if process.poll() is not None:
                sys.exit(f"{command} did not start")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def wrk(url: str, words: list[str], seconds: int, work: Path) -> tuple[float, float]:
    """Answers a second, and the 99th percentile in seconds; every answer must be a 200."""
    script = work / "wrk.lua"
    script.write_text(WRK % (", ".join(f'"{word}"' for word in words), "/" + url.split("/", 3)[3]))
    host = url.rsplit("/", url.count("/") - 2)[0]
    run = subprocess.run(
        ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), host], capture_output=True, text=True, check=True
    )
    assert "Non-2xx" not in run.stdout, run.stdout
    answers = re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)
    slowest = re.search(r"p99 ([\d.]+)", run.stdout)
    assert answers, run.stdout
    assert slowest, run.stdout
    return float(answers[1]), float(slowest[1])


if __name__ == "__main__":
    main(measure, __doc__, needs=["gensim", "fastapi", "uvicorn"], sizes={"seconds": (5, 1)})
