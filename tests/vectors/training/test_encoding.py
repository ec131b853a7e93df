"""Encoding a corpus: the compiled way against a plain one, whole or not at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import FileError, FormatError, MissingFileError
from foreword.vectors.training.corpus import FIRST, TextCorpus, open_encoded
from foreword.vectors.training.token_lists import TokenLists

from .test_vocabulary import TEXTS, sentences_of, text_corpus


def plain(sentences, words):
    """The slow reference."""
    index = {word: i for i, word in enumerate(words)}
    out = []
    for sentence in sentences:
        known = [index[word] for word in sentence if word in index]
        out += [i | (FIRST if place == 0 else 0) for place, i in enumerate(known)]
    return out


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.data())
def test_a_text_is_encoded_as_the_plain_way_does(tmp_path_factory, text, data):
    path = tmp_path_factory.mktemp("encoded") / "corpus.u4"
    sentences = sentences_of(text)
    known = sorted({word for sentence in sentences for word in sentence})
    words = data.draw(st.lists(st.sampled_from([*known, "other"]), unique=True)) if known else ["other"]
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    expected = plain(sentences, words)
    for corpus in (text_corpus(text.encode(), sizes), TokenLists(sentences)):
        encoded = corpus.encode(words, path, workers=data.draw(st.integers(1, 3)))
        assert encoded.words.tolist() == expected
        assert encoded.total == sum(map(len, sentences))
        assert encoded.sentences == sum(i >= FIRST for i in expected)


def test_a_line_beyond_ten_thousand_words_is_one_sentence(tmp_path):
    words = [f"w{i % 100}" for i in range(123_456)]
    corpus = text_corpus((" ".join(words) + "\nlast").encode(), [8192])
    encoded = corpus.encode(["w1", "w0", "last"], tmp_path / "long.u4", workers=2).words
    assert np.flatnonzero(encoded >= FIRST).tolist() == [0, len(encoded) - 1]
    assert encoded.tolist() == plain([words, ["last"]], ["w1", "w0", "last"])


@pytest.mark.slow
def test_a_line_of_a_hundred_million_words(tmp_path):
    path = tmp_path / "line.txt"
    piece = b" ".join(b"w%d" % (i % 1000) for i in range(100_000)) + b" "
    with path.open("wb") as file:
        for _ in range(1000):
            file.write(piece)
    corpus = TextCorpus.of_file(path)
    counted = corpus.count(workers=2)
    assert (counted.total, counted.sentences, len(counted)) == (100_000_000, 1, 1000)
    encoded = corpus.encode([f"w{i}" for i in range(1000)], tmp_path / "line.u4", workers=2).words
    assert encoded[0] == FIRST
    whole = np.array(encoded)
    whole[0] = 0
    assert (whole.reshape(-1, 1000) == np.arange(1000)).all()


def test_keys_that_no_text_can_hold_are_passed_over(tmp_path):
    words = ["b", "a b", "", 7, "a", " ", "\ud800"]
    assert text_corpus(b"a b a\nb").encode(words, tmp_path / "x").words.tolist() == [4 | FIRST, 0, 4, FIRST]


def test_nothing_to_encode_is_an_empty_array(tmp_path):
    for corpus in (text_corpus(b""), text_corpus(b"unknown words"), TokenLists([])):
        encoded = corpus.encode(["word"], tmp_path / "empty").words
        assert encoded.dtype == np.uint32
        assert len(encoded) == 0


def test_a_failure_on_the_way_leaves_no_file_and_the_old_one(tmp_path):
    path = tmp_path / "corpus.u4"

    def broken():
        yield b"a b c " * 100_000
        raise FormatError("broken on the way")

    def sentences():
        yield ["a"] * 1_000_000
        raise FormatError("broken on the way")

    for corpus in (TextCorpus(broken, "broken"), TokenLists(sentences())):
        with pytest.raises(FormatError, match="broken on the way"):
            corpus.encode(["a", "b"], path, workers=2)
        assert list(tmp_path.iterdir()) == []
    text_corpus(b"a b").encode(["a", "b"], path)
    before = path.read_bytes()
    with pytest.raises(FormatError):
        TextCorpus(broken, "broken").encode(["a", "b"], path)
    assert [file.name for file in tmp_path.iterdir()] == ["corpus.u4"]
    assert path.read_bytes() == before


@pytest.mark.portable
def test_a_file_that_is_cut_short_or_gone_is_refused(tmp_path):
    path = tmp_path / "corpus.u4"
    text_corpus(b"a b").encode(["a", "b"], path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="cut short"):
        open_encoded(path)
    with pytest.raises(MissingFileError):
        open_encoded(tmp_path / "none")
    with pytest.raises(FileError):
        text_corpus(b"a b").encode(["a"], tmp_path / "no folder" / "x")
