"""What ranks run in the proofs of equality; in a module so that new processes find it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from tokka.data.order import Part
from tokka.data.sampler import Batch, Sampler
from tokka.models.attention import sequence_positions
from tokka.parallel.context import ContextRanks
from tokka.recipe.layout_words import parse_layout
from tokka.recipe.recipe import Recipe
from tokka.training.cross_entropy import IGNORED, linear_cross_entropy
from tokka.training.device import Numerics
from tokka.training.engine import Engine, Outcome
from tokka.training.equality import Measured, RandomDocuments, measure
from tokka.training.objectives import Inputs, LanguageModelling, Objective
from tokka.training.plan import Plan


def with_layout(recipe: Mapping[str, Any], text: str) -> Recipe:
    """Return ``recipe`` with the layout that is written as in ``pp2 dp2 interleaved``."""
    layout = parse_layout(text).model_dump()
    return Recipe.model_validate({**recipe, "training": recipe["training"] | {"layout": layout}})


def curves(recipe: Mapping[str, Any], layouts: Sequence[str], steps: int) -> list[list[Measured]]:
    """Return the curve of each layout, all of as many ranks as there are."""
    return [measure(with_layout(recipe, layout), steps) for layout in layouts]


class EveryThird(LanguageModelling):
    """Every third token is a target, and none in the first half of every other row: counts are unequal."""

    def inputs(self, batch: Batch) -> Inputs:
        inputs = super().inputs(batch)
        keep = inputs.tokens % 3 == 0
        keep[::2, : keep.shape[1] // 2] = False
        return inputs._replace(targets=torch.where(keep, inputs.targets, IGNORED))


class Overflow(EveryThird):
    """The loss of one data rank is not a number in the third step."""

    def __init__(self, *, within_document: bool) -> None:
        super().__init__(within_document=within_document)
        self._steps = 0

    def inputs(self, batch: Batch) -> Inputs:
        self._steps += 1
        return super().inputs(batch)

    def loss(self, hidden: Tensor, weight: Tensor, targets: Tensor, tensor: Any) -> Tensor:
        loss = super().loss(hidden, weight, targets, tensor)
        return loss * math.nan if self._steps == 3 and dist.get_rank() == 0 else loss


def make_engine(recipe: Recipe, objective: Objective | None = None, dtype: str = "float32") -> Engine:
    training = recipe.training
    numerics = Numerics("cpu", "", torch.__version__, 1, dtype, compiled=False)
    plan = Plan.of(training, 64 * training.batch_tokens)
    objective = objective or LanguageModelling(within_document=training.within_document)
    return Engine(recipe.model, training, plan, numerics, objective, seed=recipe.seed, saved=None)


def train(engine: Engine, recipe: Recipe, steps: int) -> list[Outcome]:
    training = recipe.training
    documents = RandomDocuments(recipe.model.vocab_size, training.sequence_length, recipe.seed)
    budget = {"random": 64 * training.batch_tokens}
    length = training.sequence_length
    sampler = Sampler({"random": documents}, [Part.whole(budget)], seed=1, sequence_length=length)
    return [engine.advance(sampler.next_batch(training.batch_sequences, engine.rows)) for _ in range(steps)]


def outcomes(
    recipe: Mapping[str, Any], layouts: Sequence[str], objective: str, steps: int, dtype: str = "float32"
) -> list[list[Outcome]]:
    """Return what the steps by each layout came to."""
    kinds = {kind.__name__: kind for kind in (LanguageModelling, EveryThird, Overflow)}
    found = []
    for parsed in (with_layout(recipe, layout) for layout in layouts):
        engine = make_engine(parsed, kinds[objective](within_document=False), dtype)
        found.append(train(engine, parsed, steps))
    return found


def weights_after(recipe: Mapping[str, Any], layout: str, steps: int) -> dict[str, NDArray[Any]]:
    """Return the whole of every parameter that this rank holds a part of."""
    parsed = with_layout(recipe, layout)
    engine = make_engine(parsed)
    train(engine, parsed, steps)
    return {
        name: (master.full_tensor() if isinstance(master, DTensor) else master).numpy()
        for name, master in engine.optimizer.masters.items()
    }


def numbers_held(recipe: Mapping[str, Any], layout: str) -> int:
    """Return how many weights this rank holds."""
    masters = make_engine(with_layout(recipe, layout)).optimizer.masters
    return sum(
        master.to_local().numel() if isinstance(master, DTensor) else master.numel()
        for master in masters.values()
    )


def sharded_loss(*whole: NDArray[Any]) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Return the loss over all ranks, and the gradients of this rank's share of hidden states and weight."""
    hidden, weight, targets = (torch.from_numpy(array) for array in whole)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    rank, size = mesh.get_local_rank(), mesh.size()
    share = hidden.chunk(size, dim=1)[rank].clone().requires_grad_()
    rows = weight.chunk(size)[rank].clone().requires_grad_()
    loss = linear_cross_entropy(share, rows, targets, mesh)
    (2 * loss).backward()
    assert share.grad is not None
    assert rows.grad is not None
    return loss.item(), share.grad.numpy(), rows.grad.numpy()


def context_positions(length: int) -> list[int]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    share = length // mesh.size()
    return sequence_positions(share, ContextRanks(mesh), torch.device("cpu")).tolist()
