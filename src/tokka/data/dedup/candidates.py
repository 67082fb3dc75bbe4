"""Documents that have a key in common, in groups; a range of keys at a time, so that memory is bounded."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tokka.data.dedup.signatures import SignedShard
from tokka.data.dedup.words import Positions

_RANGE_DOCUMENTS = 2**20
"""About so many documents are held at a time."""


class Groups(NamedTuple):
    """Groups of two documents or more that share a key.

    Attributes:
        documents: by group, ascending in each [members].
        group: number of each member's group, ascending [members].
    """

    documents: Positions
    group: Positions


def groups(shards: Sequence[SignedShard], begins: Positions, band: int) -> Iterator[Groups]:
    """Yield the groups of all documents with the same key in ``band``.

    Args:
        shards: signed alike.
        begins: number of the first document of each shard, ascending, and of all documents [shards + 1].
        band: row of the shards' keys; 0 is the text itself.
    """
    ranges = max(1, -(-int(begins[-1]) // _RANGE_DOCUMENTS))
    bounds = [number * 2**64 // ranges for number in range(ranges + 1)]
    for low, high in pairwise(bounds):
        keys, documents = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for shard, begin in zip(shards, begins[:-1], strict=True):
            row = shard.keys[band]
            start = int(np.searchsorted(row, np.uint64(low)))
            stop = int(np.searchsorted(row, np.uint64(high))) if high < 2**64 else len(row)
            keys.append(row[start:stop])
            documents.append(shard.rows[band, start:stop] + begin)
        yield _grouped(np.concatenate(keys), np.concatenate(documents))


def _grouped(keys: np.ndarray, documents: Positions) -> Groups:
    order = np.argsort(keys, kind="stable")  # documents with one key stay in their order
    keys, documents = keys[order], documents[order]
    same = np.zeros(len(keys) + 1, bool)
    np.equal(keys[1:], keys[:-1], out=same[1:-1])
    shared = same[1:] | same[:-1]
    group = np.cumsum(~same[:-1])[shared]
    return Groups(documents[shared], group)
