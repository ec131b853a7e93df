"""A start from word vectors, by a tokenizer and vectors small enough to work by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from foreword import errors
from foreword.embeddings import InputEmbedding
from foreword.embeddings.knowledge import _pieces, fitted, token_vectors
from foreword.errors import ArgumentError
from foreword.tokens import get_tokenizer
from foreword.vectors import KeyedVectors

WORDS = {"ran": [1, 0], "walking": [0, 2], "ing": [4, 4], "talking": [0, 5], "Paris": [7, 1], "walk": [3, 3]}
# Ids in the order of this list; the longest that fits is taken, as BPE would with these ranks.
PIECES = [" ", "\n", "a", "b", "k", "l", "t", "w", " walk", "ing", " ran", "ran", " Paris", "paris", "talk", "é"]


class Vectors:
    def __init__(self, words, *, subwords=False):
        self.index_to_key = list(words)
        self.key_to_index = {word: i for i, word in enumerate(words)}
        self.vectors = np.array(list(words.values()), dtype=np.float32)
        self.subwords = subwords

    def __getitem__(self, key):
        if key in self.key_to_index:
            return self.vectors[self.key_to_index[key]]
        if self.subwords and key.isalpha():
            return np.array([len(key), -1], dtype=np.float32)
        raise KeyError(key)


class Greedy:
    """Longest match from the left; bytes that no piece starts with become "b"."""

    vocab_size = len(PIECES)

    def encode(self, text):
        ids = []
        while text:
            found = [i for i, piece in enumerate(PIECES) if text.startswith(piece)]
            best = max(found, key=lambda i: len(PIECES[i])) if found else 3
            ids.append(best)
            text = text[len(PIECES[best]) if found else 1 :]
        return np.array(ids)

    def decode_bytes(self, ids):
        return "".join(PIECES[i] for i in ids).encode()


def row(known, piece):
    return known.vectors[PIECES.index(piece)].tolist()


def test_exact_takes_words_as_they_stand_or_in_lower_case():
    known = token_vectors(Vectors(WORDS), Greedy(), method="exact")
    assert row(known, " ran") == row(known, "ran") == [1, 0]
    assert row(known, " walk") == [3, 3]
    assert row(known, " Paris") == [7, 1]
    assert not known.known[PIECES.index("paris")]  # "paris" is no key, and no other case is guessed
    assert row(known, "ing") == [4, 4]
    assert dataclasses.asdict(known.coverage) == {"vocab_size": 16, "exact": 5, "composed": 0, "random": 11}


def slow_mean(words, tokenizer, id_):
    """The definition, word by word, each encoded alone."""
    total, weight = np.zeros(2), 0.0
    for rank, (word, vector) in enumerate(words.items(), start=1):
        for text in (f" {word}", f" {word[0].upper()}{word[1:]}", f"\n{word}"):
            times = (tokenizer.encode(text) == id_).sum()
            total += np.array(vector, float) * times / rank
            weight += times / rank
    return (total / weight if weight else total), weight


class Alone(Greedy):
    """Decodes to other bytes than it read, as one that lower-cases does: each word has to be encoded alone."""

    def decode_bytes(self, ids):
        return super().decode_bytes(ids) + b"?" * (len(ids) == 1 and ids[0] == 0)


@pytest.mark.parametrize("tokenizer", [Greedy(), Alone()])
def test_mean_weighs_the_words_that_a_token_is_a_piece_of(tokenizer):
    known = token_vectors(Vectors(WORDS), tokenizer, method="mean")
    for id_, piece in enumerate(PIECES):
        want, weight = slow_mean(WORDS, Greedy(), id_)
        word = piece.removeprefix(" ")
        own = 1 / (list(WORDS).index(word) + 1) if word in WORDS else 0.0
        if own and (piece.startswith(" ") or own >= weight):  # the word, and a piece of no other
            want = WORDS[word]
        np.testing.assert_allclose(known.vectors[id_], want, rtol=1e-6, err_msg=repr(piece))
    # "ing" is a bank of rank 3, and a piece of "walking" (2) and "talking" (4)
    assert row(known, "ing") != [4, 4]
    assert row(known, " walk") == [3, 3]


def test_texts_that_share_a_token_are_left_out():
    class Spanning(Greedy):
        def encode(self, text):
            """As Greedy does, but "ing" and " talk" make one token, the last."""
            ids = super().encode(text).tolist()
            joined = [ids[i : i + 4] for i in range(len(ids))]
            at = next((i for i, part in enumerate(joined) if part == [9, 0, 14, 9]), None)
            return np.array(ids if at is None else [*ids[:at], 16, *ids[at + 3 :]])

    lengths = np.array([len(piece.encode()) for piece in [*PIECES, "ing talk"]])
    texts = [" ran", " ing", " talking", " walk"]
    ids, text = _pieces(Spanning(), texts, lengths)
    assert (ids.tolist(), text.tolist()) == ([10, 8], [0, 3])
    ids, text = _pieces(Greedy(), texts, lengths)
    assert (ids.tolist(), text.tolist()) == ([10, 0, 9, 0, 14, 9, 8], [0, 1, 1, 2, 2, 2, 3])


def test_subword_asks_the_vectors_themselves():
    known = token_vectors(Vectors(WORDS, subwords=True), Greedy(), method="subword")
    assert row(known, "ing") == [4, 4]
    assert row(known, "talk") == [4, -1]
    assert not known.known[0]  # the space has no text to ask by
    none = token_vectors(Vectors(WORDS), Greedy(), method="subword")
    assert none.coverage == token_vectors(Vectors(WORDS), Greedy(), method="exact").coverage


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_fitted_keeps_geometry_and_gives_first_weights_spread(dim):
    known = token_vectors(Vectors(WORDS), Greedy(), method="mean")
    weight = fitted(known, dim, std=0.02, seed=0)
    rows = weight[known.known].astype(np.float64)
    assert np.sqrt(np.mean(rows**2)) == pytest.approx(0.02, rel=1e-5)
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-8)
    if dim >= 2:  # a similarity: all distances times one factor
        source = known.vectors[known.known].astype(np.float64)
        pairs = [(i, j) for i in range(len(rows)) for j in range(i) if np.linalg.norm(source[i] - source[j]) > 0]
        ratios = [np.linalg.norm(rows[i] - rows[j]) / np.linalg.norm(source[i] - source[j]) for i, j in pairs]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)
    assert np.array_equal(weight, fitted(known, dim, std=0.02, seed=0))
    assert not np.array_equal(weight, fitted(known, dim, std=0.02, seed=1))


def test_principal_components_keep_the_widest_directions():
    rng = np.random.default_rng(0)
    words = {f"w{i}": [10 * x, y, 0.1 * z] for i, (x, y, z) in enumerate(rng.normal(size=(40, 3)))}
    known = token_vectors(Vectors(words), ManyWords(words), method="exact")
    weight = fitted(known, 1, std=1.0, seed=0)
    correlation = np.corrcoef(weight[:, 0], np.array(list(words.values()))[:, 0])[0, 1]
    assert abs(correlation) > 0.99


class ManyWords:
    """A token for each word."""

    def __init__(self, words):
        self.words, self.vocab_size = list(words), len(words)

    def encode(self, text):
        return np.array([self.words.index(word) for word in text.split()])

    def decode_bytes(self, ids):
        return b" " + self.words[ids[0]].encode()


def test_a_layer_from_word_vectors():
    torch.manual_seed(0)
    layer = InputEmbedding.from_word_vectors(Vectors(WORDS), Greedy(), 4, 6, padding_id=0, position="sinusoidal")
    assert layer(torch.tensor([[10, 11]])).shape == (1, 2, 4)
    # by hand: no text above holds "t", "paris" or "é" as a token
    assert str(layer.coverage) == "exact 4 (25 %), composed 9 (56 %), random 3 (19 %) of 16 tokens"
    assert not layer.token_embedding.weight[0].any()
    assert layer.token_embedding.weight.requires_grad
    assert InputEmbedding.from_word_vectors(Vectors(WORDS), Greedy(), position="none").embedding_dim == 2
    with pytest.raises(errors.ArgumentError, match="unknown method"):
        InputEmbedding.from_word_vectors(Vectors(WORDS), Greedy(), 4, 6, method="best")


def test_nothing_known_is_all_random():
    layer = InputEmbedding.from_word_vectors(Vectors({"zzz": [1, 2]}), Greedy(), 64, 6, method="exact")
    assert layer.coverage.random == 16
    assert 0.015 < layer.token_embedding.weight.std() < 0.025


def test_gpt2_and_glove():
    """On the real tokenizer: what is known of well-known pieces."""
    tokens = pytest.importorskip("foreword.tokens")
    words = {"king": [1, 0], "kingdom": [1, 1], "unhappiness": [0, 3], "happiness": [0, 5], "<|endoftext|>": [9, 9]}
    tokenizer = tokens.get_tokenizer("gpt2")
    known = token_vectors(Vectors(words), tokenizer)
    assert known.vectors[tokenizer.encode(" king")[0]].tolist() == [1, 0]
    assert known.vectors[tokenizer.encode(" King")[0]].tolist() == [1, 0]
    pieces = tokenizer.encode(" unhappiness")
    assert len(pieces) > 1
    assert known.known[pieces].all()


@pytest.mark.parametrize("keys", [[3, 0, 256], ["3", "0", "256"]])
def test_ids_as_keys_are_the_rows_of_their_tokens(keys):
    wv = KeyedVectors(2)
    wv.add_vectors(keys, np.eye(3, 2, dtype=np.float32) + 1)
    known = token_vectors(wv, get_tokenizer("bytes"), method="ids")
    assert np.flatnonzero(known.known).tolist() == [0, 3, 256]
    assert np.array_equal(known.vectors[[3, 0, 256]], wv.vectors)
    assert (known.coverage.exact, known.coverage.random) == (3, 254)


@pytest.mark.parametrize("key", [257, "257", "-1", "word", "²", ""])
def test_a_key_that_is_no_token_id_is_refused(key):
    wv = KeyedVectors(2)
    wv.add_vectors([key], [[1, 2]])
    with pytest.raises(ArgumentError, match="no token id"):
        token_vectors(wv, get_tokenizer("bytes"), method="ids")
