"""Windows: token ids to batches of inputs and targets.

Read in this order: ``arithmetic`` and ``packing`` (which tokens a window holds), ``segments`` (which of them belong
together), ``source`` and ``far_source`` (reading them, here and far away), ``ngrams`` (rows of n-grams), ``dataset``
and ``joined`` (windows as indexed examples), ``batches`` (some windows as tensors), ``order``, ``block_order`` and
``skip`` (which window of a source comes next), ``kernels`` and ``assembly`` (order and reading as machine code),
``weights``, ``timetable`` and ``mixture`` (which source), ``plan`` and ``epochs`` (places in epochs, by arithmetic),
``iterations`` (whose place is the loader's), ``history`` (what was changed on the way) and ``state`` (both as data),
``ranks``, ``prefetch``, ``read_ahead``, ``sources`` and ``loader`` (an epoch's batches), ``clients`` (what other
people's loops look for), ``report`` (an epoch in words), ``tracing`` (which step held what).

Knows nothing of how tokens were made. torch is imported with the first tensor.
"""

from foreword.windows.arithmetic import TokenAccount
from foreword.windows.clients import trainer_callback
from foreword.windows.dataset import WindowDataset
from foreword.windows.loader import WindowLoader
from foreword.windows.report import EpochReport
from foreword.windows.tracing import Occurrence, TracedWindow

__all__ = [
    "EpochReport",
    "Occurrence",
    "TokenAccount",
    "TracedWindow",
    "WindowDataset",
    "WindowLoader",
    "trainer_callback",
]
