"""MinHash signatures in bands (Broder 1997; Leskovec et al., Mining of Massive Datasets, section 3.4).

Two documents with Jaccard similarity s have equal keys in a given band with probability ``s**rows``, and so
meet in at least one band with probability ``1 - (1 - s**rows)**bands``.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokka.data.dedup.folding import Hashes, mixed
from tokka.data.dedup.words import Sets

MOST_HASHES = 128
"""Of a signature, at most. More rows a band bring fewer strangers together, and need more hashes."""

_RECALL = 0.95
_BLOCK = 2**15  # shingles at a time: they stay in the processor's cache while all hashes pass over them


class Banding(NamedTuple):
    """``bands`` bands of ``rows`` hashes each."""

    bands: int
    rows: int

    def recall(self, similarity: float) -> float:
        """Return the probability that two documents of this Jaccard similarity meet."""
        return 1 - (1 - similarity**self.rows) ** self.bands


def banding_for(threshold: float) -> Banding:
    """Return the banding by which two documents that are just alike enough meet with probability 0.95.

    Of those with at most :data:`MOST_HASHES` hashes, the one with the most rows.
    """
    best = Banding(1, 1)
    for rows in range(1, MOST_HASHES + 1):
        chance = threshold**rows
        bands = 1 if chance >= _RECALL else math.ceil(math.log(1 - _RECALL) / math.log1p(-chance))
        if rows * bands <= MOST_HASHES:
            best = Banding(bands, rows)
    return best


def band_keys(sets: Sets, banding: Banding) -> Hashes:
    """Return the key of each document in each band [bands, documents]; undefined for an empty set."""
    signatures = _minima(sets, banding.bands * banding.rows)
    keys = np.zeros((banding.bands, signatures.shape[1]), np.uint64)
    for row in range(banding.rows):
        keys += signatures[row :: banding.rows]
        keys = mixed(keys + np.uint64(row + 1))
    return keys


def _minima(sets: Sets, hashes: int) -> NDArray[np.uint32]:
    """Return the least value of each hash function over each set [hashes, documents]."""
    filled = np.flatnonzero(np.diff(sets.begins))
    minima = np.zeros((hashes, len(sets.begins) - 1), np.uint32)
    begins = sets.begins[filled]
    masks, factors = _functions(hashes)
    start = 0
    while start < len(begins):
        stop = max(start + 1, int(np.searchsorted(begins, begins[start] + _BLOCK)))
        end = begins[stop] if stop < len(begins) else len(sets.hashes)
        block = sets.hashes[begins[start] : end]
        values, places = np.empty_like(block), begins[start:stop] - begins[start]
        for index in range(hashes):
            np.bitwise_xor(block, masks[index], out=values)
            np.multiply(values, factors[index], out=values)
            minima[index, filled[start:stop]] = np.minimum.reduceat(values, places)
        start = stop
    return minima


@cache
def _functions(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return masks and odd factors of hash functions ``(x ^ mask) * factor`` of numbers random already."""
    numbers = mixed(np.arange(1, 2 * count + 1, dtype=np.uint64)).astype(np.uint32)
    return numbers[:count], numbers[count:] | np.uint32(1)
