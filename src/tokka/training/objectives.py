"""What a step makes smaller. The loop knows nothing of it but this protocol."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tokka.data.sampler import Batch
from tokka.models.model import LanguageModel
from tokka.training.cross_entropy import IGNORED, linear_cross_entropy


class Loss(NamedTuple):
    """The loss of a micro batch.

    Attributes:
        total: summed over all valid targets, fp32 scalar with its graph.
        targets: how many there are, int64 scalar; the loop divides by their count in the whole batch.
    """

    total: Tensor
    targets: Tensor


class Objective(Protocol):
    """From sequences to a loss."""

    def __call__(self, model: LanguageModel, batch: Batch, rows: slice) -> Loss:
        """Return the loss of ``rows`` of ``batch``, computed where ``model`` is."""
        ...


class LanguageModelling:
    """Each token predicts the next.

    Args:
        within_document: whether attention and positions are confined to the document.
    """

    def __init__(self, *, within_document: bool) -> None:
        self._within_document = within_document

    def __call__(self, model: LanguageModel, batch: Batch, rows: slice) -> Loss:
        device = next(model.parameters()).device
        tokens = torch.from_numpy(batch.tokens[rows]).to(device, non_blocking=True)
        documents = None
        if self._within_document:
            documents = torch.from_numpy(batch.documents[rows]).to(device, non_blocking=True)
        targets = tokens[:, 1:]
        hidden = model.hidden(tokens[:, :-1], documents=documents)
        return Loss(linear_cross_entropy(hidden, model.output_weight, targets), (targets != IGNORED).sum())
