"""What ranks run in the proofs of training embeddings first and of measuring on the way."""

from collections.abc import Mapping
from typing import Any

import torch
from layout_programs import with_layout

from tokka.data.order import Part
from tokka.data.sampler import Sampler
from tokka.recipe.training import Checkpoints, Schedule
from tokka.training.device import Numerics
from tokka.training.engine import Engine
from tokka.training.equality import RandomDocuments
from tokka.training.objectives import LanguageModelling
from tokka.training.plan import Plan


def measured_on_the_way(recipe: Mapping[str, Any], layout: str, steps: int) -> list[tuple[float, float]]:
    """Return for each step the loss measured of its batch before it, and the loss that the step then has."""
    stated = with_layout(recipe, layout)
    budget = stated.training.batch_tokens * steps
    rising = Schedule(shape="constant", warmup=budget - 1)  # as in tokka.training.equality
    training = stated.training.model_copy(
        update={"tokens": None, "schedule": rising, "checkpoints": Checkpoints()}
    )
    documents = RandomDocuments(stated.model.vocab_size, training.sequence_length, stated.seed)
    parts, length = [Part.whole({"random": budget})], training.sequence_length
    sampler = Sampler({"random": documents}, parts, seed=stated.seed, sequence_length=length)
    numerics = Numerics("cpu", "", torch.__version__, torch.get_num_threads(), "float32", compiled=False)
    objective, plan = LanguageModelling(within_document=False), Plan.of(training, budget)
    engine = Engine(stated.model, training, plan, numerics, objective, seed=stated.seed, saved=None)
    found = []
    for _ in range(steps):
        batch = sampler.next_batch(training.batch_sequences, engine.rows)
        before = engine.measure(objective.inputs(batch)) / training.batch_tokens
        found.append((before, engine.advance(batch).loss))
    return found
