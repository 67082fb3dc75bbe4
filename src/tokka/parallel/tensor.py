"""Tensor parallelism with sequence parallelism: an architecture's plan as PyTorch's parallel styles.

Megatron-LM's scheme (arXiv 1909.08053, 2205.05198): matrices are split so that a block needs one gathering
before and one reduction after attention and feed-forward each; between them activations are split along the
length, and norms, whose parameters each rank holds whole, work on their part of it.
"""

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from torch.func import functional_call

from tokka.models.model import LanguageModel
from tokka.models.spec import ModelSpec

_LENGTH = 1
"""Dimension of activations along which sequence parallelism splits."""


class _Sequence(ParallelStyle):
    """Parameters whole on each rank, which computes its part of the length.

    Gradients are of that part until :func:`sum_over_parts_of_length`, once a step and in fp32. PyTorch's
    ``SequenceParallel`` sums them in every pass and computes with distributed tensors, which costs more than
    a norm itself; here the norm runs on what is local.
    """

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        local = copy.deepcopy(module)
        for name, parameter in list(module.named_parameters(recurse=False)):
            whole = distribute_tensor(parameter.detach(), device_mesh, (Replicate(),), src_data_rank=None)
            module.register_parameter(name, nn.Parameter(whole))
        module.forward = _with_local_parameters(module, local)
        return module


def _with_local_parameters(module: nn.Module, local: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return what ``local``, a copy of ``module``, computes with the parameters of ``module`` as they are."""

    def forward(x: Tensor) -> Tensor:
        distributed = {name: cast(DTensor, p) for name, p in module.named_parameters(recurse=False)}
        parameters = {name: p.to_local() for name, p in distributed.items()}
        return functional_call(local, parameters, (x,))

    return forward


class _Gather(ParallelStyle):
    """The first input, split along the length, is gathered; its gradient is summed and split again."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def gather(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            x, *others = inputs
            x = DTensor.from_local(x, device_mesh, (Shard(_LENGTH),), run_check=False)
            return (x.redistribute(placements=(Replicate(),)), *others)

        module.register_forward_pre_hook(gather)
        return module


class _Heads(_Gather):
    """As :class:`_Gather`, and the module's ``heads`` are narrowed to this rank's."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        heads, rank = cast(slice, module.heads), device_mesh.get_local_rank()
        share = heads.stop // device_mesh.size()
        setattr(module, "heads", slice(rank * share, (rank + 1) * share))  # noqa: B010 - no attribute of Module
        return super()._apply(module, device_mesh)


def _style(name: str) -> ParallelStyle:
    match name:
        case "vocab":
            return RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(_LENGTH))
        case "colwise":
            return ColwiseParallel(input_layouts=Replicate())
        case "rowwise":
            return RowwiseParallel(output_layouts=Shard(_LENGTH))
        case "sequence":
            return _Sequence()
        case "gather":
            return _Gather()
        case "heads":
            return _Heads()
    raise ValueError(f"a tensor-parallel plan has the style {name!r}, which there is not")


def split_tensors(model: LanguageModel, spec: ModelSpec, mesh: DeviceMesh) -> None:
    """Split the parameters of ``model``, on the meta device, over the ranks of ``mesh``, after its plan."""
    present = dict(model.named_modules())
    plan = {
        pattern: _style(style)
        for pattern, style in spec.tensor_parallel_plan.items()
        if "*" in pattern or pattern in present  # a pipeline stage lacks some modules
    }
    parallelize_module(model, mesh, plan)


def computed_in_parts(spec: ModelSpec, names: Iterable[str]) -> list[str]:
    """Return those of the parameters ``names`` of which each rank's gradient is of its part of the length."""
    patterns = [
        pattern.replace(".", r"\.").replace("*", "[^.]+")
        for pattern, style in spec.tensor_parallel_plan.items()
        if style == "sequence"
    ]
    return [name for name in names if re.fullmatch("|".join(patterns), name.rpartition(".")[0])]


def sum_over_parts_of_length(parameters: Sequence[Tensor], mesh: DeviceMesh) -> None:
    """Sum the gradients of ``parameters`` that were :func:`computed_in_parts` over the ranks of ``mesh``."""
    gradients = [cast(DTensor, parameter.grad).to_local() for parameter in parameters]
    if not gradients:  # on a pipeline stage
        return
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together, group=mesh.get_group())
    summed = together.split([gradient.numel() for gradient in gradients])
    for gradient, total in zip(gradients, summed, strict=True):
        gradient.copy_(total.view_as(gradient))
