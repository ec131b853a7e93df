"""Tokenizers and static embedding models, as the libraries save them, for the tests of several folders."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

pytest.importorskip("tokenizers", reason="tokenizers isn't installed")
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

WORDS = [
    "the",
    "king",
    "queen",
    "##s",
    "##ing",
    "a",
    "b",
    "c",
    "##a",
    "##b",
    "café",
    "e",
    "é",
    "中",
    "?",
    "!",
    "'",
    "##é",
]


def wordpiece(normalizer=None, split=None, added=("[UNK]", "[PAD]"), unknown="[UNK]"):
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tok = Tokenizer(models.WordPiece(vocab, unk_token=unknown, max_input_chars_per_word=12))
    tok.normalizer = normalizer or normalizers.BertNormalizer()
    tok.pre_tokenizer = split or pre_tokenizers.BertPreTokenizer()
    tok.add_special_tokens(list(added))
    return tok


def unigram():
    pieces = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("▁the", -3.0),
        ("▁king", -3.5),
        ("s", -4.0),
        ("a", -4.1),
        ("b", -4.2),
        ("▁a", -3.0),
    ]
    tok = Tokenizer(models.Unigram(pieces, unk_id=0))
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    return tok


def bytelevel():
    vocab = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {"th": len(vocab), "the": len(vocab) + 1, "Ġa": len(vocab) + 2}
    tok = Tokenizer(models.BPE(vocab, [("t", "h"), ("th", "e"), ("Ġ", "a")]))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tok


def wordlevel():
    tok = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(["[UNK]", "the", "king", "a", "?"])}, unk_token="[UNK]")
    )
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tok.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    return tok


def unparted():
    """Texts are parted at digits only, so that a token may hold a space."""
    vocab = {word: i for i, word in enumerate(["[UNK]", "the", "king", "the king", "a b", "a", "1"])}
    tok = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tok.pre_tokenizer = pre_tokenizers.Digits()
    return tok


def reaching():
    """Tokens that reach across spaces."""
    return wordpiece(added=["[UNK]", "[PAD]", AddedToken("the king", lstrip=True)])


TOKENIZERS = {
    "wordpiece": wordpiece,
    "unigram": unigram,
    "bytelevel": bytelevel,
    "wordlevel": wordlevel,
    "unparted": unparted,
    "reaching": reaching,
}


def rows_of(tok, dtype="float32"):
    rows = np.random.default_rng(7).normal(size=(tok.get_vocab_size(), 5)) * 3
    return np.round(rows * 10).astype(dtype) if dtype == "int8" else rows.astype(dtype)


def save_model2vec(folder, tok, rows, *, weights=None, mapping=None, normalize=False, max_length=512):
    StaticModel = pytest.importorskip("model2vec", reason="model2vec isn't installed").StaticModel
    model = StaticModel(rows, tok, weights=weights, token_mapping=mapping, normalize=normalize, max_length=max_length)
    model.save_pretrained(folder)
    return model


def sentence_transformers_folder(folder, tok, rows, *, normalize, nested=False, prompt=""):
    """What sentence-transformers 6.2 writes, and up to 5 wrote into a folder of the module."""
    place = folder / "0_StaticEmbedding" if nested else folder
    place.mkdir(parents=True)
    save_file({"embedding.weight": rows}, place / "model.safetensors")
    tok.save(str(place / "tokenizer.json"))
    kinds = ["sentence_transformer.modules.static_embedding.StaticEmbedding", "base.modules.normalize.Normalize"]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": ["0_StaticEmbedding" if nested else "", "1_Normalize"][i],
            "type": f"sentence_transformers.{kind}",
        }
        for i, kind in enumerate(kinds[: 1 + normalize])
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    if normalize:
        (folder / "1_Normalize").mkdir()
        names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
        (folder / "1_Normalize" / "config.json").write_text(json.dumps(names))
    config = {
        "prompts": {"query": prompt, "document": ""},
        "default_prompt_name": "query" if prompt else None,
        "similarity_fn_name": "cosine",
    }
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    return folder


def plainly(tok, rows, texts, *, normalize, prompt=""):
    """sentence-transformers' rules, the slow way."""
    tok.no_padding()
    found = []
    for text in texts:
        ids = tok.encode(prompt + text, add_special_tokens=False).ids
        mean = rows[ids].astype(np.float64).mean(axis=0) if ids else np.zeros(rows.shape[1])
        found.append(mean / max(np.linalg.norm(mean), 1e-12) if normalize else mean)
    return np.array(found).reshape(len(texts), rows.shape[1])
