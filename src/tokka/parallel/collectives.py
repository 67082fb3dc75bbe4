"""Gathering what ranks have parts of, and summing what all have; each is the other's gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed import _functional_collectives as functional
from torch.distributed.device_mesh import DeviceMesh

# The names since PyTorch 2.13, and those before.
_all_gather = getattr(functional, "all_gather_single", None) or functional.all_gather_tensor
_reduce_scatter = getattr(functional, "reduce_scatter_single", None) or functional.reduce_scatter_tensor


def gather(part: Tensor, dim: int, mesh: DeviceMesh) -> Tensor:
    """Return the parts of all ranks along the one axis of ``mesh``, joined along ``dim``, on each of them."""
    return _Gather.apply(part, dim, mesh)


def sum_and_split(whole: Tensor, dim: int, mesh: DeviceMesh) -> Tensor:
    """Return this rank's part, along ``dim``, of the sum of what all ranks along the axis have."""
    return _SumAndSplit.apply(whole, dim, mesh)


def _gathered(part: Tensor, dim: int, mesh: DeviceMesh) -> Tensor:
    return functional.wait_tensor(_all_gather(part.contiguous(), dim, (mesh, 0)))


def _summed_and_split(whole: Tensor, dim: int, mesh: DeviceMesh) -> Tensor:
    return functional.wait_tensor(_reduce_scatter(whole.contiguous(), "sum", dim, (mesh, 0)))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, dim: int, mesh: DeviceMesh) -> Tensor:
        ctx.dim, ctx.mesh = dim, mesh
        return _gathered(part, dim, mesh)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _summed_and_split(gradient, ctx.dim, ctx.mesh), None, None


class _SumAndSplit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, dim: int, mesh: DeviceMesh) -> Tensor:
        ctx.dim, ctx.mesh = dim, mesh
        return _summed_and_split(whole, dim, mesh)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _gathered(gradient, ctx.dim, ctx.mesh), None, None
