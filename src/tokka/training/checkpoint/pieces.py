"""Pieces of tensors in safetensors files: written as they stand in memory, read a slice at a time."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokka.workspace.files import digest_file

_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}

_READ_BYTES = 2**24
"""Bytes that are read back at a time."""


def piece_key(name: str, offsets: Sequence[int], sizes: Sequence[int], shape: Sequence[int]) -> str:
    """Return the key of a piece: the tensor's name, and which part it is unless it is the whole.

    >>> piece_key("w", (0, 0), (4, 2), (4, 2)), piece_key("w", (2, 0), (2, 2), (4, 2))
    ('w', 'w[2:4,0:2]')
    """
    if tuple(sizes) == tuple(shape):
        return name
    spans = (f"{offset}:{offset + size}" for offset, size in zip(offsets, sizes, strict=True))
    return f"{name}[{','.join(spans)}]"


def write_pieces(path: Path, pieces: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write ``pieces``, contiguous tensors on the CPU, as safetensors; return what :func:`describe` would.

    No second copy of them is made, which the safetensors library would. Synced to the disk when it returns,
    and dropped from the page cache where the system allows, so that the next to read it reads the disk.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for part in _parts(pieces):
            file.write(part.data)
            digest.update(part.data)
            size += part.nbytes
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return {"bytes": size, "sha256": digest.hexdigest()}


def holds(path: Path, pieces: Mapping[str, Tensor]) -> bool:
    """Whether the file is, byte for byte, what :func:`write_pieces` makes of ``pieces``."""
    read = np.empty(_READ_BYTES, np.uint8)
    with path.open("rb", buffering=0) as file:
        for part in _parts(pieces):
            for start in range(0, part.nbytes, _READ_BYTES):
                expected = part[start : start + _READ_BYTES]
                found = read[: expected.nbytes]
                if file.readinto(found.data) != found.nbytes or not np.array_equal(found, expected):
                    return False
        return not file.read(1)


def describe(path: Path) -> dict[str, Any]:
    """Return the size and SHA-256 of the file as it lies on the disk."""
    return {"bytes": path.stat().st_size, "sha256": digest_file(path)}


def _parts(pieces: Mapping[str, Tensor]) -> Iterator[NDArray[np.uint8]]:
    """Yield the bytes of a safetensors file: length of the header, header, and each piece."""
    header, end = {}, 0
    for key, piece in pieces.items():
        begin, end = end, end + piece.nbytes
        header[key] = {
            "dtype": _DTYPES[piece.dtype],
            "shape": list(piece.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that every piece is aligned
    yield np.frombuffer(len(text).to_bytes(8, "little") + text, np.uint8)
    for piece in pieces.values():
        if piece.numel():
            yield piece.reshape(-1).view(torch.uint8).numpy()
