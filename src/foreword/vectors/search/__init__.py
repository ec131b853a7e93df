"""Exact search over int8 codes.

Read in this order: ``codes`` (rows as int8, and the bound of their error), ``kernels`` (the scans, compiled), ``index``
(a query's nearest rows), ``analogies`` (thousands of queries at once). It knows arrays only: no keys, no files.
"""
