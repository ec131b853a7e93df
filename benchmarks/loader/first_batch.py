"""From tokens on disk to the first shuffled batch [32, 256], in a fresh process, after imports; also of a terabyte.

    python benchmarks/loader/first_batch.py [--texts 300] [--repeats 9] [--quick] [--json FILE]

Foreword opens a store that ``prepare`` made of the standard library's help texts, over and over; the rivals map the
same ids as raw uint16, nanoGPT's format. The terabyte is a sparse file, which all map: no byte of it is written, but
every offset is real. The memory is what the process grows by, resident, over open and first batch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import foreword as fw

sys.path.insert(0, str(Path(__file__).parents[1]))
from runner import Contender, Result, fresh_process, main, race

CLOCK = """
import resource, sys, time
path = sys.argv[1]
memory = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before, start = memory(), time.perf_counter()
{work}
assert inputs.shape == targets.shape == (32, 256), inputs.shape
print(memory() - before, time.perf_counter() - start)
"""

FOREWORD = "import numpy as np, foreword.windows, foreword.tokens, torch, foreword as fw" + CLOCK.format(
    work="""
source = np.memmap(path, np.uint16, "r") if path.endswith(".bin") else fw.TokenStore.open(path)
data = fw.WindowDataset(source, context_length=256)
inputs, targets = next(iter(fw.WindowLoader(data, batch_size=32, shuffle=True)))
"""
)

NANOGPT = "import numpy as np, torch" + CLOCK.format(
    work="""
data = np.memmap(path, dtype=np.uint16, mode='r')
ix = torch.randint(len(data) - 256, (32,))
inputs = torch.stack([torch.from_numpy((data[i:i + 256]).astype(np.int64)) for i in ix])
targets = torch.stack([torch.from_numpy((data[i + 1:i + 257]).astype(np.int64)) for i in ix])
"""
)

GRAIN = "import numpy as np, grain.python as pygrain" + CLOCK.format(
    work="""
class Windows:
    ids = np.memmap(path, np.uint16, 'r')
    def __len__(self):
        return (len(self.ids) - 1) // 256
    def __getitem__(self, i):
        window = self.ids[i * 256:i * 256 + 257].astype(np.int64)
        return window[:-1], window[1:]
data = pygrain.MapDataset.source(Windows()).shuffle(seed=0).batch(32, drop_remainder=True)
inputs, targets = next(iter(data.to_iter_dataset(pygrain.ReadOptions(num_threads=0, prefetch_buffer_size=0))))
"""
)


def measure(options: argparse.Namespace) -> list[Result]:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        real, sparse = Path(folder) / "train.bin", Path(folder) / "terabyte.bin"
        text = "\n\n".join(topics.values())
        store = fw.prepare([text] * options.texts, Path(folder) / "store")  # 300 give about 42 million tokens
        store[:].tofile(real)
        with open(sparse, "wb") as file:
            file.truncate(10**12)
        for path, ours, size in ((real, store.path, ""), (sparse, sparse, " of 1 TB")):
            codes = {"Foreword": (FOREWORD, ours), "nanoGPT": (NANOGPT, path), "grain": (GRAIN, path)}
            memory: dict[str, list[float]] = {name: [] for name in codes}

            def run(name: str, codes=codes, memory=memory) -> float:
                megabytes, seconds = map(float, fresh_process(*codes[name]))
                memory[name].append(megabytes)
                return seconds

            contenders = [Contender(name, lambda name=name, run=run: run(name)) for name in codes]
            claim = f"open + first shuffled batch [32, 256]{size}"
            results += [
                race(claim, contenders, repeats=options.repeats, notes=f"the store: {len(store):,} tokens"),
                Result(
                    f"{claim}, new resident memory", {k: v[-options.repeats :] for k, v in memory.items()}, unit="MB"
                ),
            ]
    return results


if __name__ == "__main__":
    main(measure, __doc__, repeats=9, needs=["grain"], sizes={"texts": (300, 3)})
