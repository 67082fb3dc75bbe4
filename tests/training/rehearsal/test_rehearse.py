"""Whole layouts rehearsed: their roles, whether they fit, what would make them fit, and the command."""

import json

import pytest
from small_job import make_recipe
from workshop import REPOSITORY, tokka

from tokka.recipe.load import load_recipe
from tokka.recipe.recipe import Recipe
from tokka.training.rehearsal.devices import Device, device_called
from tokka.training.rehearsal.rehearse import rehearse, roles_of, with_ranks

PORO = REPOSITORY / "recipes" / "poro-34b.yaml"


@pytest.fixture
def recipe() -> Recipe:
    return make_recipe(layout={"data": 2, "pipeline": 2}, micro_batch=1)


def test_roles_are_the_ends_of_the_pipeline_and_each_size_between() -> None:
    roles = roles_of(load_recipe(PORO))
    assert [(role.name, role.rank) for role in roles] == [("first", 0), ("middle", 256), ("last", 768)]
    assert sum(role.layers for role in roles) + roles[1].layers == 54


def test_other_numbers_of_ranks_change_the_data_axis() -> None:
    assert with_ranks(load_recipe(PORO), 64).training.layout.data == 8


def test_ranks_that_make_no_whole_copies_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of the 8 ranks that share one copy"):
        with_ranks(load_recipe(PORO), 100)


def test_what_fits_is_said_to_fit(recipe: Recipe) -> None:
    found = rehearse(recipe, device=device_called("H100"))
    assert found.fits
    assert found.remedy is None


@pytest.mark.slow
def test_a_setting_is_found_that_makes_it_fit(recipe: Recipe) -> None:
    recipe = make_recipe(micro_batch=2, layout={"data": 2}, sequence_length=64, batch_tokens=512, tokens=4096)
    peak = max(finding.peak for finding in rehearse(recipe).findings.values())
    found = rehearse(recipe, device=Device("small", int(peak / 0.9 * 0.95)))
    assert found.fits is False
    assert found.remedy is not None
    assert found.remedy.peak < peak
    assert next(iter(found.remedy.settings)) == "training.activation_checkpointing"


def test_an_unknown_device_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="--device h300: not known; choose one of a100-40, a100, h100"):
        device_called("h300")


@pytest.mark.slow
def test_poro_34b_is_rehearsed_on_1024_ranks() -> None:
    done = tokka("rehearse", PORO, "--world-size", "1024", "--device", "mi250x", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    first, middle, last = found["roles"]
    of_all = 256 * (first["parameters"] + 2 * middle["parameters"] + last["parameters"])
    tied = 128_000 * 7168
    assert of_all == pytest.approx(34_216_949_760 + tied, rel=0.001)  # both ends hold the embedding
    assert found["fits"] is True
    assert first["bubble"] == pytest.approx(3 / 19)
