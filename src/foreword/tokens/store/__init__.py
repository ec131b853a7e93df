"""The token store: token ids on disk, memory-mapped.

Read in this order: ``store`` (opening and reading), ``writer``, ``checks`` (every byte against its checksum),
``inspection`` (what a store holds), ``formats`` (token files of other libraries).
"""
