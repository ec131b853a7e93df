"""Counting words: the compiled way against ``str.split`` and ``collections.Counter``, and gensim's choice of words."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import (
    ArgumentError,
    ArgumentTypeError,
    FormatError,
    MissingFileError,
    MissingPackageError,
    TextDecodeError,
)
from foreword.vectors.training import corpus as corpus_module
from foreword.vectors.training.corpus import TextCorpus
from foreword.vectors.training.token_lists import TokenLists
from foreword.vectors.training.vocabulary import WordCounts, choose

BLANKS = " \t\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"
# Letters of every length, those that begin as wide blanks do, blanks, and a NUL.
LETTERS = "ab\0\u00b5\u00c2\u1681\u1100\u2010\u200b\u2030\u205e\u3001\u30d0\uffff\U0001f600" + BLANKS
TEXTS = st.lists(st.one_of(st.sampled_from([*LETTERS, "\n", " ", "abcdefg", "abcdefgh", "x" * 30]), st.characters(
    exclude_categories=["Cs"])), max_size=60).map("".join)  # fmt: skip


def sentences_of(text):
    """Line by line as gensim's LineSentence: bytes are cut at newlines alone."""
    return [words for line in text.split("\n") if (words := line.split())]


def text_corpus(data, sizes=(1 << 21,)):
    """Of bytes, given in pieces of these sizes, in turn."""

    def chunks():
        at = turn = 0
        while at < len(data):
            yield data[at : at + sizes[turn % len(sizes)]]
            at += sizes[turn % len(sizes)]
            turn += 1

    return TextCorpus(chunks, "the text", len(data))


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 3))
def test_counts_are_those_of_split_however_the_text_is_cut(text, sizes, workers):
    expected = Counter(word for words in sentences_of(text) for word in words)
    counted = text_corpus(text.encode(), sizes).count(workers=workers)
    assert counted.as_dict() == expected
    assert list(counted.as_dict()) == list(expected)  # in order of appearance
    assert counted.total == expected.total()
    assert counted.sentences == len(sentences_of(text))


def test_every_blank_of_str_split_is_one_and_no_other_character():
    everything = [chr(i) for i in range(0x4000) if not 0xD800 <= i <= 0xDFFF]
    counted = text_corpus("".join(f"a{letter}b " for letter in everything).encode(), [1 << 16]).count(workers=2)
    blank = [letter for letter in everything if letter.isspace()]
    assert counted.as_dict()["a"] == counted.as_dict()["b"] == len(blank)
    assert len(counted) == len(everything) - len(blank) + 2


def test_the_table_grows_and_order_does_not_depend_on_threads():
    rng = random.Random(1)
    words = [f"{'long-' * rng.randint(0, 3)}{int(rng.paretovariate(0.4)) % 50_000}" for _ in range(200_000)]
    data = "\n".join(" ".join(words[i : i + 9]) for i in range(0, len(words), 9)).encode()
    expected = Counter(words)
    for workers in (1, 2, 5):
        counted = text_corpus(data, [9_973]).count(workers=workers)
        assert list(counted.as_dict().items()) == list(expected.items())


@pytest.mark.parametrize(
    ("data", "expected", "sentences"),
    [
        (b"", {}, 0),
        (b" \n\t\r\n", {}, 0),
        (b"one", {"one": 1}, 1),
        (b"one\n\n\none\r\ntwo", {"one": 2, "two": 1}, 3),
        (b"a\0b a\0b \0", {"a\0b": 2, "\0": 1}, 1),
        (b"x" * 10_000 + b" " + b"x" * 10_001, {"x" * 10_000: 1, "x" * 10_001: 1}, 1),
        ("\ufeffword \ufeffword".encode(), {"word": 1, "\ufeffword": 1}, 1),
    ],
)
def test_odd_texts(tmp_path, data, expected, sentences):
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    counted = TextCorpus.of_file(path).count(workers=2)
    assert counted.as_dict() == expected
    assert counted.sentences == sentences


def test_words_that_share_a_hash_are_told_apart_by_their_bytes():
    # Words of up to seven bytes are their own keys; beyond, the arena decides.
    words = [f"{i:08}" for i in range(30_000)] + [f"{i:07}" for i in range(30_000)]
    counted = text_corpus(" ".join(words).encode()).count()
    assert set(counted.as_dict()) == set(words)
    assert (counted.counts == 1).all()


@pytest.mark.parametrize(
    "bad", [b"\xff", b"a\xc2", b"\xe2\x80", b"\xed\xa0\x80", b"\xc0\xa0", b"longer-than-seven\x80"]
)
def test_bytes_that_are_no_utf8_are_refused_by_line_and_byte(bad):
    data = b"fine words\nmore of them\nthen " + bad + b" and on\n" + bad
    with pytest.raises(TextDecodeError, match="not UTF-8") as caught:
        text_corpus(data, [5]).count(workers=2)
    start = data.index(bad)
    with pytest.raises(UnicodeDecodeError) as expected:
        data.decode()
    assert f"byte {expected.value.start:,}, line 3" in str(caught.value)
    assert expected.value.start >= start
    assert caught.value.fact("fix")


def test_a_file_that_is_not_there():
    with pytest.raises(MissingFileError, match="read the corpus"):
        TextCorpus.of_file("/no/such/file")


def test_bytes_without_a_blank_are_refused_before_they_fill_memory(monkeypatch):
    monkeypatch.setattr(corpus_module, "_LONGEST", 1000)
    with pytest.raises(FormatError, match="no blank"):
        text_corpus(b"ok " + b"x" * 2000, [100]).count(workers=2)


def test_without_compiled_kernels_the_error_says_so(monkeypatch):
    import sys

    monkeypatch.setenv("FOREWORD_KERNELS", "0")
    monkeypatch.delitem(sys.modules, "foreword.vectors.training.words_kernel", raising=False)
    import foreword.vectors.training as training

    monkeypatch.delattr(training, "words_kernel", raising=False)
    with pytest.raises(MissingPackageError, match="numba"):
        text_corpus(b"a b").count()


def test_a_failure_in_a_thread_is_raised_and_ends_the_others():
    def chunks():
        yield b"some words " * 1000
        raise FormatError("broken on the way")

    with pytest.raises(FormatError, match="broken on the way"):
        TextCorpus(chunks, "broken").count(workers=3)


# Lists of words.


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a b", "", 7]), max_size=5), max_size=8))
def test_lists_are_counted_as_they_are(sentences):
    counted = TokenLists(sentences).count()
    expected = Counter(word for sentence in sentences for word in sentence)
    assert list(counted.as_dict().items()) == list(expected.items())
    assert (counted.total, counted.sentences) == (expected.total(), len(sentences))


@pytest.mark.parametrize("sentences", ["some text", b"bytes", 5])
def test_what_is_no_iterable_of_lists_is_refused(sentences):
    with pytest.raises(ArgumentTypeError, match="iterable of lists"):
        TokenLists(sentences)


@pytest.mark.parametrize("sentences", [[5], [[["a"]]], [[1.5]], [[None]]])
def test_words_of_other_types_are_refused(sentences):
    with pytest.raises(ArgumentTypeError):
        TokenLists(sentences).count()


def test_a_generator_is_refused_where_it_would_be_gone_through_twice():
    corpus = TokenLists(["a"] for _ in range(3))
    corpus.check_passes(1)
    with pytest.raises(ArgumentTypeError, match="2 times"):
        corpus.check_passes(2)
    with pytest.raises(ArgumentTypeError, match="list_iterator"):
        TokenLists(iter([["a"]])).check_passes(2)


# gensim's choice.


def gensims(sentences, trim_rule=None, **options):
    gensim = pytest.importorskip("gensim.models")
    model = gensim.Word2Vec(vector_size=1, **options)
    model.build_vocab(sentences, trim_rule=trim_rule)
    return model.wv.index_to_key, [model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key]


def ours(corpus, *, max_vocab_size=None, sorted_vocab=1, trim_rule=None, workers=1, **options):
    counted = corpus.count(workers=workers, max_vocab_size=max_vocab_size, trim_rule=trim_rule)
    chosen = choose(counted, by_count=bool(sorted_vocab), trim_rule=trim_rule, **options)
    return chosen.words, chosen.counts.tolist()


def odd_rule(word, count, min_count):
    return {"d": 1, "k": 2}.get(word[0], 0)


@pytest.mark.parametrize(
    "options",
    [
        {"min_count": 1},
        {"min_count": 3},
        {"min_count": 2, "sorted_vocab": 0},
        {"min_count": 1, "max_final_vocab": 10},
        {"min_count": 9, "max_final_vocab": 10},
        {"min_count": 1, "max_final_vocab": 10_000},
        {"min_count": 4, "trim_rule": odd_rule},
        {"min_count": 1, "max_vocab_size": 40},
        {"min_count": 2, "max_vocab_size": 200},
        {"min_count": 2, "max_vocab_size": 25, "trim_rule": odd_rule},
    ],
    ids=str,
)
def test_the_vocabulary_is_gensims(options):
    rng = random.Random(3)
    sentences = [[rng.choice("dkabc") + str(int(rng.paretovariate(0.7)) % 400) for _ in range(rng.randint(1, 30))]
                 for _ in range(150)]  # fmt: skip
    expected = gensims(sentences, **options)
    assert ours(TokenLists(sentences), **options) == expected
    data = "\n".join(" ".join(sentence) for sentence in sentences).encode()
    for sizes in ([1 << 20], [37], [11, 100]):
        assert ours(text_corpus(data, sizes), workers=2, **options) == expected


def test_a_long_line_is_pruned_where_gensim_prunes_it(tmp_path):
    gensim = pytest.importorskip("gensim.models.word2vec")
    rng = random.Random(5)
    path = tmp_path / "long.txt"
    path.write_text(" ".join(str(int(rng.paretovariate(0.5)) % 20_000) for _ in range(45_000)) + "\nlast line")
    expected = gensims(gensim.LineSentence(path), min_count=1, max_vocab_size=2000)
    assert ours(TextCorpus.of_file(path), min_count=1, max_vocab_size=2000) == expected


def test_a_rule_that_gives_no_verdict_is_refused():
    with pytest.raises(ArgumentError, match="no verdict"):
        choose(WordCounts.of({"a": 1}), trim_rule=lambda *_: 7)


def test_counts_beyond_32_bits_are_kept():
    counted = WordCounts.of({"rare": 1, "a": 1 << 40, "b": (1 << 40) + 1})
    chosen = choose(counted, min_count=2)
    assert chosen.words == ["b", "a"]
    assert chosen.counts.tolist() == [(1 << 40) + 1, 1 << 40]
    assert chosen.counts.dtype == np.int64
