"""Foreword's windows in torch's own DataLoader, beside Foreword's loader: the same batches.

python examples/torch_dataloader.py
"""

import torch
from torch.utils.data import DataLoader

import foreword as fw

text = "Every effort moves you closer to the goal, and every window of it is one slice of the tokens. " * 40

if __name__ == "__main__":  # workers may import this file
    ids = fw.get_tokenizer("gpt2").encode(text)
    data = fw.WindowDataset(ids, context_length=16, stride=16)

    # A batch is fetched at once (__getitems__), not window by window.
    theirs = DataLoader(data, batch_size=8, drop_last=True, num_workers=2)
    ours = fw.WindowLoader(data, batch_size=8)

    for (inputs, targets), (our_inputs, our_targets) in zip(theirs, ours, strict=True):
        assert torch.equal(inputs, our_inputs)
        assert torch.equal(targets, our_targets)
    print(f"{len(ours)} batches of {tuple(inputs.shape)}, the same from both")
