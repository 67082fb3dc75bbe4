"""What a recipe needs at the least, derived from it alone: bytes of memory and disk, FLOPs."""

from collections.abc import Iterable
from dataclasses import dataclass

from tokka.recipe.recipe import Recipe

TRAINING_BYTES = 16
"""Memory of one parameter in training: fp32 weight, gradient and AdamW's two moments."""

_CHECKPOINT_BYTES = 12
_REVISION_BYTES = 2
_UINT16_VOCABULARY = 65_500
"""Megatron's indexed data sets hold ids in two bytes below this vocabulary, in four from it on."""


@dataclass(frozen=True)
class Needs:
    """Lower bounds.

    Attributes:
        parameters: of the model, tied ones counted once.
        memory: bytes of weights, gradients and optimizer state.
        token_bytes: by source, bytes of its tokens on disk; sources that declare no size are left out.
        tokens: of the training; None where the mixture decides and a source declares no size.
        training_bytes: bytes on disk of revisions and checkpoints; None where ``tokens`` is.
        flops: model FLOPs of the training; None where ``tokens`` is.
    """

    parameters: int
    memory: int
    token_bytes: dict[str, int]
    tokens: int | None
    training_bytes: int | None
    flops: int | None

    def disk(self, stages: Iterable[str]) -> int:
        """Return the bytes that ``stages`` will write at the least."""
        by_stage = {f"tokens/{name}": size for name, size in self.token_bytes.items()}
        by_stage["training"] = self.training_bytes or 0
        return sum(by_stage.get(stage, 0) for stage in stages)


def needs_of(recipe: Recipe) -> Needs:
    """Return what ``recipe`` needs."""
    from tokka.models.spec import spec_for

    spec, tokens = spec_for(recipe.model), _tokens(recipe)
    parameters = spec.count_parameters(recipe.model)
    per_id = 2 if recipe.model.vocab_size < _UINT16_VOCABULARY else 4
    flops = spec.flops_per_token(recipe.model, recipe.training.sequence_length)
    return Needs(
        parameters=parameters,
        memory=TRAINING_BYTES * parameters,
        token_bytes={name: per_id * source.size for name, source in recipe.sources.items() if source.size},
        tokens=tokens,
        training_bytes=None if tokens is None else parameters * _bytes_a_parameter(recipe, tokens),
        flops=None if tokens is None else flops * tokens,
    )


def _tokens(recipe: Recipe) -> int | None:
    """Return the training tokens, by the sizes that sources declare where the mixture decides them."""
    from tokka.data.mixture_table import planned_mixture
    from tokka.data.shares import MixtureError

    if recipe.training.tokens is not None:
        return recipe.training.tokens
    try:
        return planned_mixture(recipe).tokens
    except MixtureError:
        return None


def _bytes_a_parameter(recipe: Recipe, tokens: int) -> int:
    """Return what revisions and checkpoints take of the disk."""
    checkpoints = recipe.training.checkpoints
    revisions = 10 if checkpoints.revisions is None else -(-tokens // checkpoints.revisions)
    milestones = 0 if checkpoints.milestones is None else tokens // checkpoints.milestones
    return _REVISION_BYTES * revisions + _CHECKPOINT_BYTES * (checkpoints.keep + milestones)
