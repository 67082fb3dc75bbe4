"""What each rank does in tests of weights: a model in a layout, filled from a folder and written again."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from tokka.models.identity import Identity
from tokka.models.shards import SafetensorsWriter
from tokka.models.spec import Config
from tokka.models.stored import StoredWeights
from tokka.parallel import weights
from tokka.parallel.apply import Execution, make_stages, parameters_of, place
from tokka.parallel.mesh import Mesh
from tokka.parallel.weights import Parameters, load_into, save_hf
from tokka.recipe.training import Layout

SHARD_BYTES = 9000
CPU = torch.device("cpu")


def parameters_in(layout: dict[str, Any], config: Config) -> Parameters:
    """Return this rank's parameters of a model in ``layout``, all NaN."""
    execution = Execution(torch.float32, "none", compiled=False)
    stages = make_stages(config, Mesh.of(Layout(**layout), CPU), lambda *_: torch.zeros(()), execution)
    place(stages, CPU)
    parameters = parameters_of(stages)
    for parameter in parameters.values():
        torch.nn.init.constant_(parameter, float("nan"))
    return parameters


def there_and_back(folder: Path, target: Path, layout: dict[str, Any]) -> tuple[list[str], int]:
    """Load ``folder`` into a layout, compare, and save it as ``target``.

    Returns the names of which this rank holds something, and how many of these it holds only in part.
    """
    stored = StoredWeights(folder)
    parameters = parameters_in(layout, stored.config)
    load_into(parameters, stored)
    whole = {name: tensor.float() for name, tensor in stored.read(dict.fromkeys(parameters, ()))}
    in_part = 0
    for name, parameter in parameters.items():
        assert isinstance(parameter, DTensor)
        in_part += parameter.to_local().numel() < parameter.numel()
        assert torch.equal(parameter.full_tensor(), whole[name]), name
    save_hf(parameters, stored.config, target, identity=Identity.of(stored), shard_bytes=SHARD_BYTES)
    return list(parameters), in_part


class FullDisk(SafetensorsWriter):
    def append(self, name: str, tensor: torch.Tensor) -> None:
        raise OSError(28, "No space left on device")


def one_rank_cannot_write(folder: Path, target: Path) -> str:
    """Save from two ranks, of which the second finds the disk full; return what is said on this one."""
    stored = StoredWeights(folder)
    parameters = parameters_in({"data": 2}, stored.config)
    load_into(parameters, stored)
    if dist.get_rank() == 1:
        weights.SafetensorsWriter = FullDisk
    try:
        save_hf(parameters, stored.config, target, identity=Identity.of(stored), shard_bytes=SHARD_BYTES)
    except OSError as error:
        return str(error)
    return ""
