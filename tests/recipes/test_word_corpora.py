"""Corpora of words: what ``prepare`` reads, and token stores, against plain loops."""

import gzip
import json
import random

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError, MissingFileError
from foreword.recipes import word_corpus as make
from foreword.recipes.word_corpora import StoreCorpus
from foreword.tokens import Reading
from foreword.vectors.training.corpus import FIRST, TextCorpus

TEXTS = ["the king said", "to\nthe queen", "", "  ", "naïve 東京\u3000é"]


def facts(corpus):
    counted = corpus.count(workers=2)
    return counted.as_dict(), counted.total, counted.sentences


EXPECTED = (
    {"the": 2, "king": 1, "said": 1, "to": 1, "queen": 1, "naïve": 1, "東京": 1, "é": 1},
    9,
    3,
)


def test_every_kind_of_corpus_gives_the_same_words(tmp_path):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    (tmp_path / "a.jsonl").write_text(lines)
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(lines)
    (tmp_path / "c.txt").write_text("\n\n".join(TEXTS[:2] + TEXTS[4:]), encoding="utf-8")
    (tmp_path / "d.txt").write_text("the king said\nto the queen\r\n\nnaïve 東京\u3000é", encoding="utf-8")
    (tmp_path / "e.txt").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "d.txt").read_bytes())
    (tmp_path / "f.txt").write_text("the king said\nto the queen\n\nnaïve \u6771\u4eac\u3000é", encoding="utf-16")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.txt").write_text("the king said\n")
    (tmp_path / "folder" / "2.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS[1:]))
    paragraphs = Reading(documents="blank-line")
    for source, options in [
        (TEXTS, {}),
        (tmp_path / "a.jsonl", {}),
        (tmp_path / "b.jsonl.gz", {}),
        (tmp_path / "c.txt", {"reading": paragraphs}),
        (str(tmp_path / "d.txt"), {}),
        (tmp_path / "e.txt", {}),
        (tmp_path / "f.txt", {"reading": Reading(documents="line", encoding="utf-16")}),
        (str(tmp_path / "folder"), {}),
    ]:
        assert facts(make(source, **options)) == EXPECTED, source


def test_a_plain_file_is_read_as_it_is(tmp_path):
    (tmp_path / "x.txt").write_text("a b\nc")
    corpus = make(tmp_path / "x.txt")
    assert type(corpus) is TextCorpus
    assert corpus.size == 5


def test_a_document_is_a_sentence_and_long_ones_are_not_cut_within_a_word(tmp_path, monkeypatch):
    from foreword.tokens.preparing import documents

    monkeypatch.setattr(documents, "PIECE", 64)
    text = "wörter。mit stops。between 東京。大阪 " * 50
    corpus = make([text, text], reading=Reading(documents="file"))
    encoded = corpus.encode(sorted(set(text.split())), tmp_path / "x")
    assert np.flatnonzero(encoded.words >= FIRST).tolist() == [0, 150]
    assert corpus.count().as_dict() == {word: 2 * text.split().count(word) for word in text.split()}


def test_what_cannot_be_trained_on(tmp_path):
    with pytest.raises(MissingFileError):
        make(tmp_path / "nothing.txt")
    with pytest.raises(ArgumentError, match="texts"):
        make(["a"], reading=Reading(records="ids"))
    store = fw.prepare(["a b"], tmp_path / "store", tokenizer="bytes")
    with pytest.raises(ArgumentError, match="itself"):
        make(store, reading=Reading(documents="file"))
    with pytest.raises(ArgumentError, match="bounded"):
        make(store).count(max_vocab_size=3)


def plain(documents, words):
    index = {word: i for i, word in enumerate(words)}
    out = []
    for document in documents:
        known = [index[word] for word in document if word in index]
        out += [i | (FIRST if place == 0 else 0) for place, i in enumerate(known)]
    return out


@pytest.mark.parametrize("block", [1, 3, 7, 1 << 20])
def test_a_stores_token_ids_are_the_words(tmp_path, monkeypatch, block):
    import sys

    monkeypatch.setattr(sys.modules["foreword.recipes.word_corpora"], "_BLOCK", block)
    rng = random.Random(block)
    texts = ["".join(rng.choice("abcdé") for _ in range(rng.randint(1, 9))) for _ in range(30)]
    store = fw.prepare(texts, tmp_path / "store", tokenizer="bytes", shard_tokens=40)
    documents = [store.document(i).tolist() for i in range(store.documents)]
    every = [token for document in documents for token in document]
    corpus = make(str(tmp_path / "store"))
    assert type(corpus) is StoreCorpus
    counted = corpus.count(workers=3)
    assert list(counted.as_dict().items()) == [(token, every.count(token)) for token in dict.fromkeys(every)]
    assert (counted.total, counted.sentences) == (len(every), 30)
    for words in ([97, 98], [256, 97], [99], [98, 97, 99, 100, 195, 169, 256], [5], [], ["a"]):
        encoded = corpus.encode(words, tmp_path / "x")
        assert encoded.words.tolist() == plain(documents, words)
        assert encoded.total == len(every)


def test_models_take_such_corpora(tmp_path):
    store = fw.prepare(["some text of some words"] * 30, tmp_path / "store", tokenizer="bytes")
    model = fw.Word2Vec(make(store), vector_size=5, epochs=1)
    assert next(iter(model.wv.index_to_key)) in range(257)
    words = fw.Word2Vec(make(["some text of some words"] * 30), vector_size=5, epochs=1)
    assert words.wv.index_to_key == ["some", "words", "of", "text"]
