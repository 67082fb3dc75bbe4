"""The weights at the start: fresh, or those of a model to continue."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tokka.models.spec import Config
from tokka.models.stored import StoredWeights
from tokka.parallel.apply import initialise
from tokka.parallel.weights import load_into
from tokka.workspace.hub import fetched_model

_SHAPELESS = {"base", "init_std"}
"""Keys of the recipe's model section that say where weights come from, not what they are."""


@torch.no_grad()
def begin(parameters: Mapping[str, Tensor], config: Config, seed: int) -> None:
    """Fill ``parameters``, or this rank's parts of them, with the weights that training starts from.

    Raises ValueError where ``config.base`` is another model than ``config`` describes.
    """
    if config.base is None:
        initialise(parameters, config, seed)
        return
    stored = StoredWeights(fetched_model(config.base))
    _check_shape(config, stored.config)
    load_into(parameters, stored)


def _check_shape(config: Config, found: Config) -> None:
    wanted, is_there = config.model_dump(exclude=_SHAPELESS), found.model_dump(exclude=_SHAPELESS)
    different = [key for key in wanted if wanted[key] != is_there.get(key)]
    if wanted.get("max_sequence_length", 0) < is_there.get("max_sequence_length", 0):
        different.remove("max_sequence_length")  # a base may be trained on shorter sequences than it takes
    if different:
        listed = ", ".join(f"{key} {is_there.get(key)} (the recipe says {wanted[key]})" for key in different)
        raise ValueError(f"model.base {config.base} has {listed}; state in the recipe what the base is")
