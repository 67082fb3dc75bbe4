"""The loss of every single target, without ever holding all logits."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS_AT_ONCE = 256
"""Positions whose logits are held at once."""


def target_losses(hidden: Tensor, targets: Tensor, unembed: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the cross-entropy of each target in nats, fp32 [rows, length].

    Args:
        hidden: normalised hidden states [rows, length, d_model].
        targets: int64 [rows, length].
        unembed: from hidden states to logits.
    """
    parts = zip(
        hidden.flatten(0, 1).split(_ROWS_AT_ONCE), targets.flatten().split(_ROWS_AT_ONCE), strict=True
    )
    losses = [F.cross_entropy(unembed(some).float(), wanted, reduction="none") for some, wanted in parts]
    return torch.cat(losses).view(targets.shape)
