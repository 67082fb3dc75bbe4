"""Checkpoints on the disk: found, verified, and read into tensors of any layout."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

from tokka.training.checkpoint.folder import remove_leftovers, saved, set_aside
from tokka.training.checkpoint.index import Index
from tokka.training.checkpoint.parts import local_chunk, local_part
from tokka.training.checkpoint.pieces import describe
from tokka.training.checkpoint.snapshot import CheckpointError, DamagedError
from tokka.training.world import World
from tokka.workspace.files import read_json
from tokka.workspace.progress import say


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was found as it was written.

    Attributes:
        path: its folder.
        step: steps done.
        state: what was the same on all ranks.
        own: what the rank of this number had of its own; None where there was no such rank.
    """

    path: Path
    step: int
    state: Mapping[str, Any]
    own: Mapping[str, Any] | None
    index: Index

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill ``tensors``, or this rank's part of those that are a ``DTensor``, in place.

        They may be split in any way and over any number of ranks. Only what this rank needs is read, a piece
        at a time.

        Raises ValueError where the checkpoint lacks one of them, or has it in another shape.
        """
        self._check(tensors)
        by_writer = defaultdict(list)
        for name, tensor in tensors.items():
            stored = self.index.tensors[name]
            for item in create_read_items_for_chunk_list(name, stored, [local_chunk(tensor)]):
                by_writer[self.index.places[item.storage_index].rank].append(item)
        for writer, items in by_writer.items():
            with safe_open(self.path / f"rank-{writer:05}.safetensors", framework="pt") as file:
                for item in items:
                    piece = file.get_slice(self.index.places[item.storage_index].key)
                    part = local_part(tensors[item.dest_index.fqn])[_region(item.dest_offsets, item.lengths)]
                    part.copy_(piece[_region(item.storage_offsets, item.lengths)])

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            stored = self.index.tensors.get(name)
            if stored is None or stored.size != tensor.shape:
                has = f"has it as {list(stored.size)}" if stored else "has no such tensor"
                raise ValueError(
                    f"{self.path} is of another model: this one has {name} as {list(tensor.shape)}, and the "
                    f"checkpoint {has}; give the recipe it was made with, or another folder"
                )


def look_at(path: Path) -> Saved:
    """Return the checkpoint ``path``, compared with what was written; nothing there is changed.

    Raises DamagedError where it is not as it was written, FileNotFoundError where it is not there (any more).
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not there")
    index = Index.read(path)
    for name, described in index.files.items():
        _verify_file(path / name, described)
    return _open(path, index, rank=0)


def load_newest(folder: Path) -> Saved | None:
    """Return the newest whole checkpoint below ``folder``, the same on all ranks; None where there is none.

    Every byte is compared with what was written, by all ranks in parts. A damaged checkpoint is said so,
    renamed to ``*.damaged``, and the one before it is tried. What a killed run left half written is removed.
    To be called by all ranks.
    """
    world = World()
    if world.is_first:
        remove_leftovers(folder)
    for name in reversed(world.broadcast([path.name for path in saved(folder)])):
        index, problem = _verify(folder / name, world)
        if index is not None:
            return _open(folder / name, index, world.rank)
        if world.is_first:
            path = set_aside(folder / name)
            say(
                f"warning: {folder / name} is damaged ({problem}); it is now {path.name}, and the checkpoint "
                f"before it is used, if there is one"
            )
    return None


def _open(path: Path, index: Index, rank: int) -> Saved:
    own = path / f"rank-{rank:05}.json"
    state = read_json(path / "state.json")
    return Saved(path, state.pop("step"), state, read_json(own) if rank < index.ranks else None, index)


def _verify(path: Path, world: World) -> tuple[Index | None, str]:
    """Return the index of a whole checkpoint, or None and what is wrong with it; the same on all ranks."""
    blind = [rank for rank, sees in enumerate(world.gather(path.is_dir())) if not sees]
    if blind:
        raise CheckpointError(
            f"rank {blind[0]} does not see {path}; the run's folder must lie on a disk that all ranks share"
        )
    index, problem = None, ""
    try:
        index = Index.read(path)
        for name in sorted(index.files)[world.rank :: world.size]:
            _verify_file(path / name, index.files[name])
    except (DamagedError, OSError) as error:
        problem = str(error)
    problems = [each for each in world.gather(problem) if each]
    return (None, problems[0]) if problems else (index, "")


def _verify_file(path: Path, described: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise DamagedError(f"{path.name} is missing")
    if describe(path) != described:
        raise DamagedError(f"{path.name} is not as it was written")


def _region(offsets: Sequence[int], lengths: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(offset, offset + length) for offset, length in zip(offsets, lengths, strict=True))
