"""What makes vectors of texts: the tokenizer of a static embedding model, and how its tokens' vectors are pooled.

A store keeps it as ``tokenizer.json`` beside the vectors, and a few fields of its manifest.

Not for: encoding (``encoding``), reading models (``formats.static_model``). Costs: the tokenizer's file is read when it
is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from foreword._base.files import read_regular

__all__ = ["TOKENIZER", "Library", "TextEncoder", "encoder_fields", "stored_encoder"]

TOKENIZER = "tokenizer.json"
"""The name of the file."""

Library = Literal["model2vec", "sentence-transformers"]


@dataclass(frozen=True)
class TextEncoder:
    """How the vectors of a text's tokens become the text's.

    Attributes:
        library: whose rules hold: model2vec leaves unknown tokens out, and cuts a text at ``max_length`` tokens after
            so many times the median length of a token in characters; sentence-transformers does neither, and cuts where
            tokenizer.json says so.
        normalize: whether vectors of texts are scaled to length 1.
        max_length: tokens of a text that count, or None for all.
        prompt: what goes before every text.
        tokenizer: the bytes of tokenizer.json, or where it lies.
    """

    library: Library
    normalize: bool
    max_length: int | None
    prompt: str
    tokenizer: bytes | Path

    def json(self) -> bytes:
        """The bytes of tokenizer.json.

        Raises:
            MissingFileError, FileError: it can't be read.
        """
        if isinstance(self.tokenizer, bytes):
            return self.tokenizer
        return read_regular(self.tokenizer, "read the tokenizer")

    def __reduce__(self) -> tuple[Any, ...]:  # travels with its tokenizer
        return TextEncoder, (self.library, self.normalize, self.max_length, self.prompt, self.json())


def encoder_fields(encoder: TextEncoder, size: int) -> dict[str, Any]:
    """What the manifest of a store says; ``size`` is that of tokenizer.json in bytes."""
    return {
        "library": encoder.library,
        "normalize": encoder.normalize,
        "max_length": encoder.max_length,
        "prompt": encoder.prompt,
        "tokenizer_bytes": size,
    }


def stored_encoder(fields: Mapping[str, Any], folder: Path) -> TextEncoder:
    """The encoder of the store in ``folder``.

    Raises:
        ValueError, KeyError, TypeError, OSError: the manifest or the file is not as it should be.
    """
    library, normalize, max_length = fields["library"], fields["normalize"], fields["max_length"]
    right = (
        library in get_args(Library)
        and type(normalize) is bool
        and (max_length is None or (type(max_length) is int and max_length > 0))
        and type(fields["prompt"]) is str
        and (folder / TOKENIZER).stat().st_size == fields["tokenizer_bytes"]
    )
    if not right:
        raise ValueError
    return TextEncoder(library, normalize, max_length, fields["prompt"], (folder / TOKENIZER).absolute())
