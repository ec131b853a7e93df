"""What the page asks of word vectors beyond ``KeyedVectors``."""

import numpy as np

import foreword as fw
from foreword.explorer.library import Words


def test_words_complete_beside_integer_keys():
    table = fw.KeyedVectors(2)
    table.add_vectors([12, "one", 1, "12b"], np.eye(4, 2))
    words = Words("mixed", table)
    assert words.complete("1", 10) == ["1", "12", "12b"]
    assert words.complete("1", 2) == ["1", "12"]
    assert words.complete("o", 10) == ["one"]
