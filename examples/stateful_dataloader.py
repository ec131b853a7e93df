"""Foreword's windows in torchdata's StatefulDataLoader, stopped in mid-epoch and resumed.

    pip install torchdata
    python examples/stateful_dataloader.py

It resumes with as many workers and the same batch size as before; ``fw.WindowLoader`` with others too.
"""

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

import foreword as fw

text = "Every effort moves you closer to the goal, and every window of it is one slice of the tokens. " * 40


def make_loader() -> StatefulDataLoader:
    """The same loader each time."""
    ids = fw.get_tokenizer("gpt2").encode(text)
    data = fw.WindowDataset(ids, context_length=16, stride=4)
    torch.manual_seed(123)  # the sampler's order comes from torch's generator
    return StatefulDataLoader(data, batch_size=8, shuffle=True)


if __name__ == "__main__":
    whole = [inputs for inputs, _ in make_loader()]

    loader = make_loader()
    batches = iter(loader)
    first_part = [next(batches)[0] for _ in range(5)]
    state = loader.state_dict()  # with the model's, into the checkpoint

    resumed = make_loader()
    resumed.load_state_dict(state)
    rest = [inputs for inputs, _ in resumed]

    assert all(torch.equal(a, b) for a, b in zip(first_part + rest, whole, strict=True))
    print(f"{len(first_part)} batches, then {len(rest)} after resuming: the same as {len(whole)} in one go")
