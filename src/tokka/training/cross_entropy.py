"""Cross entropy of a linear layer's logits, computed so that all logits are never held at once."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from tokka.parallel.collectives import gather, sum_and_split

IGNORED = -100
"""A target that is none: it adds nothing to the loss."""

_CHUNK_LOGITS = 2**25
"""Logits held at a time, in the dtype of the hidden states."""

_BLOCK_LOGITS = 2**19
"""Logits worked on in fp32 at a time; on a CPU they stay in a core's cache."""


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, ranks: DeviceMesh | None = None
) -> Tensor:
    """Return the summed cross entropy of ``targets`` under the logits ``hidden @ weight.T``, an fp32 scalar.

    The forward pass computes the gradients too, a chunk of tokens at a time, so that each logit is computed
    once and forgotten. Logits are rounded to the dtype of ``hidden``; the softmax is fp32.

    Over several ranks the vocabulary is sharded: each computes the logits of its rows for all tokens, and
    the softmax is joined from a maximum and a sum per rank (as in Megatron-LM, arXiv 1909.08053).

    Args:
        hidden: [..., d_model]; with ``ranks`` [batch, their share of the length, d_model].
        weight: [vocab_size, d_model], same dtype; with ``ranks`` this rank's rows of it.
        targets: int64 [...]; those that are IGNORED add nothing. With ``ranks`` of all tokens.
        ranks: that share vocabulary and length, along the one axis of a mesh; all get the same result.
    """
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    return _LinearCrossEntropy.apply(hidden, weight, targets, wanted, ranks)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, wanted: bool, ranks: DeviceMesh | None
    ) -> Tensor:
        shape = hidden.shape
        hidden = hidden if ranks is None else gather(hidden, 1, ranks)
        hidden, targets = hidden.reshape(-1, shape[-1]), targets.reshape(-1)
        chunks = -(-targets.numel() * len(weight) // _CHUNK_LOGITS)
        to_hidden = torch.empty_like(hidden) if wanted else None
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted else None
        loss = torch.zeros((), dtype=torch.float64, device=hidden.device)
        start = 0
        for part, wanted_ids in zip(hidden.chunk(chunks), targets.chunk(chunks), strict=True):
            logits = part @ weight.T
            loss += _turn_into_gradient(logits, wanted_ids, ranks)
            if to_hidden is not None and to_weight is not None:
                torch.mm(logits, weight, out=to_hidden[start : start + len(part)])
                to_weight += logits.T @ part
            start += len(part)
        if to_hidden is not None and to_weight is not None:
            if ranks is not None:
                to_hidden = sum_and_split(to_hidden.view(shape[0], -1, shape[2]), 1, ranks)
            ctx.save_for_backward(to_hidden.reshape(shape), to_weight.to(weight.dtype))
        return loss.float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * gradient, to_weight * gradient, None, None, None


def _turn_into_gradient(logits: Tensor, targets: Tensor, ranks: DeviceMesh | None) -> Tensor:
    """Replace ``logits`` [tokens, vocab_size] by the gradient of their summed loss; return that sum, fp64."""
    if ranks is not None:
        return _turn_shard_into_gradient(logits, targets, ranks)
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


def _turn_shard_into_gradient(logits: Tensor, targets: Tensor, ranks: DeviceMesh) -> Tensor:
    """As :func:`_turn_into_gradient`, where ``logits`` [tokens, rows] are of this rank's rows alone."""
    valid = (targets != IGNORED).unsqueeze(1)
    ids = targets.unsqueeze(1) - ranks.get_local_rank() * logits.shape[1]
    is_here = (ids >= 0) & (ids < logits.shape[1])
    ids = ids.clamp(0, logits.shape[1] - 1)
    wide = logits.float()
    at_target = wide.gather(1, ids) * is_here
    largest_here = wide.amax(dim=1, keepdim=True)
    total = wide.sub_(largest_here).exp_().sum(dim=1, keepdim=True)

    of_all = gather(torch.stack((largest_here, total, at_target), dim=1), 2, ranks)
    every_largest, every_total, every_target = of_all.unbind(dim=1)
    largest = every_largest.amax(dim=1, keepdim=True)
    total = (every_total * (every_largest - largest).exp()).sum(dim=1, keepdim=True)
    at_target = every_target.sum(dim=1, keepdim=True)

    loss = ((total.log() + largest - at_target) * valid).sum(dtype=torch.float64)
    wide.mul_((largest_here - largest).exp_() * valid / total)
    logits.copy_(wide.scatter_add_(1, ids, -(valid & is_here).float()))
    return loss
