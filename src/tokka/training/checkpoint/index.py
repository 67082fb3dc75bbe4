"""``index.json``: what a checkpoint holds, where, and how to tell that it is as it was written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import SavePlan, WriteItem

from tokka.training.checkpoint.pieces import piece_key
from tokka.training.checkpoint.snapshot import DamagedError
from tokka.workspace.files import digest_json

NAME = "index.json"


class Place(NamedTuple):
    """Where a piece of a tensor lies: in the file of ``rank``, under ``key``."""

    rank: int
    key: str


def item_key(item: WriteItem) -> str:
    """Return the key under which what DCP plans to write lies in its file."""
    data: Any = item.tensor_data
    return piece_key(item.index.fqn, data.chunk.offsets, data.chunk.sizes, data.size)


@dataclass(frozen=True)
class Index:
    """What a checkpoint holds.

    Attributes:
        step: steps done.
        ranks: that wrote it.
        tensors: dtype, shape and pieces of every tensor, as PyTorch Distributed Checkpoint describes them.
        places: where each piece lies.
        files: size and SHA-256 of each file.
    """

    step: int
    ranks: int
    tensors: Mapping[str, TensorStorageMetadata]
    places: Mapping[MetadataIndex, Place]
    files: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, step: int, plans: Sequence[SavePlan], metadata: Metadata, files: Mapping[str, Any]) -> Self:
        """Return the index of what the ranks write by ``plans``."""
        places = {
            item.index: Place(rank, item_key(item)) for rank, plan in enumerate(plans) for item in plan.items
        }
        return cls(step, len(plans), metadata.state_dict_metadata, places, files)  # type: ignore[arg-type]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the index in ``folder``; raises DamagedError where it is missing or not as it was written."""
        try:
            text = (folder / NAME).read_text(encoding="utf-8")
            index = cls._from_json(json.loads(text))
        except FileNotFoundError:
            raise DamagedError(f"{NAME} is missing") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DamagedError(f"{NAME} is not as it was written") from None
        if text != index._text():
            raise DamagedError(f"{NAME} is not as it was written")
        return index

    def write(self, folder: Path) -> None:
        (folder / NAME).write_text(self._text(), encoding="utf-8")

    def _text(self) -> str:
        content = {
            "step": self.step,
            "ranks": self.ranks,
            "files": self.files,
            "tensors": {name: self._tensor_json(name) for name in self.tensors},
        }
        return json.dumps(content | {"sha256": digest_json(content)}) + "\n"

    def _tensor_json(self, name: str) -> dict[str, Any]:
        tensor = self.tensors[name]
        return {
            "dtype": str(tensor.properties.dtype).removeprefix("torch."),
            "shape": list(tensor.size),
            "pieces": [
                [self.places[MetadataIndex(name, chunk.offsets)].rank, [*chunk.offsets], [*chunk.sizes]]
                for chunk in tensor.chunks
            ],
        }

    @classmethod
    def _from_json(cls, content: Mapping[str, Any]) -> Self:
        tensors, places = {}, {}
        for name, tensor in content["tensors"].items():
            shape, chunks = torch.Size(tensor["shape"]), []
            for rank, offsets, sizes in tensor["pieces"]:
                chunks.append(ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)))
                key = piece_key(name, offsets, sizes, shape)
                places[MetadataIndex(name, torch.Size(offsets))] = Place(rank, key)
            properties = TensorProperties(dtype=getattr(torch, tensor["dtype"]))
            tensors[name] = TensorStorageMetadata(properties, shape, chunks)
        return cls(content["step"], content["ranks"], tensors, places, content["files"])
