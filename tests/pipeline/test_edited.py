"""A mixture edited while its run is stopped: what is trained stays, the rest follows the new one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tokka.data.mixture import MixtureError
from tokka.data.sampler import Sampler
from tokka.pipeline.run import outlook, run_recipe
from tokka.pipeline.stage import Status
from tokka.recipe.load import RecipeError, load_recipe
from tokka.recipe.recipe import Recipe

BATCH = 8 * 32
SHARES = {"finnish": {"percent": 70}, "english": {"rest": True}}
WORDS = {"finnish": "poro juoksi tunturin yli", "english": "the reindeer ran", "code": "def run(): pass"}


def _recipe(mixture: Any = SHARES, changes: Any = (), **more: Any) -> Recipe:
    mixed = [*mixture, *(name for change in changes for name in change["mixture"])]
    return Recipe.model_validate(
        {
            "name": "small",
            "sources": {
                name: {"path": f"{name}.jsonl", "language": name[:2]} for name in dict.fromkeys(mixed)
            },
            "mixture": mixture,
            "mixture_changes": list(changes),
            "tokenizer": {"train": {"vocab_size": 300, "sample_bytes": "20K"}},
            "model": {
                "architecture": "llama",
                "n_layers": 1,
                "n_heads": 2,
                "n_kv_heads": 1,
                "d_model": 16,
                "d_ffn": 32,
                "vocab_size": 320,
            },
            "training": {
                "tokens": 20 * BATCH,
                "sequence_length": 32,
                "batch_tokens": BATCH,
                "micro_batch": 8,
                "optimizer": {"lr": 1e-3},
                "precision": "fp32",
                "checkpoints": {"every": 2 * BATCH, "revisions": 10 * BATCH},
            }
            | more,
            "evaluation": {"heldout": 0},
            "release": {"repo": "test/small"},
        }
    )


@dataclass
class Place:
    """A folder with texts, and the run in it."""

    root: Path
    patch: pytest.MonkeyPatch

    @property
    def folder(self) -> Path:
        return self.root / "run"

    def run(self, recipe: Recipe, *, stop_after: int | None = None) -> None:
        """Train, and die after so many steps."""
        if stop_after is None:
            run_recipe(recipe, root=self.root, folder=self.folder, to="training")
            return
        draw = Sampler.next_batch

        def draw_or_die(sampler: Sampler, sequences: int, *rows: Any) -> Any:
            if sum(sampler.tokens.values()) >= stop_after * BATCH:
                raise RuntimeError("killed")
            return draw(sampler, sequences, *rows)

        with self.patch.context() as patch:
            patch.setattr(Sampler, "next_batch", draw_or_die)
            with pytest.raises(RuntimeError, match="killed"):
                self.run(recipe)

    def followed(self) -> Recipe:
        return load_recipe(self.folder / "recipe.yaml")

    def given(self, until: int) -> dict[str, int]:
        """Sequences that each source gave in the first ``until`` steps, as training recorded it."""
        rows = [json.loads(line) for line in (self.folder / "training" / "metrics.jsonl").open()]
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        return {name: tokens // 32 for name, tokens in rows[until - 1]["sources"].items() if tokens}

    def mixture(self) -> Any:
        return json.loads((self.folder / "mixture" / "mixture.json").read_text())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, words in WORDS.items():
        lines = (json.dumps({"text": f"{words} {number} " * (1 + number % 5)}) for number in range(200))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return Place(tmp_path, monkeypatch)


def test_a_source_comes_one_goes_and_one_is_weighted_anew_from_the_checkpoint_on(place: Place):
    place.run(_recipe(), stop_after=7)
    edited = _recipe({"finnish": {"percent": 25}, "code": {"rest": True}})
    place.run(edited)
    assert place.given(6) == {"finnish": 34, "english": 14}
    assert place.given(20) == {"finnish": 34 + 28, "english": 14, "code": 84}
    first, change = place.followed().mixture, place.followed().mixture_changes[0]
    assert (first["finnish"].percent, change.at, change.mixture) == (70, 6 * BATCH, edited.mixture)
    assert change.cut == {"finnish": 112 * 32, "english": 48 * 32}
    assert not (place.folder / "stale" / "training").exists()
    assert not any(path.name.startswith("training") for path in (place.folder / "stale").iterdir())
    assert {line.status for line in _outlook(edited, place)} == {Status.DONE}  # what was edited is its recipe


def _outlook(recipe: Recipe, place: Place) -> Any:
    return outlook(recipe, root=place.root, folder=place.folder, to="training")


def test_what_a_run_with_edits_states_of_itself_trains_the_same_from_zero(place: Place):
    place.run(_recipe(), stop_after=5)
    place.run(_recipe({"english": {"percent": 90}, "finnish": {"rest": True}}), stop_after=11)
    place.run(_recipe({"english": {"tokens": 60 * 32}, "finnish": {"rest": True}}))
    again = Place(place.root / "again", place.patch)
    run_recipe(place.followed(), root=place.root, folder=again.folder, to="training")
    lines = [(each.folder / "training" / "metrics.jsonl").read_text().splitlines() for each in (place, again)]
    curves = [[(row["sources"], row["loss"]) for row in map(json.loads, each)] for each in lines]
    assert curves[0] == curves[1]
    assert place.given(20)["english"] == 60


def test_a_change_that_was_stated_begins_there_and_a_later_one_may_still_be_edited(place: Place):
    better = {"at": 12 * BATCH, "mixture": {"english": {"percent": 50}, "code": {"percent": 50}}}
    place.run(_recipe(changes=[better]), stop_after=9)
    best = {"at": 15 * BATCH, "mixture": {"code": {"percent": 100}}}
    place.run(_recipe(changes=[better, best]))
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
    place.run(_recipe(), stop_after=7)
    with pytest.raises(RecipeError, match=message):
        place.run(_recipe(mixture, changes))
    place.run(_recipe())
    assert place.given(20) == {"finnish": 112, "english": 48}


def test_shares_that_cannot_be_met_any_more_are_refused_before_training_goes_on(place: Place):
    place.run(_recipe(), stop_after=7)
    with pytest.raises((MixtureError, RecipeError), match=r"1\.088K were given before"):
        place.run(_recipe({"finnish": {"tokens": "1K"}, "english": {"rest": True}}))
    place.run(_recipe())


def test_another_mixture_of_a_finished_run_or_of_one_with_other_settings_is_another_training(place: Place):
    place.run(_recipe())
    edited = _recipe({"finnish": {"percent": 25}, "english": {"rest": True}})
    place.run(edited)
    assert place.given(20) == {"finnish": 40, "english": 120}
    assert not place.followed().mixture_changes
    assert any(path.name.startswith("training") for path in (place.folder / "stale").iterdir())
