"""Tokenizers: text to token ids and back.

Read in this order: ``engines`` (byte-pair encoding of ordinary text), ``tokenizer`` (special tokens, offsets,
decoding), ``foreign`` (tokenizers of other libraries), ``opening`` (a tokenizer by its name or file), ``train`` (a new
vocabulary).
"""
