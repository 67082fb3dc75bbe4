"""Cross entropy of a linear layer's logits, computed so that all logits are never held at once."""

from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""A target that is none: it adds nothing to the loss."""

_CHUNK_LOGITS = 2**25
"""Logits held at a time, in the dtype of the hidden states."""

_BLOCK_LOGITS = 2**19
"""Logits worked on in fp32 at a time; on a CPU they stay in a core's cache."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the summed cross entropy of ``targets`` under the logits ``hidden @ weight.T``, an fp32 scalar.

    The forward pass computes the gradients too, a chunk of tokens at a time, so that each logit is computed
    once and forgotten. Logits are rounded to the dtype of ``hidden``; the softmax is fp32.

    Args:
        hidden: [..., d_model].
        weight: [vocab_size, d_model], same dtype.
        targets: int64 [...]; those that are IGNORED add nothing.
    """
    hidden, targets = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    return _LinearCrossEntropy.apply(hidden, weight, targets, wanted)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, wanted: bool) -> Tensor:
        chunks = -(-targets.numel() * len(weight) // _CHUNK_LOGITS)
        to_hidden = torch.empty_like(hidden) if wanted else None
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted else None
        loss = torch.zeros((), dtype=torch.float64, device=hidden.device)
        start = 0
        for part, wanted_ids in zip(hidden.chunk(chunks), targets.chunk(chunks), strict=True):
            logits = part @ weight.T
            loss += _turn_into_gradient(logits, wanted_ids)
            if to_hidden is not None and to_weight is not None:
                torch.mm(logits, weight, out=to_hidden[start : start + len(part)])
                to_weight += logits.T @ part
            start += len(part)
        if to_hidden is not None and to_weight is not None:
            ctx.save_for_backward(to_hidden, to_weight.to(weight.dtype))
        return loss.float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * gradient, to_weight * gradient, None, None


def _turn_into_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Replace ``logits`` [tokens, vocab_size] by the gradient of their summed loss; return that sum, fp64."""
    rows = len(logits) if logits.is_cuda else max(1, _BLOCK_LOGITS // logits.shape[1])
    losses = []
    for block, wanted in zip(logits.split(rows), targets.split(rows), strict=True):
        valid = (wanted != IGNORED).unsqueeze(1)
        ids = wanted.clamp(min=0).unsqueeze(1)
        wide = block.float()
        at_target = wide.gather(1, ids)
        largest = wide.amax(dim=1, keepdim=True)
        total = wide.sub_(largest).exp_().sum(dim=1, keepdim=True)
        losses.append(((total.log() + largest - at_target) * valid).sum(dtype=torch.float64))
        wide.mul_(valid / total).scatter_add_(1, ids, -valid.float())
        if wide is not block:
            block.copy_(wide)
    return torch.stack(losses).sum()
