"""Training vectors: skip-gram and CBOW with negative sampling, with or without subwords; the same bits on any number of
threads.

    encoded corpus ── lanes train on copies of rows ──▶ changes ── parts add them up in order ──▶ the two tables

Read in this order: ``options``, ``tables`` (which words are kept, and which are noise), ``kernels`` (lanes, parts, and
who does which), ``assembly`` (the arithmetic of a centre word), ``trainer``, ``checkpoints``.
tests/vectors/training/reference.py has a round in plain numpy.
"""
