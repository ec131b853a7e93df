"""Tokens: text to token ids, and a corpus to a token store on disk.

    text ── tokenizers/ ──▶ ids            corpus ── preparing/ ──▶ store/ ──▶ TokenStore

Knows nothing of windows and torch.
"""

from foreword.tokens.preparing.documents import Reading
from foreword.tokens.preparing.prepare import prepare
from foreword.tokens.store.formats import export
from foreword.tokens.store.inspection import Inspection, inspect
from foreword.tokens.store.store import TokenStore
from foreword.tokens.tokenizers.merging import Merge, merges_of
from foreword.tokens.tokenizers.opening import get_tokenizer
from foreword.tokens.tokenizers.tokenizer import Tokenizer
from foreword.tokens.tokenizers.train import train_tokenizer

__all__ = [
    "Inspection",
    "Merge",
    "Reading",
    "TokenStore",
    "Tokenizer",
    "export",
    "get_tokenizer",
    "inspect",
    "merges_of",
    "prepare",
    "train_tokenizer",
]
