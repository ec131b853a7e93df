"""`foreword embed`: against a slow reading of the same text, in both formats, and what a failure leaves behind."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch

import foreword as fw
from foreword import errors
from foreword.recipes import corpus_embeddings as work
from foreword.recipes import embed
from foreword.recipes.encoders import WordEncoder

WORDS = ["the", "king", "does", "n't", "it", "'s", ".", "Paris", "état"]


@pytest.fixture(scope="module")
def wv():
    made = fw.KeyedVectors(3)
    made.add_vectors(WORDS, np.random.default_rng(0).normal(size=(len(WORDS), 3)).astype(np.float32))
    return made


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The king doesn't. It's\n\nqwxzy\nÉtat: Paris, paris!\n", encoding="utf-8")
    return path


def read(path):
    """All arrays, and what the file says of itself."""
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["foreword"])
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        for name, told in json.loads(data[8 : 8 + size]).items():
            if name not in ("__metadata__", "padding"):
                assert (8 + size + told["data_offsets"][0]) % 8 == 0, f"{name} is not aligned"
        arrays = safetensors.numpy.load_file(path)
        arrays.pop("padding", None)
        assert {k: v.tolist() for k, v in arrays.items()} == {
            k: v.tolist() for k, v in _by_torch(path).items() if k != "padding"
        }
        return arrays, about
    return {f.stem: np.load(f) for f in path.glob("*.npy")}, json.loads((path / "about.json").read_text())


def _by_torch(path):
    import safetensors.torch

    return safetensors.torch.load_file(path)


def slow(wv, words, unknown):
    """Row by row; the ids −1 where a word has no vector."""
    rows = [wv.key_to_index.get(w, wv.key_to_index.get(w.lower(), -1)) for w in words]
    rows = [row for row in rows if row >= 0] if unknown == "skip" else rows
    return rows, np.array([wv.vectors[row] if row >= 0 else np.zeros(3) for row in rows]).reshape(-1, 3)


# By hand, a line each: GloVe's vocabulary holds "does" and "n't", not "doesn't".
LINES = [["The", "king", "does", "n't", ".", "It", "'s"], [], ["qwxzy"], ["État", ":", "Paris", ",", "paris", "!"]]


@pytest.mark.parametrize("block", [1, 2, 5, 1 << 16])
@pytest.mark.parametrize("unknown", ["skip", "zero"])
@pytest.mark.parametrize("out", ["out", "out.safetensors"])
def test_words_are_the_rows_of_a_slow_reading(wv, text, tmp_path, monkeypatch, out, unknown, block):
    monkeypatch.setattr(work, "BLOCK", block)
    done = embed(text, tmp_path / out, vectors=wv, documents="line", unknown=unknown)
    arrays, about = read(tmp_path / out)
    told = [slow(wv, words, unknown) for words in LINES]
    assert arrays["ids"].tolist() == [row for rows, _ in told for row in rows]
    np.testing.assert_array_equal(arrays["embeddings"], np.concatenate([v for _, v in told]).astype(np.float32))
    assert arrays["offsets"].tolist() == np.cumsum([0, *(len(rows) for rows, _ in told)]).tolist()
    assert (done.rows, done.dim, done.documents, done.tokens) == (len(arrays["ids"]), 3, 4, 14)
    # qwxzy, ":", ",", "paris" (only "Paris" is a key), "!"
    assert done.unknown == about["unknown"] == 5
    assert (about["documents"], about["unknown_policy"]) == (4, unknown)

    pooled = embed(text, tmp_path / f"pooled-{out}", vectors=wv, documents="line", unknown=unknown, pool=True)
    arrays, _ = read(tmp_path / f"pooled-{out}")
    want = [vectors.mean(0) if len(vectors) else np.zeros(3) for _, vectors in told]
    np.testing.assert_allclose(arrays["embeddings"], want, atol=1e-6)
    assert arrays["counts"].tolist() == [len(rows) for rows, _ in told]
    assert pooled.rows == 4  # a row for every line, the empty one too


@pytest.mark.parametrize("oov", ["error", "skip", "fold"])
def test_an_unknown_word_can_be_an_error(wv, text, tmp_path, monkeypatch, oov):
    monkeypatch.setattr(wv, "oov", oov)  # what the vectors themselves would put in its place is no matter here
    with pytest.raises(errors.UnknownKeyError, match="qwxzy"):
        embed(text, tmp_path / "out", vectors=wv, unknown="error", documents="line")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt"]


@pytest.mark.parametrize("pool", [False, True])
def test_tokens_of_a_layer_from_text_and_from_a_store(text, tmp_path, monkeypatch, pool):
    monkeypatch.setattr(work, "BLOCK", 4)
    torch.manual_seed(0)
    layer = fw.InputEmbedding(50257, 5, 4, scale=2.0)
    layer.save_pretrained(tmp_path / "layer")
    lines = text.read_text(encoding="utf-8").split("\n")
    lines = [line for line in lines if line]
    store = fw.prepare(lines, tmp_path / "store", append_end_of_text=False)
    ids = [fw.get_tokenizer("gpt2").encode(line) for line in lines]
    rows = [2 * layer.token_embedding.weight.detach().numpy()[i] for i in ids]
    for name, source, by in (("a", text, tmp_path / "layer"), ("b", store, layer), ("c", tmp_path / "store", layer)):
        done = embed(source, tmp_path / f"{name}.safetensors", layer=by, documents="line", pool=pool)
        arrays, about = read(tmp_path / f"{name}.safetensors")
        if pool:
            kept = arrays["counts"] > 0  # the text's empty line has a row too; a store holds no empty documents
            np.testing.assert_allclose(arrays["embeddings"][kept], [r.mean(0) for r in rows], atol=1e-6)
        else:
            np.testing.assert_array_equal(arrays["embeddings"], np.concatenate(rows))
            np.testing.assert_array_equal(arrays["ids"], np.concatenate(ids))
        assert (done.tokens, done.unknown, about["tokenizer"]) == (sum(map(len, ids)), 0, "gpt2")


@pytest.mark.parametrize("name", ["e.bin", "e.npy", "E.TXT"])
def test_a_name_of_another_format_makes_no_folder(text, tmp_path, name):
    with pytest.raises(errors.ArgumentError, match="not written in this format"):
        embed(text, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("pool", [False, True])
def test_gensim_s_own_vectors_are_foreword_s(wv, text, tmp_path, pool):
    pytest.importorskip("gensim", reason="gensim isn't installed")
    from gensim.models import Word2Vec

    theirs = wv.to_gensim()
    for out, vectors in (("ours", wv), ("theirs", theirs)):
        done = embed(text, tmp_path / out, vectors=vectors, pool=pool, documents="line")
        assert (done.rows, done.dim) == (4 if pool else 9, 3)
    ours, theirs_written = read(tmp_path / "ours")[0], read(tmp_path / "theirs")[0]
    assert ours.keys() == theirs_written.keys()
    assert all(np.array_equal(ours[name], theirs_written[name]) for name in ours)
    with pytest.raises(errors.UnknownKeyError, match="qwxzy"):
        embed(text, tmp_path / "not", vectors=theirs, unknown="error")
    with pytest.raises(errors.ArgumentError, match="no static embedding model"):
        embed(text, tmp_path / "not", static=theirs)
    with pytest.raises(errors.ArgumentTypeError, match=r"model\.wv"):
        embed(text, tmp_path / "not", vectors=Word2Vec([["a", "b"]] * 9, vector_size=4, min_count=1, epochs=1))
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("end", ["", "\n"])
def test_rows_of_pooled_lines_are_rows_of_the_file(wv, tmp_path, end):
    lines = ["", "the king", "", "  ", "Paris", "\r", "état", ""]
    (tmp_path / "in.txt").write_bytes(("\n".join([*lines, "the"]) + end).encode())
    done = embed(tmp_path / "in.txt", tmp_path / "out", vectors=wv, documents="line", pool=True)
    arrays, _ = read(tmp_path / "out")
    assert done.rows == done.documents == len(lines) + 1
    assert arrays["counts"].tolist() == [0, 2, 0, 0, 1, 0, 1, 0, 1]
    np.testing.assert_array_equal(arrays["embeddings"][4], wv["Paris"])
    assert not arrays["embeddings"][[0, 2, 3, 5, 7]].any()
    embed(tmp_path / "in.txt", tmp_path / "apart", vectors=wv, documents="line")
    assert read(tmp_path / "apart")[0]["offsets"].tolist() == [0, 0, 2, 2, 2, 3, 3, 4, 4, 5]


def test_an_empty_record_and_an_empty_file_have_a_row_too(wv, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": ""}\n{"text": "the"}\n\n{"text": ""}\n')
    embed(tmp_path / "in.jsonl", tmp_path / "records", vectors=wv, pool=True)
    assert read(tmp_path / "records")[0]["counts"].tolist() == [0, 1, 0]
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in (("a", ""), ("b", "the king"), ("c", "")):
        (folder / f"{name}.txt").write_text(text)
    embed(folder, tmp_path / "files", vectors=wv, pool=True)
    assert read(tmp_path / "files")[0]["counts"].tolist() == [0, 2, 0]
    embed(folder, tmp_path / "lines", vectors=wv, pool=True, documents="line")
    assert read(tmp_path / "lines")[0]["counts"].tolist() == [2]
    (tmp_path / "blank.txt").write_text("the\n\n\nking\n\n")
    embed(tmp_path / "blank.txt", tmp_path / "blank", vectors=wv, pool=True, documents="blank-line")
    assert read(tmp_path / "blank")[0]["counts"].tolist() == [1, 1]


def own_tokenizer(folder):
    """A layer's folder with a tokenizer.json of its own: whole words."""
    tokenizers = pytest.importorskip("tokenizers", reason="an oracle of the extra dev")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "king": 1, "the": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("rows", [3, 50257])
def test_a_folder_s_own_tokenizer_encodes(tmp_path, rows):
    torch.manual_seed(0)
    layer = fw.InputEmbedding(rows, 5, 4)
    layer.save_pretrained(tmp_path / "layer")
    own_tokenizer(tmp_path / "layer")
    (tmp_path / "in.txt").write_text("the king the")
    for path in (tmp_path / "layer", tmp_path / "layer" / "model.safetensors"):
        out = tmp_path / f"{path.name}.out"
        embed(tmp_path / "in.txt", out, layer=path)
        arrays, about = read(out)
        assert arrays["ids"].tolist() == [2, 1, 2]
        assert about["tokenizer"] == str(tmp_path / "layer" / "tokenizer.json")
    embed(tmp_path / "in.txt", tmp_path / "named", layer=tmp_path / "layer", tokenizer=tmp_path / "layer")
    assert read(tmp_path / "named")[0]["ids"].tolist() == [2, 1, 2]
    store = fw.prepare(["the king"], tmp_path / "store", tokenizer="bytes")
    with pytest.raises(errors.ArgumentError, match="another tokenizer"):
        embed(store, tmp_path / "other", layer=tmp_path / "layer")


@pytest.mark.parametrize("beside", ["tokenizer.model", "vocab.json", "tokenizer_config.json", None])
def test_a_layer_whose_tokenizer_isn_t_known_is_refused(tmp_path, text, beside):
    rows = 50257 if beside else 300
    fw.InputEmbedding(rows, 5, 4).save_pretrained(tmp_path / "layer")
    if beside:
        (tmp_path / "layer" / beside).write_text("{}")
    with pytest.raises(errors.ArgumentError, match="which tokenizer was the layer made for"):
        embed(text, tmp_path / "out", layer=tmp_path / "layer")
    with pytest.raises(errors.ArgumentError, match="which tokenizer"):
        embed(text, tmp_path / "out", layer=fw.InputEmbedding(300, 5, 4))
    embed(text, tmp_path / "out", layer=tmp_path / "layer", tokenizer="bytes")
    store = fw.prepare(["the king"], tmp_path / "store", tokenizer="bytes")
    embed(store, tmp_path / "of_store", layer=fw.InputEmbedding(257, 5, 4))


def test_words_of_a_store(wv, tmp_path):
    store = fw.prepare(["The king doesn't.", "Paris"], tmp_path / "store")
    embed(store, tmp_path / "out", vectors=wv)
    arrays, _ = read(tmp_path / "out")
    assert [WORDS[i] for i in arrays["ids"]] == ["the", "king", "does", "n't", ".", "Paris"]
    assert arrays["offsets"].tolist() == [0, 5, 6]


def test_words_split_as_glove_s_do(wv):
    find = lambda text: [WORDS[i] if i >= 0 else None for i in WordEncoder(wv).ids(text)]  # noqa: E731
    assert find("it's") == find("It’s") == ["it", "'s"]
    assert find("doesn’t") == ["does", "n't"]
    assert find("the-king") == ["the", None, "king"]
    assert find("") == find("  \n") == []


def test_glove_and_the_mean_of_its_rows(tmp_path):
    """On the vectors that come with Foreword: sentences of one subject are nearer than others."""
    lines = ["the king and the queen", "a prince met his royal mother", "install the software on your computer"]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    embed(tmp_path / "lines.txt", tmp_path / "out", documents="line", pool=True)
    vectors = read(tmp_path / "out")[0]["embeddings"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > max(unit[0] @ unit[2], unit[1] @ unit[2])


def test_bad_arguments(wv, text, tmp_path):
    layer = fw.InputEmbedding(50, 4, 4)
    for options, says in (
        ({"vectors": wv, "layer": layer}, "give one of"),
        ({"layer": layer}, "which tokenizer"),
        ({"layer": layer, "tokenizer": "gpt2"}, "doesn't fit the layer"),
        ({"vectors": wv, "unknown": "guess"}, "no such policy"),
        ({"vectors": wv, "documents": "page"}, "no such documents"),
    ):
        with pytest.raises(errors.ArgumentError, match=says):
            embed(text, tmp_path / "out", **options)
    with pytest.raises(errors.MissingFileError):
        embed(tmp_path / "nowhere.txt", tmp_path / "out", vectors=wv)
    other = fw.prepare(["abc"], tmp_path / "store", tokenizer="bytes")
    with pytest.raises(errors.ArgumentError, match="another tokenizer"):
        embed(other, tmp_path / "out", layer=fw.InputEmbedding(50257, 2, 4))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(errors.FileError):
        embed(text, tmp_path / "taken", vectors=wv)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("out", "options"),
    [
        ("taken", {}),
        ("taken.safetensors", {}),
        ("text.txt/out", {}),
        ("text.txt/out.safetensors", {}),
        ("out", {"unknown": "guess"}),
        ("out", {"documents": "page"}),
        ("out", {"source": "nowhere.txt"}),
    ],
)
def test_what_can_t_be_done_is_refused_before_anything_is_loaded(text, tmp_path, monkeypatch, out, options):
    monkeypatch.setattr("foreword.vectors.load", lambda *_: pytest.fail("loaded"))
    for name in ("taken", "taken.safetensors"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    source = tmp_path / options.pop("source", text.name)
    with pytest.raises((errors.FileError, errors.ArgumentError)):
        embed(source, tmp_path / out, **options)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("out", ["out", "out.safetensors"])
def test_a_failure_halfway_leaves_nothing(wv, tmp_path, monkeypatch, out):
    monkeypatch.setattr(work, "BLOCK", 2)
    (tmp_path / "in.txt").write_bytes(b"the king\n" * 99 + b"\xff\n")
    with pytest.raises(errors.TextDecodeError):
        embed(tmp_path / "in.txt", tmp_path / out, vectors=wv, documents="line")
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_the_command(text, tmp_path):
    command = [
        sys.executable,
        "-m",
        "foreword",
        "embed",
        str(text),
        str(tmp_path / "o.safetensors"),
        "--documents",
        "line",
    ]
    done = subprocess.run([*command, "--pool", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["dim"], told["documents"]) == (4, 50, 4)
    again = subprocess.run(command, capture_output=True, text=True)
    assert re.search(r"13 × 50 float32\n4 documents, 14 words, 1 of them without", again.stdout), again.stdout
    bad = subprocess.run([*command, "--vectors", "x", "--layer", "y"], capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: give one of vectors, layer and static")


def test_the_command_reads_urls(tmp_path):
    """A path would have made one slash of a URL's two."""
    fsspec = pytest.importorskip("fsspec")
    from typer.testing import CliRunner

    from foreword.cli import app

    with fsspec.open("memory://two/two.txt", "w") as file:
        file.write("the king\nthe queen\n")
    run = lambda *arguments: CliRunner().invoke(app, ["embed", *arguments])  # noqa: E731
    done = run("memory://two/two.txt", str(tmp_path / "out"), "--documents", "line")
    assert "4 × 50 float32\n2 documents" in done.output
    assert np.load(tmp_path / "out" / "offsets.npy").tolist() == [0, 2, 4]
    refused = run("memory://two/two.txt", str(tmp_path / "b"), "--layer", "s3://bucket/layer")
    assert isinstance(refused.exception, errors.ArgumentError)
    assert "s3://bucket/layer" in str(refused.exception)
    assert "path on this machine" in str(refused.exception)


def test_urls_of_stores_and_of_texts(wv, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    texts = ["The king doesn't.", "Paris"]
    url = f"memory://{tmp_path.name}"
    store = fw.prepare(texts, f"{url}/store")
    with fsspec.open(f"{url}/notes", "w") as file:  # no suffix says that it is a text
        file.write("\n".join(texts))
    embed(store, tmp_path / "opened", vectors=wv, pool=True)
    for name, source in (("store", f"{url}/store"), ("notes", f"{url}/notes")):
        done = embed(source, tmp_path / name, vectors=wv, pool=True, documents="line")
        assert done.documents == 2
        arrays, about = read(tmp_path / name)
        assert about["source"] == source
        assert arrays["embeddings"].tolist() == read(tmp_path / "opened")[0]["embeddings"].tolist()
    layer = fw.InputEmbedding(257, 5, 4)
    embed(fw.prepare(texts, f"{url}/bytes", tokenizer="bytes"), tmp_path / "bytes_opened", layer=layer)
    embed(f"{url}/bytes", tmp_path / "bytes", layer=layer)  # the tokenizer is the store's
    assert read(tmp_path / "bytes")[0]["ids"].tolist() == read(tmp_path / "bytes_opened")[0]["ids"].tolist()
    with pytest.raises(errors.MissingFileError, match="nothing"):
        embed(f"{url}/nothing", tmp_path / "none", vectors=wv)
    assert not (tmp_path / "none").exists()
