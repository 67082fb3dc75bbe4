"""A base of a real configuration goes into any layout, is trained, and comes out for plain transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from base_programs import STEPS, continue_in, recipe_for, refusals_in
from ranks import on_ranks
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tokka.models.identity import Identity
from tokka.models.readings import losses_of, stated_reading
from tokka.models.spec import spec_for
from tokka.models.stored import StoredWeights
from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer.train import train_tokenizer
from tokka.training.checkpoint.saved import Saved, look_at
from tokka.training.continued import LookedAt
from tokka.training.export import ExportError, export

LLAMA_3: dict[str, Any] = {
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "initializer_range": 0.06,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-05,
    "vocab_size": 384,
}


def rope(factor: float) -> dict[str, Any]:
    return {
        "rope_theta": 500000.0,
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


SHAPES: dict[str, dict[str, Any]] = {
    "Llama 3.1 8B": {"hidden_size": 64, "intermediate_size": 224, "num_attention_heads": 8}
    | {"num_key_value_heads": 2, "rope_parameters": rope(8.0), "tie_word_embeddings": False},
    "Llama 3.1 70B": {"hidden_size": 128, "intermediate_size": 448, "num_attention_heads": 16}
    | {"num_key_value_heads": 2, "rope_parameters": rope(8.0), "tie_word_embeddings": False},
    "Llama 3.2 1B": {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 8}
    | {"num_key_value_heads": 2, "rope_parameters": rope(32.0), "tie_word_embeddings": True},
}
"""The published ratios of widths and heads, and the published rotations; four layers."""


def base_of(shape: str, folder: Path) -> Path:
    """Write a model of random weights, with keys that tokka does not know."""
    config = LlamaConfig(num_hidden_layers=4, **LLAMA_3, **SHAPES[shape])
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stated | {"added_by_hand": {"kept": True}}))
    (folder / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "top_p": 0.9}')
    return folder


def looked_at(base: Path) -> LookedAt:
    """Return what looking at ``base`` gives, without judging it: its weights are random."""
    stored = StoredWeights(base)
    tokens = torch.randint(384, (3, 33), generator=torch.Generator().manual_seed(1))
    (losses,) = losses_of(stored, [stated_reading(stored.config)], tokens, torch.device("cpu"))
    return LookedAt(Identity.of(stored), tokens.numpy(), losses.mean(1).numpy().astype(np.float64))


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By layout, a run that continued the shrunk 8B; and, under "base", what it continued."""
    folder = tmp_path_factory.mktemp("continued")
    base = base_of("Llama 3.1 8B", folder / "base")
    train_tokenizer(TrainedTokenizer(vocab_size=300), {"fi": ["yksi kaksi kolme"] * 9}, folder / "tokenizer")
    runs = {layout: folder / layout for layout in ("dp2", "tp2", "pp2")}
    for run in runs.values():
        shutil.copytree(folder / "tokenizer", run / "tokenizer")
    training = {layout: run / "training" for layout, run in runs.items()}
    on_ranks(2, continue_in, base, looked_at(base), training)
    return runs | {"base": base}


def checkpoint_logits(folder: Path, config: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return what tokka's own model makes of ``tokens`` with the weights of a checkpoint."""
    model = spec_for(config).build(config)
    look_at(folder).load(dict(model.named_parameters()))
    with torch.no_grad():
        return model(tokens)


def transformers_logits(folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(tokens).logits


def assert_given_back(run: Path, base: Path) -> None:
    """What a run published is the base, trained: the same logits everywhere, everything else as it came."""
    tokens = torch.randint(384, (2, 200), generator=torch.Generator().manual_seed(2))
    (revision,) = (run / "revisions").iterdir()
    config = StoredWeights(base).config
    trained = checkpoint_logits(run / "checkpoints" / f"step-{STEPS:08}", config, tokens)
    assert (transformers_logits(revision, tokens) - trained).abs().max() < 1e-5
    assert (transformers_logits(base, tokens) - trained).abs().max() > 1e-2
    for name in ("config.json", "generation_config.json"):
        assert json.loads((revision / name).read_text()) == json.loads((base / name).read_text())
    before, after = stored_in(base), stored_in(revision)
    assert {name: tensor.dtype for name, tensor in after.items()} == {
        name: tensor.dtype for name, tensor in before.items()
    }


def stored_in(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for path in files for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("layout", ["dp2", "tp2", "pp2"])
def test_what_a_layout_trained_and_published_has_the_same_logits_in_transformers(continued, layout):
    assert_given_back(continued[layout] / "training", continued["base"])


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["Llama 3.1 70B", "Llama 3.2 1B"])
def test_so_has_what_layouts_of_four_ranks_trained(shape, tmp_path):
    base = base_of(shape, tmp_path / "base")
    runs = {layout: tmp_path / layout for layout in ("dp2 tp2", "pp2 dp2")}
    on_ranks(4, continue_in, base, looked_at(base), runs)
    for run in runs.values():
        assert_given_back(run, base)


def test_the_loss_before_the_first_step_is_recorded_and_that_of_the_base(continued):
    expected = float(looked_at(continued["base"]).losses[[0, 1, 2, 0]].mean())  # four sequences make a batch
    for layout in ("dp2", "tp2", "pp2"):
        initial = json.loads((continued[layout] / "training" / "initial.json").read_text())
        assert initial["step"] == 0
        assert initial["base_loss"] == pytest.approx(expected)
        assert initial["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_layout_that_makes_another_loss_of_the_base_does_not_train(tmp_path):
    base = base_of("Llama 3.1 8B", tmp_path / "base")
    for said in on_ranks(2, refusals_in, base, looked_at(base), tmp_path, ["dp2", "pp2"]):
        assert len(said) == 2
        assert all("spread over the ranks of training.layout" in one for one in said)
    assert not list(tmp_path.glob("*/metrics.jsonl"))


def test_any_checkpoint_is_exported_and_the_run_is_left_alone(continued, tmp_path):
    for layout in ("tp2", "pp2"):
        run, base = continued[layout], continued["base"]
        shutil.copytree(run, tmp_path / layout)
        run = tmp_path / layout
        (run / "base").mkdir()
        (run / "base" / "identity.json").write_text(json.dumps(looked_at(base).identity.as_json()))
        (run / "base" / "probe.json").write_text('{"tokens": [[1, 2]], "losses": [1.0]}')
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        facts = export(recipe_for(base, layout), run, tmp_path / "model", step=STEPS - 1)
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
        assert facts["step"] == STEPS - 1
        assert facts["loss"] > 5.5
        assert facts["warning"].startswith("it is untrained: its loss is")
        tokens = torch.randint(384, (2, 50), generator=torch.Generator().manual_seed(2))
        config = StoredWeights(base).config
        trained = checkpoint_logits(run / "training/checkpoints" / f"step-{STEPS - 1:08}", config, tokens)
        assert (transformers_logits(tmp_path / "model", tokens) - trained).abs().max() < 1e-5
        assert json.loads((tmp_path / "model" / "config.json").read_text())["added_by_hand"] == {"kept": True}
        assert (tmp_path / "model" / "tokenizer.json").is_file()
        assert export(recipe_for(base, layout), run, tmp_path / "model")["step"] == STEPS


def test_a_checkpoint_that_is_not_there_damaged_or_removed_meanwhile_is_told(
    continued, tmp_path, monkeypatch
):
    shutil.copytree(continued["dp2"], tmp_path / "run")
    run, recipe = tmp_path / "run", recipe_for(continued["base"], "dp2")
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"base": None})})
    with pytest.raises(ExportError, match=r"no checkpoint of step 9 in .*; there are 1, 2, 3"):
        export(recipe, run, tmp_path / "model", step=9)
    damaged = run / "training/checkpoints/step-00000002/rank-00001.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(ExportError, match=r"step-00000002 is damaged \(rank-00001\.safetensors is not as it"):
        export(recipe, run, tmp_path / "model", step=2)
    load = Saved.load

    def load_what_is_removed(found: Saved, tensors: Any) -> None:
        shutil.rmtree(found.path, ignore_errors=True)
        load(found, tensors)

    monkeypatch.setattr(Saved, "load", load_what_is_removed)
    with pytest.raises(ExportError, match="the run removed step-00000001 while it was read"):
        export(recipe, run, tmp_path / "model", step=1)
    assert not (tmp_path / "model").exists()
    shutil.rmtree(run / "training/checkpoints")
    with pytest.raises(ExportError, match=r"there is no checkpoint in .* yet"):
        export(recipe, run, tmp_path / "model")
