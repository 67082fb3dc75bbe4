"""Activation checkpointing: what a block keeps for the backward pass, and what is computed again then."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from tokka.models.model import LanguageModel

_KEPT = ("mm", "addmm", "bmm", "baddbmm", "linear")
"""Matrix products; with attention and communication they are nearly all of a block's time."""


def recompute_activations(model: LanguageModel, how: Literal["none", "selective", "full"]) -> None:
    """Keep less of each block for the backward pass, and compute the rest again.

    ``full`` keeps the block's input alone. ``selective`` keeps the results of matrix products, attention and
    communication too, so that only what is cheap is done twice.
    """
    if how == "none":
        return
    for block in model.blocks.values():
        block.forward = _recomputed(block.forward, selective=how == "selective")


def _recomputed(forward: Callable[..., Tensor], *, selective: bool) -> Callable[..., Tensor]:
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    if selective:
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)

    # A function, not a partial, so that torch.compile looks inside. Nothing in a block is random.
    def recomputed(*inputs: Any) -> Tensor:
        return checkpoint(forward, *inputs, **options)

    return recomputed


def _policy(context: Any, operation: Any, *inputs: Any, **options: Any) -> CheckpointPolicy:
    name = operation.__name__.partition(".")[0]
    keep = (
        name in _KEPT
        or name.startswith("_scaled_dot_product")
        or getattr(operation, "namespace", "") == "_c10d_functional"
    )
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE
