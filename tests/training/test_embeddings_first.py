"""The first tokens may train the embeddings alone."""

from contextlib import closing
from pathlib import Path

import pytest
import torch
from small_job import make_recipe
from torch import nn

from tokka.recipe.load import RecipeError
from tokka.recipe.training import Optimizer as Settings
from tokka.training.checkpoint.saved import load_newest
from tokka.training.checkpoint.saver import Saver
from tokka.training.optimizer import Optimizer

from .test_engine import BLOOM, draw, make_engine

FIRST = 3


def recipe_of(model: dict | None = None, **more):
    return make_recipe(model=model, embeddings_first=FIRST * 128, **more)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (None, {"model.embed_tokens.weight"}),
        (BLOOM, {"transformer.word_embeddings.weight"}),
        (
            {
                "architecture": "llama",
                "n_layers": 1,
                "n_heads": 2,
                "n_kv_heads": 2,
                "d_model": 16,
                "d_ffn": 32,
            }
            | {"vocab_size": 96},
            {"model.embed_tokens.weight", "lm_head.weight"},
        ),
    ],
    ids=["tied", "bloom", "untied"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_until_then_nothing_else_moves_and_then_everything_does(model, names, dtype):
    recipe = recipe_of(model)
    engine = make_engine(recipe, dtype=dtype)
    before = {name: master.clone() for name, master in engine.optimizer.masters.items()}
    batches = draw(FIRST + 1, recipe)
    for batch in batches[:FIRST]:
        engine.advance(batch)
    moved = {
        name for name, master in engine.optimizer.masters.items() if not torch.equal(master, before[name])
    }
    assert moved == names
    moments = engine.optimizer.state()
    assert {name for name in before if moments[f"exp_avg.{name}"].any()} == names
    engine.advance(batches[FIRST])
    assert all(not torch.equal(master, before[name]) for name, master in engine.optimizer.masters.items())


def test_the_norm_that_is_clipped_is_that_of_the_embeddings():
    recipe, plain = recipe_of(), make_recipe()
    batch = draw(1, recipe)[0]
    first, whole = make_engine(recipe), make_engine(plain)
    norm = first.advance(batch).norm
    assert 0 < norm < whole.advance(batch).norm
    reference = make_engine(plain)
    inputs = reference._objective.inputs(batch)
    reference.parallel.accumulate(inputs.tokens, inputs.targets, inputs.documents)
    gradient = reference.optimizer.gradients["model.embed_tokens.weight"]
    assert norm == pytest.approx(float(gradient.double().norm()) / inputs.targets.numel(), rel=1e-5)


def test_updates_are_those_of_torch_adamw_with_the_others_frozen():
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 2))
    theirs = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 2))
    theirs.load_state_dict(mine.state_dict())
    settings = Settings(lr=1e-2, weight_decay=0.1, clip=None)
    waiting = [name for name, _ in mine.named_parameters() if name.startswith("1.")]
    optimizer = Optimizer(dict(mine.named_parameters()), settings, torch.float32, waiting)
    matrices, vectors = (
        [p for p in theirs.parameters() if (p.dim() > 1) is wanted] for wanted in (True, False)
    )
    adamw = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
    )
    for step in range(8):
        x = torch.randn(4, 5)
        theirs[1].requires_grad_(step >= FIRST)
        adamw.zero_grad(set_to_none=True)
        theirs(x).square().sum().backward()
        adamw.step()
        mine(x).square().sum().backward()
        optimizer.step(1e-2, divisor=1.0, norm=1.0, without_waiting=step < FIRST)
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("saved_after", [2, FIRST, 5])
def test_a_run_stopped_before_at_or_after_the_change_goes_on_to_the_same_bits(saved_after, tmp_path: Path):
    recipe = recipe_of(guard={"spike": 3.0})
    batches = draw(8, recipe)
    engine = make_engine(recipe)
    for batch in batches[:saved_after]:
        engine.advance(batch)
    with closing(Saver(tmp_path, keep=1)) as saver:
        saver.save(engine.snapshot(), milestone=False)
    resumed = make_engine(recipe, saved=load_newest(tmp_path))
    after = [[each.advance(batch) for batch in batches[saved_after:]] for each in (engine, resumed)]
    assert after[0] == after[1]
    for name, master in engine.optimizer.masters.items():
        assert torch.equal(resumed.optimizer.masters[name], master)


def test_the_guard_does_not_compare_norms_across_the_change():
    recipe = recipe_of()
    engine = make_engine(recipe)
    for batch in draw(FIRST + 1, recipe):
        outcome = engine.advance(batch)
    assert engine.guard.state()["norms"] == [outcome.norm]


def test_a_budget_that_leaves_nothing_to_the_other_weights_is_refused():
    with pytest.raises((RecipeError, ValueError), match="leaves nothing of the budget"):
        make_recipe(embeddings_first=2048)
