"""Comparing layouts from the command line, for any recipe: taken as it is, shrunk, or refused."""

import json
from pathlib import Path

import pytest
from small_line import recipe
from typer.testing import CliRunner, Result
from workshop import REPOSITORY

from tokka.cli.main import app
from tokka.pipeline.layouts import compare_layouts
from tokka.pipeline.shrink import shrinking
from tokka.recipe.layout_words import parse_layouts
from tokka.recipe.load import RecipeError, load_recipe
from tokka.recipe.plain_yaml import format_yaml

RECIPES = REPOSITORY / "recipes"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recipe whose text is not here."""
    path = tmp_path / "small.yaml"
    path.write_text(format_yaml(recipe().model_dump(mode="json")), encoding="utf-8")
    return path


def verify(path: Path, layouts: str, *more: str) -> Result:
    return CliRunner().invoke(app, ["verify", "layouts", str(path), "--layouts", layouts, *more])


def test_each_layout_is_compared_with_one_process(small: Path):
    done = verify(small, "dp2; cp2", "--steps", "4", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.output)
    assert [layout["layout"] for layout in content["layouts"]] == ["dp2", "cp2"]
    assert [layout["micro_batch"] for layout in content["layouts"]] == [4, 8]
    for layout in content["layouts"]:
        assert layout["ranks"] == 2
        assert layout["loss"] <= 1e-5
        assert layout["norm"] <= 1e-5
        assert layout["equal"]


def test_a_difference_beyond_the_tolerance_is_shown_and_gives_status_1(small: Path):
    done = verify(small, "dp2", "--steps", "2", "--tolerance", "0")
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].endswith("differs")


@pytest.mark.slow
def test_a_large_recipe_is_shrunk_when_that_is_asked_for(tmp_path: Path):
    done = verify(RECIPES / "poro2-8b.yaml", "pp2 cp2 zero_bubble", "--steps", "2", "--shrink")
    assert done.exit_code == 0, done.output
    assert "shrunk: --set model.d_model=256" in done.output


def test_a_large_recipe_is_refused_with_how_to_shrink_it():
    with pytest.raises(ValueError, match=r"too large to compare layouts here.* Add --shrink"):
        compare_layouts(RECIPES / "poro-34b.yaml", "dp2", steps=20)


def test_what_is_shrunk_keeps_its_kind_heads_and_proportions():
    path = RECIPES / "poro2-70b.yaml"
    layouts = list(parse_layouts("tp8 pp8; cp3; dp5; pp4 interleaved").values())
    whole = load_recipe(path, ["training.layout={}"])
    small = load_recipe(path, ["training.layout={}", *shrinking(whole, layouts)])
    kept = ("architecture", "n_heads", "n_kv_heads", "tied_embeddings", "rope_base", "rope_scaling")
    for name in kept:
        assert getattr(small.model, name) == getattr(whole.model, name)
    assert small.model.d_ffn / small.model.d_model == whole.model.d_ffn / whole.model.d_model
    assert small.model.n_layers == 16
    for layout in layouts:
        load_recipe(path, [*shrinking(whole, layouts), f"training.layout={layout.model_dump_json()}"])


@pytest.mark.parametrize(
    ("layouts", "message"),
    [
        ("tp3", "training.layout.tensor: 3 does not divide model.n_heads 2"),
        ("dp3", "does not divide into micro batches of 1 on 3 data ranks"),
        ("pp2", "training.layout.pipeline: 2 exceeds model.n_layers 1"),
    ],
)
def test_a_layout_that_does_not_fit_the_recipe_is_refused(small: Path, layouts: str, message: str):
    with pytest.raises(RecipeError) as caught:
        compare_layouts(small, layouts, steps=2)
    assert message in str(caught.value)


def test_nonsense_is_refused(small: Path):
    assert "'dq2' is not known" in str(verify(small, "dq2").exception)
