"""A recipe whose base is another recipe: one command makes both, compares them and merges them."""

import json
from pathlib import Path

import pytest
import torch
from continued import continued_recipe, tiny_recipe, write_recipes
from transformers import AutoModelForCausalLM, AutoTokenizer

from tokka.evaluation.compare import read_result
from tokka.models.weights import load_hf
from tokka.pipeline.preflight import check
from tokka.pipeline.run import outlook, run_recipe
from tokka.pipeline.stage import Status
from tokka.recipe.load import load_recipe
from tokka.release.report import write_report
from tokka.workspace.files import digest_file, read_json

MERGED = {"repo": "herd/continued", "title": "Herd", "merge": {"method": "slerp", "weight": 0.6}}
EXTENDED = {
    "tokenizer": {"load": "base.yaml", "extend": {"added": 128, "languages": ["fi"]}},
    "model": tiny_recipe("x", "english")["model"] | {"base": "base.yaml", "vocab_size": 640},
    "training": tiny_recipe("x", "english")["training"] | {"embeddings_first": 8192},
    "evaluation": {"heldout": 0.1, "heldout_bytes": "8K", "during": 8192, "during_bytes": "4K"},
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> Path:
    """The recipes of a base and of two models that continue it, all of them run."""
    folder = tmp_path_factory.mktemp("continued")
    write_recipes(
        folder,
        base=tiny_recipe("base", "english"),
        continued=continued_recipe(release=MERGED),
        extended=continued_recipe(name="extended", **EXTENDED),
    )
    for name in ("continued", "extended"):
        run_recipe(load_recipe(folder / f"{name}.yaml"), root=folder, folder=folder / "runs" / name)
    return folder


def test_the_base_is_made_once_in_a_run_of_its_own(recipes):
    base = recipes / "runs" / "base"
    weights = digest_file(base / "release" / "main" / "model.safetensors")
    for name in ("continued", "extended"):
        lines = outlook(load_recipe(recipes / f"{name}.yaml"), root=recipes, folder=recipes / "runs" / name)
        assert all(line.status is Status.DONE for line in lines)
        assert sum(line.stage.startswith("base: ") for line in lines) > 5
    manifest = read_json(recipes / "runs" / "continued" / "training" / "manifest.json")
    assert weights in manifest["inputs"].values()


def test_nothing_in_the_kept_recipe_or_the_card_names_a_place_on_this_machine(recipes):
    run = recipes / "runs" / "continued"
    assert str(recipes) not in (run / "recipe.yaml").read_text()
    assert str(recipes) not in (run / "release" / "main" / "README.md").read_text()


def test_training_began_with_the_weights_of_the_base(recipes):
    first = json.loads(
        (recipes / "runs" / "continued" / "training" / "metrics.jsonl").read_text().split("\n")[0]
    )
    fresh = json.loads((recipes / "runs" / "base" / "training" / "metrics.jsonl").read_text().split("\n")[0])
    assert first["loss"] < fresh["loss"] - 0.2


def test_base_and_revisions_are_measured_on_the_same_texts(recipes):
    folder = recipes / "runs" / "continued" / "evaluation"
    base, last = (read_result(folder / f"{name}.json") for name in ("base", "32.768K"))
    assert base["settings"]["texts"] == last["settings"]["texts"]
    own = read_result(recipes / "runs" / "base" / "evaluation" / "32.768K.json")
    assert base["languages"]["en"]["bits_per_byte"] == pytest.approx(
        own["languages"]["en"]["bits_per_byte"], rel=1e-5
    )
    assert last["languages"]["fi"]["bits_per_byte"] < 0.8 * base["languages"]["fi"]["bits_per_byte"]


def test_the_merge_is_a_revision_of_the_release_and_lies_between_the_two(recipes):
    run = recipes / "runs" / "continued"
    cache = run / "release" / "hub"
    models = [
        AutoModelForCausalLM.from_pretrained("herd/continued", revision=name, cache_dir=cache)
        for name in ("main", "merged")
    ]
    base = AutoModelForCausalLM.from_pretrained(recipes / "runs" / "base" / "release" / "main")
    name = "model.layers.0.mlp.gate_proj.weight"
    trained, merged, before = (model.state_dict()[name].double().flatten() for model in (*models, base))
    angle = torch.acos(trained @ before / trained.norm() / before.norm())
    expected = (torch.sin(0.4 * angle) * before + torch.sin(0.6 * angle) * trained) / torch.sin(angle)
    assert (merged - expected).abs().max() < 1e-5
    card = (run / "release" / "main" / "README.md").read_text()
    assert "[merged]" in card


def test_the_card_has_the_comparison_with_the_better_figure_bold(recipes):
    card = (recipes / "runs" / "continued" / "release" / "main" / "README.md").read_text()
    assert "### Herd against base" in card
    (row,) = [line for line in card.splitlines() if line.startswith("| Finnish | **")]
    _, _, mine, merged, base, change, _ = (cell.strip() for cell in row.split("|"))
    measured = read_result(recipes / "runs/continued/evaluation/base.json")["languages"]["fi"][
        "bits_per_byte"
    ]
    assert base == f"{measured:.3f}"
    assert mine.strip("*") < merged < base
    assert change.startswith("\N{MINUS SIGN}")
    assert "Of all tokens 50% replay what the base knew, so that it is kept: English." in card


def test_the_report_draws_the_base_as_dashed_lines(recipes):
    page = recipes / "report.html"
    write_report(recipes / "runs" / "extended", page)
    text = page.read_text()
    assert text.count('class="line dashed') == 4  # two languages, over revisions and on the way
    assert "Against base" in text


def test_an_extended_tokenizer_trains_and_is_released(recipes):
    run = recipes / "runs" / "extended"
    tokenizer = AutoTokenizer.from_pretrained(run / "release" / "main")
    _, config = load_hf(run / "release" / "main")
    assert (len(tokenizer), config.vocab_size) == (640, 640)
    ids = tokenizer("Poro juoksee tunturissa.").input_ids
    assert max(ids) >= 512
    rows = read_json(run / "fertility" / "fertility.json")
    saved = {row["tokenizer"]: row["tokens"] for row in rows if row["language"] == "fi"}
    assert saved["extended"] < 0.85 * saved["base"]
    base = read_result(run / "evaluation" / "base.json")
    assert base["settings"]["config"]["vocab_size"] == 512  # measured as it was, with its own tokenizer
    assert "128 tokens added for Finnish" in (run / "release" / "main" / "README.md").read_text().replace(
        "\n", " "
    )


def test_what_is_measured_on_the_way_begins_with_the_base_and_improves(recipes):
    lines = (recipes / "runs" / "extended" / "training" / "heldout.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["tokens"] for row in rows] == [0, 8192, 16384, 24576, 32768]
    assert rows[-1]["languages"]["fi"] < rows[0]["languages"]["fi"]


def test_a_base_of_another_shape_is_refused_before_anything_starts(tmp_path):
    continued = continued_recipe()
    continued["model"]["n_layers"] = 3
    write_recipes(tmp_path, base=tiny_recipe("base", "english"), continued=continued)
    (problem,) = check(load_recipe(tmp_path / "continued.yaml"), tmp_path)
    assert str(problem) == "model.n_layers: 3, but the base has 2; write that"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "missing.yaml"}, "missing.yaml"),
        ({"base": "continued.yaml"}, "continues, in the end, from itself"),
    ],
)
def test_a_base_recipe_that_is_not_there_or_goes_in_circles_is_refused(change, message, tmp_path):
    continued = continued_recipe(change["base"])
    write_recipes(tmp_path, continued=continued)
    problems = check(load_recipe(tmp_path / "continued.yaml"), tmp_path)
    assert any(message in str(problem) for problem in problems)


def test_too_few_rows_for_the_added_tokens_are_refused_with_the_number_to_write(tmp_path):
    continued = continued_recipe(name="extended", **EXTENDED)
    continued["model"] = continued["model"] | {"vocab_size": 576}
    write_recipes(tmp_path, base=tiny_recipe("base", "english"), extended=continued)
    (problem,) = check(load_recipe(tmp_path / "extended.yaml"), tmp_path)
    assert "512 entries and 128 are added; make it at least 640, best 640" in str(problem)
