"""Windows: token ids to batches of inputs and targets.

Read in this order: ``arithmetic`` and ``packing`` (which tokens a window holds), ``segments`` (which of them belong
together), ``source`` (reading them), ``dataset`` (windows as indexed examples), ``order`` and ``mixture`` (which window
comes next), ``plan`` and ``loader`` (batches, epochs, resume), ``report`` (telling it all).

Knows nothing of how tokens were made. torch is imported when the first tensor is asked for.
"""

from foreword.windows.arithmetic import TokenAccount
from foreword.windows.dataset import WindowDataset
from foreword.windows.loader import WindowLoader
from foreword.windows.report import EpochReport

__all__ = ["EpochReport", "TokenAccount", "WindowDataset", "WindowLoader"]
