"""A Hugging Face folder made from others a tensor at a time, so that no model is ever held."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from tokka.models.identity import Identity
from tokka.models.shards import (
    SHARD_BYTES,
    Entry,
    SafetensorsWriter,
    file_names,
    index_of,
    split_into_files,
)
from tokka.models.stored import INDEX
from tokka.workspace.files import write_json
from tokka.workspace.progress import Progress


def write_derived(
    folder: Path,
    identity: Identity,
    shapes: Mapping[str, torch.Size],
    value_of: Callable[[str], Tensor],
    *,
    shown: Progress,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write weights, ``config.json`` and ``generation_config.json`` into ``folder``, which is there.

    Args:
        folder: an empty folder.
        identity: content of the JSON files, and dtypes.
        shapes: of all parameters, by name.
        value_of: makes the parameter of a name, on the CPU; called once for each.
        shown: advanced by the elements written.
        shard_bytes: the most that a file holds, if no tensor is larger.
    """
    entries = {name: Entry(identity.dtype_of(name), shape) for name, shape in shapes.items()}
    groups = split_into_files(entries, shard_bytes)
    files = dict(zip(file_names(len(groups)), groups, strict=True))
    for file, names in files.items():
        # wider elements first, so that each tensor begins at a multiple of its element's size
        ordered = sorted(names, key=lambda name: -entries[name].dtype.itemsize)
        with SafetensorsWriter(folder / file, {name: entries[name] for name in ordered}) as writer:
            for name in ordered:
                writer.append(name, value_of(name).to(entries[name].dtype))
                shown.advance(shapes[name].numel())
    if len(files) > 1:
        write_json(folder / INDEX, index_of(files, entries))
    write_json(folder / "config.json", identity.config)
    write_json(folder / "generation_config.json", identity.generation_config)
