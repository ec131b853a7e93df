"""`foreword embed --static`: a row for each document, as the model encodes it."""

import json
import subprocess
import sys

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentError
from foreword.recipes import corpus_embeddings, embed

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers isn't installed")
from vectors.static_models import rows_of, sentence_transformers_folder, wordpiece  # noqa: E402

LINES = ["the king", "", "queens?", "zzz", "a b c the kings"]


@pytest.fixture
def model(tmp_path):
    return sentence_transformers_folder(tmp_path / "model", wordpiece(), rows_of(wordpiece()), normalize=True)


@pytest.mark.parametrize("block", [1 << 16, 2])
def test_each_document_has_the_row_that_encode_gives(model, tmp_path, monkeypatch, block):
    monkeypatch.setattr(corpus_embeddings, "BLOCK", block)
    (tmp_path / "text.txt").write_text("\n".join(LINES) + "\n")
    done = embed(tmp_path / "text.txt", tmp_path / "out", static=model, documents="line")
    wv = fw.load(model)
    assert np.array_equal(np.load(tmp_path / "out" / "embeddings.npy"), wv.encode(LINES))
    assert np.load(tmp_path / "out" / "counts.npy").tolist() == [2, 0, 3, 1, 6]
    assert (done.rows, done.dim, done.documents, done.tokens, done.unknown) == (5, 5, 5, 12, 0)
    assert json.loads((tmp_path / "out" / "about.json").read_text())["static"] == str(model)


def test_documents_of_a_store_and_no_document(model, tmp_path):
    texts = [line for line in LINES if line]
    store = fw.prepare(texts, tmp_path / "store")
    embed(store, tmp_path / "out", static=fw.load(model))
    assert np.array_equal(np.load(tmp_path / "out" / "embeddings.npy"), fw.load(model).encode(texts))
    (tmp_path / "none.jsonl").write_text("")
    assert embed(tmp_path / "none.jsonl", tmp_path / "none", static=model).rows == 0


def test_texts_are_found_again_by_the_file_of_their_lines(model, tmp_path):
    texts = ["the king", "queens?", "a b c the kings"]
    (tmp_path / "text.txt").write_text("\n".join(texts) + "\n")
    command = [sys.executable, "-m", "foreword", "embed", "text.txt", "text.safetensors", "--static", "model"]
    done = subprocess.run([*command, "--documents", "line"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "3 documents, 11 tokens" in done.stdout
    corpus = fw.load(tmp_path / "text.safetensors", vocabulary=tmp_path / "text.txt")
    (name, score), *_ = corpus.similar_by_vector(fw.load(model).encode("king the"), topn=2)
    assert (name, score) == ("the king", pytest.approx(1))


def test_what_is_no_static_model(model, tmp_path):
    (tmp_path / "text.txt").write_text("the king")
    with pytest.raises(ArgumentError, match="no static embedding model"):
        embed(tmp_path / "text.txt", tmp_path / "out", static="glove-wiki-gigaword-50")
    with pytest.raises(ArgumentError, match="one of vectors, layer and static"):
        embed(tmp_path / "text.txt", tmp_path / "out", static=model, vectors="glove-wiki-gigaword-50")
    assert not (tmp_path / "out").exists()
