"""Training embeddings first, and measuring on the way, by any layout."""

from typing import Any

import pytest
from continued_programs import measured_on_the_way
from layout_programs import curves
from ranks import on_ranks
from small_job import make_recipe

from tokka.training.equality import TOLERANCE, difference

SHAPE = {"architecture": "llama", "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "d_model": 32, "d_ffn": 64}
UNTIED = SHAPE | {"vocab_size": 96}
TIED = UNTIED | {"tied_embeddings": True}


def a_recipe(model: dict[str, Any], **training: Any) -> dict[str, Any]:
    settings = {"tokens": 2**16, "batch_tokens": 128, "micro_batch": 1, "optimizer": {"lr": 1e-3}}
    return make_recipe(model=model, **settings | training).model_dump(mode="json")


@pytest.mark.parametrize("model", [UNTIED, TIED], ids=["untied", "tied"])
def test_embeddings_first_is_equal_to_one_process_by_every_layout(model):
    recipe = a_recipe(model, embeddings_first=4 * 128)
    (expected,) = curves(recipe, [""], 10)
    layouts = ["dp2", "tp2", "pp2", "cp2"]
    for of_rank in on_ranks(2, curves, recipe, layouts, 10):
        for curve in of_rank:
            assert max(difference(curve, expected)) <= TOLERANCE
    (plain,) = curves(a_recipe(model), [""], 10)
    assert plain[0].loss == expected[0].loss
    assert plain[0].norm > expected[0].norm  # of all weights, where the other is of embeddings alone
    assert plain[9].loss < expected[9].loss


@pytest.mark.parametrize("layout", ["dp2", "tp2", "pp2 interleaved virtual2", "cp2"])
def test_what_is_measured_is_the_loss_and_changes_nothing(layout):
    recipe = a_recipe(TIED)
    (plain,) = curves(recipe, [""], 4)
    for found in on_ranks(2, measured_on_the_way, recipe, layout, 4):
        for (measured, loss), alone in zip(found, plain, strict=True):
            assert measured == pytest.approx(loss, rel=1e-12)
            assert loss == pytest.approx(alone.loss, rel=TOLERANCE)
