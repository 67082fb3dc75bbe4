"""Weights from a folder into any layout and back: the same bits, whatever the ranks."""

import json

import pytest
import torch
from ranks import on_ranks
from safetensors.torch import load_file
from small_models import EXAMPLES, built, every_architecture, saved
from weights_programs import one_rank_cannot_write, there_and_back

from tokka.models.identity import Identity
from tokka.models.stored import INDEX, StoredWeights, WeightsError
from tokka.models.weights import load_hf
from tokka.parallel.weights import load_into, save_hf
from tokka.recipe.training import Layout

LAYOUTS = {
    "uneven": {"data": 3},  # 61 rows are no multiple of 3
    "tensor": {"data": 2, "tensor": 2},
    "pipeline": {"pipeline": 2, "tensor": 2},
    "hybrid": {"data": 2, "shard": 1, "pipeline": 2},
}


def ranks(layout):
    return Layout(**layout).ranks


def stored_in(folder):
    return {
        name: tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


CASES = [
    ("llama", "uneven"),
    ("llama_tied", "pipeline"),
    ("bloom_8_heads", "tensor"),
    ("bloom_8_heads", "hybrid"),
]


@pytest.mark.parametrize(("model", "layout"), CASES, ids=lambda name: name)
def test_there_and_back_through_a_layout_is_bit_identical(model, layout, tmp_path):
    layout = LAYOUTS[layout]
    base = saved(EXAMPLES[model], tmp_path / "base", torch.bfloat16, shard_bytes=9000)
    held = on_ranks(ranks(layout), there_and_back, base, tmp_path / "copy", layout)
    assert all(in_part for _, in_part in held) or layout.get("shard") == 1
    before, after = stored_in(base), stored_in(tmp_path / "copy")
    assert after.keys() == before.keys()
    assert all(after[name].dtype == torch.bfloat16 for name in after)
    assert all(torch.equal(after[name], before[name]) for name in before)
    for file in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "copy" / file).read_text()) == json.loads((base / file).read_text())
    index = json.loads((tmp_path / "copy" / INDEX).read_text())["weight_map"]
    assert index.keys() == before.keys()
    files = sorted((tmp_path / "copy").glob("*.safetensors"))
    assert len(files) > 3
    for stored in map(load_file, files):
        assert sum(tensor.nbytes for tensor in stored.values()) <= 9000 or len(stored) == 1
    if "pipeline" in layout:  # both stages hold the embedding, and it was written once
        first, last = held[0][0], held[-1][0]
        assert len(set(first) & set(last)) == 1
        assert set(first) | set(last) == before.keys()


def test_a_rank_that_cannot_write_fails_all_and_leaves_the_folder_as_it_was(tmp_path):
    base = saved(EXAMPLES["llama"], tmp_path / "base")
    target = saved(EXAMPLES["bloom"], tmp_path / "target")
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    said = on_ranks(2, one_rank_cannot_write, base, target)
    assert said[0] == said[1]
    assert "rank 1: " in said[0]
    assert "No space left on device" in said[0]
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "target"]


@every_architecture
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_folder_leaves_as_it_came(config, dtype, tmp_path):
    base = saved(config, tmp_path / "base", dtype)
    stated = json.loads((base / "config.json").read_text())
    stated |= {"bos_token_id": 128000, "eos_token_id": [5, 6], "my_key": {"of": "ours"}}
    stated |= {"transformers_version": "4.43.0"}
    (base / "config.json").write_text(json.dumps(stated))
    generation = {"temperature": 0.6, "top_p": 0.9, "eos_token_id": [5, 6], "do_sample": True}
    (base / "generation_config.json").write_text(json.dumps(generation))
    stored = StoredWeights(base)
    model = built(config)
    load_into(dict(model.named_parameters()), stored)
    identity = Identity.of(stored).changed_to(config)
    assert Identity.from_json(json.loads(json.dumps(identity.as_json()))) == identity
    save_hf(dict(model.named_parameters()), config, tmp_path / "copy", identity=identity)
    assert json.loads((tmp_path / "copy" / "config.json").read_text()) == stated
    assert json.loads((tmp_path / "copy" / "generation_config.json").read_text()) == generation
    before, after = stored_in(base), stored_in(tmp_path / "copy")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {tensor.dtype for tensor in after.values()} == {dtype}


def test_parameters_of_several_dtypes_keep_each_its_own(tmp_path):
    from safetensors.torch import save_file

    base = saved(EXAMPLES["llama"], tmp_path / "base", torch.bfloat16)
    tensors = stored_in(base)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float() + 1e-5
    save_file(tensors, base / "model.safetensors")
    model, config = load_hf(base, dtype=torch.float32)
    identity = Identity.from_json(Identity.of(StoredWeights(base)).as_json())
    save_hf(dict(model.named_parameters()), config, tmp_path / "copy", identity=identity)
    after = stored_in(tmp_path / "copy")
    assert after["model.norm.weight"].dtype == torch.float32
    assert all(torch.equal(after[name], tensors[name]) for name in tensors)


def test_only_what_changed_is_changed_in_the_configuration(tmp_path):
    config = EXAMPLES["llama_scaled"]
    identity = Identity.of(StoredWeights(saved(config, tmp_path / "base", torch.bfloat16)))
    changed = identity.changed_to(
        config.model_copy(update={"vocab_size": 64, "max_sequence_length": 32, "init_std": 0.5})
    )
    different = {key for key in identity.config if changed.config[key] != identity.config[key]}
    assert different == {"vocab_size", "max_position_embeddings"}
    assert changed.config["rope_scaling"] == identity.config["rope_scaling"]


def test_a_model_of_another_shape_is_refused_before_anything_is_read(tmp_path):
    stored = StoredWeights(saved(EXAMPLES["llama"], tmp_path / "base"))
    with pytest.raises(WeightsError, match=r"is \[61, 32\], and the model wants \[64, 32\]"):
        load_into({"model.embed_tokens.weight": torch.zeros(64, 32)}, stored)
    with pytest.raises(WeightsError, match="is not there"):
        load_into({"lm_head.bias": torch.zeros(64)}, stored)
