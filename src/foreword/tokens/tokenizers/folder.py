"""Tokenizers of several files in a folder, as the hub has them.

    tokenizer.json                    says all itself
    vocab.json + merges.txt           GPT-2's byte-level merges, and its descendants'
    vocab.txt                         BERT's WordPiece
    tokenizer.model, spiece.model     SentencePiece, or merge ranks
    tokenizer_config.json, config.json, special_tokens_map.json, added_tokens.json    which class, which special tokens

The two in the middle are made the tokenizer.json that they stand for. How a class encodes is known here or the class is
refused by its name: none is guessed, and no code of a folder is ever run.

Not for: fetching (``hub``). Costs: reading the files.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foreword._base.files import read_regular
from foreword._base.json_objects import without_repeats
from foreword._base.words import counted
from foreword.errors import ArgumentError, FormatError, MissingFileError
from foreword.tokens.tokenizers.engines import GPT2_PATTERN, PATTERNS
from foreword.tokens.tokenizers.files import Options, open_file
from foreword.tokens.tokenizers.hugging_face import BYTE_OF_LETTER, HuggingFaceTokenizer
from foreword.tokens.tokenizers.tokenizer import ChatTemplate, Tokenizer

__all__ = ["FILES", "chat_of", "open_folder"]

MODELS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    *MODELS,
    "tokenizer_config.json",
    "config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)

# Special tokens that a class has of itself, where the vocabulary has them.
_GPT2_SPECIAL = {"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
_BERT_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA_SPECIAL = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_BYTE_LEVEL = {"GPT2": _GPT2_SPECIAL, "Roberta": _ROBERTA_SPECIAL, "Bart": _ROBERTA_SPECIAL, "Qwen2": _GPT2_SPECIAL}
_WORD_PIECE = {"Bert": _BERT_SPECIAL, "DistilBert": _BERT_SPECIAL, "Electra": _BERT_SPECIAL}
_SENTENCE_PIECE = {"Llama", "Gemma"}  # whose ids are those of the model's file
_LLAMA_SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_OF_MODEL_TYPE = {
    "gpt2": "GPT2",
    "roberta": "Roberta",
    "bart": "Bart",
    "qwen2": "Qwen2",
    "bert": "Bert",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "llama": "Llama",
    "gemma": "Gemma",
}
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def open_folder(folder: Path, options: Options, name: str | None = None) -> Tokenizer:
    """The tokenizer in a folder.

    Args:
        folder: where the files are.
        options: what files of merges do not say.
        name: what the tokenizer is called; its path where it is None.

    Raises:
        MissingFileError: there is none.
        FormatError: a file can't be read, or the tokenizer is of a class that is not known; names it.
    """
    files = _Files(folder)
    if files.has("tokenizer.json"):
        if "AutoTokenizer" in (files.config.get("auto_map") or {}):
            raise FormatError(
                "the tokenizer brings code of its own, which is not run",
                got=f"tokenizer_class {files.config.get('tokenizer_class')!r}",
                where=folder,
                fix="if its tokenizer.json says all of it, give that file by its path",
            )
        return open_file(folder / "tokenizer.json", options, name)
    if files.has("vocab.json") and files.has("merges.txt"):
        return _byte_level(files, options, name or str(folder))
    if files.has("vocab.txt"):
        options.refuse(name or str(folder))
        return _word_piece(files, name or str(folder))
    model = next((model for model in MODELS if files.has(model)), None)
    if model is not None:
        _refuse_other_class(files, _SENTENCE_PIECE, model)
        if files.has("added_tokens.json") and files.json("added_tokens.json"):
            raise FormatError(
                "the folder adds tokens to its SentencePiece model, which only transformers can",
                got=", ".join(list(files.json("added_tokens.json"))[:5]),
                where=folder / "added_tokens.json",
                fix="save it as tokenizer.json: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
            )
        return open_file(folder / model, options, name)
    ranks = sorted(folder.glob("*.tiktoken"))
    if len(ranks) == 1:
        _refuse_other_class(files, set(), ranks[0].name)
        return open_file(ranks[0], options, name)
    raise MissingFileError(
        "the folder holds no tokenizer",
        expected="tokenizer.json; vocab.json and merges.txt; vocab.txt; tokenizer.model; or one *.tiktoken",
        where=folder,
        fix="name the folder, or the file, that holds it",
    )


def chat_of(folder: Path) -> ChatTemplate | None:
    """The chat template in a folder of a tokenizer, if there is one.

    Raises:
        FormatError: it can't be read, or there are several, and none of them is the default.
    """
    files = _Files(folder)
    template = (
        files.text("chat_template.jinja") if files.has("chat_template.jinja") else files.config.get("chat_template")
    )
    if template is None:
        return None
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    if not isinstance(template, str):
        raise FormatError(
            "no chat template that is the default",
            where=folder / "tokenizer_config.json",
            fix="give one: chat_template=",
        )
    own = {**_BYTE_LEVEL, **_WORD_PIECE, "Llama": _LLAMA_SPECIAL}
    tokens = dict(own.get(files.class_name or "", {}))
    for source in (files.config, files.json("special_tokens_map.json") if files.has("special_tokens_map.json") else {}):
        tokens |= {key: _content(source[key]) for key in _SPECIAL if source.get(key)}
    return ChatTemplate(template, tokens)


class _Files:
    """The files of a folder, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = self.json("tokenizer_config.json") if self.has("tokenizer_config.json") else {}

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def text(self, name: str) -> str:
        """A file of text; line ends as ``\\n``."""
        path = self.folder / name
        try:
            return io.StringIO(read_regular(path, "read the tokenizer").decode("utf-8-sig"), newline=None).read()
        except UnicodeDecodeError as cause:
            raise FormatError(
                "the tokenizer's file can't be read", got=str(cause), expected="UTF-8", where=path
            ) from None

    def json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self.text(name), object_pairs_hook=without_repeats)
        except (ValueError, RecursionError) as cause:
            if isinstance(cause, FormatError):
                raise
            value = str(cause)
        if not isinstance(value, dict):
            raise FormatError(
                "the tokenizer's file can't be read",
                got=str(value)[:200],
                expected="a JSON object",
                where=self.folder / name,
            )
        return value

    @property
    def class_name(self) -> str | None:
        """Whose tokenizer it is, "GPT2" of GPT2TokenizerFast; None where no file says it."""
        name = self.config.get("tokenizer_class")
        if name is None and self.has("config.json"):
            config = self.json("config.json")
            name = config.get("tokenizer_class")
            if name is None and (kind := config.get("model_type")) is not None:
                return _OF_MODEL_TYPE.get(str(kind), f"{kind} (model_type)")
        return None if name is None else str(name).removesuffix("Fast").removesuffix("Tokenizer")


def _refuse_other_class(files: _Files, known: Any, what: str) -> str | None:
    """The class of a folder's tokenizer, or None where it says none.

    Raises:
        FormatError: it is not one of ``known``.
    """
    name = files.class_name
    if name is not None and name not in known:
        raise FormatError(
            "a tokenizer of a class that is not known here, with other rules than its files tell",
            got=f"{files.config.get('tokenizer_class') or name}, in {what}",
            expected=" or ".join(f"{one}Tokenizer" for one in sorted(known)) or "tokenizer.json",
            where=files.folder,
            fix="save it as tokenizer.json: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        )
    return name


def _byte_level(files: _Files, options: Options, name: str) -> HuggingFaceTokenizer:
    """vocab.json and merges.txt: byte-level merges."""
    known = _refuse_other_class(files, _BYTE_LEVEL, "vocab.json and merges.txt")
    if known is None and options.pattern is None:
        raise ArgumentError(
            "vocab.json and merges.txt hold nothing else: which split pattern goes with them?",
            where=files.folder,
            fix='if they are GPT-2\'s or of its kind, say so: get_tokenizer(folder, pattern="gpt2") (--pattern gpt2)',
        )
    if known is not None or options.special_tokens is not None:
        options.refuse(name)
    elif PATTERNS.get(options.pattern or "") != GPT2_PATTERN:
        raise ArgumentError("vocab.json and merges.txt go with GPT-2's pattern", got=repr(options.pattern), fix="gpt2")
    vocab = files.json("vocab.json")
    merges = [
        line.split(" ") for line in files.text("merges.txt").split("\n") if line and not line.startswith("#version")
    ]
    bad = next((merge for merge in merges if len(merge) != 2), None)
    if bad is not None or not all(type(id_) is int and id_ >= 0 for id_ in vocab.values()):
        raise FormatError(
            "the tokenizer's files can't be read",
            got=" ".join(bad)[:60] if bad else "an id that is no integer from 0",
            expected="in merges.txt two tokens a line, in vocab.json the id of each token",
            where=files.folder,
        )
    letters = {letter for merge in merges for part in merge for letter in part}
    if not letters <= BYTE_OF_LETTER.keys():
        raise FormatError(
            "the merges are not of bytes written as letters, as GPT-2's are",
            got=repr(min(letters - BYTE_OF_LETTER.keys())),
            where=files.folder / "merges.txt",
            fix="save it as tokenizer.json: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        )
    prefix = bool(files.config.get("add_prefix_space", False))
    level = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": known != "Qwen2"}
    split = {"type": "Split", "pattern": {"Regex": _QWEN2_PATTERN}, "behavior": "Isolated", "invert": False}
    spec = {
        "normalizer": {"type": "NFC"} if known == "Qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]} if known == "Qwen2" else level,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }
    tokenizer = _made(files, name, spec, vocab, _BYTE_LEVEL.get(known or "GPT2", {}))
    tokenizer.options = options.given
    return tokenizer


def _word_piece(files: _Files, name: str) -> HuggingFaceTokenizer:
    """vocab.txt: a token a line."""
    known = _refuse_other_class(files, _WORD_PIECE, "vocab.txt")
    lines = files.text("vocab.txt").split("\n")
    vocab = {token: id_ for id_, token in enumerate(lines[:-1] if lines[-1] == "" else lines)}
    config = files.config
    unknown = _content(config.get("unk_token", "[UNK]"))
    if unknown not in vocab:
        raise FormatError(
            "not a vocabulary of WordPiece",
            got=f"{counted(len(vocab), 'token')} without {unknown!r}",
            expected="a token a line, as BERT has them",
            where=files.folder / "vocab.txt",
        )
    # A vocabulary says it itself: no text in lower case ever gives a token with a capital.
    lower = config.get("do_lower_case")
    if lower is None:
        special = set(_BERT_SPECIAL.values())
        lower = not any(token != token.lower() for token in vocab if token not in special and token[:7] != "[unused")
    spec = {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": bool(config.get("tokenize_chinese_chars", True)),
            "strip_accents": config.get("strip_accents"),
            "lowercase": bool(lower),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
    return _made(files, name, spec, vocab, _WORD_PIECE.get(known or "Bert", {}))


def _content(token: Any) -> str:
    """The text of a special token, which is written as such or with its flags."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _made(
    files: _Files, name: str, spec: dict[str, Any], vocab: dict[str, int], special: dict[str, str]
) -> HuggingFaceTokenizer:
    """The tokenizer of what ``spec`` says, with the special tokens that the files and its class name."""
    added: dict[str, dict[str, Any]] = {}
    for token in _added(files, vocab, special):
        added[token["content"]] = added.get(token["content"], {}) | token
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added.values(), key=lambda token: int(token["id"])),
        **spec,
        "post_processor": None,
    }
    return HuggingFaceTokenizer(name, json.dumps(whole, ensure_ascii=False).encode())


def _added(files: _Files, vocab: dict[str, int], special: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The added tokens, with their flags; what comes later adds to what came before."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    ids: dict[str, int] = dict(vocab)
    listed = files.json("added_tokens.json") if files.has("added_tokens.json") else {}
    for id_, token in (files.config.get("added_tokens_decoder") or {}).items():
        content = _content(token)
        ids[content] = _id(id_, content, files)
        named = {key: bool(value) for key, value in token.items() if key in (*flags, "normalized", "special")}
        yield {"id": ids[content], "content": content, **flags, "normalized": True, "special": False, **named}
    for content, id_ in listed.items():
        if content not in ids or content in vocab:
            ids[content] = _id(id_, content, files)
            yield {"id": ids[content], "content": content, **flags, "normalized": True, "special": False}
    named_in: dict[str, Any] = {key: value for key, value in special.items() if value in ids}
    extra: list[Any] = []
    for source in (files.config, files.json("special_tokens_map.json") if files.has("special_tokens_map.json") else {}):
        named_in |= {key: source[key] for key in _SPECIAL if source.get(key)}
        more = source.get("additional_special_tokens") or source.get("extra_special_tokens") or []
        extra += more.values() if isinstance(more, dict) else more
    for key, token in [*named_in.items(), *(("additional_special_tokens", token) for token in extra)]:
        content = _content(token)
        if content not in ids:
            raise FormatError(
                f"the special token {content!r} ({key}) has no id",
                expected="one in the vocabulary, added_tokens.json or tokenizer_config.json",
                where=files.folder,
            )
        own = token if isinstance(token, dict) else {}
        named = {flag: bool(own[flag]) for flag in flags if flag in own}
        yield {"id": ids[content], "content": content, **flags, **named, "normalized": False, "special": True}


def _id(value: Any, content: str, files: _Files) -> int:
    try:
        id_ = int(value)
    except (TypeError, ValueError):
        id_ = -1
    if id_ < 0 or not content:
        raise FormatError("an added token without an id", got=f"{content!r}: {value!r}", where=files.folder)
    return id_
