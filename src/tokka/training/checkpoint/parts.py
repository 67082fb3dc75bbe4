"""Which part of a tensor a rank holds."""

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.placement_types import _StridedShard


def local_part(tensor: Tensor) -> Tensor:
    """Return what this rank holds of ``tensor``, as it lies in memory."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()


def local_chunk(tensor: Tensor) -> ChunkStorageMetadata:
    """Return where :func:`local_part` begins in the whole tensor, and its sizes.

    A dimension that is split along several axes of the mesh is split along the plain ones first and along
    the strided ones then, which is how ``fully_shard`` marks that it came after tensor parallelism. PyTorch
    2.13's own ``compute_local_shape_and_global_offset`` is wrong where that does not come out even.
    """
    offsets, sizes = [0] * tensor.dim(), list(tensor.shape)
    if isinstance(tensor, DTensor):
        mesh, at = tensor.device_mesh, tensor.device_mesh.get_coordinate()
        assert at is not None, "a rank has no tensors of a mesh that it is not part of"
        axes = [axis for axis, placement in enumerate(tensor.placements) if not placement.is_replicate()]
        for axis in sorted(axes, key=lambda axis: isinstance(tensor.placements[axis], _StridedShard)):
            dim = tensor.placements[axis].dim  # type: ignore[attr-defined]
            sizes[dim], begin = Shard.local_shard_size_and_offset(sizes[dim], mesh.size(axis), at[axis])
            offsets[dim] += begin
    return ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))
