"""Embeddings of whole corpora: text or a token store in, a file of vectors out, a block at a time.

    text ── documents ──▶ words or token ids ── rows of a table ──▶ [N, D], ids, offsets      (a row for each)
    store ────────────────────────────────┘                   └──▶ mean ──▶ [documents, D]    (a row for each document)

Read in this order: ``encoders`` (what gives ids and rows), ``output`` (files that grow), ``work`` (the loop). Composes
the rooms below it. Not for: training, or searching what it writes. Costs: one block of rows, whatever the corpus.
"""

from foreword.recipes.corpus_embeddings import Embedded, embed

__all__ = ["Embedded", "embed"]
