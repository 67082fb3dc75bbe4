"""The model at the start: fresh, from weights to continue, or empty for a checkpoint to fill."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tokka.models.model import LanguageModel
from tokka.models.spec import Config, spec_for
from tokka.models.weights import load_hf

_SHAPELESS = {"base", "init_std"}
"""Keys of the recipe's model section that say where weights come from, not what they are."""


def build_model(config: Config, seed: int, device: torch.device) -> LanguageModel:
    """Return the model with the weights training starts from, fp32.

    Raises ValueError where ``config.base`` is another model than ``config`` describes.
    """
    if config.base is None:
        model = empty_model(config, device)
        spec_for(config).initialise(model, config, seed)
        return model
    model, found = load_hf(_folder_of(config.base), dtype=torch.float32, device=device)
    wanted, is_there = config.model_dump(exclude=_SHAPELESS), found.model_dump(exclude=_SHAPELESS)
    different = [key for key in wanted if wanted[key] != is_there.get(key)]
    if wanted.get("max_sequence_length", 0) < is_there.get("max_sequence_length", 0):
        different.remove("max_sequence_length")  # a base may be trained on shorter sequences than it takes
    if different:
        listed = ", ".join(f"{key} {is_there.get(key)} (the recipe says {wanted[key]})" for key in different)
        raise ValueError(f"model.base {config.base} has {listed}; state in the recipe what the base is")
    return model


def empty_model(config: Config, device: torch.device) -> LanguageModel:
    """Return the model with undefined fp32 weights."""
    model = spec_for(config).build_meta(config)
    return model.to_empty(device=device)


def recompute_activations(model: LanguageModel) -> None:
    """Keep only the input of each block for the backward pass, and compute the rest again then."""
    for block in model.blocks.values():
        block.forward = _recomputed(block.forward)


def compile_blocks(model: LanguageModel) -> None:
    """Have each block run as generated code; all share it, so only the first is slow to come."""
    for block in model.blocks.values():
        block.compile()


def _recomputed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    # A function, not a partial, so that torch.compile looks inside. Nothing in a block is random.
    def recomputed(*inputs: Any) -> Tensor:
        return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False)

    return recomputed


def _folder_of(base: str) -> Path:
    """Return the folder of a local model, or of one of the hub once downloaded; only safetensors and JSON."""
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(base, allow_patterns=["*.safetensors", "*.json"]))
