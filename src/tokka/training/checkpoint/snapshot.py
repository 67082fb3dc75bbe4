"""What a checkpoint is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


class CheckpointError(OSError):
    """A checkpoint could not be written, or not be seen by all ranks."""


class DamagedError(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that the next step depends on, after ``step`` steps.

    Tensors go by parameter name, whatever the layout; where a parameter is split over ranks its tensor is a
    ``DTensor``, and a rank has only the names that it holds a part of.

    Attributes:
        step: steps done.
        model: fp32 weights by parameter name.
        optimizer: fp32 moments as ``exp_avg.NAME`` and ``exp_avg_sq.NAME``.
        state: what is the same on all ranks, as JSON content.
        own: what each rank has of its own, as JSON content.
    """

    step: int
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]
    own: Mapping[str, Any]

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {**self.model, **self.optimizer}
