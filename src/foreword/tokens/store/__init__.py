"""The token store: token ids on disk, memory-mapped.

Read in this order: ``store`` (opening and reading), ``writer``, ``checks`` (every byte against its checksum),
``inspection`` (what a store holds), ``finding`` (a token sequence in it), ``formats`` (token files of other libraries),
``block_cache`` and ``far`` (a store behind a URL).
"""
