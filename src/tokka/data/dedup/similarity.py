"""How alike documents are, told from the least hashes of their sets."""

import numpy as np
from numpy.typing import NDArray

from tokka.data.dedup.words import Sets, distinct

_HALF = np.uint64(32)


def jaccard(first: Sets, second: Sets, limit: int) -> NDArray[np.float64]:
    """Return the Jaccard similarity of each pair of sets, of which the ``limit`` least hashes are given.

    Of sets with at most ``limit`` hashes it is exact. Of larger ones it is estimated from the ``limit`` least
    hashes of their union (Beyer et al. 2007, On synopses for distinct-value estimation under multiset
    operations), with a standard deviation of ``sqrt(s * (1 - s) / limit)``: 0.015 at most for 1024. Two empty
    sets have similarity 0.

    Args:
        first, second: the sets, as many in one as in the other.
        limit: how many hashes are given of a larger set.
    """
    pairs = len(first.begins) - 1
    merged = np.sort(np.concatenate([_keys(first), _keys(second)]))
    fresh = distinct(merged)
    both = np.zeros(len(merged), bool)
    np.equal(merged[1:], merged[:-1], out=both[:-1])
    both, union = both[fresh], merged[fresh]
    begins = np.searchsorted(union, np.arange(pairs + 1, dtype=np.uint64) << _HALF)
    ends = np.minimum(begins[1:], begins[:-1] + limit)
    shared = np.concatenate([[0], np.cumsum(both)])
    return (shared[ends] - shared[begins[:-1]]) / np.maximum(ends - begins[:-1], 1)


def _keys(sets: Sets) -> NDArray[np.uint64]:
    """Return the hashes with the number of their pair above them."""
    counts = np.diff(sets.begins)
    return (np.repeat(np.arange(len(counts), dtype=np.uint64), counts) << _HALF) | sets.hashes
