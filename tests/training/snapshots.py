"""Snapshots whose every number is known, and the ranks that save and load them in any layout."""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from tokka.training.checkpoint.saved import Saved, load_newest
from tokka.training.checkpoint.saver import Saver
from tokka.training.checkpoint.snapshot import Snapshot

SHAPES = {"embed.weight": (13, 8), "up.weight": (12, 8), "down.weight": (8, 12), "norm.weight": (8,)}
"""13 rows divide over no number of ranks; 8 numbers leave some of many ranks with none."""


def whole_snapshot(step: int, *, scale: int = 1, own: int = 0) -> Snapshot:
    """Return a snapshot of ``step`` on one process, the first dimensions ``scale`` times as large."""
    generator = torch.Generator().manual_seed(step)
    model = {
        name: torch.randn(shape[0] * scale, *shape[1:], generator=generator) for name, shape in SHAPES.items()
    }
    model["up.weight"][0, 0] = torch.nan  # compared by bits
    moments = {f"{moment}.{name}": w * 2 for name, w in model.items() for moment in ("exp_avg", "exp_avg_sq")}
    return Snapshot(step, model, moments, {"sampler": {"fi": {"epoch": 1}}}, {"rank": own})


def save_whole(folder: Path, *steps: int, keep: int = 2, scale: int = 1, milestones: bool = False) -> Path:
    """Save a snapshot of each step from one process; return the folder of the last."""
    saver = Saver(folder, keep=keep)
    with closing(saver):
        for step in steps:
            saver.save(whole_snapshot(step, scale=scale), milestone=milestones)
            saver.wait()
    return folder / f"step-{steps[-1]:08}"


def read_whole(saved: Saved, *, scale: int = 1) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint on one process."""
    tensors = {name: torch.zeros_like(t) for name, t in whole_snapshot(0, scale=scale).tensors.items()}
    saved.load(tensors)
    return tensors


def assert_is(saved: Saved | None, step: int, *, scale: int = 1) -> None:
    """What was saved is the snapshot of ``step``, bit for bit."""
    assert saved is not None
    assert saved.step == step
    assert saved.state == whole_snapshot(step).state
    assert_same_bits(read_whole(saved, scale=scale), whole_snapshot(step, scale=scale).tensors)


def assert_same_bits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name].view(torch.int32), tensor.view(torch.int32)), name


# The layouts: each turns whole tensors into what one rank of it holds.


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replicas, as plain tensors."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def replicas(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return {name: distribute_tensor(tensor, mesh, [Replicate()]) for name, tensor in tensors.items()}


def sharded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return {name: distribute_tensor(tensor, mesh, [Shard(0)]) for name, tensor in tensors.items()}


def hybrid(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two copies, each sharded."""
    mesh = init_device_mesh("cpu", (2, dist.get_world_size() // 2))
    return {n: distribute_tensor(tensor, mesh, [Replicate(), Shard(0)]) for n, tensor in tensors.items()}


def tensor_parallel_and_sharded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As ``fully_shard`` over a tensor-parallel plan leaves them: rows of columns, and rows of rows."""
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (dist.get_world_size() // 2, 2), mesh_dim_names=("data", "tensor"))
    styles = {"up": ColwiseParallel(), "down": RowwiseParallel(), "embed": ColwiseParallel()}
    found: dict[str, Tensor] = {}
    for prefix in {
        name.removesuffix(f"{base}") for name in tensors for base in SHAPES if name.endswith(base)
    }:
        model = torch.nn.Module()
        for base, tensor in ((base, tensors[f"{prefix}{base}"]) for base in SHAPES):
            layer = torch.nn.Linear(1, 1, bias=False)
            layer.weight = torch.nn.Parameter(tensor.clone())
            model.add_module(base.removesuffix(".weight"), layer)
        parallelize_module(model, mesh["tensor"], styles)
        fully_shard(model, mesh=mesh["data"])
        found |= {f"{prefix}{name}": parameter.detach() for name, parameter in model.named_parameters()}
    return found


def stages(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two pipeline stages that both hold the embedding; each sharded over its half of the ranks."""
    half = dist.get_world_size() // 2
    mesh = init_device_mesh("cpu", (2, half), mesh_dim_names=("pipeline", "data"))
    first = dist.get_rank() < half
    mine = ("embed.weight", "up.weight") if first else ("embed.weight", "down.weight", "norm.weight")
    return {
        name: distribute_tensor(tensor, mesh["data"], [Shard(0)])
        for name, tensor in tensors.items()
        if name.endswith(mine)
    }


Layout = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def save_split(folder: Path, step: int, layout: Layout) -> None:
    """Save the snapshot of ``step``, as ``layout`` splits it, from every rank."""
    whole = whole_snapshot(step, own=dist.get_rank())
    snapshot = Snapshot(step, layout(whole.model), layout(whole.optimizer), whole.state, whole.own)
    saver = Saver(folder, keep=2)
    with closing(saver):
        saver.save(snapshot)
        saver.wait()


def load_split(folder: Path, step: int, layout: Layout) -> tuple[Any, int]:
    """Load the newest into tensors split by ``layout``; return what the rank has of its own, and bytes."""
    saved = load_newest(folder)
    assert saved is not None
    wanted = layout(whole_snapshot(step).tensors)
    found = layout({name: torch.full_like(t, 7) for name, t in whole_snapshot(step).tensors.items()})
    saved.load(found)
    assert_same_bits(_local(found), _local(wanted))
    assert saved.state == whole_snapshot(step).state
    return saved.own, sum(tensor.nbytes for tensor in _local(found).values())


def save_and_load_split(folder: Path, layout: Layout) -> tuple[Any, int]:
    save_split(folder, 3, layout)
    return load_split(folder, 3, layout)


def _local(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: tensor.to_local() if isinstance(tensor, DTensor) else tensor for n, tensor in tensors.items()}
