"""A base with a fault, in its folder or in how it is read, is not continued; one without is."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from trained_models import BLOOM, LLAMA, probe, written

from tokka.models import spec
from tokka.models.spec import Config, spec_for
from tokka.models.stored import WEIGHTS
from tokka.training.base import BaseCheck, check_base, targets_for


@pytest.fixture(scope="module", params=[LLAMA, BLOOM], ids=["llama", "bloom"])
def config(request: pytest.FixtureRequest) -> Config:
    return request.param


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Config], Path]:
    """The trained models, each written when it is first asked for; do not write to them."""
    made: dict[str, Path] = {}

    def folder(config: Config) -> Path:
        if config.architecture not in made:
            made[config.architecture] = written(config, tmp_path_factory.mktemp("base") / config.architecture)
        return made[config.architecture]

    return folder


def look(folder: Path, config: Config) -> BaseCheck:
    return check_base(folder, config, probe())[0]


def with_weights(folder: Path, to: Path, change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> Path:
    """Copy a model and change its weights."""
    to.mkdir()
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = {name: tensor.contiguous() for name, tensor in change(load_file(folder / WEIGHTS)).items()}
    save_file(tensors, to / WEIGHTS)
    return to


def with_config(folder: Path, to: Path, **changes: object) -> Path:
    """Copy a model and change its configuration."""
    with_weights(folder, to, lambda tensors: tensors)
    stated = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(stated | changes))
    return to


def test_a_sound_base_is_found_sound_and_its_loss_is_that_of_transformers(folders, config):
    found = look(folders(config), config)
    assert found.problems == ()
    assert found.difference < 1e-5
    assert found.texts["sentences"].known > 0.5
    assert all(other.loss > found.loss and other.everywhere > 5 for other in found.readings.values())
    assert found.loss == pytest.approx(sum(found.row_losses) / len(found.row_losses))
    assert len(found.lines()) == 3


# Faults of the import: the folder is sound, and transformers shows it.


def exchanged(first: str, second: str) -> Callable[[str], str]:
    """Return a map of names in which ``first`` and ``second`` have changed places."""
    places = {first: second, second: first}
    return lambda name: re.sub(f"{re.escape(first)}|{re.escape(second)}", lambda m: places[m[0]], name)


IMPORT_FAULTS = {"q_and_k": exchanged("q_proj", "k_proj"), "layers": exchanged("layers.0", "layers.2")}


@pytest.mark.parametrize("fault", IMPORT_FAULTS.values(), ids=IMPORT_FAULTS.keys())
def test_weights_that_are_imported_wrongly_are_noticed(folders, fault, monkeypatch):
    broken = dataclasses.replace(spec.LLAMA, parameter_of=lambda config, stored: fault(stored))
    monkeypatch.setitem(spec.SPECS, "llama", broken)
    found = look(folders(LLAMA), LLAMA)
    assert found.difference > 0.1
    assert re.match(
        r"its loss is \d\.\d+ as tokka computes it and \d\.\d+ in transformers", found.problems[0]
    )


@pytest.mark.parametrize(
    "change", [{"rope_base": 500_000.0}, {"rope_scaling": None}, {"norm_eps": 0.1}], ids=str
)
def test_a_recipe_that_states_another_model_is_noticed(folders, change):
    found = look(folders(LLAMA), LLAMA.model_copy(update=change))
    assert "compare them key by key, rope_base and rope_scaling first" in found.problems[0]


# Faults of the folder: transformers loads it without complaint, and computes the same as tokka.


def renamed(change: Callable[[str], str]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {change(name): tensor for name, tensor in tensors.items()}


def in_pairs(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As Meta orders the rows of queries and keys, and the Hugging Face layout does not."""
    return {
        name: tensor.unflatten(0, (4, 2, -1)).transpose(1, 2).flatten(0, 2)
        if "q_proj" in name or "k_proj" in name
        else tensor
        for name, tensor in tensors.items()
    }


def all_queries_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.unflatten(0, (4, 3, -1)).transpose(0, 1).flatten(0, 2) if "query_key" in name else tensor
        for name, tensor in tensors.items()
    }


FOLDER_FAULTS = {
    "q_and_k": (LLAMA, renamed(exchanged("q_proj", "k_proj")), "read with queries and keys exchanged"),
    "layers": (LLAMA, renamed(exchanged("layers.1", "layers.2")), "read with layers 1 and 2 exchanged"),
    "pairs": (LLAMA, in_pairs, "read with rotary pairs side by side"),
    "bloom_layers": (BLOOM, renamed(exchanged("h.0", "h.1")), "read with layers 0 and 1 exchanged"),
    "bloom_fused": (BLOOM, all_queries_first, "read with all queries first"),
}


@pytest.mark.parametrize(("config", "fault", "complaint"), FOLDER_FAULTS.values(), ids=FOLDER_FAULTS.keys())
def test_weights_that_lie_wrongly_in_the_folder_are_noticed(folders, config, fault, complaint, tmp_path):
    found = look(with_weights(folders(config), tmp_path / "broken", fault), config)
    assert found.difference < 1e-5
    assert any(problem.startswith(complaint) for problem in found.problems)


CONFIG_FAULTS = {
    "rope_base": (
        {"rope_theta": 500_000.0},
        {"rope_base": 500_000.0},
        "read with rope_base 10000 its loss on",
    ),
    "rope_scaling": (
        {"rope_scaling": None},
        {"rope_scaling": None},
        "read with rope_scaling by 8 its loss on",
    ),
}


@pytest.mark.parametrize(("stated", "recipe", "complaint"), CONFIG_FAULTS.values(), ids=CONFIG_FAULTS.keys())
def test_a_wrong_configuration_that_the_recipe_repeats_is_noticed(
    folders, stated, recipe, complaint, tmp_path
):
    rope = json.loads((folders(LLAMA) / "config.json").read_text())["rope_parameters"]
    if "rope_theta" in stated:
        stated = stated | {"rope_parameters": rope | stated}
    else:
        stated = stated | {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}
    broken = with_config(folders(LLAMA), tmp_path / "broken", **stated)
    found = look(broken, LLAMA.model_copy(update=recipe))
    assert found.difference < 1e-5
    assert any(problem.startswith(complaint) for problem in found.problems)


def test_layers_in_any_wrong_order_are_noticed(folders, tmp_path):
    order = {"layers.0": "layers.1", "layers.1": "layers.2", "layers.2": "layers.0"}
    fault = renamed(lambda name: re.sub(r"layers\.\d", lambda m: order[m[0]], name))
    assert look(with_weights(folders(LLAMA), tmp_path / "broken", fault), LLAMA).problems


def test_an_untrained_model_is_noticed(config, tmp_path):
    model = spec_for(config).build(config)
    spec_for(config).initialise(model, config, seed=3)
    found = look(written(config, tmp_path / "random", model), config)
    assert found.difference < 1e-5
    assert [problem.partition(":")[0] for problem in found.problems] == [
        f"its loss of {found.loss:.4f} is that of an untrained model"
    ]


def test_weights_that_are_not_numbers_are_noticed(folders, tmp_path):
    def spoil(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors["model.norm.weight"][3] = torch.nan
        return tensors

    assert len(look(with_weights(folders(LLAMA), tmp_path / "broken", spoil), LLAMA).problems) == 2


def test_a_llama_of_the_3_1_vocabulary_without_its_scaling_is_noticed():
    from tokka.training.base import _known_faults

    long = LLAMA.model_copy(update={"vocab_size": 128_256, "max_sequence_length": 131_072})
    assert not list(_known_faults(long))
    (problem,) = _known_faults(long.model_copy(update={"rope_scaling": None}))
    assert "Llama 3.1 and 3.2" in problem
    assert not list(_known_faults(LLAMA.model_copy(update={"rope_scaling": None})))


def test_fewer_tokens_of_a_larger_model_are_looked_at():
    assert targets_for(10**6) == 8192
    assert 512 <= targets_for(8 * 10**9) < 8192 or torch.cuda.is_available()
    assert targets_for(10**15) == 512
