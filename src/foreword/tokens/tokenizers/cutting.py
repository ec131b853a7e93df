"""Where a long text may be cut for a tokenizer.json: the ids of the parts, put together, are those of the whole.

The library tokenizers takes about 200 bytes of memory for each character that it is given at once. So a long text is
given in pieces, cut before a space, a line end or a CJK stop between two letters, where each step of the tokenizer
(added tokens, normalizer, pre-tokenizer, model) is known to look at neither side from the other. A step that is not
known forbids the cut: nothing here is a guess.

Not for: other tokenizers. Costs: reading a vocabulary once; then a search near each cut.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = ["PIECE", "Cuts", "find_cuts"]

# Characters that the library is given at once, where there is a place to cut.
PIECE = 1 << 16

# Kinds of places. SPACE, LINE and STOP are a single such character between two letters, and the cut stands before it.
SPACE, LINE, STOP = "space", "line", "stop"
_MARKS = {SPACE: " ", LINE: "\n", STOP: "。，、；：！？"}
# Letters that every version of Unicode knows as such, and those of them that every normalizer leaves alone.
_LETTER = "[A-Za-zÀ-ÖØ-öø-Ƞɐ-ʭΑ-ΡΣ-Ωα-ωА-яא-תء-غف-يअ-हก-ฮぁ-ゔァ-ヴ一-龥가-힣]"
_PLAIN_LETTER, _ASCII_LETTER = "[A-Za-z一-龥]", "[A-Za-z]"
_ANY_LETTER = r"[^\W_]"  # at least all of them
_ALL = frozenset({SPACE, LINE, STOP})
_NONE: frozenset[str] = frozenset()

# Split patterns whose words end at every such place: none has a letter before white space or a stop inside, and none
# looks behind. They are GPT-2's, and what tokenizer.json files have of cl100k_base, Llama 3, Qwen 2, DeepSeek 3 and
# o200k_base.
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_MARKED = r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
_CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|(?>\p{N}{1,3})| ?[^\s\p{L}\p{N}]++[\r\n]*+"
_WORDS = frozenset(
    [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        _CL100K + r"|\s++\z|\s*[\r\n]|\s+(?!\S)|\s",  # as ``train`` writes it
        *(_SUFFIX + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + many + _REST for many in ("", "{1,3}")),
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
        + _MARKED
        + r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        + _SUFFIX
        + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        + _SUFFIX
        + r"?|\p{N}{1,3}"
        + _REST.replace(r"[\r\n]*", r"[\r\n/]*", 1),
    ]
)
# Split patterns that look no further than one run of letters, numbers or line ends (DeepSeek's and others').
_RUNS: dict[str | None, tuple[frozenset[str], frozenset[str]]] = {
    r"[\r\n]": (frozenset({LINE}), _ALL),
    r"\s?\p{L}+": (frozenset({SPACE, LINE}), _ALL),
    r"\s?[\p{L}]+": (frozenset({SPACE, LINE}), _ALL),
    r"\s?\p{P}+": (_NONE, frozenset({SPACE, LINE})),
    r"\p{N}{1,3}": (_NONE, _ALL),
    r"\p{N}": (_NONE, _ALL),
    r"[0-9]": (_NONE, _ALL),
    r"[0-9][0-9][0-9]": (_NONE, _ALL),
    r"\s+": (frozenset({SPACE, LINE}), _ALL),
    r"[一-龥ࠀ-一가-퟿]+": (_NONE, frozenset({SPACE, LINE})),
}
_WHITE_SPACE = ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Where a text may be cut.

    Attributes:
        places: matches the character before which the cut stands.
        drops: the space at a cut is left out, because the normalizer puts one before each text.
        everywhere: before every space, line end and CJK stop between two letters, whatever these are.
    """

    places: re.Pattern[str]
    drops: bool
    everywhere: bool

    def pieces(self, text: str, size: int = PIECE) -> Iterator[tuple[int, int]]:
        """Start and end of each piece of ``text``, about ``size`` characters long where it can be cut."""
        start, length = 0, len(text)
        while length - start > size:
            cut = self._last(text, start + 1, start + size) or self._first(text, start + size)
            if not cut:
                break
            yield start, cut
            start = cut + self.drops
        yield start, length

    def _last(self, text: str, start: int, stop: int) -> int:
        width = 256
        while True:
            low = max(start, stop - width)
            last = 0
            for found in self.places.finditer(text, low, stop):
                last = found.start()
            if last or low == start:
                return last
            width *= 8

    def _first(self, text: str, start: int) -> int:
        found = self.places.search(text, start)
        return found.start() if found else 0


def find_cuts(spec: Mapping[str, Any], vocabulary: Iterable[str], normalize: Callable[[str], str]) -> Cuts | None:
    """Where the tokenizer of a tokenizer.json may cut; None: nowhere that is known.

    Args:
        spec: the file, parsed.
        vocabulary: the text of every token.
        normalize: what its normalizer does to a text.
    """
    normal = _Normal()
    for step in _steps(spec.get("normalizer"), "normalizers"):
        normal.add(step)
    if normal.prepended not in (None, normal.space):
        return None
    steps = list(_steps(spec.get("pre_tokenizer"), "pretokenizers"))
    splits, kinds = _split_kinds(steps, normal.kinds, spaces=normal.space == " ")
    if not splits and SPACE in kinds and _whole_words(spec["model"], vocabulary, normal.space):
        splits = frozenset({SPACE})
    kinds &= splits
    for token in spec.get("added_tokens") or []:
        content = normalize(token["content"]) if token["normalized"] else token["content"]
        kinds = frozenset(kind for kind in kinds if not _crosses(token, content, kind, normal))
    if not kinds:
        return None
    letter = _LETTER
    if not normal.empty:
        spread = normal.spreads_han and (not steps or steps[0].get("type") not in _WHITE_SPACE)
        letter = _ASCII_LETTER if spread else _PLAIN_LETTER
    marks = "".join(_MARKS[kind] for kind in sorted(kinds))
    places = re.compile(f"[{marks}](?<={letter}.)(?={letter})", re.DOTALL)
    return Cuts(places, normal.prepended is not None, kinds == _ALL and normal.empty)


def _steps(spec: Any, several: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, sequences within sequences flattened."""
    if spec is None:
        return
    if spec.get("type") == "Sequence":
        for inner in spec[several]:
            yield from _steps(inner, several)
    else:
        yield spec


class _Normal:
    """What the steps of a normalizer, one after another, leave of the places.

    Attributes:
        kinds: of places over which no step looks, between two letters that it leaves alone.
        empty: there is no step.
        space: what a space has become.
        prepended: what is put before each text, if anything.
        spreads_han: spaces are put around each Han character.
    """

    def __init__(self) -> None:
        self.kinds = _ALL
        self.empty = True
        self.space = " "
        self.prepended: str | None = None
        self.spreads_han = False

    def add(self, step: Mapping[str, Any]) -> None:
        self.empty = False
        name = step.get("type")
        if name == "Replace":
            self._replace(step["pattern"], step["content"])
        elif name == "Prepend" and self.space == " " and self.prepended is None:
            self.prepended = step["prepend"]
            self.kinds &= {SPACE}
        elif name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Precompiled", "Nmt"):
            self.kinds &= {SPACE, LINE}
        elif name == "BertNormalizer":
            self.kinds &= {SPACE, LINE}
            self.spreads_han = True
        else:  # Strip looks at the ends of the text; others aren't known
            self.kinds = _NONE

    def _replace(self, pattern: Mapping[str, str], content: str) -> None:
        if "Regex" in pattern:
            # a single space between two letters is matched alone, or not at all
            self.kinds &= {SPACE, STOP}
            if pattern["Regex"] in (r"\s+", r" +"):
                self.space = content
            elif pattern["Regex"] not in (r" {2,}", r"\s{2,}"):
                self.kinds = _NONE
        elif pattern["String"] == " ":
            self.space = content
        elif re.search(_ANY_LETTER + "|[" + "".join(_MARKS.values()) + "]", pattern["String"]):
            self.kinds = _NONE  # it could reach over a place, or unmake one
        elif re.search(_ANY_LETTER, self.space):
            self.kinds = _NONE


def _split_kinds(
    steps: Iterable[Mapping[str, Any]], kinds: frozenset[str], *, spaces: bool
) -> tuple[frozenset[str], frozenset[str]]:
    """The kinds of places at which a pre-tokenizer always splits, and those at which no step speaks against a cut."""
    splits: frozenset[str] = _NONE
    for step in steps:
        always, blind = _step_kinds(step, spaces=spaces)
        kinds &= blind | splits  # once split, a place is no matter to later steps
        splits |= always & kinds
        spaces = spaces and step.get("type") != "Metaspace"
    return splits, kinds


def _step_kinds(step: Mapping[str, Any], *, spaces: bool) -> tuple[frozenset[str], frozenset[str]]:
    """The kinds of places at which one step always splits, and those over which it does not look."""
    name = step.get("type")
    space, words = frozenset({SPACE}), frozenset({SPACE, LINE})
    if name == "Metaspace":
        # a piece that starts with a space gets no other, under every scheme
        return (space if step.get("split", True) else _NONE), space
    if not spaces:  # a space is another character by now, of which only patterns that name it know
        if _splits_before(step, "▁"):
            return space, space
        return _NONE, space if name == "Digits" or _names(step, " ") else _NONE
    if name == "ByteLevel":
        # a space put before a piece would stand before a line end or a stop, too
        blind = space if step.get("add_prefix_space", True) else _ALL
        return (blind if step.get("use_regex", True) else _NONE), blind
    if name == "Split":
        if _splits_before(step, " "):
            return space, space
        regex, behavior = step["pattern"].get("Regex"), step["behavior"]
        if regex in _WORDS and (behavior == "Isolated" or (behavior == "Removed" and step.get("invert"))):
            return _ALL, _ALL
        return _RUNS.get(regex, (_NONE, _NONE)) if behavior == "Isolated" else (_NONE, _NONE)
    if name in _WHITE_SPACE:
        return words, words
    if name == "Punctuation":
        return _NONE, words
    if name == "Digits":
        return _NONE, _ALL
    if name == "CharDelimiterSplit":
        return (space, words) if step["delimiter"] == " " else (_NONE, _NONE)
    return _NONE, _NONE


def _names(step: Mapping[str, Any], character: str) -> bool:
    return bool(step.get("type") == "Split" and step["pattern"].get("String") == character and not step.get("invert"))


def _splits_before(step: Mapping[str, Any], character: str) -> bool:
    """Whether a step splits at each ``character``, which goes with what follows, stands alone or is removed."""
    return _names(step, character) and step["behavior"] in ("Isolated", "Removed", "MergedWithNext")


def _whole_words(model: Mapping[str, Any], vocabulary: Iterable[str], space: str) -> bool:
    """Whether the model, given a whole text as one word, makes no token that reaches from a letter over a space."""
    # Unigram adds up its scores from the start of the word, and so rounds otherwise in a piece
    if model.get("type", "BPE") != "BPE" or model.get("dropout") or model.get("ignore_merges") or len(space) != 1:
        return False
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or space not in model["vocab"]:
        return False
    crossing = re.compile(_ANY_LETTER + re.escape(space))
    return not any(crossing.search(token) for token in vocabulary)


def _crosses(token: Mapping[str, Any], content: str, kind: str, normal: _Normal) -> bool:
    """Whether an added token, as it is looked for, can stand on both sides of a place, or looks over it."""
    marks = f"[{re.escape(_MARKS[kind] + normal.space)}]"
    if re.search(_ANY_LETTER + marks, content):
        return True
    if token["rstrip"] and re.match(_ANY_LETTER, content[-1:]):
        return True  # it would take the space
    if token["single_word"] and re.match(marks, content):
        return True  # it looks at the letter before
    # where the space at a cut is left out, what touches it would have had it
    touching = re.match(_ANY_LETTER, content) or (re.match(_ANY_LETTER, content[-1:]) and not token["normalized"])
    return normal.prepended is not None and bool(touching)
