"""Where vectors come from.

Read in this order: ``catalogue`` (names), ``remote`` (URLs and Hugging Face repositories), ``convert`` (the cache of
stores that files were converted to).
"""
