"""Windows: token ids to batches of inputs and targets.

Read in this order: ``arithmetic`` (which tokens a window holds), ``order`` (which window comes next), ``dataset``
(windows as indexed examples), ``loader`` (batches, epochs, resume).

Knows nothing of how tokens were made. torch is imported when the first tensor is asked for.
"""

from foreword.windows.arithmetic import TokenAccount
from foreword.windows.dataset import WindowDataset
from foreword.windows.loader import WindowLoader

__all__ = ["TokenAccount", "WindowDataset", "WindowLoader"]
