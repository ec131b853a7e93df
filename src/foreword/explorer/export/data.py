"""What an exported page carries: GPT-2's merge ranks, what its engine takes for letters, word vectors in 8 bits, maps.

Not for: reading it back, which ``static/offline/carried.js`` does. Costs: a few seconds for what the engine takes for
letters; half a minute for a map of 15,000 words, once; the numbers of 15,000 words are 750 KB.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreword.explorer.atlas import Atlas
from foreword.tokens.tokenizers.engines import GPT2_PATTERN, format_ranks, make_engine
from foreword.vectors import lay_out

if TYPE_CHECKING:
    from foreword import KeyedVectors, Tokenizer

__all__ = ["Table", "character_classes", "ranks_script", "vectors_script"]


class Table(NamedTuple):
    """Word vectors to carry: by which name, from which source, and of how many words the rows and the places."""

    name: str
    source: str
    kv: KeyedVectors
    words: int
    mapped: int


def ranks_script(tokenizer: Tokenizer) -> str:
    """A script that leaves GPT-2's ranks in ``FOREWORD.ranks``.

    Each of the first 256 tokens is a byte, and every other one the union of two before it, so two ids of 16 bits say
    all of a token.
    """
    end = tokenizer.end_of_text_id
    tokens = [tokenizer.decode_bytes([id_]) for id_ in range(end)]
    rank = {token: id_ for id_, token in enumerate(tokens)}

    def halves(id_: int) -> tuple[int, int]:
        token = tokens[id_]
        pairs = ((rank.get(token[:at], end), rank.get(token[at:], end)) for at in range(len(token) - 1, 0, -1))
        return next(pair for pair in pairs if max(pair) < id_)

    merges = np.array([halves(id_) for id_ in range(256, end)], "<u2").T
    ranks = {
        "bytes": _packed(np.frombuffer(b"".join(tokens[:256]), np.uint8)),
        "merges": _packed(merges),
        "classes": character_classes(),
    }
    return _script("ranks", ranks)


def vectors_script(tables: list[Table]) -> str:
    """A script that leaves word vectors in ``FOREWORD.vectors``: of each the first rows, and a map of the first words.

    A row's numbers are integers from −127 to 127 times a scale of its own.
    """
    packed = []
    for name, source, kv, words, mapped in tables:
        rows = np.asarray(kv.vectors[:words], np.float32)
        scales = np.abs(rows).max(axis=1, initial=0) / np.float32(127)
        codes = np.rint(rows / np.where(scales == 0, np.float32(1), scales)[:, None]).astype(np.int8)
        packed.append(
            {
                "name": name,
                "source": source,
                "total": len(kv),
                "dim": kv.vector_size,
                "words": [str(word) for word in kv.index_to_key[:words]],
                "scales": _packed(scales.astype("<f4")),
                "rows": _packed(codes),
                "map": _map(kv, mapped),
            }
        )
    return _script("vectors", packed)


def _map(kv: KeyedVectors, count: int) -> dict[str, Any]:
    """The map of the first words: what ``atlas`` and ``atlas/words`` of the API say when it is done."""
    lay_out(kv, count=count)  # with a bar, where it takes long; the map finds it in the cache
    atlas = Atlas(kv, count)
    atlas.wait()
    regions = [region._asdict() for region in atlas.regions]
    state = {"words": len(atlas)} | dataclasses.asdict(atlas.state) | {"regions": regions}
    places = np.stack([atlas.places.x, atlas.places.y]).astype("<u2")
    return {"state": state, "places": _packed(places), "cluster": _packed(atlas.cluster)}


def character_classes() -> dict[str, str]:
    """What GPT-2's pattern takes for letters, numbers and white space, each as a JavaScript pattern has it inside [].

    It is the engine's own Unicode, which is asked of the engine: with ranks under which a letter, a digit or another
    sign is joined with the first byte of what follows, if that is of the same word.
    """
    leads = b"z0!"
    ranks = {bytes([byte]): byte for byte in range(256)}
    for lead in leads:
        ranks |= {bytes([lead, byte]): len(ranks) + byte for byte in range(256)}
    engine = make_engine(format_ranks(ranks), GPT2_PATTERN)
    points = np.concatenate([np.arange(0xD800), np.arange(0xE000, 0x110000)])
    lengths = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    starts = np.concatenate([[0], np.cumsum(lengths + 2)[:-1]])  # of each character's line, in bytes
    joined = []
    for letter in map(chr, leads):
        ids = engine.encode("".join(f"{letter}{chr(point)}\n" for point in points.tolist()))
        token_starts = np.concatenate([[0], np.cumsum(np.where(ids < 256, 1, 2))[:-1]])
        joined.append(ids[np.searchsorted(token_starts, starts)] >= 256)
    letters, numbers, others = joined
    return {
        "letters": _ranges(points[letters]),
        "numbers": _ranges(points[numbers]),
        "spaces": _ranges(points[~(letters | numbers | others)]),
    }


def _ranges(points: NDArray[np.int64]) -> str:
    """Code points as ranges of a JavaScript pattern with the flag u."""
    breaks = np.flatnonzero(np.diff(points) > 1)
    first, last = points[np.r_[0, breaks + 1]], points[np.r_[breaks, -1]]
    escaped = "\\u{{{:x}}}".format
    return "".join(
        escaped(a) if a == b else f"{escaped(a)}-{escaped(b)}"
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    )


def _packed(values: NDArray[Any]) -> str:
    """An array's bytes, compressed (raw DEFLATE) and in base64."""
    deflate = zlib.compressobj(9, wbits=-15)
    return b64encode(deflate.compress(np.ascontiguousarray(values).tobytes()) + deflate.flush()).decode()


def _script(name: str, content: object) -> str:
    told = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return f"globalThis.FOREWORD = {{ ...globalThis.FOREWORD, {name}: {told} }};\n"
