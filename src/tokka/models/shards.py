"""Files of weights: which tensor goes where, and safetensors written a tensor at a time."""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from tokka.models.stored import DTYPES, WEIGHTS

SHARD_BYTES = 5 * 10**9
"""The largest file, as transformers writes them."""

_SPELLINGS = {dtype: spelling for spelling, dtype in DTYPES.items()}


class Entry(NamedTuple):
    """A tensor that is to be written."""

    dtype: torch.dtype
    shape: torch.Size

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


def split_into_files(entries: Mapping[str, Entry], shard_bytes: int) -> list[list[str]]:
    """Group the names of ``entries``, in their order, into files that are as full as the order allows."""
    files: list[list[str]] = []
    room = 0
    for name, entry in entries.items():
        if not files or entry.nbytes > room:
            files.append([])
            room = shard_bytes
        files[-1].append(name)
        room -= entry.nbytes
    return files


def file_names(count: int) -> list[str]:
    """Return what ``count`` files of weights are called in a Hugging Face folder."""
    if count == 1:
        return [WEIGHTS]
    return [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]


def index_of(files: Mapping[str, Sequence[str]], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the content of ``model.safetensors.index.json`` for the names in each of ``files``."""
    return {
        "metadata": {"total_size": sum(entry.nbytes for entry in entries.values())},
        "weight_map": {name: file for file, names in files.items() for name in names},
    }


class SafetensorsWriter(AbstractContextManager["SafetensorsWriter"]):
    """A safetensors file to which tensors are appended, so that none of them has to wait in memory.

    The format is a header of JSON, its length before it in eight bytes, and the tensors one after the other:
    https://github.com/huggingface/safetensors#format
    """

    def __init__(self, path: Path, entries: Mapping[str, Entry]) -> None:
        """Begin the file ``path``, to which ``entries`` will be appended in their order."""
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name, entry in entries.items():
            begin, end = end, end + entry.nbytes
            header[name] = {
                "dtype": _SPELLINGS[entry.dtype],
                "shape": list(entry.shape),
                "data_offsets": [begin, end],
            }
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that tensors begin at a multiple of eight
        self._waiting = dict(entries)
        self._file = path.open("wb")
        self._file.write(struct.pack("<Q", len(text)) + text)

    def append(self, name: str, tensor: Tensor) -> None:
        """Write the next tensor, on the CPU and in the dtype of its entry."""
        expected, entry = next(iter(self._waiting.items()))
        if (name, tensor.dtype, tensor.shape) != (expected, entry.dtype, entry.shape):
            raise ValueError(f"{name} {tensor.dtype} {list(tensor.shape)} came where {expected} {entry} goes")
        self._file.write(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
        del self._waiting[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if error is None and self._waiting:
            raise ValueError(f"{self._file.name} was closed without {', '.join(self._waiting)}")
