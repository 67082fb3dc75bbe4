"""Weights of any layout from and to Hugging Face folders; no rank holds more than its part and one tensor."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from tokka.models.identity import Identity
from tokka.models.shards import (
    SHARD_BYTES,
    Entry,
    SafetensorsWriter,
    file_names,
    index_of,
    split_into_files,
)
from tokka.models.spec import Config, spec_for
from tokka.models.stored import INDEX, Part, StoredWeights
from tokka.workspace.files import whole_folder, write_json

Parameters = Mapping[str, Tensor | DTensor]

# It warns that gathering what is sharded and split takes two collectives; here that is meant to be.
logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)


@torch.no_grad()
def load_into(parameters: Parameters, stored: StoredWeights) -> None:
    """Fill ``parameters``, or this rank's parts of them, in place; values take their dtype and device.

    Each rank reads its own parts from the files and nothing else; ranks do not wait for one another.

    Args:
        parameters: by the model's names; all of a model, or those that a pipeline stage holds.
        stored: the folder.

    Raises:
        WeightsError: the folder has no such parameter or one of another shape, or a file is damaged.
    """
    parts: dict[str, Part] = {}
    held: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        stored.check_shape(name, parameter.shape)
        held[name], parts[name] = _held(parameter)
    for name, tensor in stored.read({name: part for name, part in parts.items() if held[name].numel()}):
        held[name].copy_(tensor)


def save_hf(
    parameters: Parameters,
    config: Config,
    folder: Path,
    *,
    identity: Identity,
    beside: Sequence[Path] = (),
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a model as a Hugging Face folder, which is replaced as a whole or left as it was.

    Every rank that holds a part of the model calls this, with the same arguments but ``parameters``. Tensors
    are gathered one at a time; the files are spread over the ranks that hold their tensors, and each is
    written as its tensors come. A tensor that several pipeline stages hold (tied embeddings) is written once.

    Args:
        parameters: those that this rank holds, whole or in part, in the same order on each rank.
        config: of the whole model.
        folder: on a disk that all ranks share.
        identity: content of ``config.json`` and ``generation_config.json``, and dtypes.
        beside: files that are copied to the folder, such as a tokenizer's.
        shard_bytes: the most that a file holds, if no tensor is larger.

    Raises:
        OSError: on every rank, where one of them could not write; says which and why.
    """
    plan = _plan(parameters, config, identity, shard_bytes)
    aside = folder.with_name(f".{folder.name}.part")
    with ExitStack() as stack:
        failure = ""
        if _rank() == 0:
            try:
                aside = stack.enter_context(whole_folder(folder))
                _write_json_files(aside, plan, identity)
                for path in beside:
                    shutil.copyfile(path, aside / path.name)
            except OSError as error:
                failure = str(error)
        _agree(failure)
        _agree(_write(parameters, plan, aside))


@dataclass(frozen=True)
class _File:
    """A file of weights: what is in it and which rank writes it."""

    name: str
    entries: Mapping[str, Entry]
    writer: int


@dataclass(frozen=True)
class _Plan:
    """All files of all ranks, and of these the ones whose tensors this rank helps to gather."""

    files: Sequence[_File]
    mine: Sequence[_File]


def _plan(parameters: Parameters, config: Config, identity: Identity, shard_bytes: int) -> _Plan:
    model = spec_for(config).build_meta(config)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    stages: dict[tuple[str, ...], list[int]] = {}  # ranks by the names that they hold
    for rank, names in enumerate(_gather(tuple(parameters))):
        stages.setdefault(names, []).append(rank)
    written: set[str] = set()
    groups: list[tuple[tuple[str, ...], int, dict[str, Entry]]] = []
    for names, ranks in stages.items():
        fresh = [name for name in shapes if name in names and name not in written]
        written.update(fresh)
        entries = {name: Entry(identity.dtype_of(name), shapes[name]) for name in fresh}
        for number, group in enumerate(split_into_files(entries, shard_bytes)):
            # wider elements first, so that each tensor begins at a multiple of its element's size
            ordered = sorted(group, key=lambda name: -entries[name].dtype.itemsize)
            groups.append((names, ranks[number % len(ranks)], {name: entries[name] for name in ordered}))
    files = [
        _File(name, entries, writer)
        for name, (_, writer, entries) in zip(file_names(len(groups)), groups, strict=True)
    ]
    here = tuple(parameters)
    return _Plan(files, [file for file, (names, _, _) in zip(files, groups, strict=True) if names == here])


def _write_json_files(folder: Path, plan: _Plan, identity: Identity) -> None:
    write_json(folder / "config.json", identity.config)
    write_json(folder / "generation_config.json", identity.generation_config)
    if len(plan.files) > 1:
        entries = {name: entry for file in plan.files for name, entry in file.entries.items()}
        write_json(folder / INDEX, index_of({file.name: list(file.entries) for file in plan.files}, entries))


def _write(parameters: Parameters, plan: _Plan, folder: Path) -> str:
    """Gather the tensors of all files of this rank's stage and write its own; return what went wrong."""
    failure = ""
    for file in plan.mine:
        tensors = ((name, _whole(parameters[name], entry.dtype)) for name, entry in file.entries.items())
        if file.writer == _rank() and not failure:
            try:
                with SafetensorsWriter(folder / file.name, file.entries) as writer:
                    for name, tensor in tensors:
                        writer.append(name, tensor.cpu())
            except OSError as error:
                failure = f"{folder / file.name}: {error}"
        for _ in tensors:  # every rank takes part in gathering what is left, also one that failed
            pass
    return failure


def _held(parameter: Tensor | DTensor) -> tuple[Tensor, Part]:
    """Return what this rank holds of ``parameter``, and which part of it that is."""
    if not isinstance(parameter, DTensor):
        return parameter, ()
    (chunk,) = parameter.__create_chunk_list__()
    part = tuple(
        slice(offset, offset + size) for offset, size in zip(chunk.offsets, chunk.sizes, strict=True)
    )
    return parameter.to_local(), part


@torch.no_grad()
def _whole(parameter: Tensor | DTensor, dtype: torch.dtype) -> Tensor:
    converted = parameter.detach().to(dtype)
    return converted.full_tensor() if isinstance(converted, DTensor) else converted


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _gather(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return what each rank gave, in the order of ranks."""
    if not dist.is_initialized():
        return [names]
    gathered: list[tuple[str, ...]] = [()] * dist.get_world_size()
    dist.all_gather_object(gathered, names)
    return gathered


def _agree(failure: str) -> None:
    """Raise OSError on every rank where one of them names a failure."""
    failures = [f"rank {rank}: {said[0]}" for rank, said in enumerate(_gather((failure,))) if said[0]]
    if failures:
        raise OSError("; ".join(failures))
