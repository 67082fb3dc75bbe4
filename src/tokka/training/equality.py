"""Proof that layouts train alike: the curve of each from the same seed and data, against one process.

measure(recipe, steps)                     on each rank of the layout that the recipe states
difference(found, expected)                of two curves, at most TOLERANCE in fp32
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tokka.data.order import Part
from tokka.data.sampler import Sampler
from tokka.recipe.recipe import Recipe
from tokka.recipe.training import Checkpoints, Layout, Schedule
from tokka.training.device import Numerics
from tokka.training.engine import Engine
from tokka.training.objectives import LanguageModelling
from tokka.training.plan import Plan

TOLERANCE = 1e-5
"""Largest relative difference, in fp32 and over 20 steps, that rounding in another order explains."""

_DOCUMENTS = 512
"""Documents of the random text."""


class Measured(NamedTuple):
    """Mean loss of a step and the norm of its gradient."""

    loss: float
    norm: float


def with_layout(recipe: Recipe, layout: Layout) -> Recipe:
    """Return ``recipe`` in fp32 with another layout; raises ValueError where that does not fit it."""
    content = recipe.model_dump(mode="json")
    content["training"] |= {"layout": layout.model_dump(), "precision": "fp32"}
    return Recipe.model_validate(content)


def measure(recipe: Recipe, steps: int, device: str = "cpu") -> list[Measured]:
    """Train ``steps`` steps on random documents, in fp32, by the layout that ``recipe`` states.

    Every rank of the layout calls this, and all get the same result. The documents depend on the recipe's
    seed, vocabulary and lengths alone. The learning rate rises to the recipe's all along, as runs begin: at a
    high one from the first step on, AdamW makes whole updates of gradients that are only rounding.
    """
    budget = recipe.training.batch_tokens * steps
    rising = Schedule(shape="constant", warmup=budget - 1)
    training = recipe.training.model_copy(
        update={"tokens": None, "schedule": rising, "checkpoints": Checkpoints()}
    )
    documents = RandomDocuments(recipe.model.vocab_size, training.sequence_length, recipe.seed)
    sampler = Sampler(
        {"random": documents},
        [Part.whole({"random": budget})],
        seed=recipe.seed,
        sequence_length=training.sequence_length,
    )
    numerics = Numerics(device, "", torch.__version__, torch.get_num_threads(), "float32", compiled=False)
    objective = LanguageModelling(within_document=training.within_document)
    plan = Plan.of(training, budget)
    engine = Engine(recipe.model, training, plan, numerics, objective, seed=recipe.seed, saved=None)
    outcomes = [
        engine.advance(sampler.next_batch(training.batch_sequences, engine.rows)) for _ in range(steps)
    ]
    return [Measured(outcome.loss, outcome.norm) for outcome in outcomes]


def difference(found: Sequence[Measured], expected: Sequence[Measured]) -> Measured:
    """Return the largest relative differences of loss and norm over all steps."""
    pairs = list(zip(found, expected, strict=True))
    return Measured(
        max(abs(one.loss - other.loss) / other.loss for one, other in pairs),
        max(abs(one.norm - other.norm) / other.norm for one, other in pairs),
    )


class RandomDocuments:
    """Documents of random length in which the next token is one of four, so that there is what to learn."""

    def __init__(self, vocabulary: int, longest: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._sizes = rng.integers(2, longest + 2, _DOCUMENTS)
        self._vocabulary, self._seed = vocabulary, seed

    @property
    def tokens(self) -> int:
        return int(self._sizes.sum())

    def __len__(self) -> int:
        return _DOCUMENTS

    def sizes(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._sizes[documents]

    def read(self, document: int, start: int, stop: int) -> NDArray[np.integer]:
        rng = np.random.default_rng((self._seed, document))
        steps = rng.integers(0, 4, self._sizes[document])
        return ((rng.integers(self._vocabulary) + steps.cumsum()) % self._vocabulary)[start:stop]
