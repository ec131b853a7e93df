"""Which window comes next: an epoch's order as a function, not a list.

``Permutation(n, seed, epoch)`` maps the place i in an epoch to a window, each window exactly once, in O(1) and without
memory. So an epoch starts at once whatever its length, and resuming it takes two integers.

The map is a Feistel network over pairs (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002):
i = L·b + R with L < a, R < b and a·b just above n; each round adds to one half a keyed hash of the other, modulo a or
b, which can be undone and so is one-to-one; a result of n or more goes round again (cycle walking), about once in √n.
``inverse`` undoes the rounds in reverse, and walks the same way back.

Not for: cryptography. Costs: some 20 to 50 ns an index in numpy, 3 once ``kernels`` has compiled it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreword.windows import kernels

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
        self._keys = np.frombuffer(digest, "<u8").astype(_U)
        self._sorted: NDArray[np.int64] | None = None
        self._places: NDArray[np.int64] | None = None  # of each window in it, once that was asked
        if n < SORTED_BELOW:
            self._sorted = _argsort(_hash(np.arange(n, dtype=_U), self._keys[0], self._keys[1]))
        else:
            a = math.isqrt(n - 1) + 1
            self._a, self._b = _U(a), _U(-(-n // a))

    def __call__(self, places: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The windows at ``places`` of the order; int64, of the same shape."""
        kernels.seen(places.size)
        if self._sorted is not None:
            order: NDArray[np.int64] = self._sorted[places]
            return order
        windows = kernels.ordered(places, self._keys, self.n, self._a, self._b, _MULTIPLY_1, _MULTIPLY_2)
        return self.by_numpy(places) if windows is None else windows

    def by_numpy(self, places: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The same, slowly: what ``kernels`` has to give, where n is ``SORTED_BELOW`` or more."""
        x = self._network(places.astype(_U))
        while (outside := x >= self.n).any():
            x[outside] = self._network(x[outside])
        return x.view(np.int64)

    def inverse(self, windows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The places at which ``windows`` come in the order; int64, of the same shape.

        >>> order = Permutation(10**9, seed=0, epoch=0)
        >>> order.inverse(order(np.array([41_017])))
        array([41017])
        """
        if self._sorted is not None:
            if self._places is None:
                self._places = np.argsort(self._sorted)
            places: NDArray[np.int64] = self._places[windows]
            return places
        x = self._undone(windows.astype(_U))
        while (outside := x >= self.n).any():  # the walk to the window went through these
            x[outside] = self._undone(x[outside])
        return x.view(np.int64)

    def _network(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left = x // self._b
        right = x - left * self._b
        for round_ in range(0, ROUNDS, 2):
            _add(left, right, self._a, self._keys[round_])
            _add(right, left, self._b, self._keys[round_ + 1])
        return left * self._b + right

    def _undone(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """What the network maps to ``x``."""
        left = x // self._b
        right = x - left * self._b
        for round_ in reversed(range(0, ROUNDS, 2)):
            _subtract(right, left, self._b, self._keys[round_ + 1])
            _subtract(left, right, self._a, self._keys[round_])
        return left * self._b + right


def _add(half: NDArray[np.uint64], other: NDArray[np.uint64], modulus: np.uint64, key: np.uint64) -> None:
    """half += hash(other) modulo ``modulus``, in place."""
    half += _below(other, modulus, key)
    np.minimum(half, half - modulus, out=half)  # below the modulus, the difference wraps round to a huge number


def _subtract(half: NDArray[np.uint64], other: NDArray[np.uint64], modulus: np.uint64, key: np.uint64) -> None:
    """half −= hash(other) modulo ``modulus``, in place."""
    half -= _below(other, modulus, key)
    np.minimum(half, half + modulus, out=half)  # below 0, it has wrapped round to a huge number, and the sum back


def _below(other: NDArray[np.uint64], modulus: np.uint64, key: np.uint64) -> NDArray[np.uint64]:
    """A hash of each of ``other``, below ``modulus``."""
    h = other + key
    h *= _MULTIPLY_1
    h ^= h >> _32
    h *= _MULTIPLY_2
    h >>= _32
    h *= modulus  # 32 random bits × modulus / 2³²: a number below the modulus, without a division
    h >>= _32
    return h


def _argsort(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where the smallest of different numbers stand, the smallest first, in a third of the time of ``np.argsort``.

    By their upper 32 bits, 16 at a time, which numpy sorts by counting; by all of them where those leave two alike.
    """
    upper = (hashes >> _32).astype(np.uint32)
    order = np.argsort(upper.astype(np.uint16), kind="stable")
    order = order[np.argsort((upper >> np.uint32(16)).astype(np.uint16)[order], kind="stable")]
    rising = upper[order]
    return np.argsort(hashes) if (rising[1:] == rising[:-1]).any() else order


def _hash(x: NDArray[np.uint64], key_1: np.uint64, key_2: np.uint64) -> NDArray[np.uint64]:
    """64 well-mixed bits of each x; distinct x give distinct bits."""
    h = (x + key_1) * _MULTIPLY_1
    h ^= h >> _32
    h = (h + key_2) * _MULTIPLY_2
    h ^= h >> _32
    h *= _MULTIPLY_1
    return h ^ (h >> _32)
