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
        training_bytes: bytes on disk of revisions and checkpoints; None where the mixture decides how many.
        tokens: training tokens; None where the mixture decides.
        flops: model FLOPs of the training; None where ``tokens`` is.
    """

    parameters: int
    memory: int
    token_bytes: dict[str, int]
    training_bytes: int | None
    tokens: int | None
    flops: int | None

    def disk(self, stages: Iterable[str]) -> int:
        """Return the bytes that ``stages`` will write at the least."""
        by_stage = {f"tokens/{name}": size for name, size in self.token_bytes.items()}
        by_stage["training"] = self.training_bytes or 0
        return sum(by_stage.get(stage, 0) for stage in stages)


def needs_of(recipe: Recipe) -> Needs:
    """Return what ``recipe`` needs."""
    from tokka.models.spec import spec_for

    spec, training = spec_for(recipe.model), recipe.training
    parameters = spec.count_parameters(recipe.model)
    per_id = 2 if recipe.model.vocab_size < _UINT16_VOCABULARY else 4
    flops = spec.flops_per_token(recipe.model, training.sequence_length)
    return Needs(
        parameters=parameters,
        memory=TRAINING_BYTES * parameters,
        token_bytes={name: per_id * source.size for name, source in recipe.sources.items() if source.size},
        training_bytes=_training_bytes(recipe, parameters),
        tokens=training.tokens,
        flops=None if training.tokens is None else flops * training.tokens,
    )


def _training_bytes(recipe: Recipe, parameters: int) -> int | None:
    tokens, checkpoints = recipe.training.tokens, recipe.training.checkpoints
    if tokens is None:
        return None
    revisions = 10 if checkpoints.revisions is None else -(-tokens // checkpoints.revisions)
    return parameters * (_REVISION_BYTES * revisions + _CHECKPOINT_BYTES * checkpoints.keep)
