"""A mixture edited while its run is stopped: what is trained stays, the rest follows the new one."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_line import BATCH, SHARES, Place, make_place, recipe

from tokka.data.shares import MixtureError
from tokka.pipeline.run import outlook, run_recipe
from tokka.pipeline.stage import Status
from tokka.recipe.load import RecipeError
from tokka.recipe.recipe import Recipe


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return make_place(tmp_path, monkeypatch)


def test_a_source_comes_one_goes_and_one_is_weighted_anew_from_the_checkpoint_on(place: Place):
    place.run(recipe(), stop_after=7)
    edited = recipe({"finnish": {"percent": 25}, "code": {"rest": True}})
    place.run(edited)
    assert place.given(6) == {"finnish": 34, "english": 14}
    assert place.given(20) == {"finnish": 34 + 28, "english": 14, "code": 84}
    first, change = place.followed().mixture, place.followed().mixture_changes[0]
    assert (first["finnish"].percent, change.at, change.mixture) == (70, 6 * BATCH, edited.mixture)
    assert change.cut == {"finnish": 112 * 32, "english": 48 * 32}
    assert not (place.folder / "stale" / "training").exists()
    assert not any(path.name.startswith("training") for path in (place.folder / "stale").iterdir())
    assert {line.status for line in _outlook(edited, place)} == {Status.DONE}  # what was edited is its recipe


def _outlook(of: Recipe, place: Place) -> Any:
    return outlook(of, root=place.root, folder=place.folder, to="training")


def test_what_a_run_with_edits_states_of_itself_trains_the_same_from_zero(place: Place):
    place.run(recipe(), stop_after=5)
    place.run(recipe({"english": {"percent": 90}, "finnish": {"rest": True}}), stop_after=11)
    place.run(recipe({"english": {"tokens": 60 * 32}, "finnish": {"rest": True}}))
    again = Place(place.root / "again", place.patch)
    run_recipe(place.followed(), root=place.root, folder=again.folder, to="training")
    lines = [(each.folder / "training" / "metrics.jsonl").read_text().splitlines() for each in (place, again)]
    curves = [[(row["sources"], row["loss"]) for row in map(json.loads, each)] for each in lines]
    assert curves[0] == curves[1]
    assert place.given(20)["english"] == 60


def test_a_change_that_was_stated_begins_there_and_a_later_one_may_still_be_edited(place: Place):
    better = {"at": 12 * BATCH, "mixture": {"english": {"percent": 50}, "code": {"percent": 50}}}
    place.run(recipe(changes=[better]), stop_after=9)
    best = {"at": 15 * BATCH, "mixture": {"code": {"percent": 100}}}
    place.run(recipe(changes=[better, best]))
    assert place.given(12) == {"finnish": 67, "english": 29}
    assert place.given(20) == {"finnish": 67, "english": 29 + 12, "code": 12 + 40}
    assert [change.at for change in place.followed().mixture_changes] == [8 * BATCH, 12 * BATCH, 15 * BATCH]


@pytest.mark.parametrize(
    ("mixture", "changes", "message"),
    [
        (
            SHARES,
            [{"at": 4 * BATCH, "mixture": {"finnish": {"percent": 100}}}],
            "trained without it; let it begin",
        ),
        (
            {"finnish": {"percent": 10}, "english": {"rest": True}},
            [{"at": 6 * BATCH, "mixture": SHARES}],
            "mixture: differs from what its tokens, up to 1.536K, were trained with; set it back",
        ),
    ],
)
def test_a_change_of_the_past_is_refused_and_explained(
    place: Place, mixture: Any, changes: Any, message: str
):
    place.run(recipe(), stop_after=7)
    with pytest.raises(RecipeError, match=message):
        place.run(recipe(mixture, changes))
    place.run(recipe())
    assert place.given(20) == {"finnish": 112, "english": 48}


def test_shares_that_cannot_be_met_any_more_are_refused_before_training_goes_on(place: Place):
    place.run(recipe(), stop_after=7)
    with pytest.raises((MixtureError, RecipeError), match=r"1\.088K were given before"):
        place.run(recipe({"finnish": {"tokens": "1K"}, "english": {"rest": True}}))
    place.run(recipe())


def test_a_budget_that_followed_from_the_shares_stays_what_it_was(place: Place):
    shares = {"finnish": {"tokens": 112 * 32}, "english": {"percent": 30}}
    place.run(recipe(shares, tokens=None), stop_after=7)
    edited = recipe({"finnish": {"tokens": 130 * 32}, "english": {"rest": True}}, tokens=None)
    place.run(edited)
    assert place.given(20) == {"finnish": 130, "english": 30}
    assert {line.status for line in _outlook(edited, place)} == {Status.DONE}


def test_another_mixture_of_a_finished_run_or_of_one_with_other_settings_is_another_training(place: Place):
    place.run(recipe())
    edited = recipe({"finnish": {"percent": 25}, "english": {"rest": True}})
    place.run(edited)
    assert place.given(20) == {"finnish": 40, "english": 120}
    assert not place.followed().mixture_changes
    assert any(path.name.startswith("training") for path in (place.folder / "stale").iterdir())
