"""A keyed shuffle of ``range(n)`` that needs no memory: any place of it can be computed alone."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6


class Permutation:
    """A pseudo-random bijection of ``range(size)``, decided by ``key``.

    A balanced Feistel network over the next power of four, walked until it falls inside the range
    (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002: cycle walking).
    """

    def __init__(self, size: int, key: Any) -> None:
        if size < 1:
            raise ValueError(f"cannot shuffle {size} documents")
        self.size = size
        self._half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        digest = hashlib.blake2b(repr(key).encode(), digest_size=8 * _ROUNDS).digest()
        self._keys = np.frombuffer(digest, dtype="<u8")

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the members of ``range(size)`` that stand at ``places``; both int64 of one shape."""
        found = self._encrypt(places.astype(np.uint64))
        outside = found >= self.size
        while outside.any():
            found[outside] = self._encrypt(found[outside])
            outside = found >= self.size
        return found.astype(np.int64)

    def _encrypt(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & self._mask)
        return (left << self._half) | right


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
