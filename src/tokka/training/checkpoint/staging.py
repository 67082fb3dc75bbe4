"""What this rank writes of a checkpoint, copied out of training's way."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType

from tokka.training.checkpoint.index import item_key
from tokka.training.checkpoint.parts import local_chunk, local_part
from tokka.training.world import World


class Staging:
    """The pieces that this rank writes, and buffers on the host that every save uses again.

    PyTorch Distributed Checkpoint plans who writes what: a piece that several ranks have is written by one of
    them, so that all write about as much, and every tensor is whole. It is planned once, since the names,
    shapes and placements of a run do not change; its own ``async_save`` plans every save anew, and copies
    what other ranks will write, too.

    Attributes:
        plans: of all ranks, and ``metadata`` of all tensors; on the first rank only.
    """

    def __init__(self, tensors: Mapping[str, Tensor], world: World) -> None:
        """Plan together with all ranks."""
        self.plans: Sequence[SavePlan] = ()
        self.metadata = Metadata(state_dict_metadata={})
        # An empty part has nothing to write, and may begin where another rank's part begins.
        held = {name: tensor for name, tensor in tensors.items() if local_part(tensor).numel()}
        has = SavePlan([_write_item(name, tensor) for name, tensor in held.items()])
        all_have = world.collect(has)
        if world.is_first:
            self.plans, self.metadata = DefaultSavePlanner(flatten_state_dict=False).create_global_plan(
                all_have
            )
        writes = world.scatter(self.plans)
        self._names = {item_key(item): item.index.fqn for item in writes.items}
        self._buffers = {key: _buffer_for(local_part(tensors[name])) for key, name in self._names.items()}

    def copy(self, tensors: Mapping[str, Tensor], ready: torch.cuda.Event | None) -> dict[str, Tensor]:
        """Return this rank's pieces of ``tensors``, which have the names and placements that were planned.

        They stay as they are until the next call. A GPU copies them beside what it computes, from the moment
        that ``ready`` was recorded.
        """
        # The device is the rank's: a thread's own current device is the first one, whatever its process took.
        stream = None if ready is None else torch.cuda.Stream(ready.device)
        with torch.cuda.stream(stream):
            if stream is not None and ready is not None:
                stream.wait_event(ready)
            for key, name in self._names.items():
                self._buffers[key].copy_(local_part(tensors[name]), non_blocking=True)
        if stream is not None:
            stream.synchronize()
        return self._buffers

    @property
    def total_bytes(self) -> int:
        """Bytes that all ranks write together; known to the first one."""
        tensors: Iterable[Any] = self.metadata.state_dict_metadata.values()
        return sum(tensor.size.numel() * tensor.properties.dtype.itemsize for tensor in tensors)


def _write_item(name: str, tensor: Tensor) -> WriteItem:
    chunk = local_chunk(tensor)
    data = TensorWriteData(chunk, TensorProperties(dtype=tensor.dtype), tensor.shape)
    return WriteItem(MetadataIndex(name, chunk.offsets), WriteItemType.SHARD, tensor_data=data)


def _buffer_for(part: Tensor) -> Tensor:
    return torch.empty(part.shape, dtype=part.dtype, pin_memory=part.is_cuda)
