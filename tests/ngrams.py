"""Rows of n-grams in plain Python, to compare with: one n-gram at a time, in integers of any size."""

import hashlib


def bits(*key):
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little")


def row(ngram, head, *, orders, rows, heads, seed):
    """The row of an n-gram, a list of ids, for one head."""
    n, width = len(ngram), len(orders) * heads
    nth = sorted(orders).index(n) * heads + head
    first = sum(rows // width + (i < rows % width) for i in range(nth))
    size = rows // width + (nth < rows % width)
    mixed = bits(seed, n, head, 0)
    for k, id_ in enumerate(reversed(ngram)):
        mixed += (bits(seed, n, head, k + 1) | 1) * id_
    mixed %= 2**64
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 % 2**64
    return first + ((mixed >> 32) * size >> 32)


def rows_at(stream, i, offsets, hash_):
    """The rows of the place i of a stream of ids: those of n-grams inside its document."""
    start = max((o for o in offsets if o <= i), default=0)
    found = []
    for n in hash_.orders:
        ngram = stream[i - n + 1 : i + 1] if i - n + 1 >= start else None
        if ngram is not None and hash_.end_of_text_id in ngram[:-1]:
            ngram = None
        for head in range(hash_.heads):
            options = {"orders": hash_.orders, "rows": hash_.rows, "heads": hash_.heads, "seed": hash_.seed}
            found.append(-1 if ngram is None else row(ngram, head, **options))
    return found
