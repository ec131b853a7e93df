"""What no file can be called, wherever a path is taken: one error of ours, and never a dependency's or Python's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foreword as fw
from foreword.errors import ArgumentTypeError, FileError, ForewordError

pytest.importorskip("torch")  # entry points of every package are tried

BAD = {
    "a NUL byte": "a\0b",
    "a NUL byte below a folder": os.path.join("a\0b", "c.txt"),  # noqa: PTH118
    "nothing": "",
    "half a surrogate pair": "a\ud800b.txt",
    "a long name": "x" * 300 + ".txt",
    "a long path": "/".join(["x" * 200] * 50),
    "bytes": b"a.txt",
    "a number": 7,
}
TEXT = "Every effort moves you forward, and every effort counts. " * 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("made")
    corpus = folder / "corpus.txt"
    corpus.write_text(TEXT)
    vectors = folder / "v.vec"
    vectors.write_text("3 2\nevery 1 0\neffort 0 1\nmoves 1 1\n")
    kv = fw.load(vectors)
    model = fw.Word2Vec([["a", "b", "c"]] * 4, vector_size=4, min_count=1, epochs=1)
    return {
        "corpus": corpus,
        "vectors": vectors,
        "kv": kv,
        "store": fw.prepare(corpus, folder / "store", tokenizer="bytes"),
        "model": model,
        "fasttext": fw.FastText([["a", "b", "c"]] * 4, vector_size=4, min_count=1, epochs=1, bucket=10),
    }


Entry = Callable[[dict[str, Any], Any, Path], object]


def entries() -> dict[str, Entry]:
    from foreword import display, explorer, recipes, tokens, vectors
    from foreword.cli import explore
    from foreword.explorer.export import export as export_page
    from foreword.explorer.library import Library
    from foreword.vectors.judging import judge
    from foreword.vectors.training import checkpoints
    from foreword.vectors.training.trainer import Trainer

    def layer() -> Any:
        return fw.InputEmbedding(300, 4, context_length=4)

    return {
        "load": lambda m, p, t: fw.load(p),
        "load vocabulary": lambda m, p, t: fw.load(m["vectors"], vocabulary=p),
        "KeyedVectors.load": lambda m, p, t: fw.KeyedVectors.load(p),
        "load_word2vec_format": lambda m, p, t: fw.KeyedVectors.load_word2vec_format(p),
        "load_word2vec_format fvocab": lambda m, p, t: fw.KeyedVectors.load_word2vec_format(m["vectors"], fvocab=p),
        "intersect_word2vec_format": lambda m, p, t: m["kv"].intersect_word2vec_format(p),
        "KeyedVectors.save": lambda m, p, t: m["kv"].save(p),
        "KeyedVectors.export": lambda m, p, t: m["kv"].export(p),
        "KeyedVectors.export npy": lambda m, p, t: m["kv"].export(p, format="npy"),
        "KeyedVectors.export safetensors": lambda m, p, t: m["kv"].export(p, format="safetensors"),
        "save_word2vec_format": lambda m, p, t: m["kv"].save_word2vec_format(p),
        "save_word2vec_format fvocab": lambda m, p, t: m["model"].wv.save_word2vec_format(t / "v", fvocab=p),
        "evaluate_word_analogies": lambda m, p, t: m["kv"].evaluate_word_analogies(p),
        "evaluate_word_pairs": lambda m, p, t: m["kv"].evaluate_word_pairs(p),
        "judge": lambda m, p, t: judge(m["kv"], p),
        "draw_word_map": lambda m, p, t: vectors.draw_word_map(vectors.word_map(m["kv"], ["every", "effort"]), p),
        "Word2Vec corpus_file": lambda m, p, t: fw.Word2Vec(corpus_file=p, vector_size=4),
        "FastText corpus_file": lambda m, p, t: fw.FastText(corpus_file=p, vector_size=4),
        "Word2Vec build_vocab": lambda m, p, t: fw.Word2Vec(vector_size=4).build_vocab(corpus_file=p),
        "Word2Vec.save": lambda m, p, t: m["model"].save(p),
        "FastText.save": lambda m, p, t: m["fasttext"].save(p),
        "Word2Vec.load": lambda m, p, t: fw.Word2Vec.load(p),
        "FastText.load": lambda m, p, t: fw.FastText.load(p),
        "Trainer.resume": lambda m, p, t: Trainer.resume(p, np.zeros(4, np.uint32), np.array([4])),
        "write a checkpoint": lambda m, p, t: checkpoints.write(p, {}, []),
        "prepare corpus": lambda m, p, t: fw.prepare(p, t / "s", tokenizer="bytes"),
        "prepare out": lambda m, p, t: fw.prepare(m["corpus"], p, tokenizer="bytes"),
        "prepare tokenizer": lambda m, p, t: fw.prepare(m["corpus"], t / "s", tokenizer=p),
        "prepare chat_template": lambda m, p, t: fw.prepare(
            [{"messages": []}],
            t / "s",
            tokenizer="bytes",
            records="messages",
            chat_template=Path(p) if isinstance(p, str) else p,
        ),
        "TokenStore.open": lambda m, p, t: fw.TokenStore.open(p),
        "TokenStore.open tokenizer": lambda m, p, t: fw.TokenStore.open(m["store"].path, tokenizer=p),
        "TokenStore.open cache": lambda m, p, t: fw.TokenStore.open("memory://nothing", cache=p),
        "get_tokenizer": lambda m, p, t: fw.get_tokenizer(p),
        "tokens.export": lambda m, p, t: tokens.export(m["store"], p, format="megatron"),
        "train_tokenizer corpus": lambda m, p, t: tokens.train_tokenizer(p, t / "t.json", vocab_size=257),
        "train_tokenizer out": lambda m, p, t: tokens.train_tokenizer([TEXT], p, vocab_size=257),
        "WindowDataset": lambda m, p, t: fw.WindowDataset(p, context_length=4),
        "create_dataloader": lambda m, p, t: recipes.create_dataloader(p if not isinstance(p, str) else Path(p)),
        "create_dataloader tokenizer": lambda m, p, t: recipes.create_dataloader(TEXT, tokenizer=p),
        "embed source": lambda m, p, t: recipes.embed(p, t / "o.safetensors", vectors=m["vectors"]),
        "embed out": lambda m, p, t: recipes.embed(m["corpus"], p, vectors=m["vectors"]),
        "embed vectors": lambda m, p, t: recipes.embed(m["corpus"], t / "o.safetensors", vectors=p),
        "embed layer": lambda m, p, t: recipes.embed(m["corpus"], t / "o.safetensors", layer=p),
        "embed static": lambda m, p, t: recipes.embed(m["corpus"], t / "o.safetensors", static=p),
        "train_vectors source": lambda m, p, t: recipes.train_vectors(p, t / "o"),
        "train_vectors out": lambda m, p, t: recipes.train_vectors(m["corpus"], p, min_count=1),
        "train_vectors evaluate": lambda m, p, t: recipes.train_vectors(
            m["corpus"], t / "o", min_count=1, evaluate=[p]
        ),
        "word_corpus": lambda m, p, t: recipes.word_corpus(p),
        "export the page": lambda m, p, t: export_page(p, explorer.Settings(vectors=(str(m["vectors"]),))),
        "explorer vectors": lambda m, p, t: export_page(t / "page", explorer.Settings(vectors=(p,))),
        "explorer stores": lambda m, p, t: (
            explore.serve(store=[p]) if isinstance(p, str) else Library(explorer.Settings(stores=(p,)))
        ),
        "explorer tokenizers": lambda m, p, t: Library(explorer.Settings(tokenizers=(p,), vectors=())).tokenizer(
            p if "/" not in p else Path(p).stem
        ),
        "display plot": lambda m, p, t: display.tokens(fw.get_tokenizer("bytes"), "a b").plot(p),
        "NgramTable": lambda m, p, t: fw.NgramTable(orders=(2,), rows=64, dim=4, heads=1, path=p),
        "save_pretrained": lambda m, p, t: layer().save_pretrained(p),
        "from_pretrained": lambda m, p, t: fw.InputEmbedding.from_pretrained(p),
        "tour": lambda m, p, t: list(
            __import__("foreword.tour").tour.take_tour(text=Path(p) if isinstance(p, str) else p)
        ),
    }


ENTRIES = entries()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_path(
    entry: str, bad: str, made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open(tmp_path / "open", "wb") as file:
        path = file.fileno() if bad == "a number" else BAD[bad]
        with pytest.raises(ForewordError) as refused:
            ENTRIES[entry](made, path, tmp_path)
        file.write(b"still ours")
    if bad in ("bytes", "a number") and entry != "WindowDataset":  # whose ids are an array
        assert isinstance(refused.value, ArgumentTypeError)
    assert [path.name for path in tmp_path.iterdir()] == ["open"]


def test_a_home_that_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ForewordError, match="no such file of vectors"):
        fw.load("~nobody-of-this-name/a.vec")
    (tmp_path / "~nobody-of-this-name").write_text("1 2\na 1 0\n")
    assert fw.load("~nobody-of-this-name").index_to_key == ["a"]


def test_a_name_as_long_as_they_may_be(tmp_path: Path) -> None:
    store = fw.prepare([TEXT], tmp_path / ("x" * 252), tokenizer="bytes")
    assert len(fw.TokenStore.open(store.path)) == len(store)
    with pytest.raises(FileError, match="give a shorter name"):
        fw.tokens.export(store, tmp_path / ("x" * 252), format="megatron")
