"""Sharded data parallelism, and which part of a parameter a rank holds."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from tokka.parallel.mesh import REPLICATE, SHARD, TENSOR, Mesh
from tokka.parallel.stage import Stage


def shard(stage: Stage, mesh: Mesh, dtype: torch.dtype) -> None:
    """Shard the parameters of ``stage``, a block at a time, over the ranks that hold a copy together.

    The sharded fp32 parameters are the masters; passes compute in ``dtype``. Gradients are summed, not
    averaged, and in fp32. With several replicas of the shards it is hybrid sharding; with shards of one rank
    it is plain replication.
    """
    layout = mesh.layout
    options: dict[str, Any] = {
        "mesh": mesh.parameters[REPLICATE, SHARD] if layout.replicas > 1 else mesh.parameters[SHARD],
        # Inputs keep their dtype: rotations and positions are fp32 whatever blocks compute in.
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
        ),
        # A pipeline runs many micro batches before it reduces; gathering for each would cost too much.
        "reshard_after_forward": layout.pipeline == 1,
    }
    for block in stage.model.blocks.values():
        fully_shard(block, **options)
    # Embedding and output matrix are needed until the loss, right before the backward pass begins.
    fully_shard(stage, **options | {"reshard_after_forward": False})
    for module in stage.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def reduce_across_replicas(stage: Stage, now: bool) -> None:
    """Have the next backward pass sum gradients over replicas of the shards, or keep each replica's sum."""
    if isinstance(stage, FSDPModule):
        stage.set_requires_all_reduce(now)


def local_part(value: Tensor, parameter: Tensor) -> Tensor:
    """Return the part of ``value``, of a whole parameter, that this rank holds of ``parameter``."""
    if not isinstance(parameter, DTensor):
        return value
    mesh = parameter.device_mesh
    names = mesh.mesh_dim_names or ()
    for axis in sorted(range(mesh.ndim), key=lambda axis: names[axis] != TENSOR):  # the first to be split
        placement = parameter.placements[axis]
        if not placement.is_replicate():
            dim = placement.dim  # type: ignore[attr-defined]
            parts = value.chunk(mesh.size(axis), dim)
            place = mesh.get_local_rank(axis)
            value = parts[place] if place < len(parts) else value.narrow(dim, 0, 0)
    return value


def fill(parameter: Tensor, value: Tensor) -> None:
    """Copy into ``parameter`` this rank's part of ``value``, which is of the whole."""
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    local.detach().copy_(local_part(value, parameter))


def is_counted(parameter: Tensor) -> bool:
    """Return whether this rank counts its part of ``parameter``; of ranks with the same part one does."""
    if not isinstance(parameter, DTensor):
        return True
    mesh = parameter.device_mesh
    replicated = [axis for axis, placement in enumerate(parameter.placements) if placement.is_replicate()]
    return all(mesh.get_local_rank(axis) == 0 for axis in replicated)
