"""Context parallelism: ranks share every sequence, and attention sees all of it.

Each rank gathers the keys and values of the others, as in Llama 3 (arXiv 2407.21783, section 3.3.2): these
are few where heads share them, and any mask works, documents' included. A sequence is cut into two chunks a
rank, and a rank takes one from the beginning and one from the end, so that all have as much to attend to.
"""

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from tokka.parallel.collectives import gather

_LENGTH = 2
"""Dimension of keys and values [batch, heads, length, width] along which ranks share them."""


class ContextRanks:
    """The part of every sequence that this rank has; for models, the cache that has the rest of it.

    Attributes:
        size: ranks that share a sequence.
    """

    def __init__(self, mesh: DeviceMesh) -> None:
        """Share sequences over the ranks of the one axis of ``mesh``."""
        self._mesh = mesh
        self.size = mesh.size()

    def stretches(self, length: int) -> tuple[int, int]:
        """Return where this rank's ``length`` tokens stand: the positions at which its two chunks begin."""
        rank, chunk = self._mesh.get_local_rank(), length // 2
        return rank * chunk, (2 * self.size - 1 - rank) * chunk

    def total_length(self, length: int) -> int:
        return length * self.size

    def append_documents(self, documents: Tensor | None) -> Tensor | None:
        """Return ``documents``: every rank is given those of the whole sequence."""
        return documents

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values [batch, heads, length, width] of the whole sequence, in its order."""
        return self._gather(keys), self._gather(values)

    def _gather(self, part: Tensor) -> Tensor:
        chunks = gather(part, _LENGTH, self._mesh).chunk(2 * self.size, dim=_LENGTH)
        return torch.cat((*chunks[::2], *chunks[-1::-2]), dim=_LENGTH)
