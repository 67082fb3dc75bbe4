"""A base that is unsound stops the line before anything is trained; one that is sound goes through."""

import shutil
from pathlib import Path

import pytest
import torch
from continued import continued_recipe, tiny_recipe, write_recipes
from workshop import REPOSITORY, tokka

from tokka.models.stored import StoredWeights
from tokka.pipeline.run import run_recipe
from tokka.recipe.load import RecipeError, load_recipe
from tokka.training.base import BaseModelError
from tokka.training.continued import LookedAt
from tokka.workspace.files import read_json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model``, a base that learned from real text for seconds, and ``continued.yaml``."""
    folder = tmp_path_factory.mktemp("check")
    longer = tiny_recipe("base", "english")["training"] | {"tokens": 131_072, "micro_batch": 16}
    shorter = longer | {"guard": {"base": "refuse"}, "tokens": 4096, "schedule": {}, "checkpoints": {}}
    write_recipes(
        folder,
        base=tiny_recipe("base", "english", training=longer),
        continued=continued_recipe("model", training=shorter),
    )
    run_recipe(load_recipe(folder / "base.yaml"), root=folder, folder=folder / "runs" / "base")
    shutil.copytree(folder / "runs" / "base" / "release" / "main", folder / "model")
    return folder


def test_a_sound_base_goes_through_and_its_first_loss_is_recorded(made, capsys):
    run = made / "runs" / "continued"
    run_recipe(load_recipe(made / "continued.yaml"), root=made, folder=run, to="training")
    shown = capsys.readouterr().err
    assert "base: loss " in shown
    assert "base: documents begin with nothing and end with </s> (2)" in shown
    facts = read_json(run / "base" / "manifest.json")["facts"]
    assert facts["problems"] == []
    english = facts["texts"]["english"]
    assert facts["best"] == "english"
    assert english["loss"] < english["unigram_loss"]
    assert facts["difference"] < 1e-5
    assert len(facts["readings"]) == 6
    initial = read_json(run / "training" / "manifest.json")["facts"]["initial"]
    assert initial["step"] == 0
    assert initial["loss"] == pytest.approx(facts["loss"], rel=0.1)
    assert initial["loss"] == pytest.approx(initial["base_loss"], rel=1e-4)
    revision = next((run / "training" / "revisions").iterdir())
    assert read_json(revision / "config.json") == read_json(made / "model" / "config.json")


def test_what_comes_before_training_can_be_asked_for_alone(made):
    run = made / "runs" / "ready"
    run_recipe(load_recipe(made / "continued.yaml"), root=made, folder=run, to="ready")
    assert {path.parent.name for path in run.glob("*/manifest.json")} >= {"base", "mixture", "tokenizer"}
    assert not (run / "training").exists()


def untrained(made: Path, folder: Path) -> Path:
    """Copy ``made`` with weights drawn at random."""
    shutil.copytree(made / "model", folder / "model")
    shutil.copy(made / "continued.yaml", folder)
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder / "model")
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    return folder


def test_an_untrained_base_is_refused_before_anything_is_trained(made, tmp_path):
    folder = untrained(made, tmp_path)
    run = folder / "run"
    with pytest.raises(
        BaseModelError, match=r"(?s)model.base model should not.*is that of an untrained model"
    ):
        run_recipe(load_recipe(folder / "continued.yaml"), root=folder, folder=run, to="training")
    assert not (run / "training").exists()
    assert not (run / "base" / "manifest.json").exists()
    with pytest.raises(BaseModelError, match=r"the base was not looked at"):
        LookedAt.read(run / "base")


def test_it_goes_through_with_a_warning_where_the_recipe_says_so(made, tmp_path, capsys):
    folder = untrained(made, tmp_path)
    recipe = load_recipe(folder / "continued.yaml", ["training.guard.base=warn"])
    run_recipe(recipe, root=folder, folder=folder / "run", to="training")
    assert "base: warning: its loss of" in capsys.readouterr().err
    assert read_json(folder / "run" / "base" / "manifest.json")["facts"]["problems"]
    assert StoredWeights(next((folder / "run" / "training" / "revisions").iterdir()))


def test_a_model_is_looked_at_from_the_command_line(made, tmp_path):
    english = f"en={REPOSITORY / 'src/tokka/demo/corpus/english.jsonl'}"
    sound = tokka("models", "check", made / "model", "--text", english, "--length", "64")
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "llama, 139,584 parameters in 21 tensors" in sound.stdout
    assert "documents begin with nothing and end with </s> (2)" in sound.stdout
    assert "in transformers" in sound.stdout
    broken = untrained(made, tmp_path / "untrained")
    found = tokka("models", "check", broken / "model", "--text", english, "--length", "64")
    assert found.returncode == 1
    assert "that of an untrained model" in found.stdout


def test_what_this_machine_lacks_is_not_told_as_a_fault_of_the_recipe(made, tmp_path):
    recipe = load_recipe(made / "continued.yaml", ["sources.finnish.path=nowhere.jsonl"])
    with pytest.raises(RecipeError, match="continued cannot run on this machine as it is:") as raised:
        run_recipe(recipe, root=made, folder=tmp_path / "run")
    assert "not a valid recipe" not in str(raised.value)
