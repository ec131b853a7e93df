"""Preparing: a corpus of any size to a token store.

Read in this order: ``kinds`` (what a file is), ``corpus`` and ``saved`` (which files), ``streams`` (their bytes),
``contents`` and ``supervised`` (what a record holds), ``records``, ``tables`` and ``documents`` (their documents),
``blocks`` (documents to token ids, on threads), ``digests`` (duplicates, splits), ``journal`` (how far a run has come),
``upload`` (a store for a URL), ``run`` (the loop), ``options`` and ``prepare`` (the call). ``ray_engine`` does the work
of ``blocks`` on a cluster.
"""
