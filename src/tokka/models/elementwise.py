"""RMS norm and rotation with gradients written by hand.

Composed of PyTorch's own operators, both spend their time moving fp32 intermediates that autograd keeps.
Here the backward pass recomputes them, so that little is kept and a CPU runs them about twice as fast.
"""

from typing import Any

import torch
from torch import Tensor


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = torch.rsqrt(norm.square() / x.shape[-1] + eps)
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        normed, wide = x.float() * inverse, gradient.float()
        product = wide * normed
        to_weight = product.flatten(0, -2).sum(0)
        along = (product @ weight.float()).unsqueeze(-1) / x.shape[-1]
        to_x = (wide * weight).addcmul_(normed, along, value=-1).mul_(inverse)
        return to_x.to(x.dtype), to_weight.to(weight.dtype), None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return ``x / sqrt(mean(x^2) + eps) * weight`` over the last dimension.

    Computed in fp32 and rounded once to the dtype of ``x`` (Zhang and Sennrich 2019, arXiv 1910.07467).
    """
    return _RmsNorm.apply(x, weight, eps)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.empty_like(x)
    half = x.shape[-1] // 2
    rotated[..., :half] = (first * cos).addcmul_(second, sin, value=-1)
    rotated[..., half:] = (second * cos).addcmul_(first, sin)
    return rotated


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(gradient, cos, -sin), None, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + width / 2) of the last dimension of ``x`` by their angles.

    Computed in fp32 and rounded once to the dtype of ``x``: in bf16 the angles' rounding would make attention
    depend on absolute positions (arXiv 2411.13476).

    Args:
        x: [..., width].
        cos, sin: of the angles, fp32 [..., width / 2], broadcast against the halves of ``x``.
    """
    return _Rotate.apply(x, cos, sin)
