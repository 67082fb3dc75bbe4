"""Statistics of a recipe and of a run, from the command line and from Python."""

import json
from pathlib import Path

import pytest
from small_line import make_place, recipe
from typer.testing import CliRunner

from tokka.cli.corpus import app
from tokka.pipeline.run import run_recipe
from tokka.pipeline.stats import stats
from tokka.recipe.plain_yaml import format_yaml


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``small.yaml``, its texts, and ``run``, whose tokens are counted."""
    with pytest.MonkeyPatch.context() as patch:
        folder = make_place(tmp_path_factory.mktemp("counted"), patch).root
    (folder / "small.yaml").write_text(format_yaml(recipe().model_dump(mode="json")))
    run_recipe(recipe(), root=folder, folder=folder / "run", to="tokens")
    return folder


def test_a_recipe_and_its_run_hold_the_same(place: Path):
    of_recipe, of_run = stats(place / "small.yaml").as_json(), stats(place / "run").as_json()
    for name, found in of_run["sources"].items():
        counted = json.loads((place / "run" / "tokens" / name / "manifest.json").read_text())["facts"]
        assert found["tokens"] == counted["tokens"]
        assert (found["documents"], found["bytes"]) == (counted["documents"], counted["bytes"])
        same = ("documents", "bytes", "words", "lengths", "duplicates", "elsewhere", "confidence")
        assert {key: found[key] for key in same} == {key: of_recipe["sources"][name][key] for key in same}


def test_epochs_are_a_share_of_the_budget_over_the_size(place: Path):
    found = stats(place / "run", budget=1_000_000)
    assert found.epochs["finnish"] == pytest.approx(700_000 / found.tokens["finnish"], rel=1e-3)
    estimated = stats(place / "small.yaml", tokenizers=[str(place / "run" / "tokenizer")], budget=1_000_000)
    documents = estimated.sources["finnish"].documents  # each gets an end token
    assert estimated.tokens["finnish"] == pytest.approx(found.tokens["finnish"] - documents, rel=0.02)
    assert {row.source for row in estimated.fertility} == {"finnish", "english"}
    with pytest.raises(ValueError, match="name a --tokenizer to estimate them by"):
        stats(place / "small.yaml", budget=1_000_000)


def test_the_command_prints_tables_and_json_and_draws(place: Path):
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["stats", *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    table = run(str(place / "run"), "--tokens", "1M", "--plot", str(place / "stats.svg"))
    assert all(word in table for word in ("finnish", "english", "Epochs", "all"))
    assert (place / "stats.svg").read_text().startswith("<?xml")
    content = json.loads(run(str(place / "run"), "--json"))
    assert content["sources"].keys() == {"finnish", "english"}
    finnish = content["sources"]["finnish"]
    assert content["languages"]["fi"] == {
        key: finnish[key] for key in ("documents", "bytes", "words", "tokens")
    }
