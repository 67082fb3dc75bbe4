"""Tensor parallelism with sequence parallelism, after an architecture's plan.

Megatron-LM's scheme (arXiv 1909.08053, 2205.05198): matrices are split so that a block needs one gathering
before and one reduction after attention and feed-forward each; between them activations are split along the
length, and norms, whose parameters each rank holds whole, work on their part of it.

Parameters are distributed tensors, and modules compute with what is local of them. PyTorch's own styles
compute with distributed tensors, whose dispatch takes longer than the operation in all but large models.
"""

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ParallelStyle, parallelize_module
from torch.distributed.tensor.placement_types import Placement
from torch.func import functional_call

from tokka.models.model import LanguageModel
from tokka.models.spec import ModelSpec
from tokka.parallel.collectives import gather, sum_and_split

_LENGTH = 1
"""Dimension of activations along which sequence parallelism splits."""


class _Style(ParallelStyle):
    """Distributes a module's own parameters, and has it compute with what is local of them.

    Args:
        weight, bias: how each is distributed.
    """

    def __init__(self, weight: Placement, bias: Placement) -> None:
        self._placements = {"weight": weight, "bias": bias}

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        local = copy.deepcopy(module)
        for name, parameter in list(module.named_parameters(recurse=False)):
            placements = (self._placements[name],)
            value = distribute_tensor(parameter.detach(), device_mesh, placements, src_data_rank=None)
            module.register_parameter(name, nn.Parameter(value))
        module.forward = _on_local_parameters(module, self._forward(local, device_mesh))
        return module

    def _forward(self, module: nn.Module, mesh: DeviceMesh) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
        """Return what is computed of local parameters and an input."""
        return lambda parameters, x: functional_call(module, parameters, (x,))


def _on_local_parameters(
    module: nn.Module, forward: Callable[[dict[str, Tensor], Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    def on_local(x: Tensor) -> Tensor:
        distributed = {name: cast(DTensor, p) for name, p in module.named_parameters(recurse=False)}
        return forward({name: parameter.to_local() for name, parameter in distributed.items()}, x)

    return on_local


class _Rowwise(_Style):
    """Each rank's input features give a part of every output; the parts are summed and split by length."""

    def __init__(self) -> None:
        super().__init__(weight=Shard(1), bias=Replicate())

    def _forward(self, module: nn.Module, mesh: DeviceMesh) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
        def forward(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
            summed = sum_and_split(F.linear(x, parameters["weight"]), _LENGTH, mesh)
            return summed + parameters["bias"] if "bias" in parameters else summed

        return forward


class _Vocab(_Style):
    """Each rank looks up the tokens whose rows it has; what all found is summed and split by length."""

    def __init__(self) -> None:
        super().__init__(weight=Shard(0), bias=Replicate())

    def _forward(self, module: nn.Module, mesh: DeviceMesh) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
        def forward(parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
            weight = parameters["weight"]
            rows = tokens - mesh.get_local_rank() * len(weight)
            is_elsewhere = (rows < 0) | (rows >= len(weight))
            found = F.embedding(rows.masked_fill(is_elsewhere, 0), weight)
            return sum_and_split(found.masked_fill(is_elsewhere.unsqueeze(-1), 0), _LENGTH, mesh)

        return forward


class _Gather(ParallelStyle):
    """The first input, split along the length, is gathered; its gradient is summed and split again."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def gather_first(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            x, *others = inputs
            return (gather(x, _LENGTH, device_mesh), *others)

        module.register_forward_pre_hook(gather_first)
        return module


class _Heads(_Gather):
    """As :class:`_Gather`, and the module's ``heads`` are narrowed to this rank's."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        heads, rank = cast(slice, module.heads), device_mesh.get_local_rank()
        share = heads.stop // device_mesh.size()
        setattr(module, "heads", slice(rank * share, (rank + 1) * share))  # noqa: B010 - no attribute of Module
        return super()._apply(module, device_mesh)


_STYLES: dict[str, Callable[[], ParallelStyle]] = {
    "vocab": _Vocab,
    "colwise": lambda: _Style(weight=Shard(0), bias=Shard(0)),
    "rowwise": _Rowwise,
    "sequence": lambda: _Style(weight=Replicate(), bias=Replicate()),
    "gather": _Gather,
    "heads": _Heads,
}


def split_tensors(model: LanguageModel, spec: ModelSpec, mesh: DeviceMesh) -> None:
    """Split the parameters of ``model``, on the meta device, over the ranks of ``mesh``, after its plan."""
    present = dict(model.named_modules())
    plan = {
        pattern: _STYLES[style]()
        for pattern, style in spec.tensor_parallel_plan.items()
        if "*" in pattern or pattern in present  # a pipeline stage lacks some modules
    }
    parallelize_module(model, mesh, plan)


def computed_in_parts(spec: ModelSpec, names: Iterable[str]) -> list[str]:
    """Return those of the parameters ``names`` of which each rank's gradient is of its part of the length.

    These are of modules that see no more of it, and the biases that are added to sums already split.
    """
    leaves = {"sequence": "weight|bias", "rowwise": "bias"}
    patterns = [
        pattern.replace(".", r"\.").replace("*", "[^.]+") + rf"\.({leaves[style]})"
        for pattern, style in spec.tensor_parallel_plan.items()
        if style in leaves
    ]
    return [name for name in names if re.fullmatch("|".join(patterns), name)]


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
