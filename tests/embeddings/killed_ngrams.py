"""A training run with a table of n-grams in a folder, killed over and over (SIGKILL), and resumed.

    killed_ngrams.py FOLDER KILLS SEED WHEN     WHEN: at a write, or after a while

Each leg is a process of its own, forked when torch has been imported. Prints, as JSON, how many kills there were, and
for each run that came to its end whether it has the losses and the rows of one that was never killed.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch

import foreword as fw
import foreword.embeddings
from foreword.embeddings import ngram_rows, row_file, row_file_kernel, row_file_plain

STEPS, EVERY, ROWS, DIM, VOCABULARY = 24, 5, 3000, 6, 100


class Events:
    """Counts the moments at which something is written; at the fatal one the process is killed."""

    def __init__(self, fatal):
        self.count, self.fatal = 0, fatal

    def happen(self, torn=None):
        self.count += 1
        if self.count == self.fatal:
            if torn is not None:
                torn()
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self):
        """Have the writes of a table tell of themselves."""
        for owner, name in ((row_file.RowFile, "sync"), (row_file, "_write_state"), (os, "replace")):
            setattr(owner, name, self._around(getattr(owner, name)))
        write = row_file_kernel.write

        def torn_write(words, floats, layout, numbers, ids, rows, start, stop):
            def torn():
                middle = (start + stop) // 2
                write(words, floats, layout, numbers, ids, rows, start, middle)
                cut = (
                    words.copy()
                    if middle == stop
                    else words[: int(row_file_plain.places(layout, ids)[middle]) + 2 * int(layout[3])]
                )
                before = cut.copy()  # the slot that is written next, then half of it as it was
                write(words, floats, layout, numbers, ids, rows, middle, min(middle + 1, stop))
                changed = np.flatnonzero(cut != before)
                cut[changed[len(changed) // 2 :]] = before[changed[len(changed) // 2 :]]

            self.happen(torn)
            write(words, floats, layout, numbers, ids, rows, start, stop)

        row_file_kernel.write = torn_write

    def _around(self, function):
        def watched(*args):
            self.happen()
            result = function(*args)
            self.happen()
            return result

        return watched


def train(folder, events):
    """The run, from its last checkpoint on; its result is in folder/result.json."""
    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(0, VOCABULARY, 5000).astype(np.uint16)
    saved = folder / "model.pt"
    if not saved.exists():  # killed between the first checkpoints of the table and the model
        shutil.rmtree(folder / "table", ignore_errors=True)
    ngrams = fw.NgramTable(rows=ROWS, dim=DIM, end_of_text_id=0, path=folder / "table")
    layer = fw.InputEmbedding(VOCABULARY, 8, position="none", ngrams=ngrams)
    data = fw.WindowDataset(ids, context_length=16, stride=7, ngrams=ngrams)
    loader = fw.WindowLoader(data, batch_size=8, shuffle=True, prefetch=1)
    groups = layer.parameter_groups()
    optimizers = {
        "rows": fw.embeddings.RowAdam(groups.sparse, lr=0.05),
        "dense": torch.optim.AdamW(groups.dense, lr=0.05),
    }
    losses, parts = [], {"layer": layer, "loader": loader, **optimizers}
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        losses = state.pop("losses")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    events.watch()
    while len(losses) < STEPS:
        for inputs, targets, rows in loader:
            loss = torch.nn.functional.cross_entropy(
                layer.logits(layer(inputs, ngram_rows=rows)).flatten(0, 1), targets.flatten()
            )
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers.values():
                optimizer.step()
            losses.append(loss.item())
            if len(losses) % EVERY == 0 or len(losses) == STEPS:
                ngrams.checkpoint()
                state = {name: part.state_dict() for name, part in parts.items()}
                events.happen()
                torch.save({"losses": losses, **state}, f"{saved}.new")
                os.replace(f"{saved}.new", saved)
            if len(losses) == STEPS:
                break
    bits = ngrams.table.weight.mapped.gather(np.arange(ROWS)).tobytes()
    result = {"losses": losses, "rows": hashlib.sha256(bits).hexdigest(), "events": events.count}
    (folder / "result.json").write_text(json.dumps(result))


def leg(folder, fatal=None, seconds=None):
    """One process of the run; its status."""
    folder.mkdir(exist_ok=True)
    begun, begin = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(begin, b".")
            train(folder, Events(fatal))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.read(begun, 1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    folder, kills, seed, when = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    ngram_rows._TOGETHER = 64  # more writes to be killed at
    started = time.monotonic()
    assert leg(folder / "whole") == 0
    seconds = time.monotonic() - started
    want = json.loads((folder / "whole" / "result.json").read_text())
    events, rng = want.pop("events"), random.Random(seed)
    done, same, runs = 0, [], 0
    while done < kills or not same:
        runs += 1
        run = folder / f"run{runs}"
        while True:
            chance = {"fatal": rng.randint(1, events)} if when == "write" else {"seconds": rng.uniform(0, seconds)}
            code = leg(run, **(chance if done < kills else {}))
            if code == 0:
                break
            assert code == -signal.SIGKILL, code
            done += 1
        result = json.loads((run / "result.json").read_text())
        same.append(result["losses"] == want["losses"] and result["rows"] == want["rows"])
    print(json.dumps({"kills": done, "same": same, "events": events}))


if __name__ == "__main__":
    main()
