"""What the models of a run state beside their weights."""

import math

import torch

from tokka.models.hugging_face import SpecialTokens
from tokka.models.identity import Identity
from tokka.recipe.recipe import Recipe
from tokka.tokenizer.load import LoadedTokenizer

_UNTRAINED = 0.95
"""Share of the loss of knowing nothing from which on a model counts as untrained."""


def identity_of(recipe: Recipe, tokenizer: LoadedTokenizer, base: Identity | None) -> Identity:
    """Return what the base states but for what the recipe changes, or else what the recipe makes."""
    if base is not None:
        return base.changed_to(recipe.model)
    special = SpecialTokens(bos=tokenizer.bos_id, eos=tokenizer.eos_id, pad=tokenizer.pad_id)
    dtype = torch.bfloat16 if recipe.training.precision == "bf16" else torch.float32
    return Identity.new(recipe.model, special, dtype)


def why_untrained(loss: float | None, vocab_size: int) -> str:
    """Return what to warn of where a model with this loss is given away; "" for one that has learned."""
    nothing = math.log(vocab_size)
    if loss is None or loss < _UNTRAINED * nothing:
        return ""
    return f"it is untrained: its loss is {loss:.3f}, and {nothing:.3f} without knowing anything"
