"""Windows: token ids to batches of inputs and targets.

Read in this order: ``arithmetic`` and ``packing`` (which tokens a window holds), ``segments`` (which of them belong
together), ``source`` (reading them), ``dataset`` and ``joined`` (windows as indexed examples), ``batches`` (some
windows as tensors), ``order`` and ``mixture`` (which window comes next), ``plan`` and ``epochs`` (places in epochs, by
arithmetic), ``iterations`` (whose place is the loader's) and ``state`` (the place as data), ``ranks``, ``prefetch`` and
``loader`` (an epoch's batches), ``clients`` (what other people's loops look for), ``report`` (an epoch in words).

Knows nothing of how tokens were made. torch is imported with the first tensor.
"""

from foreword.windows.arithmetic import TokenAccount
from foreword.windows.clients import trainer_callback
from foreword.windows.dataset import WindowDataset
from foreword.windows.loader import WindowLoader
from foreword.windows.report import EpochReport

__all__ = ["EpochReport", "TokenAccount", "WindowDataset", "WindowLoader", "trainer_callback"]
