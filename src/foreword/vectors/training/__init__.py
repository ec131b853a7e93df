"""Training vectors: skip-gram and CBOW with negative sampling, with or without subwords; the same bits on any number of
threads.

    corpus ── count ──▶ vocabulary ── encode ──▶ encoded corpus: uint32 in a file
    encoded corpus ── lanes train on copies of rows ──▶ changes ── parts add them up in order ──▶ the two tables
    Word2Vec, FastText: both, with gensim's interface

Read in this order: ``corpus`` and ``token_lists`` (what is trained on), ``vocabulary`` (which words), ``word_table``
with ``words_kernel`` (counting bytes); ``options``, ``tables`` (which words are kept, and which are noise), ``kernels``
(lanes, parts, and who does which), ``assembly`` (the arithmetic of a centre word), ``trainer``
with its ``helper``s, ``rate``, ``checkpoints``;
``building`` (a model's vocabulary), ``word2vec``, ``fasttext``, ``model_files``.
tests/vectors/training/reference.py has a round in plain numpy.
"""
