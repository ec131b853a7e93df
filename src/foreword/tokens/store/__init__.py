"""The token store: token ids on disk, memory-mapped.

Read in this order: ``opening`` and ``store`` (opening and reading), ``writer``, ``checks`` (every byte against its
checksum), ``inspection`` (what a store holds), ``finding`` (a token sequence in it), ``sources`` (the file that a
document came from), ``formats`` (token files of other libraries), ``block_cache`` and ``far`` (a store behind a URL).
"""
