"""Slow, obvious versions of what foreword.windows does, to compare with."""

import torch
from torch.utils.data import DataLoader, Dataset


class GPTDatasetV1(Dataset):
    """The notebook's way: every window a list of its own, made into two tensors up front."""

    def __init__(self, ids, context_length, stride):
        self.input_ids, self.target_ids = [], []
        for i in range(0, len(ids) - context_length, stride):
            self.input_ids.append(torch.tensor(ids[i : i + context_length]))
            self.target_ids.append(torch.tensor(ids[i + 1 : i + context_length + 1]))

    def __len__(self):
        return len(self.input_ids)

    def __getitem__(self, index):
        return self.input_ids[index], self.target_ids[index]


def notebook_loader(ids, *, batch_size, context_length, stride, shuffle=False, drop_last=True):
    """The notebook's create_dataloader_v1, from ids on."""
    return DataLoader(
        GPTDatasetV1(ids, context_length, stride), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last
    )


def same_batches(ours, theirs):
    """Whether two sequences of (inputs, targets) batches hold the same tensors: shape, dtype, values."""
    return len(ours) == len(theirs) and all(
        ours_part.dtype == theirs_part.dtype and torch.equal(ours_part, theirs_part)
        for ours_batch, theirs_batch in zip(ours, theirs, strict=True)
        for ours_part, theirs_part in zip(ours_batch, theirs_batch, strict=True)
    )


def spans(tokens, context_length, stride, tail, *, begin=0):
    """(start, length) of each window over a stretch of ``tokens`` tokens that begins at ``begin``."""
    found, start, reached = [], 0, False
    while not reached:
        length = min(context_length, tokens - 1 - start)  # inputs that have a target
        if length < 1 or (tail == "drop" and length < context_length):
            break
        found.append((begin + start, length))
        reached = start + length == tokens - 1 and tail != "drop"
        start += stride
    return found


def account(found, tokens, context_length):
    """The token account, by counting each token: (distinct, repeated, padded, dropped)."""
    seen = [0] * tokens
    for start, length in found:
        for place in range(start, start + length):
            seen[place] += 1
    distinct = sum(count > 0 for count in seen)
    return distinct, sum(seen) - distinct, len(found) * context_length - sum(seen), tokens - distinct


def pack(lengths, capacity):
    """Best-fit decreasing, an item at a time: the room left in each bin."""
    rooms = []
    for length in sorted(lengths, reverse=True):
        fitting = [i for i, room in enumerate(rooms) if room >= length]
        if not fitting:
            rooms.append(capacity)
            fitting = [len(rooms) - 1]
        rooms[min(fitting, key=lambda i: rooms[i])] -= length
    return rooms
