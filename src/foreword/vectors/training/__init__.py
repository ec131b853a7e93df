"""Training vectors: skip-gram and CBOW with negative sampling, with or without fastText's subwords; the same bits on any
number of threads.

    corpus ── count ──▶ vocabulary ── encode ──▶ uint32 in a file                     (``corpus``, ``vocabulary``)
    encoded corpus ── draws ──▶ what each position trains ── lanes ──▶ a round's changes ── merge ──▶ the two tables
    Word2Vec, FastText: gensim's faces of both

Read in this order: ``corpus`` (what is trained on), ``vocabulary`` (which words), ``word_table`` with ``words_kernel``
(counting bytes); ``options``, ``draws`` (which words are kept, windows, negatives: functions of seed, epoch and
position), ``reference`` (a round in plain numpy: what the kernels do), ``assembly`` and ``kernels`` (the same, fast),
``trainer`` (epochs, threads, loss), ``checkpoints``; ``word2vec``, ``fasttext``, ``model_files``.
"""
