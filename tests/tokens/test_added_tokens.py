"""Added tokens of a tokenizer.json, whatever their flags, as the library finds them; tokens that are bytes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from foreword.errors import FormatError, SpecialTokenError
from foreword.tokens import get_tokenizer, prepare
from foreword.tokens.tokenizers.hugging_face import HuggingFaceTokenizer

from .conftest import odd_strings, real_text
from .test_tokenizers import as_text

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
CONTENTS = ["<m>", "<mm>", "m>", " x", "é y"]
texts = st.lists(
    st.one_of(st.sampled_from([*CONTENTS, "<M>", " ", "  ", "\n", "é", "bar", "x", "<|endoftext|>"]), odd_strings),
    max_size=8,
).map("".join)


def plain() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": ["<|endoftext|>"], "initial_alphabet": alphabet, "show_progress": False}
    made.train_from_iterator(real_text()[:30_000].splitlines(), trainers.BpeTrainer(vocab_size=400, **options))
    return made


def byte_fallback() -> Tokenizer:
    """As Llama 2's: spaces are ▁, bytes of unknown characters are tokens."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    vocab |= {token: 259 + i for i, token in enumerate("▁abcdelmortx<>/s")}
    merges = [("▁", "a"), ("l", "o"), ("▁a", "b")]
    vocab |= {a + b: 300 + i for i, (a, b) in enumerate(merges)}
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    return made


def lower_case() -> Tokenizer:
    made = plain()
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    return made


def opened(library: Tokenizer) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer("made", library.to_str().encode())


@pytest.mark.parametrize("make", [plain, byte_fallback, lower_case])
@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=4)))
def test_every_flag(make, flags) -> None:
    lstrip, rstrip, single_word, normalized = flags
    library = make()
    options = {"lstrip": lstrip, "rstrip": rstrip, "single_word": single_word, "normalized": normalized}
    for i, content in enumerate(CONTENTS):
        library.add_tokens([AddedToken(content, special=i % 2 == 0, **options)])
    tokenizer = opened(library)
    finds, hides = Tokenizer.from_str(library.to_str()), Tokenizer.from_str(library.to_str())
    hides.encode_special_tokens = True

    @SETTINGS
    @given(texts)
    def check(text: str) -> None:
        expected = finds.encode(as_text(text), add_special_tokens=False)
        assert tokenizer.encode(text, allowed_special="all").tolist() == expected.ids
        ids, offsets = tokenizer.encode_with_offsets(text, allowed_special="all")
        assert (ids.tolist(), [*map(tuple, offsets.tolist())]) == (expected.ids, expected.offsets)
        for batch in (tokenizer.encode_batch([text, "", text], allowed_special="all", workers=n) for n in (1, 2)):
            assert [each.tolist() for each in batch] == [expected.ids, [], expected.ids]
        ordinary = hides.encode(as_text(text), add_special_tokens=False).ids
        assert tokenizer.encode(text, disallowed_special=()).tolist() == ordinary
        assert tokenizer.encode_many([as_text(text).encode()])[0].tolist() == ordinary

    check()


@pytest.mark.parametrize("make", [plain, byte_fallback])
def test_some_special_tokens_allowed(make) -> None:
    """Those that are not stay text, also where they overlap, with the ids of a tokenizer that has never had them."""
    library, without = make(), make()
    for content in ("<m>", "<mm>"):
        library.add_special_tokens([AddedToken(content, lstrip=True, rstrip=True)])
    without.add_special_tokens([AddedToken("<mm>", lstrip=True, rstrip=True)])
    ids = {without.token_to_id("<mm>"): library.token_to_id("<mm>")}
    assert ids != {id_: id_ for id_ in ids}, "it has the next free id"
    tokenizer = opened(library)

    @SETTINGS
    @given(texts)
    def check(text: str) -> None:
        text = as_text(text).replace("<|endoftext|>", "")
        expected = [ids.get(id_, id_) for id_ in without.encode(text, add_special_tokens=False).ids]
        assert tokenizer.encode(text, allowed_special={"<mm>"}, disallowed_special=()).tolist() == expected

    check()
    with pytest.raises(SpecialTokenError, match="'<m>'"):
        tokenizer.encode("a <m> <mm>", allowed_special={"<mm>"})


def test_prepared_documents_are_ordinary_text(tmp_path: Path) -> None:
    library = plain()
    library.add_special_tokens([AddedToken("<m>", lstrip=True, rstrip=True)])
    library.add_tokens([AddedToken("<n>", lstrip=True, rstrip=True)])
    library.save(str(tmp_path / "tokenizer.json"))
    library.encode_special_tokens = True
    text = "one <m>  two  <n>  three"
    store = prepare([text], tmp_path / "s", tokenizer=tmp_path / "tokenizer.json")
    assert store[:-1].tolist() == library.encode(text, add_special_tokens=False).ids
    assert library.token_to_id("<m>") not in store[:]
    assert library.token_to_id("<n>") in store[:]


def test_a_normalized_special_token_is_seen_before_it_is_found() -> None:
    library = lower_case()
    library.add_special_tokens([AddedToken("<m>", normalized=True)])
    tokenizer = opened(library)
    with pytest.raises(SpecialTokenError, match="'<m>'"):
        tokenizer.encode("a<M>b")
    id_ = library.token_to_id("<m>")
    assert id_ in tokenizer.encode("a<M>b", allowed_special="all")
    assert id_ not in tokenizer.encode("a<M>b", disallowed_special=())


@pytest.mark.parametrize("kind", ["unigram", "word level"])
def test_text_never_becomes_a_special_token(kind: str, tmp_path: Path) -> None:
    """Where the model's own vocabulary has the text of a special token."""
    if kind == "unigram":
        pieces = ["<unk>", "</s>", "▁", "a", "<", "/", "s", ">"]
        library = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], 0))
        library.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        library = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2}, "<unk>"))
        library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens(["</s>", "<unk>"])
    tokenizer = opened(library)
    assert tokenizer.encode("a </s> a", allowed_special="all").tolist().count(1) == 1
    ids = tokenizer.encode("a </s> a", disallowed_special=())
    assert 1 not in ids
    assert np.array_equal(ids, tokenizer.encode_many([b"a </s> a"])[0])
    assert np.array_equal(ids, tokenizer.encode_with_offsets("a </s> a", disallowed_special=())[0])
    tokenizer.encode("a </s> a <unk>", allowed_special={"<unk>"}, disallowed_special=())
    library.save(str(tmp_path / "tokenizer.json"))
    store = prepare(["a </s> a"], tmp_path / "s", tokenizer=tmp_path / "tokenizer.json")
    assert np.count_nonzero(store[:] == 1) == 1, "only the end of the document"


def test_ids_are_those_that_the_library_gives() -> None:
    library = plain()
    library.add_special_tokens(["<m>"])
    spec = json.loads(library.to_str())
    spec["added_tokens"][-1]["id"] = 9_000
    tokenizer = HuggingFaceTokenizer("made", json.dumps(spec).encode())
    assert tokenizer.special_tokens["<m>"] == library.token_to_id("<m>") == 400
    assert tokenizer.encode("<m>", allowed_special="all").tolist() == [400]
    assert tokenizer.decode([400]) == "<m>"


def test_byte_tokens_are_bytes() -> None:
    library = byte_fallback()
    tokenizer = opened(library)
    byte = {b: 3 + b for b in range(256)}
    assert tokenizer.decode_bytes([byte[0xE4]]) == b"\xe4"
    ids = tokenizer.encode("a 😀lo 你x")
    for cut in range(len(ids) + 1):
        halves = tokenizer.decode_bytes(ids[:cut]) + tokenizer.decode_bytes(ids[cut:])
        assert halves.replace(b" ", b"") == "a😀lo你x".encode(), "but for the space at the start of a text"
    assert tokenizer.token_text(byte[0xE4]) == r"b'\xe4'"
    some = st.sampled_from([*byte.values(), *range(259, 303)])

    @SETTINGS
    @given(st.lists(some, max_size=12), odd_strings)
    def check(ids: list[int], text: str) -> None:
        ids = [id_ for id_ in ids if id_ in tokenizer._token_of]
        data, expected = tokenizer.decode_bytes(ids), library.decode(ids, skip_special_tokens=False)
        if "�" not in expected:
            assert data.decode() == expected
        assert b"\xef\xbf\xbd" not in data or {0xEF, 0xBF, 0xBD} <= {id_ - 3 for id_ in ids}
        of_text = tokenizer.encode_ordinary(text).tolist()
        assert tokenizer.decode(of_text) == library.decode(of_text, skip_special_tokens=False)
        offsets = tokenizer.encode_with_offsets(text, disallowed_special=())[1]
        assert all(start < end for start, end in offsets.tolist())

    check()


def test_tokens_of_bytes_in_a_sequence_of_decoders() -> None:
    library = plain()
    library.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    tokenizer = opened(library)
    ids = tokenizer.encode("né 我")
    assert b"".join(tokenizer.decode_bytes([id_]) for id_ in ids) == "né 我".encode()


def test_a_token_that_is_not_written_in_byte_letters() -> None:
    library = plain()
    spec = json.loads(library.to_str())
    spec["model"]["vocab"]["漢"] = 400
    tokenizer = HuggingFaceTokenizer("made", json.dumps(spec).encode())
    assert tokenizer.decode([400]) == "漢"


def test_a_vocabulary_that_draws_is_refused(tmp_path: Path) -> None:
    library = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.5))
    library.save(str(tmp_path / "tokenizer.json"))
    for given_ in (tmp_path / "tokenizer.json", tmp_path, library):
        with pytest.raises(FormatError, match="at random"):
            get_tokenizer(given_)
    library.model.dropout = None
    assert get_tokenizer(library).encode("ab").tolist() == [2]


def test_an_added_token_reads_as_the_library_has_it() -> None:
    """One that is looked for in the normalized text has that text's form."""
    alphabet = {letter: id_ for id_, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    library = Tokenizer(models.BPE(alphabet, []))
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    library.normalizer = normalizers.Lowercase()
    library.add_tokens([AddedToken("KING", normalized=True), AddedToken("Queen", normalized=False)])
    tokenizer = get_tokenizer(library)
    for text in ("king", "KING", "Queen", "queen", "a King's Queen"):
        ids = library.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text).tolist() == ids
        assert tokenizer.decode(ids) == library.decode(ids, skip_special_tokens=False)
