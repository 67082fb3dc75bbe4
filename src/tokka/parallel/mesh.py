"""Where a rank stands among all: named axes, made from ``training.layout``."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from tokka.recipe.training import Layout

PIPELINE, REPLICATE, SHARD, DATA, CONTEXT, TENSOR = (
    "pipeline",
    "replicate",
    "shard",
    "data",
    "context",
    "tensor",
)


@dataclass(frozen=True)
class Mesh:
    """The ranks of a layout, arranged twice: as parameters lie on them, and as sequences do.

    Tensor ranks are neighbours, so that they share a node; then context, then data; pipeline stages are
    farthest apart, as in Megatron-LM (arXiv 2104.04473). Ranks of ``data`` and ``context`` together hold one
    copy of each parameter per ``shard`` of them.

    Attributes:
        layout: what was asked for.
        parameters: axes ``pipeline``, ``replicate``, ``shard``, ``tensor``.
        sequences: axes ``pipeline``, ``data``, ``context``, ``tensor``.
    """

    layout: Layout
    parameters: DeviceMesh
    sequences: DeviceMesh

    @classmethod
    def of(cls, layout: Layout, device: torch.device) -> Self | None:
        """Arrange all ranks of the default process group; every rank calls this. None for a single process.

        Raises ValueError where there are more or fewer ranks than ``layout`` states.
        """
        started = dist.get_world_size() if dist.is_initialized() else 1
        if started != layout.ranks:
            raise ValueError(
                f"training.layout is of {layout.ranks} ranks, and {started} were started; start "
                f"{layout.ranks}, or change the layout"
            )
        if started == 1:
            return None
        shape = (layout.pipeline, layout.replicas, layout.sharded, layout.tensor)
        parameters = init_device_mesh(device.type, shape, mesh_dim_names=(PIPELINE, REPLICATE, SHARD, TENSOR))
        shape = (layout.pipeline, layout.data, layout.context, layout.tensor)
        sequences = init_device_mesh(device.type, shape, mesh_dim_names=(PIPELINE, DATA, CONTEXT, TENSOR))
        return cls(layout, parameters, sequences)

    def coordinate(self, axis: str) -> int:
        """Return this rank's place along ``axis``."""
        mesh = self.parameters if axis in (REPLICATE, SHARD) else self.sequences
        return mesh.get_local_rank(axis)

    def rows(self, sequences: int) -> slice:
        """Return which of the ``sequences`` sequences of a batch this rank reads."""
        share = sequences // self.layout.data
        return slice(self.coordinate(DATA) * share, (self.coordinate(DATA) + 1) * share)
