"""A recipe's model in small, of the same kind and proportions; and whether that is needed on this machine."""

from collections.abc import Sequence
from math import lcm

from tokka.models.spec import spec_for
from tokka.pipeline.needs import TRAINING_BYTES
from tokka.recipe.recipe import Recipe
from tokka.recipe.training import Layout
from tokka.workspace.machine import describe, format_bytes, matmul_rate

_HEAD, _VOCABULARY, _SEQUENCE, _LAYERS = 8, 1024, 64, 4
"""Sizes of a small model."""

_PATIENCE_SECONDS = 600
"""Longest computation that is begun, were it all matrix products in bf16; fp32 takes several times that."""


def shrinking(recipe: Recipe, layouts: Sequence[Layout]) -> list[str]:
    """Return the overrides that make ``recipe`` small enough for any machine.

    The architecture, the numbers of heads, the ratio of feed-forward to width and all that is no size stay.
    There are two layers a pipeline stage, a head is 8 wide, and the batch is the smallest that every layout
    divides.
    """
    model, training = recipe.model, recipe.training
    width = model.n_heads * min(model.d_model // model.n_heads, _HEAD)
    sequences = lcm(*(layout.data * layout.pipeline for layout in layouts), 2)
    length = _multiple(
        min(training.sequence_length, _SEQUENCE), [2 * layout.context * layout.tensor for layout in layouts]
    )
    tensor = [layout.tensor for layout in layouts]
    vocabulary = _multiple(min(model.vocab_size, _VOCABULARY), tensor)
    small = {
        "model.n_layers": min(model.n_layers, max(_LAYERS, *(2 * layout.stages for layout in layouts))),
        "model.d_model": width,
        "model.vocab_size": vocabulary,
        "training.sequence_length": length,
        "training.batch_tokens": sequences * length,
        "training.micro_batch": 1,
    }
    if model.architecture == "llama":
        small["model.d_ffn"] = _multiple(model.d_ffn * width // model.d_model, tensor)
    if recipe.tokenizer.train is not None:
        small["tokenizer.train.vocab_size"] = min(recipe.tokenizer.train.vocab_size, vocabulary)
    return [f"{key}={value}" for key, value in small.items()]


def _multiple(size: int, divisors: Sequence[int]) -> int:
    """Return a multiple of all ``divisors`` near ``size``."""
    step = lcm(*divisors)
    return max(round(size / step), 1) * step


def check_size(recipe: Recipe, layouts: Sequence[Layout], steps: int) -> None:
    """Raise ValueError where training ``steps`` steps by each of ``layouts`` is too much for this machine."""
    machine, spec = describe(accelerators=True), spec_for(recipe.model)
    copies = max(layout.replicas for layout in layouts)
    memory = copies * TRAINING_BYTES * spec.count_parameters(recipe.model)
    room = machine.memory_available
    if machine.accelerators:
        room = max(room, machine.accelerators[0].memory)
    training = recipe.training
    flops = spec.flops_per_token(recipe.model, training.sequence_length) * training.batch_tokens * steps
    seconds = flops * (len(layouts) + 1) / matmul_rate()
    if memory > room or seconds > _PATIENCE_SECONDS:
        raise ValueError(
            f"{recipe.name} is too large to compare layouts here: it takes {seconds / 3600:,.1f} hours at "
            f"the least, and {format_bytes(memory)} of memory, of which there are {format_bytes(room)}. Add "
            f"--shrink, which keeps its architecture, heads and proportions, or make it smaller by --set, "
            f"such as model.n_layers=4"
        )
