"""What ranks send each other, counted call by call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Collective:
    """One kind of communication along one axis of the mesh.

    Attributes:
        axis: whose ranks take part.
        operation: ``all-gather``, ``reduce-scatter``, ``all-reduce``, ``broadcast`` or ``send``.
    """

    axis: str
    operation: str


@dataclass
class Volume:
    """Calls, and bytes that this rank sends in them."""

    calls: float = 0
    sent: float = 0


_resolve: Callable[[str], dist.ProcessGroup] = vars(dist.distributed_c10d)["_resolve_process_group"]

_OPERATIONS = {
    "all_gather_into_tensor": "all-gather",
    "_allgather_base_": "all-gather",
    "allgather_": "all-gather",
    "reduce_scatter_tensor": "reduce-scatter",
    "_reduce_scatter_base_": "reduce-scatter",
    "reduce_scatter_": "reduce-scatter",
    "all_reduce": "all-reduce",
    "allreduce_": "all-reduce",
    "all_to_all_single": "all-to-all",
    "alltoall_base_": "all-to-all",
    "broadcast": "broadcast",
    "broadcast_": "broadcast",
    "send": "send",
}
"""Operators of both of PyTorch's interfaces. Each ``recv`` is another rank's ``send``."""

_SHARE_SENT: dict[str, Callable[[int], float]] = {
    "all-gather": lambda ranks: (ranks - 1) / ranks,
    "reduce-scatter": lambda ranks: (ranks - 1) / ranks,
    "all-to-all": lambda ranks: (ranks - 1) / ranks,
    "all-reduce": lambda ranks: 2 * (ranks - 1) / ranks,
    "broadcast": lambda ranks: 1,
    "send": lambda ranks: 1,
}
"""Of the largest tensor of a call, what a rank sends in a ring (arXiv 1802.05799)."""


class TrafficRecord(TorchDispatchMode):
    """Records the communication that is asked for while it is entered.

    Attributes:
        volumes: by axis and operation.
    """

    def __init__(self, axes: Mapping[str, str]) -> None:
        """Name process groups after the axes of the mesh: ``axes`` says the axis of each group's name."""
        super().__init__()
        self.volumes: dict[Collective, Volume] = {}
        self._axes = axes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # the operator on local tensors comes here next
        result = func(*args, **(kwargs or {}))
        if func.namespace in ("c10d", "_c10d_functional"):
            operation = _OPERATIONS.get(func._schema.name.split("::")[1])
            if operation is not None:
                self._add(operation, args, result)
        return result

    def _add(self, operation: str, args: Any, result: Any) -> None:
        group = next(found for found in map(_group_of, reversed(args)) if found is not None)
        tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
        largest = max(tensor.numel() * tensor.element_size() for tensor in tensors)
        collective = Collective(self._axes.get(group.group_name, "all"), operation)
        volume = self.volumes.setdefault(collective, Volume())
        volume.calls += 1
        volume.sent += largest * _SHARE_SENT[operation](group.size())


def _group_of(argument: Any) -> dist.ProcessGroup | None:
    """Return the process group that an operator's argument is or names."""
    if isinstance(argument, dist.ProcessGroup):
        return argument
    if isinstance(argument, torch.ScriptObject):
        try:
            return dist.ProcessGroup.unbox(argument)
        except RuntimeError:  # another class, such as ReduceOp
            return None
    if isinstance(argument, str):
        try:
            return _resolve(argument)
        except (RuntimeError, ValueError):
            return None
    return None
