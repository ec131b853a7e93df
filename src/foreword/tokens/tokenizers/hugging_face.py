"""A tokenizer.json, by the library tokenizers.

    text ── cut where the rules allow ──▶ pieces ── the library that knows the special tokens allowed ──▶ ids

The library finds special tokens itself, as their flags say (``lstrip``, ``rstrip``, ``single_word``, ``normalized``).
Where some are allowed and others are not, it is given a vocabulary in which the others have names that no text holds,
so that their text stays ordinary. Nothing is added at either end (no "[CLS]", no "<s>").

Not for: speed. Costs: the library's, 2–10 MB/s a thread; a second copy of the vocabulary once a special token is used.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword._base.json_objects import without_repeats
from foreword.errors import FormatError, MissingPackageError
from foreword.tokens.tokenizers.cutting import PIECE, Cuts, find_cuts
from foreword.tokens.tokenizers.library import GrowingIds, LibraryTokenizer, refuse_longer
from foreword.tokens.tokenizers.merging import MergeRules
from foreword.tokens.tokenizers.special import any_of
from foreword.tokens.tokenizers.tokenizer import valid_text

__all__ = ["HuggingFaceTokenizer"]

# Characters given to the library in one call, which works on them with several threads.
_BATCH = 4 * PIECE
_BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")


class HuggingFaceTokenizer(LibraryTokenizer):
    """A tokenizer.json, by the library tokenizers.

    Args:
        name: see ``Tokenizer``.
        data: the file.

    Raises:
        MissingPackageError: tokenizers is not installed.
        FormatError: the library can't read the file.
    """

    def __init__(self, name: str, data: bytes) -> None:
        try:
            import tokenizers
        except ImportError as cause:
            raise MissingPackageError(
                "tokenizer.json files need the package tokenizers", fix="pip install tokenizers"
            ) from cause
        self.name, self._data = name, data
        try:
            self._ordinary = tokenizers.Tokenizer.from_buffer(data)
            spec = json.loads(data, object_pairs_hook=without_repeats)
        except Exception as cause:  # tokenizers raises bare Exceptions
            raise FormatError(
                "the tokenizer's file can't be read", got=str(cause)[:200], expected="a tokenizer.json", where=name
            ) from cause
        if spec["model"].get("dropout"):
            raise FormatError(
                "the tokenizer leaves out merges at random, so that a text has other ids each time",
                got=f'"dropout": {spec["model"]["dropout"]}',
                where=name,
                fix='set "dropout" to null in tokenizer.json; of an object, tokenizer.model.dropout = None',
            )
        self._ordinary.no_truncation()
        self._ordinary.no_padding()
        self._ordinary.encode_special_tokens = True  # special tokens in a text are ordinary text to it
        self._token_of = {id_: token for token, id_ in self._ordinary.get_vocab(with_added_tokens=True).items()}
        self.vocab_size = max(self._token_of, default=-1) + 1
        self.fingerprint = hashlib.sha256(data).hexdigest()
        added = [token for token in spec.get("added_tokens") or [] if token["content"]]
        # the ids are the library's, which gives a token that its model doesn't know the next free one
        find: Callable[[str], Any] = self._ordinary.token_to_id
        self._added_ids: dict[str, int] = {token["content"]: find(token["content"]) for token in added}
        # what it decodes to is the library's, too: one that is looked for in the normalized text has that text's form
        self._token_of |= {id_: self._ordinary.id_to_token(id_) or text for text, id_ in self._added_ids.items()}
        self.special_tokens = {text: self._added_ids[text] for text in (t["content"] for t in added if t["special"])}
        # looked for in the normalized text; one that its own text does not give any more is never found
        normalized = [t["content"] for t in added if t["special"] and t["normalized"]]
        forms = {text: self._normalize(text) for text in normalized} if self._ordinary.normalizer is not None else {}
        self._normal_forms = {text: form for text, form in forms.items() if form}
        self._finding: dict[frozenset[str], Any] = {}
        self._known_to_model = _known_to_model(spec["model"], self.special_tokens)
        self._decoding = [step.get("type", "") for step in _steps(spec.get("decoder"))]
        self._cuts: Cuts | None = self._checked(find_cuts(spec, self._token_of.values(), self._normalize))
        self.cuttable = self._cuts is not None and self._cuts.everywhere

    def _normalize(self, text: str) -> str:
        normalizer = self._ordinary.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def _checked(self, cuts: Cuts | None) -> Cuts | None:
        """``cuts``, tried on a sentence of each script."""
        for text in ("The quick brown Fox, jumps over the lazy DOG's tail", "从前 有座山，山里有座庙 很老\n一天"):
            pieces = [text[a:b] for a, b in cuts.pieces(text, 1)] if cuts else []
            parts = [id_ for piece in pieces for id_ in self._ids(piece)]
            if cuts and parts != self._ids(text):
                return None
        return cuts

    def _ids(self, text: str) -> list[int]:
        return self._ordinary.encode(text, add_special_tokens=False).ids

    # Which library: the ordinary one, the one that finds all special tokens, or one that finds some.

    @functools.cached_property
    def _special(self) -> Any:
        import tokenizers

        library = tokenizers.Tokenizer.from_buffer(self._data)
        library.no_truncation()
        library.no_padding()
        return library

    def _library_of(self, allowed: frozenset[str]) -> Any:
        """A library to which special tokens that are not ``allowed`` are no tokens, and their text ordinary text."""
        import tokenizers

        library = self._finding.get(allowed)
        if library is None:
            others = self.special_tokens.keys() - allowed
            spec = json.loads(self._data)
            words = _merged(spec["model"], others)
            spec = _renamed(spec, {t: f"\U0010fffd{secrets.token_hex(16)}" for t in others - words}, drop=words)
            library = tokenizers.Tokenizer.from_str(json.dumps(spec))
            library.no_truncation()
            library.no_padding()
            if len(self._finding) >= 8:
                self._finding.clear()
            self._finding[allowed] = library
        return library

    def _library(self, text: str, allowed: frozenset[str]) -> Any:
        """The library that gives the ids of ``text`` where the special tokens ``allowed`` may be found."""
        if not allowed and not self._known_to_model:
            return self._ordinary
        present = self._present(text)
        if not present & allowed:
            return self._library_of(frozenset()) if present & self._known_to_model else self._ordinary
        return self._library_of(allowed) if present - allowed else self._special

    def _present(self, text: str) -> frozenset[str]:
        """The special tokens whose text stands in ``text``, as it is or normalized."""
        if not self.special_tokens:
            return frozenset()
        found = frozenset[str]()
        if any_of(frozenset(self.special_tokens)).search(text):
            found = frozenset(special for special in self.special_tokens if special in text)
        if self._normal_forms:
            normal = self._normalize(text)
            found |= {special for special, form in self._normal_forms.items() if form in normal}
        return found

    def _find_any(self, text: str, special: frozenset[str]) -> tuple[str, str] | None:
        found = super()._find_any(text, special)
        if found is None and self._normal_forms.keys() & special:
            for start, stop in self._pieces(text):
                normal = self._normalize(valid_text(text[start:stop]))
                for token in sorted(self._normal_forms.keys() & special):
                    if self._normal_forms[token] in normal:
                        return token, f"characters {start:,} to {stop:,}, once they are normalized"
        return found

    def _named_id(self, text: str) -> int | None:
        return self._added_ids.get(text)  # whether or not it is marked as special

    # Encoding

    def _pieces(self, text: str) -> list[tuple[int, int]]:
        pieces = [(0, len(text))] if self._cuts is None or len(text) <= 2 * PIECE else [*self._cuts.pieces(text)]
        for start, stop in pieces:
            refuse_longer(stop - start, self.name, text[start : start + 40])
        return pieces

    def _encoded(self, texts: Iterable[str], allowed: Sequence[frozenset[str]] | None) -> Iterator[tuple[int, Any]]:
        """For each piece of valid Unicode ``texts``: the number of its text, and its ids."""
        batch: list[str] = []
        owners: list[int] = []
        library, size = self._ordinary, 0
        for number, text in enumerate(texts):
            for start, stop in self._pieces(text):
                piece = text if stop - start == len(text) else text[start:stop]
                wanted = self._library(piece, frozenset() if allowed is None else allowed[number])
                if batch and (wanted is not library or size + len(piece) > _BATCH):
                    yield from zip(owners, self._batch_ids(library, batch), strict=True)
                    batch, owners, size = [], [], 0
                library = wanted
                batch.append(piece)
                owners.append(number)
                size += len(piece) + 64
        if batch:
            yield from zip(owners, self._batch_ids(library, batch), strict=True)

    @staticmethod
    def _batch_ids(library: Any, texts: list[str]) -> Iterator[list[int]]:
        return (e.ids for e in library.encode_batch_fast(texts, add_special_tokens=False))

    def _encode_valid(self, text: str) -> NDArray[np.uint32]:
        return self.encode_texts([text])[0]

    def encode_texts(self, texts: Sequence[str], allowed: Sequence[frozenset[str]] | None = None) -> list[NDArray[Any]]:
        """The ids of each text of valid Unicode, with the special tokens allowed in it."""
        ids = [GrowingIds() for _ in texts]
        for number, some in self._encoded(texts, allowed):
            ids[number].extend(some)
        return [each.array() for each in ids]

    def encode_many(self, texts: Sequence[bytes]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """As ``Tokenizer.encode_many``; the GIL is released."""
        flat = GrowingIds()
        lengths = np.zeros(len(texts), np.int64)
        for number, ids in self._encoded((text.decode() for text in texts), None):
            flat.extend(ids)
            lengths[number] += len(ids)
        return flat.array(), lengths

    def _encode_special(self, text: str, allowed: frozenset[str]) -> NDArray[np.uint32]:
        return self._encode_part([text], [allowed])[0]

    def _encode_part(self, texts: list[str], allowed: list[frozenset[str]]) -> list[NDArray[np.uint32]]:
        return self.encode_texts([valid_text(text) for text in texts], allowed)

    def _offsets(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        return self._offsets_special(text, frozenset())

    def _offsets_special(self, text: str, allowed: frozenset[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        text = valid_text(text)
        if self._cuts is not None and self._cuts.drops:  # the space that is left out has its place in the offsets
            refuse_longer(len(text), self.name, text)
            pieces = [(0, len(text))]
        else:
            pieces = self._pieces(text)
        ids = GrowingIds()
        offsets = []
        for start, stop in pieces:
            piece = text[start:stop]
            encoding = self._library(piece, allowed).encode(piece, add_special_tokens=False)
            ids.extend(encoding.ids)
            offsets.append(np.array(encoding.offsets, np.int64).reshape(-1, 2) + start)
        return ids.array(), np.concatenate(offsets)

    @functools.cached_property
    def _merge_ranks(self) -> dict[tuple[str, str], int] | None:
        """The place of each merge in the file's list; None for another model, and where words' ends are marked."""
        model = json.loads(self._data)["model"]
        marks = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
        if "merges" not in model or any(marks):
            return None
        return {(a, b): i for i, (a, b) in enumerate(map(_pair, model["merges"]))}

    def merge_rules(self) -> MergeRules | None:
        """As ``Tokenizer.merge_rules``: the parts are letters, which stand for bytes or for themselves."""
        ranks = self._merge_ranks
        if ranks is None:
            return None
        to_bytes = _bytes_of_letters if self._of_letters else lambda part: part.replace("▁", " ").encode()
        return MergeRules(lambda id_: list(self._token_of[id_]), lambda a, b: ranks.get((a, b)), to_bytes)

    # Decoding

    @property
    def _of_letters(self) -> bool:
        """Whether tokens are bytes written as letters."""
        return bool(self._decoding) and set(self._decoding) <= {"ByteLevel", "Fuse"}

    @functools.cached_property
    def _byte_level(self) -> dict[int, bytes]:
        """The bytes of each token, where tokens are bytes written as letters."""
        added = set(self._added_ids.values())
        return {
            id_: token.encode() if id_ in added else _bytes_of_letters(token) for id_, token in self._token_of.items()
        }

    @functools.cached_property
    def _byte_of(self) -> dict[int, int]:
        """The byte that a token stands for, of tokens that stand for one ("<0xE4>")."""
        if "ByteFallback" not in self._decoding:
            return {}
        return {id_: int(m[1], 16) for id_, token in self._token_of.items() if (m := _BYTE_TOKEN.fullmatch(token))}

    @functools.cached_property
    def _first_stand_in(self) -> int:
        """The first of 256 code points that no token has, and that stand for bytes while the library decodes."""
        used = {ord(letter) for token in self._token_of.values() for letter in token}
        return next(start for start in range(0x10F000, 0, -0x100) if used.isdisjoint(range(start, start + 0x100)))

    def _decode_known(self, ids: list[int]) -> bytes:
        if self._of_letters:
            table = self._byte_level
            return b"".join([table[id_] for id_ in ids])
        tokens = [self._token_of[id_] for id_ in ids]
        partial = self._partial(ids)
        if not partial:
            text: str = self._ordinary.decode(ids, skip_special_tokens=False)
            return text.encode()
        # bytes that make no character are hidden from the library, which would replace them
        first = self._first_stand_in
        for place in partial:
            tokens[place] = chr(first + self._byte_of[ids[place]])
        parts = re.split(f"([{chr(first)}-{chr(first + 255)}]+)", self._ordinary.decoder.decode(tokens))
        return b"".join(
            bytes(ord(letter) - first for letter in part) if i % 2 else part.encode() for i, part in enumerate(parts)
        )

    def _token_bytes(self, id_: int) -> bytes:
        once, twice = self.decode_bytes([id_]), self.decode_bytes([id_, id_])
        return twice[len(once) :] if twice.startswith(once) else once  # the first of a text may lose its space

    def _partial(self, ids: list[int]) -> list[int]:
        """Places of byte tokens in runs that are no UTF-8."""
        bytes_of = self._byte_of
        places: list[int] = []
        if not bytes_of:
            return places
        i = 0
        while i < len(ids):
            start = i
            while i < len(ids) and ids[i] in bytes_of:
                i += 1
            try:
                bytes([bytes_of[id_] for id_ in ids[start:i]]).decode()
            except UnicodeDecodeError:
                places.extend(range(start, i))
            i += 1
        return places


def _steps(spec: Any) -> Iterator[dict[str, Any]]:
    """The steps of a decoder."""
    if spec is None:
        return
    if spec.get("type") == "Sequence":
        for inner in spec["decoders"]:
            yield from _steps(inner)
    else:
        yield spec


def _merged(model: dict[str, Any], special: Iterable[str]) -> frozenset[str]:
    """The special tokens that the model makes of their text as it makes any word, by merges or of one character."""
    if model.get("type", "BPE") != "BPE":
        return frozenset()
    return frozenset(special) & (
        {"".join(_pair(merge)) for merge in model["merges"]} | {t for t in special if len(t) == 1}
    )


def _known_to_model(model: dict[str, Any], special: Iterable[str]) -> frozenset[str]:
    """The special tokens that the model gives wherever it finds their text, because its vocabulary has it."""
    if model.get("type", "BPE") == "BPE" and not model.get("ignore_merges"):
        return frozenset()
    vocab = model["vocab"]
    known = set(vocab) if isinstance(vocab, dict) else {piece for piece, _ in vocab}
    return frozenset(text for text in special if text in known and len(text) > 1) - _merged(model, special)


def _pair(merge: Any) -> Sequence[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def _renamed(spec: dict[str, Any], names: dict[str, str], *, drop: frozenset[str]) -> dict[str, Any]:
    """A tokenizer.json in which tokens have other names, and the same ids; those in ``drop`` are added no longer."""
    spec["added_tokens"] = [
        {**token, "content": names.get(token["content"], token["content"])}
        for token in spec["added_tokens"]
        if token["content"] not in drop
    ]
    model = spec["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): id_ for token, id_ in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if names.keys().isdisjoint(_pair(merge))]
    return spec


def _bytes_of_letters(token: str) -> bytes:
    """The bytes of a byte-level token: GPT-2 writes each byte as a printable letter. Other tokens are their text."""
    try:
        return bytes([BYTE_OF_LETTER[letter] for letter in token])
    except KeyError:
        return token.encode()


def _byte_letters() -> dict[str, int]:
    """GPT-2's letter of each byte: itself where it is printable Latin-1, else the next free one from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + i): byte for i, byte in enumerate(b for b in range(256) if b not in printable)}


BYTE_OF_LETTER = _byte_letters()
