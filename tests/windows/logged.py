"""Drawn runs of loaders, with a log of everything they hand out, told from the tokens alone.

A token is 1,000,000 × source + its place in the stream, so that each row of a batch says where it came from.
"""

import json

import numpy as np

import foreword as fw

MILLION = 1_000_000
NAMES = ("code", "math", "web")


class Drawn:
    """A drawn loader whose settings may change from one go to the next.

    Attributes:
        sources: WindowDatasets by name; ``alone`` says that there is one, which is no mixture.
        offsets: of their documents.
        skip: documents that the loaders of this go skip, by source.
        log: by (epoch, step, rank) the rows of that batch: (source, spans of its inputs).
        lost: sources that are not in the mixture now.
    """

    def __init__(self, luck):
        self.luck, self.log, self.state, self.lost = luck, {}, None, set()
        self.alone = luck.random() < 0.5
        T = luck.randint(1, 6)
        keep, segments = luck.random() < 0.3, luck.random() < 0.2
        self.sources, self.offsets = {}, {}
        names = ["data"] if self.alone else sorted(luck.sample(NAMES, luck.randint(1, 3)))
        for i, name in enumerate(names):
            lengths = [luck.choice([0, 1, 2, 3, 7, luck.randint(0, 25)]) for _ in range(luck.randint(1, 12))]
            lengths.insert(luck.randint(0, len(lengths)), T + luck.randint(1, 20))
            self.offsets[name] = np.cumsum([0, *lengths])
            ids = MILLION * i + np.arange(self.offsets[name][-1])
            cut = luck.choice(
                [{"within": "stream"}, {"within": "document"}, {"within": "document", "packing": "best-fit"}]
            )
            if "packing" in cut:
                cut["tail"] = "keep" if keep else "pad"
            else:
                cut |= {"tail": "keep" if keep else luck.choice(["drop", "pad"]), "stride": luck.randint(1, T + 2)}
            self.sources[name] = fw.WindowDataset(
                ids, context_length=T, offsets=self.offsets[name], segments=segments, **cut
            )
        self.names = names
        self.options = {"shuffle": luck.random() < 0.8, "seed": luck.randint(0, 9)}
        self.sizes, self.skip, self.used, self.weights = {}, {}, list(names), None
        self.change(first=True)

    def change(self, *, first=False):
        """Draw other settings; those of the first go, or for the rest of the run."""
        luck = self.luck
        if first or luck.random() < 0.6:
            self.sizes |= {"batch_size": luck.randint(1, 5), "world_size": luck.choice([1, 1, 2, 3])}
        if first or luck.random() < 0.3:
            self.sizes["drop_last"] = luck.random() < 0.5
        if not self.alone and (first or luck.random() < 0.3):
            if not first:
                self.used = sorted(luck.sample(self.names, luck.randint(1, len(self.names))))
            self.lost = set(self.names) - set(self.used)
            self.weights = self._weights()
        if luck.random() < 0.5:
            self.skip = {}
            for name in self.used:
                documents = range(len(self.offsets[name]) - 1)
                chosen = luck.sample(documents, luck.randint(0, min(3, len(documents))))
                if len(self.untouched(name, chosen)):
                    self.skip[name] = chosen

    def _weights(self):
        luck = self.luck
        if luck.random() < 0.5:
            return {name: luck.randint(1, 5) for name in self.used}
        pieces = [{name: luck.randint(1, 5) for name in self.used}]
        pieces += [{name: luck.randint(1, 5) for name in luck.sample(self.used, luck.randint(1, len(self.used)))}]
        luck.shuffle(pieces)
        return [(0, pieces[0]), (luck.randint(1, 40), pieces[1])]

    def untouched(self, name, skip):
        """The windows whose inputs hold no token of some documents, by looking at each."""
        kept = []
        for window in range(len(self.sources[name])):
            places = _places(self.sources[name][window])
            if not any(self.offsets[name][d] <= p < self.offsets[name][d + 1] for d in skip for p in places):
                kept.append(window)
        return kept

    def loaders(self):
        """A loader for each rank, where the last go left off."""
        used = self.sources["data"] if self.alone else {name: self.sources[name] for name in self.used}
        skip = self.skip.get("data", []) if self.alone else {n: s for n, s in self.skip.items() if n in self.used}
        weights = {} if self.alone else {"weights": self.weights}
        made = [
            fw.WindowLoader(used, rank=rank, skip=skip, **self.options, **self.sizes, **weights)
            for rank in range(self.sizes["world_size"])
        ]
        for loader in made:
            if self.state is not None:
                loader.load_state_dict(self.state)
        return made

    def go(self, steps):
        """Hand out some batches, and write them down; the loaders afterwards."""
        loaders = self.loaders()
        left = steps
        while left > 0:
            iterators = [iter(loader) for loader in loaders]
            handed_out = False
            for batches in zip(*iterators, strict=True):
                handed_out = True
                iteration = loaders[0]._iterations.latest
                epoch = iteration.block.epoch - iteration.finished
                step = 1 + max((s for e, s, _ in self.log if e == epoch), default=-1)
                for rank, batch in enumerate(batches):
                    self.log[epoch, step, rank] = self.rows(batch)
                left -= 1
                if not left:
                    break
            states = [json.loads(json.dumps(loader.state_dict())) for loader in loaders]
            assert all(state == states[0] for state in states)
            if not handed_out:
                break
        self.state = json.loads(json.dumps(loaders[0].state_dict()))
        return loaders

    def rows(self, batch):
        """(source, ((start, stop), …)) of each row of a batch."""
        inputs, targets = (batch["inputs"], batch["targets"]) if isinstance(batch, dict) else batch
        rows = []
        for row, their_targets in zip(inputs, targets, strict=True):
            tokens = row[their_targets != -100]
            rows.append((self.names[int(tokens[0]) // MILLION], _runs((tokens % MILLION).tolist())))
        return rows

    def documents(self, name, spans):
        """The documents whose tokens lie in the spans, in order."""
        offsets = self.offsets[name]
        return [
            document
            for start, stop in spans
            for document in range(len(offsets) - 1)
            if max(start, offsets[document]) < min(stop, offsets[document + 1])
        ]


def _places(sample):
    inputs, targets = (sample["inputs"], sample["targets"]) if isinstance(sample, dict) else sample
    return (inputs[targets != -100] % MILLION).tolist()


def _runs(places):
    """Rising numbers as (start, stop) of each run of neighbours."""
    runs = []
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1][1] += 1
        else:
            runs.append([place, place + 1])
    return tuple((start, stop) for start, stop in runs)


def spans(entry):
    """The spans of a traced window, neighbours as one, as ``rows`` tells them."""
    starts, stops = (entry.start, entry.stop) if isinstance(entry.start, tuple) else ((entry.start,), (entry.stop,))
    return _runs([place for start, stop in zip(starts, stops, strict=True) for place in range(start, stop)])
