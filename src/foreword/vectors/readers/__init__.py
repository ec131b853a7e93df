"""Readers: every format of word vectors → words and rows, block by block, in bounded memory.

``base`` says what a reader gives, ``source`` undoes compression, ``detect`` chooses by content among ``word2vec``,
``text``, ``fasttext``, ``gensim_native``, ``arrays`` (.npy, safetensors).
"""

from foreword.vectors.readers.base import Block, Options, Reader
from foreword.vectors.readers.detect import open_vectors

__all__ = ["Block", "Options", "Reader", "open_vectors"]
