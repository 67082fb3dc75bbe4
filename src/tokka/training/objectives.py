"""What a step makes smaller. The engine knows nothing of it but this protocol."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from tokka.data.sampler import Batch
from tokka.training.cross_entropy import linear_cross_entropy


class Inputs(NamedTuple):
    """What a model and a loss get to see of a batch.

    Attributes:
        tokens: int64 [rows, length].
        targets: int64 [rows, length]; those that are IGNORED add nothing to the loss.
        documents: int32 [rows, length], which confines attention and positions; None for one document.
    """

    tokens: Tensor
    targets: Tensor
    documents: Tensor | None


class Objective(Protocol):
    """From sequences to a loss."""

    def inputs(self, batch: Batch) -> Inputs:
        """Return what is computed of ``batch``, on the CPU."""
        ...

    def loss(self, hidden: Tensor, weight: Tensor, targets: Tensor, tensor: DeviceMesh | None) -> Tensor:
        """Return the loss summed over valid targets, as :data:`tokka.parallel.stage.LossFunction` says.

        The engine divides by the count of valid targets in the whole batch.
        """
        ...


class LanguageModelling:
    """Each token predicts the next.

    Args:
        within_document: whether attention and positions are confined to the document.
    """

    def __init__(self, *, within_document: bool) -> None:
        self._within_document = within_document

    def inputs(self, batch: Batch) -> Inputs:
        tokens = torch.from_numpy(batch.tokens)
        documents = torch.from_numpy(batch.documents) if self._within_document else None
        return Inputs(tokens[:, :-1], tokens[:, 1:], documents)

    def loss(self, hidden: Tensor, weight: Tensor, targets: Tensor, tensor: DeviceMesh | None) -> Tensor:
        return linear_cross_entropy(hidden, weight, targets, tensor)
