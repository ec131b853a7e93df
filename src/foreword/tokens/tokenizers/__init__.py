"""Tokenizers: text to token ids and back.

Read in this order: ``engines`` (byte-pair encoding of ordinary text), ``special`` and ``tokenizer`` (special tokens,
offsets, decoding), ``hugging_face`` with ``cutting``, ``sentence_piece`` and ``byte_tokenizer`` (other kinds of
tokenizers), ``files``, ``folder``, ``hub`` and ``objects`` (where they come from), ``opening`` (a tokenizer by its
name), ``merging`` (how a token came to be), ``train`` (a new vocabulary).
"""
