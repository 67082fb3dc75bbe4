"""The weights in a Hugging Face folder: known from the headers of their files, read in parts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tokka.models.spec import Config, config_from_hf, spec_for
from tokka.workspace.files import read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

Part = tuple[slice, ...]
"""Which rows, columns, ... of a tensor; ``()`` is all of it."""

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Floating-point types in the spelling of safetensors."""


class WeightsError(ValueError):
    """A folder whose weights do not make the model that its configuration states."""


class _Place(NamedTuple):
    path: Path
    stored: str
    dtype: torch.dtype


class StoredWeights:
    """The parameters that lie in a Hugging Face folder, by the names that the model gives them.

    Attributes:
        folder: holds ``config.json`` and the weights.
        hf_config: content of ``config.json``.
        config: the configuration that it states.
        shapes: of every parameter of the model.
    """

    def __init__(self, folder: Path) -> None:
        """Read the headers of all files, and refuse a folder that does not hold the whole model.

        Raises:
            FileNotFoundError: no ``config.json``, no weights in safetensors, or a shard that the index names.
            WeightsError: a file that is damaged; a tensor that is missing, unexpected, there twice, of the
                wrong shape or not floating point. Names the file and the tensor.
            ValueError: an architecture that is not supported.
        """
        self.folder = folder
        self.hf_config = read_object(folder / "config.json")
        self.config: Config = config_from_hf(self.hf_config)
        model = spec_for(self.config).build_meta(self.config)
        self.shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        self._places: dict[str, _Place] = {}
        for path in shard_paths(folder):
            self._add(path)
        missing = [name for name in self.shapes if name not in self._places]
        if missing:
            raise WeightsError(f"{folder}: the weights lack {_some(missing)} of the model in config.json")

    @cached_property
    def dtypes(self) -> dict[str, torch.dtype]:
        """The dtype in which each parameter is stored."""
        return {name: self._places[name].dtype for name in self.shapes}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which most parameters are stored."""
        return Counter(self.dtypes.values()).most_common(1)[0][0]

    def check_shape(self, name: str, shape: torch.Size) -> None:
        """Raise WeightsError unless the parameter ``name`` is there in this ``shape``."""
        if self.shapes.get(name) != shape:
            there = list(self.shapes[name]) if name in self.shapes else "not there"
            raise WeightsError(f"{self.folder}: {name} is {there}, and the model wants {list(shape)}")

    def read(self, parts: Mapping[str, Part]) -> Iterator[tuple[str, Tensor]]:
        """Yield the stated part of each of the named parameters, in the order in which they lie on disk.

        One file is open at a time, and a tensor holds only what its part covers; it may be a view of the
        file, so copy what is to stay.

        Raises WeightsError where a file is damaged, KeyError for the name of no parameter.
        """
        by_file: dict[Path, list[str]] = {}
        for name in parts:
            by_file.setdefault(self._places[name].path, []).append(name)
        for path, names in sorted(by_file.items()):
            with _opened(path) as file:
                for name in names:
                    yield name, _part(file, self._places[name].stored, parts[name])

    def _add(self, path: Path) -> None:
        """Enter the tensors of one file, each checked against the parameter that it is."""
        spec = spec_for(self.config)
        with _opened(path) as file:
            for stored in file.keys():  # noqa: SIM118 - not a mapping
                name = spec.parameter_of(self.config, stored)
                if name is None:
                    continue
                where, header = f"{path}: tensor {stored}", file.get_slice(stored)
                shape, dtype = header.get_shape(), header.get_dtype()
                if name not in self.shapes:
                    raise WeightsError(f"{where} belongs to no parameter of the model in config.json")
                if name in self._places:
                    raise WeightsError(f"{where} was already in another file")
                if shape != list(self.shapes[name]):
                    expected = list(self.shapes[name])
                    raise WeightsError(f"{where} has shape {shape}, config.json makes it {expected}")
                if dtype not in DTYPES:
                    raise WeightsError(f"{where} has dtype {dtype}; quantised weights are not supported")
                self._places[name] = _Place(path, stored, DTYPES[dtype])


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of a Hugging Face folder; the error of one that is none names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {path.parent} is not a Hugging Face folder")
    try:
        content = read_json(path)
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is damaged or no safetensors file ({error}); fetch or write it again"
        ) from error


def _part(file: Any, stored: str, part: Part) -> Tensor:
    return file.get_slice(stored)[part] if part else file.get_tensor(stored)


def shard_paths(folder: Path) -> list[Path]:
    """Return the files that hold the weights, each once."""
    if not (folder / INDEX).is_file():
        if not (folder / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{folder}: neither {WEIGHTS} nor {INDEX} is there; only safetensors are read, so convert "
                f"other formats first"
            )
        return [folder / WEIGHTS]
    weight_map = read_object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{folder / INDEX}: no `weight_map`, which says the file of each tensor")
    paths = []
    for file in dict.fromkeys(weight_map.values()):
        if not isinstance(file, str) or Path(file).name != file:
            raise WeightsError(f"{folder / INDEX}: {file!r} is not the name of a file in this folder")
        if not (folder / file).is_file():
            lost = [name for name, at in weight_map.items() if at == file]
            raise FileNotFoundError(f"{folder / file} is missing; {INDEX} says it holds {_some(lost)}")
        paths.append(folder / file)
    return paths


def _some(names: Iterable[str], at_most: int = 3) -> str:
    """Return the first few of ``names`` and how many more there are."""
    listed = list(names)
    more = len(listed) - at_most
    return ", ".join(listed[:at_most]) + (f" and {more} more" if more > 0 else "")
