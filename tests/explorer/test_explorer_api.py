"""Each operation of the API gives what the library gives."""

import base64

import numpy as np
import pytest
from explorer_client import DOCUMENTS, VECTORS

import foreword as fw


@pytest.fixture(scope="module")
def wv():
    return fw.load(VECTORS)


def test_tokenize(client):
    text = "I HAD always thought\n naïve 👋🏽"
    told = client.post("tokenize", {"text": text}).json
    tokenizer = fw.get_tokenizer("gpt2")
    assert [token["id"] for token in told["tokens"]] == tokenizer.encode(text).tolist()
    assert b"".join(bytes.fromhex(token["bytes"]) for token in told["tokens"]).decode() == text
    assert (told["characters"], told["utf8_bytes"], told["vocab_size"]) == (len(text), len(text.encode()), 50257)
    assert told["distinct"] == len({token["id"] for token in told["tokens"]})


def test_special_text_is_a_token_only_where_asked(client):
    body = {"text": "a<|endoftext|>b"}
    plain = client.post("tokenize", body).json["tokens"]
    special = client.post("tokenize", {**body, "special": True}).json["tokens"]
    assert not any(token["special"] for token in plain)
    assert [token["id"] for token in special] == [64, 50256, 65]
    assert [token["special"] for token in special] == [False, True, False]


def test_tokenizers(client):
    told = client.get("tokenizers").json
    assert [one["name"] for one in told] == ["gpt2", "bytes"]
    assert told[0]["special_tokens"] == {"<|endoftext|>": 50256}


def test_windows_are_the_notebooks(client, verdict, notebook):
    ids = fw.get_tokenizer("gpt2").encode(verdict).tolist()
    body = {"ids": ids, "context_length": 4, "stride": 4, "batch_size": 8}
    told = client.post("windows", body).json
    data = fw.WindowDataset(np.array(ids), context_length=4, stride=4)
    inputs, targets = next(iter(fw.WindowLoader(data, batch_size=8)))
    assert told["inputs"] == inputs.tolist()
    assert told["targets"] == targets.tolist()
    assert told["windows"] == len(data)
    assert told["batches"] == len(data) // 8
    assert told["starts"] == list(range(0, 32, 4))


@pytest.mark.parametrize(("drop_last", "batches", "last"), [(True, 4, 2), (False, 5, 1)])
def test_the_last_batch(client, drop_last, batches, last):
    body = {"ids": list(range(20)), "context_length": 2, "stride": 2, "batch_size": 2, "drop_last": drop_last}
    told = client.post("windows", {**body, "batch": batches - 1}).json
    assert (told["batches"], len(told["inputs"])) == (batches, last)
    assert client.post("windows", {**body, "batch": batches}).status == 422


def test_no_batch_at_all_is_an_answer_not_an_error(client):
    told = client.post("windows", {"ids": [1, 2, 3, 4, 5], "batch_size": 8}).json
    assert (told["windows"], told["batches"], told["inputs"]) == (1, 0, [])


def test_too_short_a_text_says_what_it_needs(client):
    answer = client.post("windows", {"ids": [1, 2]})
    assert answer.status == 422
    assert "at least 5" in answer.json["expected"]


def test_embed_is_the_notebooks(client):
    import torch

    ids = [[40, 367, 2885, 1464], [1807, 3619, 402, 271]]
    told = client.post("embed", {"ids": ids, "seed": 123}).json
    torch.manual_seed(123)
    layer = fw.InputEmbedding(50257, 256, 4)
    np.testing.assert_allclose(told["sum"]["values"], layer(torch.tensor(ids)).detach().numpy(), atol=1e-6)
    assert told["token"]["shape"] == [2, 4, 256]
    assert told["position"]["shape"] == [4, 256]


def test_base64_holds_the_same_numbers(client):
    body = {"ids": [[1, 2]], "vocab_size": 10, "embedding_dim": 8}
    as_json = client.post("embed", body).json["sum"]
    packed = client.post("embed", body, query={"encoding": "base64"}).json["sum"]
    values = np.frombuffer(base64.b64decode(packed["base64"]), "<f4").reshape(packed["shape"])
    np.testing.assert_allclose(values, as_json["values"], atol=1e-6)


def test_drawing_a_layer_leaves_the_random_state_alone(client):
    import torch

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    client.post("embed", {"ids": [[1]], "vocab_size": 5, "embedding_dim": 4, "seed": 77})
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("scheme", ["learned", "sinusoidal", "rotary", "alibi", "none"])
def test_every_position_scheme(client, scheme):
    told = client.get("positions", query={"scheme": scheme, "context_length": 6, "embedding_dim": 8, "num_heads": 2})
    shape = {"rotary": [6, 2], "alibi": [6, 6]}.get(scheme, [6, 8])
    assert told.json["values"]["shape"] == shape
    body = {"ids": [[1, 2]], "vocab_size": 9, "embedding_dim": 8, "position": scheme, "num_heads": 2}
    embedded = client.post("embed", body).json
    assert (embedded["position"] is None) == (scheme in ("rotary", "alibi", "none"))
    if embedded["position"] is None:
        assert embedded["sum"] == embedded["token"]


def test_similar(client, wv):
    told = client.get(f"vectors/{VECTORS}/similar", query={"key": "king", "topn": 5}).json
    assert [(one["key"], pytest.approx(one["score"])) for one in told] == wv.most_similar("king", topn=5)
    body = {"positive": ["king", "woman"], "negative": ["man"], "topn": 3}
    told = client.post(f"vectors/{VECTORS}/similar", body).json
    assert [one["key"] for one in told] == [key for key, _ in wv.most_similar(["king", "woman"], ["man"], topn=3)]


def test_lookup_and_batch(client, wv):
    told = client.get(f"vectors/{VECTORS}/lookup", query={"key": "king"}).json
    np.testing.assert_allclose(told["vector"], wv["king"], rtol=1e-6)
    assert told["row"] == wv.key_to_index["king"]
    told = client.post(f"vectors/{VECTORS}/batch", {"keys": ["cat", "dog"], "topn": 2}).json
    assert [[one["key"] for one in found] for found in told] == [
        [key for key, _ in wv.most_similar(word, topn=2)] for word in ("cat", "dog")
    ]


def test_completion_gives_the_most_frequent_first(client, wv):
    told = client.get(f"vectors/{VECTORS}/complete", query={"prefix": "foreign", "limit": 5}).json
    every = [key for key in wv.index_to_key if key.startswith("foreign")]
    assert told == every[:5]
    assert client.get(f"vectors/{VECTORS}/complete", query={"prefix": "no word starts so"}).json == []


def test_an_analogys_corners_are_a_parallelogram_of_unit_vectors(client, wv):
    told = client.post(f"vectors/{VECTORS}/analogy", {"a": "king", "b": "man", "c": "woman", "topn": 3}).json
    assert told["neighbours"][0]["key"] == "queen"
    b, a, c, end = (np.array([corner["x"], corner["y"]]) for corner in told["corners"])
    np.testing.assert_allclose(end - c, a - b, atol=1e-5)
    units = {word: wv[word] / np.linalg.norm(wv[word]) for word in ("king", "man", "woman")}
    # On the plane that they span, distances are the true ones.
    assert np.linalg.norm(a - b) == pytest.approx(np.linalg.norm(units["king"] - units["man"]), abs=1e-5)
    assert np.linalg.norm(c - b) == pytest.approx(np.linalg.norm(units["woman"] - units["man"]), abs=1e-5)


def test_an_unknown_word_comes_with_its_nearest_spellings(client):
    answer = client.get(f"vectors/{VECTORS}/similar", query={"key": "kingg"})
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["type"] == "urn:foreword:error:UnknownKeyError"
    assert "king" in answer.json["fix"]


def test_map(client):
    words = ["king", "queen", "cat", "dog", "no such word", "king"]
    told = client.post(f"vectors/{VECTORS}/map", {"keys": words}).json
    assert told["keys"] == ["king", "queen", "cat", "dog"]
    assert told["missing"] == ["no such word"]
    told = client.get(f"vectors/{VECTORS}/map", query={"count": 300}).json
    assert len(told["x"]) == len(told["y"]) == len(told["cluster"]) == 300
    sizes = np.bincount(told["cluster"])
    assert list(sizes) == sorted(sizes, reverse=True)
    assert len(sizes) == told["clusters"]


def test_stores_are_listed_and_told(client):
    listed = client.get("stores").json
    assert [one["name"] for one in listed] == ["corpus/train", "corpus/val"]
    told = client.get("stores/account", query={"store": "corpus/train"}).json
    tokenizer = fw.get_tokenizer("gpt2")
    lengths = [len(tokenizer.encode_ordinary(text)) + 1 for text in DOCUMENTS]
    assert (told["tokens"], told["documents"]) == (sum(lengths), len(DOCUMENTS))
    assert (told["shortest"], told["longest"]) == (min(lengths), max(lengths))
    assert sum(one["documents"] for one in told["histogram"]) == len(DOCUMENTS)
    for one in told["histogram"]:
        assert one["documents"] == sum(one["low"] <= length < one["high"] for length in lengths)


def test_documents_and_places(client):
    page = client.get("stores/documents", query={"store": "corpus/train", "start": 1, "limit": 5}).json
    assert [one["index"] for one in page["page"]] == [1, 2]
    assert page["page"][0]["text"].startswith("Every day holds")
    start = page["page"][0]["start"]
    piece = client.get("stores/read", query={"store": "corpus/train", "start": start - 2, "count": 6}).json
    assert piece["document"] == 0
    assert piece["starts"] == [2]
    assert "".join(piece["texts"][2:]) == "Every day holds a"
    beyond = client.get("stores/read", query={"store": "corpus/train", "start": 10**9}).json
    assert (beyond["ids"], beyond["document"]) == ([], -1)


def test_find_gives_every_place_and_goes_on(client, monkeypatch):
    body = {"store": "corpus/train", "text": "Every", "limit": 1}
    first = client.post("stores/find", body).json
    assert first["places"] == [0]
    second = client.post("stores/find", {**body, "start": first["next"]}).json
    page = client.get("stores/documents", query={"store": "corpus/train"}).json["page"]
    assert second["places"] == [page[1]["start"]]
    whole = client.post("stores/find", {**body, "limit": 10}).json
    assert whole["places"] == [0, page[1]["start"]]
    assert whole["next"] is None


def test_the_openapi_document_names_every_operation(client):
    document = client.get("openapi.json").json
    operations = {f"{method} {path}" for path, item in document["paths"].items() for method in item}
    assert {"post /api/v1/tokenize", "post /api/v1/windows", "post /api/v1/embed", "get /api/v1/stores"} <= operations
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert {"401", "403", "404", "413", "421", "422"} <= set(operation["responses"])
    assert "Problem" in document["components"]["schemas"]
