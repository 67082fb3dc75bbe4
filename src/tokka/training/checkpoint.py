"""Checkpoints of the whole training state: whole or not there.

    checkpoints/step-00000100/
        model.safetensors       fp32 weights, by parameter name
        optimizer.safetensors   fp32 moments, by parameter name
        state.json              everything that is no tensor
        index.json              size and SHA-256 of each file, and its own

Names are those of parameters, never positions, so any later layout can read them.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tokka.workspace.files import digest_file, digest_json, read_json, whole_folder, write_json
from tokka.workspace.progress import say

_NAME = re.compile(r"step-(\d{8,})")


class CheckpointError(RuntimeError):
    """A checkpoint could not be written."""


class _DamagedError(Exception):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that the next step depends on, after ``step`` steps.

    Attributes:
        step: steps done.
        model: fp32 weights by parameter name.
        optimizer: fp32 moments.
        state: the rest, as JSON content.
    """

    step: int
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save(folder: Path, snapshot: Snapshot, *, keep: int) -> Path:
    """Write ``snapshot`` below ``folder``, then remove all but the last ``keep``; return where it lies.

    It is written aside, synced to disk, read back and compared before it gets its name.

    Raises CheckpointError when the disk is full or cannot be written; checkpoints made before stay.
    """
    target = folder / f"step-{snapshot.step:08}"
    try:
        with whole_folder(target) as aside:
            _write(aside, snapshot)
    except (OSError, SafetensorError, _DamagedError) as error:
        before = _saved(folder)
        free = shutil.disk_usage(folder).free if folder.exists() else 0
        size = sum(tensor.nbytes for part in (snapshot.model, snapshot.optimizer) for tensor in part.values())
        raise CheckpointError(
            f"{target} could not be written ({error}); it needs {size / 1e9:.2f} GB and {free / 1e9:.2f} GB "
            f"are free. {f'{before[-1].name} stays whole. ' if before else ''}Make room, then give the same "
            f"command again"
        ) from error
    for old in _saved(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def load_newest(folder: Path) -> Snapshot | None:
    """Return the newest whole checkpoint below ``folder``; None where there is none.

    A damaged one is said so, renamed to ``*.damaged``, and the one before it is tried. What a killed process
    left half written is removed.
    """
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover)
    for path in reversed(_saved(folder)):
        try:
            return _read(path)
        except _DamagedError as error:
            say(f"warning: {path} is damaged ({error}); using the checkpoint before it, if there is one")
            aside = path.with_name(f"{path.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
    return None


def _saved(folder: Path) -> list[Path]:
    """Return the checkpoints below ``folder``, oldest first."""
    found = [(match, path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0][1]))]


def _write(folder: Path, snapshot: Snapshot) -> None:
    parts = {"model.safetensors": snapshot.model, "optimizer.safetensors": snapshot.optimizer}
    for name, tensors in parts.items():
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, folder / name)
        _compare_with_disk(folder / name, tensors)
    write_json(folder / "state.json", {"step": snapshot.step, **snapshot.state})
    files = {name: _describe(folder / name) for name in (*parts, "state.json")}
    (folder / "index.json").write_text(_index_text(files))


def _compare_with_disk(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise _DamagedError unless ``path`` holds ``tensors`` bit for bit, as read back from the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with safe_open(path, framework="pt") as stored:
        for name, tensor in tensors.items():
            if not torch.equal(stored.get_tensor(name).view(torch.int32), tensor.cpu().view(torch.int32)):
                raise _DamagedError(f"{name} read back from {path.name} differs from what was written")


def _read(folder: Path) -> Snapshot:
    for name, described in _read_index(folder).items():
        if not (folder / name).is_file():
            raise _DamagedError(f"{name} is missing")
        if _describe(folder / name) != described:
            raise _DamagedError(f"{name} is not as it was written")
    state = read_json(folder / "state.json")
    return Snapshot(
        step=state.pop("step"),
        model=load_file(folder / "model.safetensors"),
        optimizer=load_file(folder / "optimizer.safetensors"),
        state=state,
    )


def _describe(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": digest_file(path)}


def _index_text(files: Mapping[str, Mapping[str, Any]]) -> str:
    return json.dumps({"files": files, "sha256": digest_json(files)}, indent=2) + "\n"


def _read_index(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "index.json"
    try:
        text = path.read_text(encoding="utf-8")
        files = json.loads(text)["files"]
        intact = text == _index_text(files)
    except FileNotFoundError:
        raise _DamagedError("index.json is missing") from None
    except (ValueError, TypeError, KeyError):
        intact = False
    if not intact:
        raise _DamagedError("index.json is not as it was written")
    return files
