"""A place in the plane for every word, so that words used alike lie side by side.

    rows ── graph ──▶ each row's nearest others ── placing ──▶ places [N, 2] ── laying_out ──▶ the cache

Read in this order: ``laying_out`` (the function people call, and what it keeps), ``coarse`` (clusters and
principal components), ``graph`` (who is near whom), ``placing`` (t-SNE with its repulsion on a grid), ``kernel`` (its
inner loops, compiled).
"""
