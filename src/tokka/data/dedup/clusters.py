"""Documents that are the same, directly or by way of others: disjoint sets, a number on disk a document."""

from pathlib import Path

import numpy as np

from tokka.data.dedup.words import Positions


class Clusters:
    """Disjoint sets of the documents 0, 1, 2, ...; each is known by its least document, its root.

    The array is a file mapped into memory, which the system may write back and drop; so memory does not grow
    with the documents.
    """

    def __init__(self, path: Path) -> None:
        """Open the sets that :meth:`make` wrote to ``path``."""
        self._file = np.load(path, mmap_mode="r+", allow_pickle=False)
        self._parents = np.asarray(self._file)

    @staticmethod
    def make(path: Path, documents: int) -> None:
        """Write sets of one document each to ``path``."""
        parents = np.lib.format.open_memmap(path, "w+", np.int64, (documents,))
        step = 2**20
        for start in range(0, documents, step):
            parents[start : start + step] = np.arange(start, min(start + step, documents))
        parents.flush()

    def __len__(self) -> int:
        return len(self._parents)

    def roots(self, documents: Positions) -> Positions:
        """Return the root of the set of each of ``documents``."""
        roots = self._parents[documents]
        while True:
            above = self._parents[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above

    def join(self, first: Positions, second: Positions) -> None:
        """Make one set of the sets of ``first[i]`` and ``second[i]``, for every i.

        The greater root is hung below the lesser; where several are hung at once, the least wins, and the
        others are hung again.
        """
        while True:
            ours, theirs = self.roots(first), self.roots(second)
            apart = ours != theirs
            if not apart.any():
                return
            first, second, ours, theirs = first[apart], second[apart], ours[apart], theirs[apart]
            np.minimum.at(self._parents, np.maximum(ours, theirs), np.minimum(ours, theirs))

    def flush(self) -> None:
        """Write what changed to the file."""
        self._file.flush()
