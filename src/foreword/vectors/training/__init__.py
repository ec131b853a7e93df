"""Training vectors on a corpus of one's own.

    corpus ── count ──▶ vocabulary ── encode ──▶ uint32 in a file ── Trainer ──▶ tables ──▶ KeyedVectors

Read in this order: ``corpus``, ``vocabulary``, ``word_table`` with ``words_kernel``.
"""
