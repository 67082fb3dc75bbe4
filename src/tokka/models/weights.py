"""Models to and from Hugging Face folders: sharded safetensors, streamed a tensor at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tokka.models.hugging_face import SpecialTokens
from tokka.models.model import LanguageModel
from tokka.models.spec import Config, config_from_hf, spec_for
from tokka.workspace.files import read_json, whole_folder, write_json

SHARD_BYTES = 5 * 10**9
"""The largest file, as transformers writes them."""

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


class WeightsError(ValueError):
    """A folder whose weights do not make the model that its configuration states."""


def save_hf(
    model: LanguageModel,
    config: Config,
    folder: Path,
    *,
    special_tokens: SpecialTokens,
    dtype: torch.dtype,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write ``model`` as a Hugging Face folder; ``folder`` is replaced as a whole, or left as it was.

    Parameters are converted to ``dtype`` as they are written, at most ``shard_bytes`` of them at a time.
    Tied embeddings are stored once. Nothing but the weights, ``config.json`` and
    ``generation_config.json`` is written.
    """
    spec = spec_for(config)
    parameters = (
        spec.to_hf(name, parameter.detach().to("cpu", dtype)) for name, parameter in model.named_parameters()
    )
    with whole_folder(folder) as aside:
        write_json(aside / "config.json", spec.to_hf_config(config, special_tokens, dtype))
        write_json(aside / "generation_config.json", {"_from_model_config": True, **special_tokens.to_hf()})
        write_shards(parameters, aside, shard_bytes)


def write_shards(tensors: Iterable[tuple[str, Tensor]], folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write ``tensors`` (names and values on the CPU) into ``folder`` in the order in which they come.

    Never more than ``shard_bytes`` and one tensor are held. One shard is ``model.safetensors``; more are
    numbered and ``model.safetensors.index.json`` says which holds what.
    """
    shards: list[list[str]] = []
    total = 0
    for shard in _filled(tensors, shard_bytes):
        contiguous = {name: tensor.contiguous() for name, tensor in shard.items()}
        save_file(contiguous, folder / f"{len(shards)}.part", metadata={"format": "pt"})
        shards.append(list(shard))
        total += sum(tensor.nbytes for tensor in shard.values())
    if len(shards) == 1:
        (folder / "0.part").rename(folder / WEIGHTS)
        return
    files = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for number, file in enumerate(files):
        (folder / f"{number}.part").rename(folder / file)
    weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def load_hf(
    folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> tuple[LanguageModel, Config]:
    """Return the model in a Hugging Face folder, and its configuration.

    Tensors are read, converted and placed one at a time, so the model and one tensor are the most that is
    held. Only safetensors are read.

    Args:
        folder: holds ``config.json`` and the weights.
        dtype: of the parameters; None keeps what is stored.
        device: of the parameters.

    Raises:
        FileNotFoundError: no ``config.json``, no weights in safetensors, or a shard that the index names.
        WeightsError: a file that is damaged; a tensor that is missing, unexpected, there twice, of the wrong
            shape or not floating point. Names the file and the tensor.
        ValueError: an architecture that is not supported.
    """
    config = config_from_hf(_read_object(folder / "config.json"))
    spec = spec_for(config)
    model = spec.build_meta(config)
    missing = {name: parameter.shape for name, parameter in model.named_parameters()}
    shapes = dict(missing)
    for path in _shard_paths(folder):
        for stored, tensor in _stored_tensors(path):
            adapted = spec.from_hf(config, stored, tensor)
            if adapted is None:
                continue
            name, tensor = adapted
            _check(f"{path}: tensor {stored}", tensor, shapes.get(name), is_first=name in missing)
            del missing[name]
            owner, _, leaf = name.rpartition(".")
            value = tensor.to(device=device, dtype=dtype or tensor.dtype, copy=True)
            setattr(model.get_submodule(owner), leaf, nn.Parameter(value))
    if missing:
        raise WeightsError(f"{folder}: the weights lack {_some(missing)} of the model in config.json")
    return model, config


def _filled(tensors: Iterable[tuple[str, Tensor]], shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    """Group ``tensors`` into shards, each as full as their order allows."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > shard_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard


def _shard_paths(folder: Path) -> list[Path]:
    """Return the files that hold the weights, each once."""
    if not (folder / INDEX).is_file():
        if not (folder / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{folder}: neither {WEIGHTS} nor {INDEX} is there; only safetensors are read, so convert "
                f"other formats first"
            )
        return [folder / WEIGHTS]
    weight_map = _read_object(folder / INDEX).get("weight_map")
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


def _stored_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is damaged or no safetensors file ({error}); fetch or write it again"
        ) from error


def _check(where: str, tensor: Tensor, expected: torch.Size | None, *, is_first: bool) -> None:
    """Refuse a tensor that is not the parameter of shape ``expected``."""
    if expected is None:
        raise WeightsError(f"{where} belongs to no parameter of the model in config.json")
    if not is_first:
        raise WeightsError(f"{where} was already in another file")
    if tensor.shape != expected:
        raise WeightsError(f"{where} has shape {list(tensor.shape)}, config.json makes it {list(expected)}")
    if not tensor.is_floating_point():
        raise WeightsError(f"{where} has dtype {tensor.dtype}; quantised weights are not supported")


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; the error of one that is none names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {path.parent} is not a Hugging Face folder")
    try:
        content = read_json(path)
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return content


def _some(names: Iterable[str], at_most: int = 3) -> str:
    """Return the first few of ``names`` and how many more there are."""
    listed = list(names)
    more = len(listed) - at_most
    return ", ".join(listed[:at_most]) + (f" and {more} more" if more > 0 else "")
