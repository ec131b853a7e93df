"""Each operation of the API gives what the library gives."""

import base64
import threading
import time

import numpy as np
import pytest

import foreword as fw
from explorer.client import DOCUMENTS, VECTORS, serving
from foreword.explorer import Limits, Settings
from foreword.explorer.api import flow


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


def test_each_token_says_which_characters_it_stands_for(client):
    text = "a我 سمع 👩‍👩‍👧‍👦\ud800!"
    answer = client.post("tokenize", {"text": text}).json["tokens"]
    _, offsets = fw.get_tokenizer("gpt2").encode_with_offsets(text, disallowed_special=())
    assert [[token["start"], token["end"]] for token in answer] == offsets.tolist()
    assert [token["id"] for token in answer] == fw.get_tokenizer("gpt2").encode(text, disallowed_special=()).tolist()
    pieces = [token for token in answer if (token["start"], token["end"]) == (1, 2)]
    assert b"".join(bytes.fromhex(token["bytes"]) for token in pieces).decode() == "我"


def test_merges_lead_from_bytes_to_the_token(client):
    answer = client.get("merges", query={"id": 341}).json
    assert answer["parts"] == ["61", "74", "69", "6f", "6e"]
    assert [(step["rank"], step["at"], step["parts"]) for step in answer["steps"]] == [
        (261, 3, ["61", "74", "69", "6f 6e"]),
        (265, 0, ["61 74", "69", "6f 6e"]),
        (295, 1, ["61 74", "69 6f 6e"]),
        (341, 0, ["61 74 69 6f 6e"]),
    ]
    assert client.get("merges", query={"id": 0}).json == {"id": 0, "bytes": "21", "parts": ["21"], "steps": []}
    assert client.get("merges", query={"id": 97, "tokenizer": "bytes"}).json["steps"] is None
    assert client.get("merges", query={"id": 50_257}).status == 422
    assert client.get("merges", query={"id": 1, "tokenizer": "nope"}).status == 404


def test_special_text_is_a_token_only_where_asked(client):
    body = {"text": "a<|endoftext|>b"}
    plain = client.post("tokenize", body).json["tokens"]
    special = client.post("tokenize", {**body, "special": True}).json["tokens"]
    assert not any(token["special"] for token in plain)
    assert [token["id"] for token in special] == [64, 50256, 65]
    assert [token["special"] for token in special] == [False, True, False]


def test_tokens_are_told_without_the_servers_path_of_their_tokenizer(tmp_path):
    """It is called as the server was given it."""
    ranks = b"".join(base64.b64encode(bytes([i])) + b" %d\n" % i for i in range(256))
    (tmp_path / "gpt2.tiktoken").write_bytes(ranks)
    with serving(Settings(tokenizers=(str(tmp_path / "gpt2.tiktoken"),))) as client:
        (name,) = [one["name"] for one in client.get("tokenizers").json]
        told = client.post("tokenize", {"text": "one"})
        assert told.json["tokenizer"] == name
        assert str(tmp_path) not in told.body.decode()


def test_tokenizers(client):
    told = client.get("tokenizers").json
    assert [one["name"] for one in told] == ["gpt2", "bytes"]
    assert told[0]["special_tokens"] == {"<|endoftext|>": 50256}


@pytest.mark.torch
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


@pytest.mark.torch
def test_embed_is_the_notebooks(client):
    import torch

    ids = [[40, 367, 2885, 1464], [1807, 3619, 402, 271]]
    told = client.post("embed", {"ids": ids, "seed": 123}).json
    torch.manual_seed(123)
    layer = fw.InputEmbedding(50257, 256, 4)
    np.testing.assert_allclose(told["sum"]["values"], layer(torch.tensor(ids)).detach().numpy(), atol=1e-6)
    assert told["token"]["shape"] == [2, 4, 256]
    assert told["position"]["shape"] == [4, 256]


@pytest.mark.torch
def test_base64_holds_the_same_numbers(client):
    body = {"ids": [[1, 2]], "vocab_size": 10, "embedding_dim": 8}
    as_json = client.post("embed", body).json["sum"]
    packed = client.post("embed", body, query={"encoding": "base64"}).json["sum"]
    values = np.frombuffer(base64.b64decode(packed["base64"]), "<f4").reshape(packed["shape"])
    np.testing.assert_allclose(values, as_json["values"], atol=1e-6)


@pytest.mark.torch
def test_one_table_is_kept_and_none_is_drawn_beside_it(client, monkeypatch):
    import foreword.embeddings

    held, at_once = [], []
    make = foreword.embeddings.InputEmbedding

    def drawn(*given, **rest):
        at_once.append(len(flow._kept))
        held.append(given)
        time.sleep(0.02)
        return make(*given, **rest)

    monkeypatch.setattr(foreword.embeddings, "InputEmbedding", drawn)
    body = {"ids": [[1]], "vocab_size": 6, "embedding_dim": 4}
    threads = [threading.Thread(target=client.post, args=("embed", {**body, "seed": 9_000 + i % 3})) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) >= 3
    assert set(at_once) == {0}
    assert len(flow._kept) == 1
    drawn_once = len(held)
    for _ in range(2):
        assert client.post("embed", {**body, "seed": 77_777}).status == 200
    assert len(held) == drawn_once + 1


def test_the_largest_table_is_the_pages():
    assert Limits().table_floats == 200_064 * 256


@pytest.mark.torch
def test_alibi_is_drawn_for_one_head(client, monkeypatch):
    from foreword.embeddings import AlibiBias

    shapes = []
    forward = AlibiBias.forward
    monkeypatch.setattr(AlibiBias, "forward", lambda self, n: shapes.append(self.slopes.shape) or forward(self, n))
    query = {"scheme": "alibi", "context_length": 50, "embedding_dim": 128, "num_heads": 128}
    told = np.array(client.get("positions", query=query).json["values"]["values"])
    monkeypatch.undo()
    expected = AlibiBias(128)(50)[0].numpy()
    np.testing.assert_allclose(told, np.where(np.isinf(expected), expected[-1, 0], expected), atol=1e-6)
    assert shapes == [(1,)]


@pytest.mark.torch
def test_drawing_a_layer_leaves_the_random_state_alone(client):
    import torch

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    client.post("embed", {"ids": [[1]], "vocab_size": 5, "embedding_dim": 4, "seed": 77})
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.torch
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


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("windows", {"ids": list(range(1, 10)), "batch": 10**30}),
        ("windows", {"ids": [1, 2], "batch": 2**63}),
        ("windows", {"ids": [1, 2, 3, 4, 5], "stride": 2**63}),
        ("stores/find", {"store": "corpus/train", "ids": [1], "start": 10**30}),
        ("stores/find", {"store": "corpus/train", "ids": [10**30]}),
        ("stores/documents", {"store": "corpus/train", "start": 10**30}),
        ("stores/read", {"store": "corpus/train", "start": 2**63}),
        ("stores/read", {"store": "corpus/train", "start": "9" * 5_000}),
    ],
)
def test_every_integer_has_a_bound(client, path, body):
    post = path in ("windows", "stores/find")
    answer = client.post(path, body) if post else client.get(path, query=body)
    assert answer.status == 422


def test_every_integer_of_the_document_has_a_bound(client):
    document = client.get("openapi.json").json

    def integers(schema):
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if schema.get("type") == "integer":
            yield schema
        for inner in [schema.get("items", {}), *schema.get("properties", {}).values()]:
            if inner:
                yield from integers(inner)

    found = []
    for item in document["paths"].values():
        for operation in item.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for schema in [body.get("schema", {}), *(one["schema"] for one in operation.get("parameters", ()))]:
                found += integers(schema)
    assert len(found) > 20
    for schema in found:
        assert "maximum" in schema or "exclusiveMaximum" in schema, schema


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("embed", {"ids": [[-1] * 200] * 1_000}),
        ("windows", {"ids": [""] * 100_000}),
        ("stores/find", {"store": "corpus/train", "ids": [-1] * 100_000}),
        (f"vectors/{VECTORS}/batch", {"keys": [0] * 100_000}),
        ("tokenize", {"text": "a", **{f"m{i}": 0 for i in range(50_000)}}),
    ],
)
def test_one_fault_of_many_is_looked_for(client, path, body, monkeypatch):
    from foreword.explorer import problems

    faults = []
    monkeypatch.setattr(problems.RequestValidationError, "errors", _counting(faults))
    assert client.post(path, body).status == 422
    assert faults == [1]


def _counting(faults):
    from fastapi.exceptions import RequestValidationError

    errors = RequestValidationError.errors

    def counted(self):
        faults.append(len(errors(self)))
        return errors(self)

    return counted


def test_a_long_name_is_not_echoed(client):
    for given in ({"x" * 900_000: 1}, {"\ud800": 1}, {"tokenizer": "y" * 900_000}):
        answer = client.post("tokenize", {"text": "a", **given})
        assert (answer.status, len(answer.body) < 3_000) == (422, True)
    answer = client.get(f"vectors/{'z' * 20_000}/lookup", query={"key": "a"})
    assert (answer.status, len(answer.body) < 3_000) == (404, True)


def test_nearest_spellings_are_sought_beside_the_event_loop(client, monkeypatch):
    from foreword.explorer.api import vectors

    threads = []

    def unknown(*_):
        raise fw.errors.UnknownKeyError("no", fix=lambda: threads.append(threading.current_thread().name) or "none")

    monkeypatch.setattr(vectors, "_neighbours", unknown)
    assert client.get(f"vectors/{VECTORS}/similar", query={"key": "king"}).status == 404
    assert client.get(f"vectors/{VECTORS}/complete", query={"prefix": "kin"}).status == 200
    assert len(threads) == 1
    assert "worker" in threads[0].lower()


def test_what_cannot_be_opened_hides_none_of_the_others(tmp_path):
    (tmp_path / "bad.txt").write_text("2 2\na 1 2\nb 1")
    given = (str(tmp_path / "bad.txt"), str(tmp_path / "none.txt"), VECTORS)
    with serving(Settings(vectors=given, tokenizers=("gpt2", str(tmp_path / "no.json")))) as client:
        listed = client.get("vectors").json
        assert [one["name"] for one in listed] == ["bad", "none", VECTORS]
        assert [bool(one.get("problem")) for one in listed] == [True, True, False]
        assert [bool(one.get("problem")) for one in client.get("tokenizers").json] == [False, True]
        assert client.get("vectors/bad/lookup", query={"key": "a"}).status == 422


def test_the_openapi_document_names_every_operation(client):
    document = client.get("openapi.json").json
    operations = {f"{method} {path}" for path, item in document["paths"].items() for method in item}
    assert {"post /api/v1/tokenize", "post /api/v1/windows", "post /api/v1/embed", "get /api/v1/stores"} <= operations
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert operation["description"]
            assert {"401", "403", "404", "405", "413", "421", "422"} <= set(operation["responses"])
    assert "Problem" in document["components"]["schemas"]


def test_the_openapi_document_says_what_everything_is(client):
    """A description of every parameter and member, and an example or a default of all that a client writes."""
    document = client.get("openapi.json").json
    schemas = document["components"]["schemas"]
    bare = []
    for name, schema in schemas.items():
        for member, told in schema.get("properties", {}).items():
            if not told.get("description"):
                bare.append(f"{name}.{member}: no description")
            if name.endswith("Request") and not told.get("examples"):
                bare.append(f"{name}.{member}: no example")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for one in operation.get("parameters", ()):
                if not one.get("description"):
                    bare.append(f"{method} {path} {one['name']}: no description")
                schema = one["schema"]
                if not (schema.get("examples") or "default" in schema or "example" in one or "examples" in one):
                    bare.append(f"{method} {path} {one['name']}: no example")
    assert bare == []


def test_another_method_is_a_documented_problem(client):
    answer = client.ask("DELETE", "/api/v1/stores")
    assert (answer.status, answer.json["status"]) == (405, 405)


def test_a_browser_is_answered_by_a_page_and_a_program_by_a_problem(client):
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/nothing", "/static/nothing.js", "/words/<script>"):
        answer = client.ask("GET", path, headers=browser)
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert b'href="/words"' in answer.body
        assert b"<script>" not in answer.body
        assert client.ask("GET", path).json["status"] == 404
    assert client.ask("GET", "/api/v1/nothing", headers=browser).json["status"] == 404
    wrong_host = client.ask("GET", "/", headers={**browser, "Host": "evil.example"})
    assert (wrong_host.status, wrong_host.headers["content-type"]) == (421, "text/html; charset=utf-8")
    with serving(Settings(token="right", page=True)) as guarded:
        refused = guarded.ask("GET", "/", headers=browser)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert b"open the address with ?token=" in refused.body
        assert guarded.ask("GET", "/?token=right", headers=browser).status == 303
    with serving(Settings(page=False)) as bare:
        assert bare.ask("GET", "/", headers=browser).json["status"] == 404
