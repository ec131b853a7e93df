"""From tokens on disk to the first shuffled batch [32, 256], in a fresh process, after imports; also of a terabyte.

    python benchmarks/loader/first_batch.py [--repeats 9] [--json]

Foreword opens a store that ``prepare`` made of the standard library's help texts, over and over; the rivals map the
same ids as raw uint16, nanoGPT's format. The terabyte is a sparse file, which all map: no byte of it is written, but
every offset is real. The memory is what the process grows by, resident, over open and first batch.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import foreword as fw

sys.path.append(str(Path(__file__).parents[1]))
from runner import Contender, arguments, race, report

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


def run(code: str, path: Path) -> tuple[float, float]:
    """MB that the process grew by, and seconds."""
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    megabytes, seconds = done.stdout.split()[-2:]
    return float(megabytes), float(seconds)


def main() -> None:
    options = arguments(__doc__, repeats=9).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        real, sparse = Path(folder) / "train.bin", Path(folder) / "terabyte.bin"
        text = "\n\n".join(topics.values())
        store = fw.prepare([text] * 300, Path(folder) / "store")  # about 35 million tokens
        store[:].tofile(real)
        with open(sparse, "wb") as file:
            file.truncate(10**12)
        codes = {"Foreword": FOREWORD, "nanoGPT": NANOGPT, "grain": GRAIN}
        results = []
        for path, ours, claim in ((real, store.path, f"{len(store):,} tokens"), (sparse, sparse, "1 TB, sparse")):
            memory = {name: run(code, ours if name == "Foreword" else path)[0] for name, code in codes.items()}
            results.append(
                race(
                    f"open + first shuffled batch [32, 256], {claim}",
                    [
                        Contender(name, lambda code=code, path=ours if name == "Foreword" else path: run(code, path)[1])
                        for name, code in codes.items()
                    ],
                    repeats=options.repeats,
                    notes="new resident memory: " + ", ".join(f"{name} {mb:.1f} MB" for name, mb in memory.items()),
                )
            )
    report(results, packages=["foreword", "torch", "numpy", "grain"], as_json=options.json)


if __name__ == "__main__":
    main()
