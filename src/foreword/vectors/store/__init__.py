"""The vector store: keys, rows and codes in a folder, memory-mapped.

Read in this order: ``keys`` (words and their hashes), ``subwords`` (fastText's n-grams), ``store`` (opening),
``building`` (writing, block by block), ``saving`` (a table that was made or edited).
"""
