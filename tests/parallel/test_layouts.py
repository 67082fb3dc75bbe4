"""Every layout computes what one process computes, from the same seed, in fp32."""

from typing import Any

import numpy as np
import pytest
import torch
from layout_programs import (
    context_positions,
    curves,
    numbers_held,
    outcomes,
    sharded_loss,
    weights_after,
)
from ranks import on_ranks
from small_job import make_recipe

from tokka.models.spec import spec_for
from tokka.parallel.stage import layers_of
from tokka.recipe.layout_words import parse_layout
from tokka.training.cross_entropy import linear_cross_entropy
from tokka.training.equality import TOLERANCE, difference

BLOOM = {"architecture": "bloom", "n_layers": 4, "n_heads": 4, "d_model": 32, "vocab_size": 96}
LLAMA = BLOOM | {"architecture": "llama", "n_kv_heads": 2, "d_ffn": 64}
TIED = LLAMA | {"tied_embeddings": True}
UNEVEN = TIED | {"n_layers": 5, "d_model": 40, "d_ffn": 70, "vocab_size": 106}

STEPS = 20


def a_recipe(model: dict[str, Any], **training: Any) -> dict[str, Any]:
    settings = {"tokens": 2**16, "batch_tokens": 128, "micro_batch": 1, "optimizer": {"lr": 1e-3}}
    return make_recipe(model=model, **settings | training).model_dump(mode="json")


def assert_equal_to_one_process(recipe: dict[str, Any], layouts: list[str]) -> None:
    """All layouts must be of as many ranks."""
    (expected,) = curves(recipe, [""], STEPS)
    found = on_ranks(parse_layout(layouts[0]).ranks, curves, recipe, layouts, STEPS)
    assert all(of_rank == found[0] for of_rank in found)
    for layout, curve in zip(layouts, found[0], strict=True):
        loss, norm = difference(curve, expected)
        assert max(loss, norm) <= TOLERANCE, layout


TWO = ["dp2", "dp2 shard1", "tp2", "cp2", "pp2", "pp2 interleaved virtual2", "pp2 zero_bubble"]


@pytest.mark.parametrize("model", [TIED, BLOOM], ids=["llama", "bloom"])
def test_two_ranks_are_equal_to_one_process(model: dict[str, Any]):
    assert_equal_to_one_process(a_recipe(model, batch_tokens=64), TWO)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "sequences", "layouts"),
    [
        (BLOOM, 4, ["dp4 shard2", "dp2 tp2", "pp2 dp2"]),
        (LLAMA, 2, ["tp2 cp2", "pp2 tp2", "pp2 cp2 zero_bubble virtual2"]),
    ],
    ids=["bloom", "llama"],
)
def test_four_ranks_are_equal_to_one_process_within_documents_too(
    model: dict[str, Any], sequences: int, layouts: list[str]
):
    recipe = a_recipe(model, batch_tokens=32 * sequences, within_document=True)
    assert_equal_to_one_process(recipe, layouts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sequences", "layout"), [(4, "pp2 dp2 tp2"), (2, "pp2 cp2 tp2 interleaved virtual2")], ids=str
)
def test_eight_ranks_are_equal_to_one_process(sequences: int, layout: str):
    assert_equal_to_one_process(a_recipe(BLOOM, batch_tokens=32 * sequences), [layout])


@pytest.mark.slow
def test_what_does_not_divide_evenly_is_equal_to_one_process():
    recipe = a_recipe(UNEVEN, sequence_length=36, batch_tokens=216, tokens=21600, micro_batch=2)
    assert_equal_to_one_process(recipe, ["dp3", "cp3", "pp3"])


def test_targets_count_alike_wherever_they_are():
    """Ranks and micro batches have unequal numbers of valid targets; the mean is that of the whole batch."""
    recipe = a_recipe(LLAMA)
    (expected,) = outcomes(recipe, [""], "EveryThird", 3)
    for of_rank in on_ranks(2, outcomes, recipe, ["dp2", "tp2", "cp2", "pp2"], "EveryThird", 3):
        for found in of_rank:
            for one, other in zip(found, expected, strict=True):
                assert one.loss == pytest.approx(other.loss, rel=1e-6)
                assert one.norm == pytest.approx(other.norm, rel=1e-6)


def test_a_rank_that_sees_nan_makes_all_skip_and_go_on_together():
    of_ranks = on_ranks(2, outcomes, a_recipe(TIED), ["dp2", "tp2"], "Overflow", 5)
    for found in zip(*of_ranks, strict=True):
        for steps in found:
            assert [step.skipped for step in steps] == [None, None, "the loss is nan", None, None]
            assert steps[4] == found[0][4]


@pytest.mark.parametrize(
    ("model", "layout"),
    [(TIED, "pp2 interleaved virtual2"), (BLOOM, "tp2"), (UNEVEN, "dp2")],
    ids=["virtual stages", "tp2", "uneven dp2"],
)
def test_first_weights_depend_on_names_alone(model: dict[str, Any], layout: str):
    recipe = a_recipe(model, sequence_length=36, batch_tokens=144, tokens=14400)
    expected = weights_after(recipe, "", 0)
    names = set()
    for of_rank in on_ranks(2, weights_after, recipe, layout, 0):
        names |= of_rank.keys()
        for name, weight in of_rank.items():
            assert np.array_equal(weight, expected[name]), name
    assert names == expected.keys()


def test_a_rerun_gives_the_same_bits_and_both_ends_keep_the_same_embedding():
    recipe = a_recipe(TIED)
    first, second = (on_ranks(4, weights_after, recipe, "pp2 tp2", 4) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
    ends = [of_rank["model.embed_tokens.weight"] for of_rank in first]
    assert all(np.array_equal(end, ends[0]) for end in ends)


@pytest.mark.parametrize("layout", ["dp2 tp2", "pp2 tp2", "cp2 tp2", "dp4 shard2"])
def test_a_rank_holds_only_its_part(layout: str):
    recipe = make_recipe(model=LLAMA | {"n_layers": 8, "vocab_size": 128})
    whole = spec_for(recipe.model).count_parameters(recipe.model)
    parts = 2 if "shard2" in layout else 4
    content = a_recipe(LLAMA | {"n_layers": 8, "vocab_size": 128})
    for held in on_ranks(4, numbers_held, content, layout):
        assert held == pytest.approx(whole / parts, rel=0.1)


@pytest.mark.parametrize("layout", ["tp2", "cp2"])
def test_activation_checkpointing_changes_no_bit(layout: str):
    plain, selective, full = (
        on_ranks(2, curves, a_recipe(LLAMA, activation_checkpointing=how), [layout], 3)
        for how in ("none", "selective", "full")
    )
    assert plain == selective == full


def test_bf16_tracks_one_process():
    recipe = a_recipe(LLAMA)
    (expected,) = outcomes(recipe, [""], "LanguageModelling", 5, "bfloat16")
    for found in on_ranks(2, outcomes, recipe, ["tp2", "pp2"], "LanguageModelling", 5, "bfloat16")[0]:
        for one, other in zip(found, expected, strict=True):
            assert one.loss == pytest.approx(other.loss, rel=2e-3)
            assert one.norm == pytest.approx(other.norm, rel=2e-2)


def test_a_vocabulary_over_ranks_gives_the_loss_and_gradients_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 8, 16, generator=generator)
    weight = torch.randn(24, 16, generator=generator) * 3
    targets = torch.randint(24, (3, 8), generator=generator)
    targets[0, :5] = -100
    whole_hidden, whole_weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    expected = linear_cross_entropy(whole_hidden, whole_weight, targets)
    (2 * expected).backward()
    found = on_ranks(4, sharded_loss, hidden.numpy(), weight.numpy(), targets.numpy())
    losses, to_hidden, to_weight = zip(*found, strict=True)
    assert all(loss == pytest.approx(expected.item(), rel=1e-6) for loss in losses)
    np.testing.assert_allclose(np.concatenate(to_hidden, axis=1), whole_hidden.grad, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.concatenate(to_weight), whole_weight.grad, rtol=1e-4, atol=1e-6)


def test_ranks_that_are_not_those_of_the_layout_are_refused():
    with pytest.raises(ValueError, match="is of 2 ranks, and 1 were started; start 2, or change the layout"):
        curves(a_recipe(LLAMA), ["dp2"], 1)
    with pytest.raises(AssertionError, match="is of 1 ranks, and 2 were started"):
        on_ranks(2, curves, a_recipe(LLAMA), [""], 1)


def test_context_ranks_have_a_part_of_both_ends_of_a_sequence():
    assert on_ranks(3, context_positions, 12) == [[0, 1, 10, 11], [2, 3, 8, 9], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [(54, 4, [13, 14, 14, 13]), (80, 8, [10] * 8), (5, 3, [2, 2, 1]), (4, 4, [1] * 4), (7, 4, [2, 2, 2, 1])],
)
def test_layers_are_spread_evenly_and_the_ends_have_fewer(layers: int, stages: int, sizes: list[int]):
    spread = [layers_of(layers, index, stages) for index in range(stages)]
    assert [len(part) for part in spread] == sizes
    assert [layer for part in spread for layer in part] == list(range(layers))
