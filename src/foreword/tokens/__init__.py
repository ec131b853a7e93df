"""Tokens: text to token ids, and a corpus to a token store on disk.

Read in this order: ``engines`` (byte-pair encoding of ordinary text), ``tokenizer`` (special tokens, decoding),
``corpus`` (files to documents), ``store`` (the folder on disk), ``preparing`` (corpus to store).

Knows nothing of windows and torch.
"""

from foreword.tokens.preparing.prepare import prepare
from foreword.tokens.store.store import TokenStore
from foreword.tokens.tokenizers.tokenizer import Tokenizer, get_tokenizer

__all__ = ["TokenStore", "Tokenizer", "get_tokenizer", "prepare"]
