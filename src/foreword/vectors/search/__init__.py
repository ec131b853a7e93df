"""Exact search over int8 codes.

Read in this order: ``codes`` (rows as int8, and the bound of their error), ``index`` (a query's nearest rows),
``scans`` and ``batch`` (which rows may be among them, for one query and for many), ``analogies`` (thousands of queries
at once), ``kernels`` (the loops of these as machine code), ``instructions``, ``assembly`` and ``assembly_many`` (their
text). It knows arrays only: no keys, no files.
"""
