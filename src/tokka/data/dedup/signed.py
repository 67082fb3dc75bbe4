"""All signed documents of several sources as one sequence."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tokka.data.dedup.signatures import SKETCH, SignedShard, mapped, signed_shards
from tokka.data.dedup.similarity import jaccard
from tokka.data.dedup.words import Positions, Sets

_PAIRS = 1024  # compared at a time


class Signed(NamedTuple):
    """Documents, numbered through: by source, in it the held-out ones first, then by shard and row.

    Attributes:
        shards: in the order of the numbers.
        sources: name of the source of each.
        begins: number of the first document of each, and of all documents [shards + 1].
    """

    shards: list[SignedShard]
    sources: list[str]
    begins: Positions

    @classmethod
    def open(cls, signatures: Mapping[str, Path]) -> Self:
        """Open the signatures in each source's folder, in the order given."""
        read = mapped()
        found = [
            (shard, name) for name, folder in signatures.items() for shard in signed_shards(folder, read)
        ]
        begins = np.cumsum([0, *(len(shard) for shard, _ in found)])
        return cls([shard for shard, _ in found], [name for _, name in found], begins)

    @property
    def documents(self) -> int:
        """How many there are."""
        return int(self.begins[-1])

    def locate(self, documents: Positions) -> tuple[list[int], list[int]]:
        """Return the shard of each document, and its row there."""
        shards = np.searchsorted(self.begins, documents, side="right") - 1
        return shards.tolist(), (documents - self.begins[shards]).tolist()

    def similarity(self, first: Positions, second: Positions, workers: int) -> NDArray[np.float64]:
        """Return the Jaccard similarity of each pair of documents, see :func:`jaccard`."""

        def compare(start: int) -> NDArray[np.float64]:
            part = slice(start, start + _PAIRS)
            return jaccard(self._sketches(first[part]), self._sketches(second[part]), SKETCH)

        with ThreadPoolExecutor(workers) as pool:  # sorting, most of the work, releases the GIL
            return np.concatenate([np.empty(0), *pool.map(compare, range(0, len(first), _PAIRS))])

    def equal(self, first: Positions, second: Positions) -> NDArray[np.bool_]:
        """Tell of each pair of documents with equal keys of the text whether the texts are equal."""
        ours, theirs = (
            np.array([self.shards[shard].check[row] for shard, row in zip(*self.locate(part), strict=True)])
            for part in (first, second)
        )
        return ours == theirs

    def _sketches(self, documents: Positions) -> Sets:
        parts = [self.shards[shard].sketch(row) for shard, row in zip(*self.locate(documents), strict=True)]
        return Sets(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))
