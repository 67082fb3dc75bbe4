import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_job import BUDGETS, Documents, make_recipe
from torch import Tensor

from tokka.data.order import Part
from tokka.data.sampler import Batch, Sampler
from tokka.models.spec import spec_for
from tokka.recipe.recipe import Recipe
from tokka.training.checkpoint.saved import Saved, load_newest
from tokka.training.checkpoint.saver import Saver
from tokka.training.device import Numerics
from tokka.training.engine import Engine
from tokka.training.objectives import Inputs, LanguageModelling
from tokka.training.plan import Plan

BLOOM = {"architecture": "bloom", "n_layers": 2, "n_heads": 3, "d_model": 24, "vocab_size": 96}


def make_engine(
    recipe: Recipe, *, saved: Saved | None = None, objective: Any = None, dtype: str = "float32"
) -> Engine:
    training = recipe.training
    numerics = Numerics("cpu", "test", torch.__version__, torch.get_num_threads(), dtype, compiled=False)
    return Engine(
        recipe.model,
        training,
        Plan.of(training, sum(BUDGETS.values())),
        numerics,
        objective or LanguageModelling(within_document=training.within_document),
        seed=recipe.seed,
        saved=saved,
    )


def draw(count: int, recipe: Recipe) -> list[Batch]:
    stores = {"finnish": Documents(1), "english": Documents(2)}
    sampler = Sampler(stores, [Part.whole(BUDGETS)], seed=7, sequence_length=recipe.training.sequence_length)
    return [sampler.next_batch(recipe.training.batch_sequences) for _ in range(count)]


def masters_after(batches: list[Batch], recipe: Recipe, **more: Any) -> dict[str, Tensor]:
    engine = make_engine(recipe, **more)
    for batch in batches:
        engine.advance(batch)
    return engine.optimizer.masters


@pytest.mark.parametrize("model", [None, BLOOM], ids=["llama", "bloom"])
def test_one_sequence_eight_times_is_eight_sequences_once(model: dict[str, Any] | None):
    one, eight = (
        make_recipe(model=model, batch_tokens=256, micro_batch=size, optimizer={"lr": 1e-3})
        for size in (1, 8)
    )
    batches = draw(4, one)
    accumulated, whole = make_engine(one), make_engine(eight)
    for batch in batches:
        first, second = accumulated.advance(batch), whole.advance(batch)
        assert first.loss == pytest.approx(second.loss, rel=1e-6)
        assert first.norm == pytest.approx(second.norm, rel=1e-5)
    for name, master in accumulated.optimizer.masters.items():
        torch.testing.assert_close(master, whole.optimizer.masters[name], rtol=0, atol=1e-6)


def test_a_step_is_what_plain_pytorch_computes():
    """The same model, all logits at once, autograd, torch's AdamW in fp32."""
    recipe = make_recipe(schedule={"shape": "constant"}, optimizer={"lr": 1e-3})
    batches = draw(5, recipe)
    engine = make_engine(recipe)
    model = spec_for(recipe.model).build(recipe.model)
    spec_for(recipe.model).initialise(model, recipe.model, recipe.seed)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    for batch in batches:
        tokens = torch.from_numpy(batch.tokens)
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()
        outcome = engine.advance(batch)
        assert outcome.loss == pytest.approx(loss.item(), rel=1e-5)
        assert outcome.norm == pytest.approx(norm.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(engine.optimizer.masters[name], parameter.data, rtol=0, atol=2e-5)


class OddMask(LanguageModelling):
    """Only targets that are odd count, so micro batches have unequal numbers of them."""

    def __init__(self) -> None:
        super().__init__(within_document=False)

    def inputs(self, batch: Batch) -> Inputs:
        tokens, targets, documents = super().inputs(batch)
        return Inputs(tokens, torch.where(targets % 2 == 1, targets, -100), documents)

    def loss(self, hidden: Tensor, weight: Tensor, targets: Tensor, tensor: Any) -> Tensor:
        logits = hidden @ weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)


def test_micro_batches_with_unequal_targets_are_weighted_by_target():
    one, four = (make_recipe(micro_batch=size, optimizer={"lr": 1e-3}) for size in (1, 4))
    batch = draw(1, one)[0]
    counts = {int((row[1:] % 2).sum()) for row in batch.tokens}
    assert len(counts) > 1
    first, second = (make_engine(recipe, objective=OddMask()).advance(batch) for recipe in (one, four))
    assert first.loss == pytest.approx(second.loss, rel=1e-6)
    assert first.norm == pytest.approx(second.norm, rel=1e-5)


class NoTarget(OddMask):
    def inputs(self, batch: Batch) -> Inputs:
        inputs = super().inputs(batch)
        return inputs._replace(targets=torch.full_like(inputs.targets, -100))


def test_a_batch_without_any_target_is_skipped():
    outcome = make_engine(make_recipe(), objective=NoTarget()).advance(draw(1, make_recipe())[0])
    assert outcome.skipped == "the loss is nan"


def test_activation_checkpointing_changes_no_bit():
    plain, recomputed = (make_recipe(activation_checkpointing=how) for how in ("none", "full"))
    batches = draw(3, plain)
    found = masters_after(batches, recomputed)
    for name, master in masters_after(batches, plain).items():
        assert torch.equal(master, found[name])


def test_activation_checkpointing_keeps_fewer_activations():
    def kept(how: str) -> int:
        engine = make_engine(make_recipe(activation_checkpointing=how))
        total = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            tokens = torch.zeros(2, 32, dtype=torch.int64)
            engine.model.hidden(tokens)
        return total

    assert kept("full") < kept("none") / 4


def test_bf16_tracks_fp32():
    recipe = make_recipe()
    batches = draw(16, recipe)
    narrow, wide = (make_engine(recipe, dtype=dtype) for dtype in ("bfloat16", "float32"))
    losses = [(narrow.advance(batch).loss, wide.advance(batch).loss) for batch in batches]
    assert max(abs(a - b) for a, b in losses) < 0.05
    assert losses[-1][0] < losses[0][0] - 0.5


def test_within_a_document_nothing_of_other_documents_is_seen():
    """Changing the first document of a row leaves the loss of the second document as it was."""
    recipe = make_recipe(within_document=True)
    engine = make_engine(recipe)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 96, (1, 33))
    documents = np.repeat(np.array([[0, 1]], dtype=np.int32), 16, axis=1)
    changed = tokens.copy()
    changed[:, :16] = rng.integers(0, 96, 16)

    def hidden(content: Any, confined: bool) -> Tensor:
        numbers = torch.from_numpy(documents) if confined else None
        with torch.no_grad():
            return engine.model.hidden(torch.from_numpy(content[:, :-1]), documents=numbers)[:, 16:]

    assert torch.equal(hidden(tokens, True), hidden(changed, True))
    assert not torch.allclose(hidden(tokens, False), hidden(changed, False))
    inputs = LanguageModelling(within_document=True).inputs(Batch(tokens, documents, ()))
    loss = engine.parallel.accumulate(inputs.tokens, inputs.targets, inputs.documents)
    with torch.no_grad():
        logits = engine.model(torch.from_numpy(tokens[:, :-1]), documents=torch.from_numpy(documents))
    expected = F.cross_entropy(logits[0], torch.from_numpy(tokens[0, 1:]), reduction="sum")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def poison(engine: Engine, when: Callable[[], bool]) -> None:
    """Make a block's output not a number whenever ``when`` says so, as an overflow would."""

    def overflow(module: Any, inputs: Any, output: Tensor) -> Tensor:
        return output * math.inf * 0 if when() else output

    next(iter(engine.model.blocks.values())).register_forward_hook(overflow)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_that_is_not_finite_changes_no_bit(dtype: str):
    recipe = make_recipe()
    batches = draw(4, recipe)
    engine, undisturbed = (make_engine(recipe, dtype=dtype) for _ in range(2))
    poison(engine, lambda: engine.step == 2)
    for number, batch in enumerate(batches):
        before = {name: master.clone() for name, master in engine.optimizer.masters.items()}
        moments = {name: moment.clone() for name, moment in engine.optimizer.state().items()}
        outcome = engine.advance(batch)
        if number == 2:
            assert outcome.skipped == "the loss is nan"
            assert all(torch.equal(master, before[name]) for name, master in engine.optimizer.masters.items())
            assert all(
                torch.equal(moment, moments[name]) for name, moment in engine.optimizer.state().items()
            )
        else:
            assert outcome.skipped is None
            undisturbed.advance(batch)
        undisturbed.step = engine.step
    for name, master in undisturbed.optimizer.masters.items():
        assert torch.equal(engine.optimizer.masters[name], master)


def test_a_gradient_that_is_not_finite_under_a_finite_loss_is_skipped():
    engine = make_engine(make_recipe())
    name, parameter = next(iter(engine.model.named_parameters()))
    parameter.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([3]), math.inf))
    before = engine.optimizer.masters[name].clone()
    outcome = engine.advance(draw(1, make_recipe())[0])
    assert math.isfinite(outcome.loss)
    assert outcome.skipped == "the gradient norm is inf"
    assert torch.equal(engine.optimizer.masters[name], before)


def test_the_learning_rate_is_that_of_the_middle_of_the_step():
    engine = make_engine(make_recipe())
    batch = draw(1, make_recipe())[0]
    assert engine.advance(batch).lr == pytest.approx(1e-2 * 64 / 256)
    assert engine.advance(batch).lr == pytest.approx(1e-2 * 192 / 256)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_snapshot_goes_on_to_the_same_bits(dtype: str, tmp_path: Path):
    recipe = make_recipe(guard={"spike": 3.0})
    batches = draw(8, recipe)
    engine = make_engine(recipe, dtype=dtype)
    for batch in batches[:4]:
        engine.advance(batch)
    with closing(Saver(tmp_path, keep=1)) as saver:
        saver.save(engine.snapshot(), milestone=False)
    resumed = make_engine(recipe, saved=load_newest(tmp_path), dtype=dtype)
    assert [engine.advance(batch) for batch in batches[4:]] == [
        resumed.advance(batch) for batch in batches[4:]
    ]
    for name, master in engine.optimizer.masters.items():
        assert torch.equal(resumed.optimizer.masters[name], master)
