"""Preparing: a corpus of any size to a token store.

Read in this order: ``corpus`` (files), ``documents`` (files to documents), ``blocks`` (documents to token ids, on
threads), ``digests`` (duplicates, splits), ``journal`` (how far a run has come), ``run`` (the loop), ``prepare`` (the
call). ``ray_engine`` does the work of ``blocks`` on a cluster.
"""
