"""Long texts through tokenizer.json: cut where the rules allow it, with the ids of the whole; refused where not."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from foreword.errors import ArgumentError
from foreword.tokens import TokenStore, get_tokenizer, prepare
from foreword.tokens.tokenizers import cutting, hugging_face, library
from foreword.tokens.tokenizers.hugging_face import HuggingFaceTokenizer

from .conftest import odd_strings, real_text
from .test_tokenizers import as_text, gpt2_json

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = next(pattern for pattern in cutting._WORDS if r"\p{Lt}" in pattern)
DEEPSEEK = next(pattern for pattern in cutting._WORDS if r"\p{S}" in pattern)

WORDS = [
    "word",
    "Wort",
    "né",
    "漢字",
    "кот",
    "x",
    "don't",
    "l'été",
    "ŉ",
    "ﬁ",
    "२",
    "क़",
    "é",
    "12",
    "foo",
    "<m>",
    "e\u0301",
]
GAPS = [*(" " * 12), "  ", "\n", "\n\n", "。", "，", ", ", ".\n", " \n ", "\u3000", "\t", "▁", " '", "…", "!"]
pairs = st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)).map("".join)
texts = st.lists(st.one_of(pairs, pairs, pairs, odd_strings), min_size=4, max_size=24).map("".join)


def byte_level(split: object = None, **options: object) -> Tokenizer:
    made = Tokenizer(models.BPE())
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, **options)
    made.pre_tokenizer = plain if split is None else pre_tokenizers.Sequence([*split, plain])
    made.decoder = decoders.ByteLevel()
    return trained(made, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def trained(made: Tokenizer, **options: object) -> Tokenizer:
    lines = real_text()[:60_000].splitlines() + ["кот 漢字 né word Wort"] * 9
    if isinstance(made.model, models.Unigram):
        trainer = trainers.UnigramTrainer(
            vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
        )
    elif isinstance(made.model, models.WordPiece):
        trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[UNK]"], show_progress=False)
    else:
        trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, **options)
    made.train_from_iterator(lines, trainer)
    return made


def split(pattern: str, behavior: str = "isolated", *, invert: bool = False) -> object:
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def made_tokenizers() -> dict[str, Tokenizer]:
    every = {
        "gpt2": byte_level(),
        "prefix": byte_level(),
        "cl100k": byte_level([split(CL100K)], use_regex=False),
        "removed": byte_level([split(CL100K, "removed", invert=True)], use_regex=False),
        "o200k": byte_level([split(O200K)], use_regex=False),
        "deepseek": byte_level([split(r"\p{N}{1,3}"), split("[一-龥ࠀ-一가-퟿]+"), split(DEEPSEEK)], use_regex=False),
        "runs": byte_level(
            [split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), pre_tokenizers.Digits(individual_digits=True)],
            use_regex=False,
        ),
        "qwen": byte_level([split(CL100K)], use_regex=False),
    }
    every["prefix"].pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    every["qwen"].normalizer = normalizers.NFC()
    for scheme in ("always", "first", "never"):
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        every[f"unigram {scheme}"] = trained(made)
    for name, steps in {
        "llama": [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")],
        "gemma": [normalizers.Replace(" ", "▁")],
    }.items():
        made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        made.normalizer = normalizers.Sequence(steps)
        made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training alone
        trained(made, special_tokens=["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))])
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        if name == "llama":
            spec = json.loads(made.to_str())
            made = Tokenizer.from_str(json.dumps({**spec, "pre_tokenizer": None}))
        every[name] = made
    for name, steps in {
        "bert": [normalizers.BertNormalizer()],
        "accents": [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()],
    }.items():
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.Sequence(steps)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if name == "bert" else pre_tokenizers.Whitespace()
        every[name] = trained(made)
    made = byte_level()
    made.normalizer = normalizers.BertNormalizer()  # puts spaces around Han, which then belong to tokens
    every["spread"] = made
    return every


MADE: dict[str, Tokenizer] = {}


def made(name: str) -> Tokenizer:
    if not MADE:
        MADE.update(made_tokenizers())
    return Tokenizer.from_str(MADE[name].to_str())


NAMES = [
    *("gpt2", "prefix", "cl100k", "removed", "o200k", "deepseek", "runs", "qwen", "llama", "gemma", "bert", "accents"),
    *("unigram always", "unigram first", "unigram never", "spread"),
]


def in_pieces(tokenizer: HuggingFaceTokenizer, text: str) -> tuple[list[int], int]:
    """The ids of ``text`` cut at every place there is, and the number of pieces."""
    pieces = [text[start:stop] for start, stop in tokenizer._cuts.pieces(text, 1)]
    return [id_ for piece in pieces for id_ in tokenizer._ids(piece)], len(pieces)


@pytest.mark.parametrize("name", NAMES)
def test_pieces_have_the_ids_of_the_whole(name: str) -> None:
    tokenizer = HuggingFaceTokenizer(name, made(name).to_str().encode())
    assert tokenizer._cuts is not None, "no cut is known where there is one"

    @SETTINGS
    @given(texts)
    def check(text: str) -> None:
        text = as_text(text)
        assert in_pieces(tokenizer, text)[0] == tokenizer._ids(text)

    check()
    text = real_text()[:100_000] + "漢字，漢字 кот né\nnull" * 2_000
    ids, count = in_pieces(tokenizer, text)
    assert ids == tokenizer._ids(text)
    assert count > 5_000


FLAGS = list(itertools.product([False, True], repeat=4))


@pytest.mark.parametrize("name", ["gpt2", "qwen", "llama", "gemma", "unigram first", "bert"])
@pytest.mark.parametrize("content", ["<m>", "word", "m>", " x", "x word", "▁x", "。x", "é", "foo bar"])
def test_added_tokens_at_cuts(name: str, content: str) -> None:
    """Whatever an added token's flags: either no cut is allowed near it, or the ids are those of the whole."""
    for flags in FLAGS[:: 3 if name != "gpt2" else 1]:
        library = made(name)
        lstrip, rstrip, single_word, normalized = flags
        library.add_tokens(
            [AddedToken(content, lstrip=lstrip, rstrip=rstrip, single_word=single_word, normalized=normalized)]
        )
        tokenizer = HuggingFaceTokenizer(name, library.to_str().encode())
        if tokenizer._cuts is None:
            continue
        for before, after in itertools.product(
            ["", "a", "a ", "aa  ", "word ", "x "], ["", "b", " b", "  bb", "。b", "\nb"]
        ):
            text = f"some {before}{content}{after} more foo bar word"
            assert in_pieces(tokenizer, text)[0] == tokenizer._ids(text), (flags, text)


def test_what_is_not_known_is_not_cut() -> None:
    odd = {
        "strip": (normalizers.Strip(), None),
        "letters": (normalizers.Replace("d h", "-"), None),
        "lookbehind": (None, split(r"(?<=a) \w+|\w+|\W")),
        "merged": (None, split(CL100K, "merged_with_previous")),
        "prepended": (normalizers.Prepend("_"), None),
        "fixed": (None, pre_tokenizers.Metaspace(split=False)),
    }
    for name, (normalizer, step) in odd.items():
        library = made("gpt2" if name != "fixed" else "unigram first")
        if normalizer is not None:
            library.normalizer = normalizer
        if step is not None:
            library.pre_tokenizer = step
        assert HuggingFaceTokenizer(name, library.to_str().encode())._cuts is None, name


def test_long_texts_are_cut_by_themselves(tmp_path: Path, monkeypatch) -> None:
    tokenizer, gpt2 = get_tokenizer(gpt2_json(tmp_path)), get_tokenizer("gpt2")
    text = real_text()[:700_000]
    seen = []
    given_ = HuggingFaceTokenizer._batch_ids
    monkeypatch.setattr(
        HuggingFaceTokenizer,
        "_batch_ids",
        staticmethod(lambda lib, part: seen.extend(map(len, part)) or given_(lib, part)),
    )
    expected = gpt2.encode_ordinary(text)
    assert np.array_equal(tokenizer.encode(text), expected)
    assert max(seen) < 3 * cutting.PIECE
    flat, lengths = tokenizer.encode_many([b"a", text.encode(), b""])
    assert np.array_equal(flat[1:], expected)
    assert lengths.tolist() == [1, len(expected), 0]
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert np.array_equal(ids, expected)
    assert np.array_equal(offsets, gpt2.encode_with_offsets(text)[1])
    marked = text[:300_000] + "<|endoftext|>" + text[300_000:]
    assert np.array_equal(tokenizer.encode(marked, allowed_special="all"), gpt2.encode(marked, allowed_special="all"))


def test_a_text_that_cannot_be_cut_is_refused_beforehand(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(library, "LONGEST", 200_000)
    monkeypatch.setattr(
        HuggingFaceTokenizer, "_batch_ids", staticmethod(lambda *_: pytest.fail("the library was given it"))
    )
    tokenizer = get_tokenizer(gpt2_json(tmp_path))
    text = "one two " * 30_000 + "a" * 250_000 + " three four" * 3
    for call in (tokenizer.encode, tokenizer.encode_with_offsets, lambda t: tokenizer.encode_many([t.encode()])):
        with pytest.raises(ArgumentError, match="too long for the tokenizer's library") as error:
            call(text)
        assert "200,000" in str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads VmHWM")
def test_memory_of_a_long_text(tmp_path: Path) -> None:
    """20 MB through GPT-2's tokenizer.json, as one document: 4.3 GB before there were pieces."""
    path = gpt2_json(tmp_path)
    (tmp_path / "corpus.txt").write_text(real_text() * 20)
    program = f"""
import foreword, re
store = foreword.prepare({str(tmp_path / "corpus.txt")!r}, {str(tmp_path / "store")!r}, tokenizer={str(path)!r})
print(len(store), re.search("VmHWM:\\\\s+(\\\\d+)", open("/proc/self/status").read())[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    tokens, peak = map(int, done.stdout.split())
    assert tokens == len(TokenStore.open(tmp_path / "store"))
    assert peak < 450_000, "kB"


def test_prepared_in_pieces_as_whole(tmp_path: Path, monkeypatch) -> None:
    from foreword.tokens.preparing import documents

    monkeypatch.setattr(documents, "PIECE", 20_000)
    monkeypatch.setattr(hugging_face, "PIECE", 2_000)
    path = gpt2_json(tmp_path)
    (tmp_path / "corpus.txt").write_text(real_text()[:300_000])
    store = prepare(tmp_path / "corpus.txt", tmp_path / "store", tokenizer=path)
    assert np.array_equal(store[:-1], get_tokenizer("gpt2").encode_ordinary(real_text()[:300_000]))
    assert get_tokenizer(path).cuttable
