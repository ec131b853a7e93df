"""Input embeddings: token ids [B, T] to vectors [B, T, D], as torch modules.

>>> import torch
>>> from foreword.embeddings import InputEmbedding
>>> layer = InputEmbedding(vocab_size=50257, embedding_dim=256, context_length=4)
>>> layer(torch.tensor([[40, 367, 2885, 1464]])).shape
torch.Size([1, 4, 256])

Files in reading order: ``layer`` (the module), ``positions`` and ``rotary`` (the schemes; ``scaling``: past the context
of training), ``ngram_table`` (rows for n-grams; ``ngram_report``; ``mapped_table`` and ``ngram_rows``: in a folder),
``growing`` (other sizes; ``vocabulary``: another tokenizer), ``learning`` (parameter groups, an optimizer by rows),
``checkpoint`` (models' files in, by what ``architectures`` knows of them; ``tensors``, ``rotary_config``) and
``saving`` (out), ``knowledge`` (a start from word vectors).

Not for: making ids (``foreword.tokens``) or batches of them (``foreword.windows``). Costs: importing it imports torch.
"""

from __future__ import annotations

import importlib.util

from foreword.errors import MissingPackageError

if importlib.util.find_spec("torch") is None:
    raise MissingPackageError("foreword.embeddings needs torch", fix="pip install torch")

from foreword.embeddings.knowledge import Coverage
from foreword.embeddings.layer import InputEmbedding
from foreword.embeddings.learning import ParameterGroups, RowAdam, clip_grad_norm_
from foreword.embeddings.ngram_report import NgramReport, NgramUse
from foreword.embeddings.ngram_table import NgramTable
from foreword.embeddings.positions import AlibiBias, LearnedPositions, SinusoidalPositions
from foreword.embeddings.rotary import RotaryByLayer, RotaryPositions
from foreword.embeddings.scaling import RotaryScaling
from foreword.embeddings.vocabulary import VocabularyReport

__all__ = [
    "AlibiBias",
    "Coverage",
    "InputEmbedding",
    "LearnedPositions",
    "NgramReport",
    "NgramTable",
    "NgramUse",
    "ParameterGroups",
    "RotaryByLayer",
    "RotaryPositions",
    "RotaryScaling",
    "RowAdam",
    "SinusoidalPositions",
    "VocabularyReport",
    "clip_grad_norm_",
]
