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
