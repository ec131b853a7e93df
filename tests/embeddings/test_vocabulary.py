"""A layer given another tokenizer: each row against a plain reference, pieces against tiktoken and tokenizers."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import foreword as fw
from foreword import errors
from foreword.embeddings import InputEmbedding, LearnedPositions, RowAdam
from foreword.tokens.tokenizers.engines import GPT2_PATTERN, format_ranks
from foreword.tokens.tokenizers.tokenizer import RankTokenizer

BYTES = [bytes([byte]) for byte in range(256)]


def by_rank(tokens, special=()):
    """A tokenizer whose tokens have the ids of their places; special ones behind them."""
    ranks = {token: id_ for id_, token in enumerate(tokens) if token is not None}
    ids = {text: len(tokens) + i for i, text in enumerate(special)}
    return RankTokenizer("drawn", format_ranks(ranks), GPT2_PATTERN, ids)


def merged(data, ranks):
    """Byte-pair encoding as the paper has it: the pair of lowest rank first."""
    parts = [bytes([byte]) for byte in data]
    while pairs := [i for i in range(len(parts) - 1) if parts[i] + parts[i + 1] in ranks]:
        i = min(pairs, key=lambda i: ranks[parts[i] + parts[i + 1]])
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[part] for part in parts]


def reference(rows, old, new):
    """Rows of the new vocabulary (a list of bytes, None where there is none) from those of the old; None: drawn."""
    ranks = {token: id_ for id_, token in enumerate(old) if token is not None}
    made = []
    for id_, token in enumerate(new):
        if token is None:
            made.append(rows[id_] if id_ < len(old) and old[id_] is None else None)
        elif token in ranks:
            made.append(rows[ranks[token]])
        else:
            made.append(rows[merged(token, ranks)].double().mean(0).to(rows.dtype))
    return made


def grown(seed, merges, holes):
    """The bytes in some order, and tokens made of two others, some ids left out."""
    rng = np.random.default_rng(seed)
    tokens = [BYTES[i] for i in rng.permutation(256)]
    for _ in range(merges):
        # bytes of one character, of a word, and of nothing that is text; no space, at which a text is split first
        some = [t for t in tokens if t is not None and t.strip(b"\xe6\x88\x91ab") == b""]
        token = b"".join(some[i] for i in rng.integers(0, len(some), 2))
        ranks = {token: id_ for id_, token in enumerate(tokens) if token is not None}
        if token not in ranks and len(merged(token, ranks)) == 2:  # a merge, as in any vocabulary that was trained
            tokens += [None] * int(rng.random() < holes) + [token]
    return tokens


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    merges=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    holes=st.sampled_from([0.0, 0.3]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
)
def test_every_row_is_that_of_the_plain_reference(seed, merges, holes, dtype):
    torch.manual_seed(seed)
    old, new = grown(seed, merges[0], holes), grown(seed + 1, merges[1], holes)
    layer, head = InputEmbedding(len(old), 5, 4, dtype=dtype), nn.Linear(5, len(old), dtype=dtype)
    parts = [layer.token_embedding.weight, head.weight, head.bias]
    before = [part.detach().clone() for part in parts]
    report = layer.extend_vocabulary(by_rank(old), by_rank(new), head=head)
    assert layer.vocab_size == head.out_features == len(new) == report.vocab_size
    known = {token for token in old if token is not None}
    for part, rows in zip(parts, before, strict=True):
        for id_, want in enumerate(reference(rows, old, new)):
            if want is None:
                assert report.how[id_] == "unused"
                assert part[id_].isfinite().all()
            else:
                torch.testing.assert_close(part[id_], want)
                assert report.how[id_] == ("kept" if new[id_] is None or new[id_] in known else "composed")
                sources = rows[list(report.sources[id_])]
                torch.testing.assert_close(part[id_], sources.double().mean(0).to(dtype))
                assert len(sources) > 1 or torch.equal(part[id_], sources[0])
    assert report.dropped == len(known - set(new))
    both = known & set(new) - {None}
    assert report.moved == sum(old.index(token) != new.index(token) for token in both)
    assert layer(torch.tensor([[len(new) - 1]])).shape == (1, 1, 5)


def test_parts_of_characters_are_encoded_by_bytes():
    """Against tiktoken: GPT-2's tokens beyond the first 1,000, most of whose pieces are text and some are not."""
    tiktoken = pytest.importorskip("tiktoken")
    whole = fw.get_tokenizer("gpt2")
    tokens = [whole.decode_bytes([id_]) for id_ in range(50_256)]
    old = by_rank(tokens[:1000])
    layer = InputEmbedding(1000, 8, 4)
    rows = layer.token_embedding.weight.detach().clone()
    report = layer.extend_vocabulary(old, whole)
    ranks = {token: id_ for id_, token in enumerate(tokens[:1000])}
    theirs = tiktoken.Encoding("old", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    partial = 0
    for id_, token in enumerate(tokens[1000:], start=1000):
        try:
            want = theirs.encode_ordinary(token.decode())
        except UnicodeDecodeError:
            want = theirs._core_bpe.encode_single_piece(token)
            partial += 1
        assert report.sources[id_] == tuple(want)
        if id_ % 97 == 0:
            torch.testing.assert_close(layer.token_embedding.weight[id_], rows[want].mean(0))
    assert partial > 200
    assert report.how[:1000] == ("kept",) * 1000
    assert report.how[50_256] == "composed"  # <|endoftext|>, which the old one doesn't have, from its text
    assert report.sources[50_256] == tuple(theirs.encode_ordinary("<|endoftext|>"))
    assert repr(report) == "VocabularyReport(50,257 rows: 1,000 kept, 49,257 composed of pieces)"


def test_special_tokens_are_the_same_at_another_id():
    words = [*BYTES, b"ab"]
    old, new = by_rank(words, ["<|a|>", "<|b|>"]), by_rank([*words, b"ba"], ["<|b|>", "<|c|>", "<|a|>"])
    layer = InputEmbedding(old.vocab_size, 8, 4)
    rows = layer.token_embedding.weight.detach().clone()
    report = layer.extend_vocabulary(old, new)
    weight = layer.token_embedding.weight
    assert torch.equal(weight[new.special_tokens["<|a|>"]], rows[old.special_tokens["<|a|>"]])
    assert torch.equal(weight[new.special_tokens["<|b|>"]], rows[old.special_tokens["<|b|>"]])
    torch.testing.assert_close(weight[new.special_tokens["<|c|>"]], rows[list(b"<|c|>")].mean(0))
    assert (report.moved, report.dropped, report.count("kept"), report.count("composed")) == (1, 0, 259, 2)
    assert repr(report) == "VocabularyReport(261 rows: 259 kept (1 at another id), 2 composed of pieces)"
    # a text that is special in one of them alone is the same token
    report = layer.extend_vocabulary(new, by_rank([*words, b"<|c|>"]))
    assert report.sources[257] == (new.special_tokens["<|c|>"],)
    assert (report.how[257], report.dropped) == ("kept", 3)
    assert repr(report).endswith("; 3 tokens dropped)")


def library(tmp_path, name, model, *, special, **parts):
    """A tokenizer.json, opened; special tokens have the first ids."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": i, "content": text, "special": True, **flags} for i, text in enumerate(special)]
    spec = {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": None, "decoder": None}
    path = tmp_path / name / "tokenizer.json"
    path.parent.mkdir()
    path.write_text(json.dumps({**spec, **parts, "model": model}))
    return fw.get_tokenizer(path)


def sentence(tmp_path, name, words, *, special=("<unk>",)):
    """A vocabulary as Llama's: bytes as tokens, merges of characters, a space before the first word."""
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    merges = [[word[:i], word[i:]] for word in words for i in range(1, len(word)) if {word[:i], word[i:]} <= {*words}]
    return library(
        tmp_path,
        name,
        {
            "type": "BPE",
            "vocab": {piece: id_ for id_, piece in enumerate(pieces)},
            "merges": merges,
            "unk_token": "<unk>",
            "byte_fallback": True,
            "fuse_unk": True,
        },
        special=special,
        normalizer={
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        decoder={
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
    )


def test_a_vocabulary_with_spaces_of_its_own(tmp_path):
    """ "▁at" and "at" differ, and so do "A" and "<0x41>", though both stand for one byte."""
    pytest.importorskip("tokenizers")
    letters = ["▁", *"abctAé"]
    pieces = ["A", "▁at", *"at", "▁", "▁b", "b", "bat", "ba", "我", "éb"]
    old = sentence(tmp_path, "old", [*letters, "▁a", "at", "▁at"])
    new = sentence(tmp_path, "new", pieces)
    layer = InputEmbedding(old.vocab_size, 8, 4)
    rows = layer.token_embedding.weight.detach().clone()
    report = layer.extend_vocabulary(old, new)
    id_ = {piece: 257 + i for i, piece in enumerate([*letters, "▁a", "at", "▁at"])}
    byte = lambda value: 1 + value  # noqa: E731
    want = {"A": "A", "▁at": "▁at", "a": "a", "t": "t", "▁": "▁", "b": "b"}
    found = {piece: 257 + i for i, piece in enumerate(pieces)}
    for piece, source in want.items():
        assert report.sources[found[piece]] == (id_[source],), piece
        assert torch.equal(layer.token_embedding.weight[found[piece]], rows[id_[source]])
    assert report.how[:257] == ("kept",) * 257
    assert report.sources[:257] == tuple((i,) for i in range(257))
    composed = {"▁b": ("▁", "b"), "bat": ("b", "at"), "ba": ("b", "a"), "éb": ("é", "b")}
    for piece, parts in composed.items():
        assert report.sources[found[piece]] == tuple(id_[each] for each in parts), piece
    assert report.sources[found["我"]] == tuple(map(byte, "我".encode()))


def word_piece(tmp_path, name, words, *, lowercase=True):
    special = ["[UNK]", "[PAD]"]
    return library(
        tmp_path,
        name,
        {
            "type": "WordPiece",
            "vocab": {word: i for i, word in enumerate([*special, *words])},
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        special=special,
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": lowercase,
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": False},
    )


def test_word_pieces(tmp_path):
    """ "ing" and "##ing" differ; what the old one doesn't know, or reads otherwise, has no bytes in common with it."""
    pytest.importorskip("tokenizers")
    words = ["go", "##ing", "##i", "##n", "##g", "ing", "i"]
    old = word_piece(tmp_path, "old", words)
    more = ["ing", "##ing", "going", "##ingi", "##gin", "Go", "我", "##我"]
    new = word_piece(tmp_path, "new", more, lowercase=False)
    layer = InputEmbedding(old.vocab_size, 8, 4)
    report = layer.extend_vocabulary(old, new)
    id_ = {word: 2 + i for i, word in enumerate(words)}
    want = {
        "ing": ("ing",),
        "##ing": ("##ing",),
        "going": ("go", "##ing"),
        "##ingi": ("##ing", "##i"),
        "##gin": ("##g", "##i", "##n"),
        "Go": ("go",),  # as the old one reads it
        "我": (),
        "##我": (),
    }
    for i, word in enumerate(more):
        assert report.sources[2 + i] == tuple(id_[each] for each in want[word]), word
    assert report.how == ("kept",) * 4 + ("composed",) * 4 + ("average",) * 2
    assert "2 average" in repr(report)


def test_a_token_without_pieces_begins_as_an_average_one(tmp_path):
    pytest.importorskip("tokenizers")
    torch.manual_seed(0)
    old = word_piece(tmp_path, "old", [f"a{i}" for i in range(998)])
    new = word_piece(tmp_path, "new", [f"我{i}" for i in range(998)])
    layer = InputEmbedding(1000, 64, 4)
    with torch.no_grad():
        layer.token_embedding.weight.add_(5.0)
    rows = layer.token_embedding.weight.detach().clone()
    report = layer.extend_vocabulary(old, new, multiple_of=64)
    assert (report.count("average"), report.count("unused"), layer.vocab_size) == (998, 24, 1024)
    added = layer.token_embedding.weight[2:].detach()
    torch.testing.assert_close(added.mean(0), rows.mean(0), atol=0.1, rtol=0)
    assert 0.09 < (added - rows.mean(0)).std() / rows.std() < 0.11
    assert len(added.unique(dim=0)) == len(added)


OLD, NEW = by_rank(BYTES, ["<pad>"]), by_rank([b"ab", *BYTES, b" b", b"\xe6\x88"], ["<pad>", "<new>"])


def test_vectors_that_are_given():
    layer, head = InputEmbedding(257, 4, 4), nn.Linear(4, 257, bias=False)
    of_head = head.weight.detach().clone()
    vectors = {" b": [1.0, 2, 3, 4], "<new>": np.full(4, 7.0), 258: torch.full((4,), 8.0)}
    report = layer.extend_vocabulary(OLD, NEW, vectors=vectors, head=head)
    weight = layer.token_embedding.weight
    assert weight[257].tolist() == [1, 2, 3, 4]
    assert weight[260].tolist() == [7] * 4
    assert weight[258].tolist() == [8] * 4
    assert (report.how[257], report.sources[257], report.count("given")) == ("given", (32, 98), 3)
    assert "3 of given vectors" in repr(report)
    torch.testing.assert_close(head.weight[257], of_head[[32, 98]].mean(0))


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        ({"a": [0.0] * 4}, "keeps its row"),
        ({"<pad>": [0.0] * 4}, "keeps its row"),
        ({" bb": [0.0] * 4}, "isn't one token"),
        ({" b": [0.0] * 3}, r"\[4\]"),
        ({" b": [0.0, 0.0, 0.0, float("nan")]}, "finite"),
        ({" b": [0.0] * 4, 257: [1.0] * 4}, "two vectors"),
        ({261: [0.0] * 4}, "at most 260"),
        ({1.0: [0.0] * 4}, "must be an integer"),
    ],
)
def test_vectors_that_cannot_be_used_change_nothing(vectors, says):
    layer = InputEmbedding(257, 4, 4)
    before = layer.token_embedding.weight.detach().clone()
    with pytest.raises(errors.ArgumentError, match=says):
        layer.extend_vocabulary(OLD, NEW, vectors=vectors)
    assert torch.equal(layer.token_embedding.weight, before)
    assert layer.vocab_size == 257


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_head_goes_along(tied, bias):
    torch.manual_seed(0)
    layer, head = InputEmbedding(257, 4, 4), nn.Linear(4, 257, bias=bias)
    if tied:
        head.weight = layer.token_embedding.weight
    x = torch.randn(3, 4)
    before = head(x)
    layer(torch.tensor([[1]])).sum().backward()
    layer.extend_vocabulary(OLD, NEW, head=head)
    assert (head.weight is layer.token_embedding.weight) == tied
    assert all(p.grad is None for p in (*layer.token_embedding.parameters(), *head.parameters()))
    after = head(x)
    assert after.shape == (3, 261)
    torch.testing.assert_close(after[:, 1:257], before[:, :256])
    torch.testing.assert_close(after[:, 0], before[:, [97, 98]].mean(1))  # a head is linear, its bias too
    torch.testing.assert_close(after[:, 259], before[:, 256])
    assert "out_features=261" in repr(head)


def test_a_head_tied_and_not_given_sees_the_rows():
    layer, head = InputEmbedding(257, 4, 4), nn.Linear(4, 257, bias=False)
    head.weight = layer.token_embedding.weight
    layer.extend_vocabulary(OLD, NEW)
    assert head(torch.ones(4)).shape == (261,)
    torch.testing.assert_close(head(torch.ones(4)), layer.logits(torch.ones(4)))


@pytest.mark.parametrize("head", [nn.Linear(4, 256), nn.Embedding(257, 4), "head", nn.Linear(4, 257, device="meta")])
def test_a_head_that_does_not_fit(head):
    with pytest.raises(errors.ArgumentError, match="head must be"):
        InputEmbedding(257, 4, 4).extend_vocabulary(OLD, NEW, head=head)


def test_a_head_with_a_parametrized_weight_is_refused():
    head = nn.utils.parametrizations.weight_norm(nn.Linear(4, 257))
    with pytest.raises(errors.ArgumentError, match="head must be"):
        InputEmbedding(257, 4, 4).extend_vocabulary(OLD, NEW, head=head)


OPTIMIZERS = {
    "RowAdam": RowAdam,
    "SparseAdam": torch.optim.SparseAdam,
    "AdamW": torch.optim.AdamW,
    "AdamW, amsgrad": lambda p: torch.optim.AdamW(p, amsgrad=True),
    "AdamW, fused": lambda p: torch.optim.AdamW(p, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "SGD, plain": lambda p: torch.optim.SGD(p, lr=0.1),
    "Adafactor": torch.optim.Adafactor,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_on_with_the_moments_of_kept_rows(name):
    """A step after equals the step of a layer that never changed, for rows that stayed."""
    torch.manual_seed(0)
    layer = InputEmbedding(257, 4, position="none", sparse="Adam" in name and "W" not in name)
    still = copy.deepcopy(layer)
    steps = [OPTIMIZERS[name]([each.token_embedding.weight]) for each in (layer, still)]

    def learn(each, optimizer, ids):
        optimizer.zero_grad()
        each(ids).square().sum().backward()
        optimizer.step()

    ids = torch.tensor([[97, 98, 99, 256]])
    for _ in range(3):
        learn(layer, steps[0], ids)
        learn(still, steps[1], ids)
    layer.extend_vocabulary(OLD, NEW, optimizers=steps[:1])
    fresh = layer.token_embedding.weight[0].detach().clone()
    if name == "Adafactor":  # its columns are means over all rows: the step runs, and that is all there is to compare
        learn(layer, steps[0], ids + 1)
        return
    learn(layer, steps[0], torch.tensor([[98, 99, 100, 259]]))
    learn(still, steps[1], ids)
    torch.testing.assert_close(layer.token_embedding.weight[1:257], still.token_embedding.weight[:256])
    torch.testing.assert_close(layer.token_embedding.weight[259], still.token_embedding.weight[256])
    learn(layer, steps[0], torch.tensor([[0]]))
    assert not torch.equal(layer.token_embedding.weight[0], fresh)


def test_optimizers_of_a_head_and_its_bias():
    layer, head = InputEmbedding(257, 4, 4), nn.Linear(4, 257)
    optimizer = torch.optim.AdamW([*layer.parameters(), *head.parameters()])
    head(layer(torch.tensor([[1, 2]]))).sum().backward()
    optimizer.step()
    bias = optimizer.state[head.bias]["exp_avg"].clone()
    layer.extend_vocabulary(OLD, NEW, head=head, optimizers=optimizer)
    assert torch.equal(optimizer.state[head.bias]["exp_avg"][1:257], bias[:256])
    assert optimizer.state[layer.position_embedding.weight]["exp_avg"].shape == (4, 4)
    head(layer(torch.tensor([[0, 260]]))).sum().backward()
    optimizer.step()


def test_an_optimizer_whose_state_is_not_by_row_is_refused():
    layer = InputEmbedding(257, 4, position="none")
    optimizer = torch.optim.LBFGS(layer.parameters())
    closure = lambda: layer(torch.tensor([[1]])).square().sum()  # noqa: E731
    optimizer.zero_grad()
    closure().backward()
    optimizer.step(closure)
    optimizer.state[layer.token_embedding.weight]["moment"] = torch.zeros(257 * 4)
    with pytest.raises(errors.ArgumentError, match="isn't by row"):
        layer.extend_vocabulary(OLD, NEW, optimizers=[optimizer])
    assert layer.vocab_size == 257


def test_row_adam_refuses_moments_of_another_table():
    layer = InputEmbedding(257, 4, 4, sparse=True)
    optimizer = RowAdam([layer.token_embedding.weight])
    for change in (lambda: None, lambda: layer.extend_vocabulary(OLD, NEW)):
        change()
        layer(torch.tensor([[1]])).sum().backward()
        if layer.vocab_size == 257:
            optimizer.step()
        else:
            with pytest.raises(errors.ArgumentError, match="moments are of another table"):
                optimizer.step()


def test_the_padding_row_moves():
    layer = InputEmbedding(257, 4, 4, padding_id=256)
    layer.extend_vocabulary(OLD, NEW)
    assert layer.padding_id == layer.token_embedding.padding_idx == 259
    assert not layer.token_embedding.weight[259].any()
    layer(torch.tensor([[259, 0]])).sum().backward()
    assert not layer.token_embedding.weight.grad[259].any()
    assert layer.token_embedding.weight.grad[0].all()
    before = layer.token_embedding.weight.detach().clone()
    with pytest.raises(errors.ArgumentError, match="padding token would be dropped"):
        layer.extend_vocabulary(NEW, by_rank(BYTES))
    assert torch.equal(layer.token_embedding.weight, before)


def test_positions_counted_past_padding_go_along(tmp_path):
    torch.manual_seed(0)
    layer = InputEmbedding(257, 4, position=LearnedPositions(6, 4, start=1, padding_id=256))
    ids = torch.tensor([[256, 97, 256, 98]])
    want = layer(ids)
    layer.extend_vocabulary(OLD, NEW)
    moved = torch.tensor([[259, 98, 259, 99]])
    assert torch.equal(layer(moved), want)
    layer.save_pretrained(tmp_path / "saved")
    again = InputEmbedding.from_pretrained(tmp_path / "saved")
    assert again.vocab_size == 261
    assert torch.equal(again(moved), want)


def test_rows_beyond_the_vocabulary_stay_where_they_are():
    layer = InputEmbedding(320, 4, 4)
    rows = layer.token_embedding.weight.detach().clone()
    report = layer.extend_vocabulary(OLD, NEW, multiple_of=64)
    assert layer.vocab_size == 320
    assert torch.equal(layer.token_embedding.weight[261:], rows[261:])
    assert report.sources[300] == (300,)
    assert report.moved == 257


def test_what_is_no_vocabulary_of_the_layer():
    layer = InputEmbedding(256, 4, 4)
    with pytest.raises(errors.ArgumentError, match="257 tokens, and a table of 256 rows"):
        layer.extend_vocabulary(OLD, NEW)
    layer = InputEmbedding(257, 4, 4)
    for pair in (("gpt2", NEW), (OLD, {"a": 1})):
        with pytest.raises(errors.ArgumentTypeError, match="tokenizer of Foreword"):
            layer.extend_vocabulary(*pair)
    with pytest.raises(errors.ArgumentError, match="multiple_of"):
        layer.extend_vocabulary(OLD, NEW, multiple_of=0)
    layer = InputEmbedding(257, 4, 4, device="meta")
    with pytest.raises(errors.ArgumentError, match="needs a table of its own"):
        layer.extend_vocabulary(OLD, NEW)


def test_the_report_is_frozen():
    report = InputEmbedding(257, 4, 4).extend_vocabulary(OLD, OLD)
    assert (report.moved, report.dropped, report.count("kept")) == (0, 0, 257)
    assert repr(report) == "VocabularyReport(257 rows: 257 kept)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.moved = 1
