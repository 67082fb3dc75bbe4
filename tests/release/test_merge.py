"""Merging models with their tokenizers."""

import pytest
import torch
from small_models import llama, saved
from transformers import AutoModelForCausalLM, AutoTokenizer
from workshop import tokka

from tokka.evaluation.locate import Located
from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.release.merge import merge
from tokka.tokenizer.train import train_tokenizer

TEXTS = {
    "fi": ["Poro etsii jäkälää lumen alta, ja yö on pitkä."] * 20,
    "en": ["The reindeer looks for lichen under the snow."] * 20,
}


@pytest.fixture
def models(tmp_path):
    """Two models of one shape with the same tokenizer, one with another."""
    config = llama(vocab_size=320)
    places = []
    for name, language in (("a", "fi"), ("b", "fi"), ("c", "en")):
        folder = saved(config, tmp_path / name)
        section = TrainedTokenizer(vocab_size=280, sample_bytes="10K")
        train_tokenizer(section, {language: TEXTS[language]}, folder)
        places.append(Located(folder, folder))
    return places


def test_the_result_is_a_folder_that_transformers_loads_with_its_tokenizer(models, tmp_path):
    first, second, _ = models
    facts = merge(first, second, tmp_path / "m", weight=0.25, method="slerp")
    assert facts["method"] == "slerp"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    ids = AutoTokenizer.from_pretrained(tmp_path / "m")("Poro etsii", return_tensors="pt").input_ids
    own = AutoModelForCausalLM.from_pretrained(first.model)
    with torch.no_grad():  # a model merged with its equal is itself
        assert torch.allclose(model(ids).logits, own(ids).logits, atol=1e-5)


def test_other_tokenizers_are_refused_and_nothing_is_written(models, tmp_path):
    first, _, other = models
    with pytest.raises(ValueError, match=r"their tokenizers .* differ, so the rows of their embeddings mean"):
        merge(first, other, tmp_path / "m", weight=0.5, method="linear")
    assert not (tmp_path / "m").exists()


def test_a_merge_that_fails_leaves_the_folder_as_it_was(models, tmp_path):
    first, second, _ = models
    merge(first, second, tmp_path / "m", weight=0.5, method="linear")
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    (second.model / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        merge(first, second, tmp_path / "m", weight=0.5, method="linear")
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before


def test_the_command_line_merges_and_says_what_it_made(models, tmp_path):
    first, second, other = models
    done = tokka(
        "merge", first.model, second.model, "--weight", "0.5", "--method", "slerp", "--to", tmp_path / "m"
    )
    assert done.returncode == 0, done.stderr
    assert "parameters" in done.stdout
    refused = tokka("merge", first.model, other.model, "--to", tmp_path / "n")
    assert refused.returncode == 1
    assert "cannot be merged" in refused.stderr
