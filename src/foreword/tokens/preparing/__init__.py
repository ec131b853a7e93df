"""Preparing: a corpus of any size to a token store.

Read in this order: ``kinds`` (what a file is), ``corpus`` (which files), ``streams`` (their bytes), ``records`` and
``documents`` (their documents), ``blocks`` (documents to token ids, on threads), ``digests`` (duplicates, splits),
``journal`` (how far a run has come), ``upload`` (a store for a URL), ``run`` (the loop), ``prepare`` (the call).
``ray_engine`` does the work of ``blocks`` on a cluster.
"""
