"""Which window comes next: an epoch's order as a function, not a list.

``Permutation(n, seed, epoch)`` maps the place i in an epoch to a window, each window exactly once, in O(1) and without
memory. So an epoch starts at once whatever its length, and resuming it takes two integers.

The map is a Feistel network over pairs (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002):
i = L·b + R with L < a, R < b and a·b just above n; each round adds to one half a keyed hash of the other, modulo a or
b, which can be undone and so is one-to-one; a result of n or more goes round again (cycle walking), about once in √n.

Not for: cryptography. Costs: some 50 ns an index in numpy.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Permutation"]

# With so few windows a Feistel network has too few distinct functions; a sort by keyed hash is exact.
SORTED_BELOW = 1 << 12
ROUNDS = 6

_U = np.uint64
_MULTIPLY_1, _MULTIPLY_2 = _U(0x9E3779B97F4A7C15), _U(0xD6E8FEB86659FD93)
_32 = _U(32)


class Permutation:
    """A permutation of 0 … n − 1, decided by (n, seed, epoch, name) alone, the same on every machine.

    ``name`` keeps the orders of two sources of one length apart.

    >>> order = Permutation(10, seed=0, epoch=0)
    >>> sorted(order(np.arange(10)).tolist()) == list(range(10))
    True
    """

    def __init__(self, n: int, *, seed: int, epoch: int, name: str = "") -> None:
        self.n = n
        digest = hashlib.blake2b(f"{n} {seed} {epoch} {name}".encode(), digest_size=8 * (ROUNDS + 2)).digest()
        self._keys = np.frombuffer(digest, "<u8")
        self._sorted: NDArray[np.int64] | None = None
        if n < SORTED_BELOW:
            hashes = _hash(np.arange(n, dtype=_U), self._keys[0], self._keys[1])
            self._sorted = np.argsort(hashes, kind="stable")
        else:
            a = math.isqrt(n - 1) + 1
            self._a, self._b = _U(a), _U(-(-n // a))

    def __call__(self, places: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The windows at ``places`` of the order; int64, of the same shape."""
        if self._sorted is not None:
            order: NDArray[np.int64] = self._sorted[places]
            return order
        x = self._network(places.astype(_U))
        while (outside := x >= self.n).any():
            x[outside] = self._network(x[outside])
        return x.view(np.int64)

    def _network(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left = x // self._b
        right = x - left * self._b
        for round_ in range(0, ROUNDS, 2):
            _add(left, right, self._a, self._keys[round_])
            _add(right, left, self._b, self._keys[round_ + 1])
        return left * self._b + right


def _add(half: NDArray[np.uint64], other: NDArray[np.uint64], modulus: np.uint64, key: np.uint64) -> None:
    """half += hash(other) modulo ``modulus``, in place."""
    h = other + key
    h *= _MULTIPLY_1
    h ^= h >> _32
    h *= _MULTIPLY_2
    h >>= _32
    h *= modulus  # 32 random bits × modulus / 2³²: a number below the modulus, without a division
    h >>= _32
    half += h
    np.minimum(half, half - modulus, out=half)  # below the modulus, the difference wraps round to a huge number


def _hash(x: NDArray[np.uint64], key_1: np.uint64, key_2: np.uint64) -> NDArray[np.uint64]:
    """64 well-mixed bits of each x; distinct x give distinct bits."""
    h = (x + key_1) * _MULTIPLY_1
    h ^= h >> _32
    h = (h + key_2) * _MULTIPLY_2
    h ^= h >> _32
    h *= _MULTIPLY_1
    return h ^ (h >> _32)
