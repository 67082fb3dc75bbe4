"""All encoded documents of a source as one sequence, whatever shards they lie in."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokka.data.indexed import IndexedDataset
from tokka.data.origins import Origins


class TokenStore:
    """The documents of every shard in a folder, in the order of the shards' names.

    Everything is memory-mapped: a store takes no memory per document.

    Attributes:
        folder: with ``00000.bin``, ``00000.idx``, ...
        tokens: of all documents together.
    """

    def __init__(self, folder: Path) -> None:
        """Open the shards in ``folder``.

        Raises:
            FileNotFoundError: there is none, or a ``.bin`` is missing.
            DamagedError: one is cut off or damaged.
        """
        self.folder = folder
        prefixes = sorted(path.with_suffix("") for path in folder.glob("*.idx"))
        if not prefixes:
            raise FileNotFoundError(f"{folder} holds no encoded documents (*.idx); encode the corpus first")
        self._shards = [IndexedDataset(prefix) for prefix in prefixes]
        self._origins = [Origins(prefix) for prefix in prefixes]
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self.tokens = sum(shard.tokens for shard in self._shards)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def size(self, document: int) -> int:
        """Return the number of tokens of a document, its end token included."""
        shard, index = self._locate(document)
        return int(self._shards[shard].sizes[index])

    def sizes(self, documents: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the number of tokens of each of ``documents``.

        Raises IndexError where one of them is not there.
        """
        if len(documents) and not 0 <= documents.min() <= documents.max() < len(self):
            raise IndexError(
                f"documents {documents.min()} to {documents.max()} of {self.folder}, which has {len(self)}"
            )
        shards = np.searchsorted(self._starts, documents, side="right") - 1
        sizes = np.empty(len(documents), np.int64)
        for shard in np.unique(shards):
            here = shards == shard
            sizes[here] = self._shards[shard].sizes[documents[here] - self._starts[shard]]
        return sizes

    def read(self, document: int, start: int, stop: int) -> NDArray[np.integer]:
        """Return tokens ``start`` to ``stop`` of a document, a view of the file."""
        shard, index = self._locate(document)
        return self._shards[shard].read(index, start, stop)

    def origin(self, document: int) -> tuple[str, int]:
        """Return the input file a document came from, and its 1-based record number there."""
        shard, index = self._locate(document)
        return self._origins[shard].of(index)

    def _locate(self, document: int) -> tuple[int, int]:
        """Return the shard of a document and its index there."""
        if not 0 <= document < len(self):
            raise IndexError(f"document {document} of {self.folder}, which has {len(self)}")
        shard = int(np.searchsorted(self._starts, document, side="right")) - 1
        return shard, document - int(self._starts[shard])
