"""Training vectors: skip-gram and CBOW with negative sampling, with or without fastText's subwords; the same bits on any
number of threads.

    encoded corpus ── draws ──▶ what each position trains ── lanes ──▶ a round's changes ── merge ──▶ the two tables

Read in this order: ``options``, ``draws`` (which words are kept, windows, negatives: functions of seed, epoch and
position), ``reference`` (a round in plain numpy: what the kernels do), ``assembly`` and ``kernels`` (the same, fast),
``trainer`` (epochs, threads, loss), ``checkpoints``.
"""
