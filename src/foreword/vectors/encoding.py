"""Texts to vectors, of a static embedding model: the mean of the vectors of a text's tokens.

    texts ── Tokens ──▶ rows of the table, and where each text's begin ── pool ──▶ float32 [N, D]

``Tokens`` remembers the tokens of words where the tokenizer lets it: where it parts texts at spaces in any case, so
that a word's tokens are the same in every text. Then a text costs a look-up a word, and the tokenizer sees each once.

Sources: model2vec 0.10 and sentence-transformers 6.2, whose answers these are; float32, pooled in float64. Not for:
contextual embeddings. Costs: about 1 µs a word that was seen before, 5 µs one that was not; memory for the words seen,
some 100 bytes each, at most 150 MB.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from itertools import chain, takewhile
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foreword._base import system, threads
from foreword._base.checks import integer
from foreword.errors import ArgumentError, ArgumentTypeError, FormatError, MissingPackageError
from foreword.vectors.search.index import unit_query
from foreword.vectors.store.encoder import TextEncoder
from foreword.vectors.table import Vector, VectorTable, listed

__all__ = ["Encoding", "Tokens"]

_AT_ONCE = 1 << 13  # texts
_REMEMBERED = 1 << 20  # words whose tokens are kept …
_CHARACTERS = 1 << 25  # … and how long they may be together
_BREAK = "\ue000\ue0ff\ue000"  # characters of no alphabet
_TOGETHER = 128  # words
_COMPILED = 20_000  # texts from which loading the compiled kernel pays

_WORDS = re.compile(r"[^ \t\n\v\f\r]+")
_END_OF_SENTENCE = "</s>"
_SURROGATE = re.compile("[^\n]{0,20}[\ud800-\udfff]")

_LOCAL_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"}
_LOCAL_SPLITS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_SPLITS_WITHIN = _LOCAL_SPLITS | {"Punctuation", "Digits"}

Ids = NDArray[np.int64]


class Encoding(VectorTable):
    """Texts to vectors."""

    _texts: Tokens | None = None

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        normalize: bool | None = None,
        max_length: int | Literal["model"] | None = "model",
    ) -> NDArray[np.float32]:
        """The vectors of texts, as the library of the static embedding model makes them: float32 [N, D].

        The mean of the vectors of a text's tokens; zeros of a text without any. Of a model of model2vec unknown tokens
        are left out, and a long text is cut as there: to ``max_length`` tokens, after so many times the median
        length of a token in characters. Of one of sentence-transformers unknown tokens count, and texts are cut only
        where tokenizer.json says so; its default prompt goes before each.

        Args:
            texts: a list of texts, or one, which gives [D].
            normalize: scale the vectors to length 1, zeros apart; None as the model says.
            max_length: tokens of a text that count, None for all; "model" as the model says.

        Raises:
            ArgumentError: the vectors are of no static embedding model (or were read with ``limit=``), or a text holds
                what is no text (lone surrogates).
            ArgumentTypeError: something in ``texts`` is no text.
            MissingPackageError: tokenizers isn't installed.
        """
        single = isinstance(texts, str)
        given = [texts] if isinstance(texts, str) else list(texts)
        vectors, _ = self._encoded(given, normalize=normalize, max_length=max_length)
        return vectors[0] if single else vectors

    def _encoded(
        self, texts: list[Any], *, normalize: bool | None = None, max_length: int | Literal["model"] | None = "model"
    ) -> tuple[NDArray[np.float32], Ids]:
        """The vectors of texts, and how many tokens each is the mean of."""
        tokens = self._tokens()
        odd = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
        if odd is not None:
            raise ArgumentTypeError("not a text", got=type(texts[odd]).__name__, where=f"text {odd:,}", expected="str")
        if max_length != "model" and max_length is not None:
            max_length = integer("max_length", max_length, at_least=1)
        unit = tokens.encoder.normalize if normalize is None else bool(normalize)
        vectors = np.empty((len(texts), self.vector_size), dtype=np.float32)
        counts = np.empty(len(texts), dtype=np.int64)
        pool = _Pool(self._rows, len(texts))
        for start in range(0, len(texts), _AT_ONCE):
            rows, offsets = tokens.of(texts[start : start + _AT_ONCE], max_length)
            stop = start + len(offsets) - 1
            counts[start:stop] = np.diff(offsets)
            pool(rows, offsets, vectors[start:stop], unit)
        return vectors, counts

    def get_sentence_vector(self, sentence: str | Iterable[str]) -> NDArray[np.float32]:
        """The vector of a sentence as fastText defines it: float32 [D]; zeros of one without a word that has a vector.

        The mean of the vectors of its words, each scaled to length 1; words whose vector is zeros, and unknown ones for
        which nothing stands in (``oov``), are left out. Of a classifier (trained on labels) the mean of the rows of its
        words as they are, and of that of ``</s>``, the end of the sentence.

        Args:
            sentence: a text, parted at spaces, tabs and line ends; or its words.

        Raises:
            ArgumentError: the vectors are of a classifier that adds n-grams of words or of letters, whose rows a store
                doesn't hold.

        >>> from foreword import KeyedVectors
        >>> wv = KeyedVectors(2)
        >>> wv.add_vectors(["east", "north"], [[3, 0], [0, 1]])
        >>> wv.get_sentence_vector("north east of")
        array([0.5, 0.5], dtype=float32)
        """
        words = _WORDS.findall(sentence) if isinstance(sentence, str) else listed(sentence)
        if self._word_ngrams is None:
            units = (unit_query(self._vector(word), self.vector_size) for word in words if self._has_vector(word))
            rows = [unit for unit in units if unit.any()]
        else:
            if self._word_ngrams > 1 or self._subwords is not None:
                raise ArgumentError(
                    "the classifier's sentences are more than its words",
                    got="n-grams of letters" if self._subwords is not None else f"wordNgrams {self._word_ngrams}",
                    expected="a model with wordNgrams 1 and maxn 0",
                )
            words = [*takewhile(_END_OF_SENTENCE.__ne__, words), _END_OF_SENTENCE]
            rows = [self._rows[row].astype(np.float64) for word in words if (row := self._find(word)) >= 0]
        mean = np.mean(rows, axis=0) if rows else np.zeros(self.vector_size)
        return mean.astype(np.float32)

    def _write_static_model(self, path: str | os.PathLike[str]) -> None:
        """Write the folder of a static embedding model; ``KeyedVectors.export`` says more."""
        from foreword.vectors.formats.static_writer import write_static_model

        tokens = self._tokens()
        ids = np.flatnonzero(tokens.row_of >= 0)
        if len(ids) < len(self):
            rows = np.setdiff1d(np.arange(len(self)), tokens.row_of[ids])
            raise ArgumentError("a key is no token of the tokenizer", got=repr(self.index_to_key[int(rows[0])]))
        rows = tokens.row_of[ids]
        in_order = bool((rows == np.arange(len(rows))).all())
        write_static_model(path, ids, self._rows if in_order else self._rows[rows], tokens.encoder)

    def _tokens(self) -> Tokens:
        """What knows the rows of texts' tokens, for the keys that there are."""
        if self._encoder is None:
            raise ArgumentError(
                "these vectors are of no static embedding model",
                got=repr(self),
                expected="a folder of model2vec's or of sentence-transformers' StaticEmbedding, read without limit=",
            )
        found = self._texts
        if found is None or found.keys is not self.index_to_key:
            found = self._texts = Tokens(self._encoder, self.index_to_key)
        return found


class Tokens:
    """The tokens of texts, as rows of a table.

    Args:
        encoder: the tokenizer and its rules.
        keys: the keys of the table, among them all tokens.

    Attributes:
        encoder, keys: as given.
        row_of: int64 [largest id + 1], the row of each token id, −1 where there is no such token.
    """

    _known: dict[str, int]
    _characters: int
    _found: tuple[Ids, Ids, Ids]  # rows of all words, where those of each begin, how many tokens each has

    def __init__(self, encoder: TextEncoder, keys: Sequence[Any]) -> None:
        try:
            from tokenizers import AddedToken, Tokenizer
        except ImportError as cause:
            raise MissingPackageError("encoding texts needs tokenizers", fix="pip install tokenizers") from cause
        self.encoder, self.keys = encoder, keys
        text = encoder.json().decode()
        try:
            # One as it is, and one that never cuts: cutting is done here, where max_length says so.
            self._tokenizer, self._whole = Tokenizer.from_str(text), Tokenizer.from_str(text)
        except Exception as cause:  # the library raises nothing more exact
            raise FormatError("the tokenizer can't be used", got=str(cause)[:200], where="tokenizer.json") from None
        self._tokenizer.no_padding()
        self._whole.no_padding()
        self._whole.no_truncation()
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self.row_of = np.full(max(ids.values()) + 1, -1, dtype=np.int64)
        for row, key in enumerate(keys):
            if (number := ids.get(key)) is not None:
                self.row_of[number] = row
        if (lost := next((token for token, number in ids.items() if self.row_of[number] < 0), None)) is not None:
            raise ArgumentError("a token of the tokenizer has no vector", got=repr(lost))
        content = json.loads(text)
        self._counted = self.row_of.copy()  # the rows of tokens that count in a mean
        self._cut = (content.get("truncation") or {}).get("max_length")
        if encoder.library == "model2vec":
            self._cut = None
            self._median = int(np.median([len(token) for token in ids]))
            unknown = _unknown(content["model"], ids)
            if unknown is not None:
                self._counted[unknown] = -1
        self._local = _is_local(content)
        if self._local:
            self._parting = Tokenizer.from_str(text)
            self._parting.no_padding()
            self._parting.no_truncation()
            self._parting.add_special_tokens([AddedToken(_BREAK, normalized=False)])
            self._break = self._parting.token_to_id(_BREAK)
        self._guard = system.guard()
        self._forget()

    def of(self, texts: list[str], max_length: int | Literal["model"] | None) -> tuple[Ids, Ids]:
        """The rows of the texts' tokens, one text's after another, and where each begins, and the end."""
        model2vec = self.encoder.library == "model2vec"
        most, cut = (None, self._cut) if max_length == "model" else (max_length, None)
        if model2vec:
            most = self.encoder.max_length if max_length == "model" else most
            if most is not None:
                texts = [text[: most * self._median] for text in texts]
        if self.encoder.prompt:
            texts = [self.encoder.prompt + text for text in texts]
        if not self._local:
            return self._plain(texts, most, as_it_is=cut is not None)[:2]
        rows, offsets, lengths = self._by_words(texts)
        limit = most if cut is None else cut
        if limit is None or not (long := np.flatnonzero(lengths > limit)).size:
            return rows, offsets
        anew, ends, _ = self._plain([texts[i] for i in long], most, as_it_is=cut is not None)
        parts = np.split(rows, offsets[1:-1])
        for i, part in zip(long.tolist(), np.split(anew, ends[1:-1]), strict=True):
            parts[i] = part
        return np.concatenate(parts), _offsets(np.fromiter(map(len, parts), np.int64, len(parts)))

    def _plain(self, texts: list[str], most: int | None, *, as_it_is: bool) -> tuple[Ids, Ids, Ids]:
        """Every text by the tokenizer, which cuts ``as_it_is``, at most so many tokens of each: as ``_by_words``."""
        found = _ids(self._tokenizer if as_it_is else self._whole, texts)
        if most is not None:
            found = [ids[:most] for ids in found]
        ids, lengths = _joined(found)
        return *self._known_rows(ids, lengths), lengths

    def _known_rows(self, ids: Ids, lengths: Ids) -> tuple[Ids, Ids]:
        """The rows of token ids that count, and where those of each text or word begin."""
        rows = self._counted[ids]
        known = rows >= 0
        return rows[known], _offsets(known)[_offsets(lengths)]

    def _by_words(self, texts: list[str]) -> tuple[Ids, Ids, Ids]:
        """The same by the tokens of words, and how many tokens each text has, unknown ones with them."""
        split = [text.split(" ") for text in texts]
        words = list(chain.from_iterable(split))
        ends = _offsets(np.fromiter(map(len, split), np.int64, len(split)))
        with self._guard:
            try:
                at = np.fromiter(map(self._known.__getitem__, words), np.int64, len(words))
            except KeyError:
                if len(self._known) > _REMEMBERED or self._characters > _CHARACTERS:
                    self._forget()
                self._learn(list(set(words).difference(self._known)))
                at = np.fromiter(map(self._known.__getitem__, words), np.int64, len(words))
            rows, starts, totals = self._found
        first = starts[at]
        lengths = starts[at + 1] - first
        offsets = _offsets(lengths)
        places = np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])
        return rows[places], offsets[ends], np.diff(_offsets(totals[at])[ends])

    def _learn(self, words: list[str]) -> None:
        """Remember the tokens of words, under the lock. Where Ctrl-C comes, some may be found that no word has."""
        ids, new = self._ids_of_words(words)
        more, offsets = self._known_rows(ids, new)
        rows, starts, totals = self._found
        first = len(totals)
        self._characters += sum(map(len, words))
        self._found = (
            np.concatenate([rows, more]),
            np.concatenate([starts, starts[-1] + offsets[1:]]),
            np.concatenate([totals, new]),
        )
        self._known.update(zip(words, range(first, first + len(words)), strict=True))

    def _ids_of_words(self, words: list[str]) -> tuple[Ids, Ids]:
        """The token ids of words, one word's after another, and how many each has.

        Some hundred words go into one text, each with a token after it that is added for this: to the library a text
        costs as much as ten words.
        """
        texts = [f" {_BREAK} ".join([*words[i : i + _TOGETHER], ""]) for i in range(0, len(words), _TOGETHER)]
        ids, _ = _joined(_ids(self._parting, texts))
        ends = np.flatnonzero(ids == self._break)
        if len(ends) != len(words):  # a word holds the break itself
            return _joined(_ids(self._whole, words))
        return np.delete(ids, ends), np.diff(ends, prepend=-1) - 1

    def _forget(self) -> None:
        self._known, self._characters = {}, 0
        self._found = np.empty(0, np.int64), np.zeros(1, np.int64), np.empty(0, np.int64)


def _joined(found: list[list[int]]) -> tuple[Ids, Ids]:
    """Lists of ids one after another, and how many there are in each."""
    lengths = np.fromiter(map(len, found), np.int64, len(found))
    return np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum())), lengths


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """The token ids of texts; nothing is added to them."""
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    except (TypeError, UnicodeError):
        found = next(filter(None, map(_SURROGATE.search, texts)), None)
        if found is None:
            raise
        raise ArgumentError("a text holds a lone surrogate", got=ascii(found[0]), fix="decode its bytes") from None


def _unknown(model: dict[str, Any], ids: dict[str, int]) -> int | None:
    """The id that stands for what the tokenizer doesn't know, or None."""
    if "unk_id" in model:
        number: int | None = model["unk_id"]
        return number
    return ids.get(model.get("unk_token"))  # type: ignore[arg-type]


def _is_local(content: dict[str, Any]) -> bool:
    """Whether each word of a text between spaces has the same tokens in every text: the text is parted there in any
    case, and nothing looks or reaches further.
    """
    normalizers = _steps(content.get("normalizer"), "normalizers")
    splits = _steps(content.get("pre_tokenizer"), "pretokenizers")
    return (
        {step.get("type") for step in normalizers} <= _LOCAL_NORMALIZERS
        and bool(splits)
        and splits[0].get("type") in _LOCAL_SPLITS
        and {step.get("type") for step in splits} <= _SPLITS_WITHIN
        and not any(any(map(str.isspace, added["content"])) for added in content.get("added_tokens") or ())
        and not content["model"].get("dropout")
    )


def _steps(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, one after another."""
    if part is None:
        return []
    if part.get("type") != "Sequence":
        return [part]
    return list(chain.from_iterable(_steps(step, name) for step in part[name]))


def _offsets(lengths: NDArray[Any]) -> Ids:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


class _Pool:
    """Means of rows, compiled where that pays.

    Args:
        rows: float [N, D].
        many: how many texts there will be.
    """

    def __init__(self, rows: Vector, many: int) -> None:
        self._rows, self._kernel = rows, None
        if many >= _COMPILED and rows.dtype.itemsize <= 4:
            try:
                from foreword.vectors.encoding_kernel import pool
            except ImportError:
                return
            self._kernel, self._rows = pool, np.ascontiguousarray(rows, dtype=np.float32)

    def __call__(self, rows: Ids, offsets: Ids, into: NDArray[np.float32], unit: bool) -> None:
        """Put the mean of each text's rows into ``into`` [n, D]."""
        kernel = self._kernel
        if kernel is not None:
            threads.run(
                lambda parts: [kernel(self._rows, rows, offsets, into, unit, *part) for part in parts],
                threads.shares(0, len(into)),
            )
            return
        ends = offsets.tolist()
        for i, row in enumerate(into):
            mean = self._rows[rows[ends[i] : ends[i + 1]]].sum(axis=0, dtype=np.float64) / max(1, ends[i + 1] - ends[i])
            if unit and (norm := np.sqrt(mean @ mean)) > 0:
                mean /= norm
            row[:] = mean
