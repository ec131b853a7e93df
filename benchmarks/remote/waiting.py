"""A shuffled epoch from an object store, each request with 50 ms added, against the same without.

    python benchmarks/remote/waiting.py [--tokens 200000000] [--repeats 3] [--quick] [--json FILE]

As ``epoch.py``, of Foreword alone: what comes next is known, so it is under way before it is needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from object_store import running
from stores import epoch, make_store

from runner import Contender, Result, main, race


def measure(args: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_store(folder / "store", args.tokens)
        limit = 2 * args.tokens // 3
        with running(store, wait=0.05) as slow, running(store) as fast:
            contenders = [
                Contender("Foreword, 50 ms a request more", lambda: epoch(slow, folder / "cache", limit)),
                Contender("Foreword", lambda: epoch(fast, folder / "cache", limit)),
            ]
            claim = "the same with 50 ms added to each request"
            work = args.tokens / 1e6
            return [race(claim, contenders, repeats=args.repeats, work=work, rate="M tokens/s")]


if __name__ == "__main__":
    main(measure, __doc__, repeats=3, needs=["fsspec", "aiohttp"], sizes={"tokens": (200_000_000, 6_000_000)})
