"""Every output of the notebook that Foreword began as, reproduced."""

import struct

import numpy as np
import pytest
import torch

import foreword as fw


def test_google_news_rows(notebook, tmp_path):
    """The four printed rows, in a word2vec binary file as Google's is, come back bit for bit."""
    told = notebook["word_vectors"]
    (dim,) = told["shape_of_cat"]
    rows = {}
    for word, row in told["rows"].items():
        rows[word] = np.full(dim, 0.125, "<f4")
        rows[word][:3], rows[word][-3:] = row["first3"], row["last3"]
    path = tmp_path / "GoogleNews-vectors-negative300.bin"
    with open(path, "wb") as file:
        file.write(f"{len(rows)} {dim}\n".encode())
        for word, row in rows.items():
            file.write(word.encode() + b" " + struct.pack(f"<{dim}f", *row))
    wv = fw.load(str(path))
    assert wv.index_to_key[:] == list(rows)
    assert wv["cat"].shape == tuple(told["shape_of_cat"])
    for word, row in rows.items():
        assert wv[word].tobytes() == row.tobytes()
        np.testing.assert_array_equal(wv[word][:3], np.float32(told["rows"][word]["first3"]))
    assert wv["cat", "dog"].shape == (2, dim)


def test_king_plus_woman_minus_man():
    """The query on the GloVe vectors that come as a dependency; the figures stand in the notebook's note."""
    wv = fw.load("glove-wiki-gigaword-50")
    nearest = wv.most_similar(positive=["king", "woman"], negative=["man"], topn=3)
    assert [word for word, _ in nearest] == ["queen", "throne", "prince"]
    assert [score for _, score in nearest] == pytest.approx([0.8523604, 0.7664334, 0.7592144], abs=1e-5)


def test_embedding_6x3(notebook):
    told = notebook["embedding_6x3"]
    torch.manual_seed(told["manual_seed"])
    V, D = told["num_embeddings"], told["embedding_dim"]
    layer = fw.InputEmbedding(vocab_size=V, embedding_dim=D, context_length=4, position="none")
    weight = layer.token_embedding.weight.detach()
    torch.testing.assert_close(weight, torch.tensor(told["weight"]), atol=told["tolerance"], rtol=0)
    looked_up = layer(torch.tensor([3])).detach()
    torch.testing.assert_close(looked_up, torch.tensor(told["lookup_of_3"]), atol=told["tolerance"], rtol=0)


def test_batches(notebook, verdict):
    told = notebook["batches"]
    options = {name: told[name] for name in ("context_length", "stride", "batch_size", "shuffle", "tokenizer")}
    inputs, targets = next(iter(fw.create_dataloader(verdict, **options)))
    assert inputs.tolist() == told["inputs"]
    assert targets.tolist() == told["targets"]
    assert inputs.dtype == targets.dtype == torch.int64


def test_counts(notebook, verdict):
    told = notebook["batches"]
    ids = fw.get_tokenizer(told["tokenizer"]).encode(verdict)
    assert len(ids) == told["token_count"]
    for cut, count in told["window_counts"].items():
        context_length, stride = map(int, cut.split(","))
        assert len(fw.WindowDataset(ids, context_length=context_length, stride=stride)) == count


def test_input_embedding(notebook, verdict):
    told = notebook["input_embedding"]
    loader = fw.create_dataloader(verdict, batch_size=8, context_length=4, stride=4, shuffle=False)
    inputs, _ = next(iter(loader))
    torch.manual_seed(told["manual_seed"])
    layer = fw.InputEmbedding(told["vocab_size"], told["embedding_dim"], told["context_length"])
    token, position, total = layer.token_embedding(inputs), layer.position_embedding(), layer(inputs)
    close = {"atol": told["tolerance"], "rtol": 0}
    for tensor, name, first in (
        (token, "token_embedding", token[0, 0, :5]),
        (position, "position_embedding", position[0, :5]),
        (total, "combined", total[0, 0, :5]),
    ):
        assert list(tensor.shape) == told[f"{name}_shape"]
        key = {"token_embedding": "token_embedding_0_0_first5", "position_embedding": "position_embedding_0_first5"}
        expected = torch.tensor(told[key.get(name, "combined_embedding_0_0_first5")])
        torch.testing.assert_close(first.detach(), expected, **close)


def test_the_same_by_a_store(notebook, verdict_path, tmp_path):
    """Through a token store on disk, the batches are the notebook's too."""
    told = notebook["batches"]
    store = fw.prepare(verdict_path, tmp_path / "store", append_end_of_text=False)
    assert len(store) == told["token_count"]
    data = fw.WindowDataset(store, context_length=told["context_length"], stride=told["stride"])
    inputs, targets = next(iter(fw.WindowLoader(data, batch_size=told["batch_size"])))
    assert (inputs.tolist(), targets.tolist()) == (told["inputs"], told["targets"])


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((8, 4, 4, False), {}),
        ((), {"batch_size": 8, "max_length": 4, "stride": 4, "shuffle": False, "drop_last": True, "num_workers": 0}),
    ],
)
def test_the_books_own_call_is_told_what_to_write(args, kwargs):
    with pytest.raises(TypeError) as caught:
        fw.create_dataloader("Every effort moves you. " * 40, *args, **kwargs)
    assert isinstance(caught.value, fw.ForewordError)
    fix = caught.value.fact("fix")
    assert fix.startswith("create_dataloader(text, batch_size=8, context_length=4, stride=4, shuffle=False")
    loader = eval(fix, {"create_dataloader": fw.create_dataloader, "text": "Every effort moves you. " * 40})
    assert next(iter(loader))[0].shape == (8, 4)
