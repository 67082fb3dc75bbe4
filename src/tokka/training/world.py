"""The ranks of a run as one: what they tell each other and decide together, beside the arithmetic."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Content = TypeVar("Content")

_PATIENCE = timedelta(hours=2)
"""For the slowest rank's disk; a rank that hangs is noticed by other means."""

SAVING = "saving"
"""The purpose of the world in which the threads that write checkpoints agree."""


class World:
    """All ranks, joined by a group of their own on the CPU; one process alone is a world of one.

    Each thread that talks needs a world of its own. All ranks make their worlds in the same order.

    Attributes:
        rank: this process.
        size: number of processes.
    """

    def __init__(self, purpose: str = "decisions") -> None:
        joined = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if joined else 0
        self.size = dist.get_world_size() if joined else 1
        self._group = (
            dist.new_group(backend="gloo", timeout=_PATIENCE, group_desc=purpose) if self.size > 1 else None
        )

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that speaks and writes for all."""
        return self.rank == 0

    def gather(self, content: Content) -> list[Content]:
        """Return what each rank gave, by rank, on every rank."""
        if self._group is None:
            return [content]
        contents: list[Any] = [None] * self.size
        dist.all_gather_object(contents, content, group=self._group)
        return contents

    def collect(self, content: Content) -> list[Content]:
        """Return what each rank gave, by rank, on the first rank; nothing on the others."""
        if self._group is None:
            return [content]
        contents: list[Any] = [None] * self.size
        dist.gather_object(content, contents if self.is_first else None, group=self._group, group_dst=0)
        return contents if self.is_first else []

    def broadcast(self, content: Content) -> Content:
        """Return what the first rank gave."""
        if self._group is None:
            return content
        contents: list[Any] = [content]
        dist.broadcast_object_list(contents, group=self._group, group_src=0)
        return contents[0]

    def scatter(self, contents: Sequence[Content]) -> Content:
        """Return this rank's one of what the first rank gave; what other ranks give is ignored."""
        if self._group is None:
            return contents[0]
        mine: list[Any] = [None]
        dist.scatter_object_list(
            mine, list(contents) if self.is_first else None, group=self._group, group_src=0
        )
        return mine[0]

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """Return the largest of each of ``numbers`` over all ranks; cheap enough for every step."""
        if self._group is None:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._group)
        return tensor.tolist()
