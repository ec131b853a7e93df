"""The merges of a token: each the lowest that is possible, and the last leaves the token that its own library gives."""

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

import foreword as fw
from foreword.errors import ArgumentError, TokenIdError
from foreword.tokens import merges_of
from foreword.tokens.tokenizers.engines import parse_ranks

GPT2 = fw.get_tokenizer("gpt2")
RANKS = parse_ranks(GPT2._ranks, where="gpt2")


def slow_merges(token):
    """By the definition: of all ranks in order, the first whose two halves are neighbours, leftmost first."""
    parts, steps = [bytes([byte]) for byte in token], []
    while True:
        joined = {}
        for at in reversed(range(len(parts) - 1)):
            joined[parts[at] + parts[at + 1]] = at
        possible = sorted(RANKS[pair] for pair in joined if pair in RANKS)
        if not possible:
            return steps
        at = next(at for pair, at in joined.items() if RANKS.get(pair) == possible[0])
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        steps.append((possible[0], at, tuple(parts)))


@settings(deadline=None)
@given(st.integers(0, 50255))
def test_merges_are_the_slow_ones_and_end_in_the_token(id_):
    merges = merges_of(GPT2, id_)
    token = GPT2.decode_bytes([id_])
    assert [(merge.rank, merge.at, merge.parts) for merge in merges] == slow_merges(token)
    if merges:
        assert (merges[-1].rank, merges[-1].parts) == (id_, (token,))
    else:
        assert len(token) == 1
    assert all(merge.parts[merge.at] == merge.left + merge.right for merge in merges)


@pytest.fixture(scope="module")
def trained():
    """A small tokenizer.json of bytes, and one of characters."""
    text = ["the cat sat on the mat", "así naïve que sí", "我们 我们 我"] * 4
    of_bytes = tokenizers.Tokenizer(models.BPE())
    of_bytes.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    of_bytes.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    of_bytes.train_from_iterator(text, tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    of_text = tokenizers.Tokenizer(models.BPE())
    of_text.pre_tokenizer = pre_tokenizers.Metaspace()
    of_text.decoder = decoders.Metaspace()
    of_text.train_from_iterator(text, tokenizers.trainers.BpeTrainer(vocab_size=60))
    return of_bytes, of_text


@pytest.mark.parametrize("which", [0, 1], ids=["bytes", "text"])
def test_a_tokenizer_json_of_merges(trained, which, tmp_path):
    trained[which].save(str(tmp_path / "tokenizer.json"))
    tokenizer = fw.get_tokenizer(tmp_path / "tokenizer.json")
    order = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["merges"]
    many = 0
    for id_ in range(tokenizer.vocab_size):
        merges = merges_of(tokenizer, id_)
        many += len(merges) > 1
        assert [merge.rank for merge in merges] == sorted(merge.rank for merge in merges)
        for merge in merges:
            assert "".join(order[merge.rank]) in tokenizer._token_of[id_]
        if merges:
            assert len(merges[-1].parts) == 1
    assert many > 5


def test_what_has_no_merges():
    assert merges_of(GPT2, 50256) == ()  # a special token
    with pytest.raises(ArgumentError, match="has no merges"):
        merges_of(fw.get_tokenizer("bytes"), 5)
    with pytest.raises(TokenIdError):
        merges_of(GPT2, 50257)
    word_piece = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}))
    with pytest.raises(ArgumentError, match="has no merges"):
        merges_of(fw.get_tokenizer(word_piece), 1)
