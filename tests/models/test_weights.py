"""Folders: what is saved loads in plain transformers and back here; what is broken is refused by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import EXAMPLES, TOKENS, built, difference, every_architecture, random_tokens, saved

from tokka.models.stored import INDEX, WEIGHTS, WeightsError
from tokka.models.weights import load_hf


@every_architecture
@pytest.mark.parametrize("shard_bytes", [10**9, 9000], ids=["one_file", "shards"])
def test_a_saved_model_comes_back_bit_for_bit(config, shard_bytes, tmp_path):
    model, found = load_hf(saved(config, tmp_path / "model", shard_bytes=shard_bytes))
    assert found == config
    for (name, parameter), original in zip(model.named_parameters(), built(config).parameters(), strict=True):
        assert torch.equal(parameter, original), name
        assert parameter.requires_grad


@every_architecture
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_transformers_loads_it_and_gives_the_same_logits(config, dtype, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = saved(config, tmp_path / "model", dtype, shard_bytes=9000)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    assert theirs.dtype == dtype
    ours, _ = load_hf(folder)
    mine = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        assert torch.equal(parameter, mine[name]), name
    assert theirs.generation_config.eos_token_id == TOKENS.eos
    tokens = random_tokens(config, 2, 40)
    with torch.no_grad():
        assert difference(ours.float()(tokens), theirs.float()(tokens).logits) < 1e-5


@every_architecture
def test_what_transformers_saves_loads(config, tmp_path):
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(saved(config, tmp_path / "ours"))
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="9KB")
    model, found = load_hf(tmp_path / "theirs")
    assert found == config
    for parameter, original in zip(model.parameters(), built(config).parameters(), strict=True):
        assert torch.equal(parameter, original)


def test_tied_embeddings_are_stored_once(tmp_path):
    stored = load_file(saved(EXAMPLES["llama_tied"], tmp_path / "model") / WEIGHTS)
    assert "lm_head.weight" not in stored
    assert stored.keys() == dict(built(EXAMPLES["llama_tied"]).named_parameters()).keys()


def test_loading_converts_and_keeps_nothing_of_the_files(tmp_path):
    config = EXAMPLES["llama"]
    folder = saved(config, tmp_path / "model")
    model, _ = load_hf(folder, dtype=torch.bfloat16)
    shutil.rmtree(folder)
    expected = built(config).bfloat16()
    for parameter, original in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(parameter, original)


def changed(folder: Path, change) -> None:
    """Rewrite the one file of weights in ``folder``."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop(NORM), r"model: the weights lack model\.norm\.weight"),
        (lambda t: t.clear(), r"the weights lack model\.embed_tokens\.weight, .* and 18 more"),
        (
            lambda t: t.update({"extra": torch.zeros(3)}),
            r"model\.safetensors: tensor extra belongs to no parameter",
        ),
        (
            lambda t: t.update({NORM: torch.zeros(33)}),
            r"model\.safetensors: tensor model\.norm\.weight has shape \[33\], config\.json makes it \[32\]",
        ),
        (
            lambda t: t.update({NORM: torch.zeros(32, dtype=torch.int8)}),
            r"model\.safetensors: tensor model\.norm\.weight has dtype I8",
        ),
    ],
)
def test_wrong_tensors_are_refused_by_file_and_name(change, complaint, tmp_path):
    folder = saved(EXAMPLES["llama"], tmp_path / "model")
    changed(folder, change)
    with pytest.raises(WeightsError, match=complaint):
        load_hf(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-7],
        lambda data: data[: len(data) // 2],
        lambda data: data[:5],
        lambda data: b"",
        lambda data: data + b"more",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:8] + b"}" + data[9:],
        lambda data: b"PK\x03\x04 a pickle in a zip" + data[24:],
    ],
    ids=["tail", "half", "header", "empty", "longer", "length", "json", "pickle"],
)
def test_a_damaged_file_is_refused_by_name(damage, tmp_path):
    folder = saved(EXAMPLES["bloom"], tmp_path / "model")
    (folder / WEIGHTS).write_bytes(damage((folder / WEIGHTS).read_bytes()))
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged"):
        load_hf(folder)


def test_a_missing_shard_is_refused_with_what_it_holds(tmp_path):
    folder = saved(EXAMPLES["bloom"], tmp_path / "model", shard_bytes=9000)
    index = json.loads((folder / INDEX).read_text())["weight_map"]
    lost = index["transformer.ln_f.weight"]
    (folder / lost).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{lost} is missing; .*transformer\."):
        load_hf(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = saved(EXAMPLES["bloom"], tmp_path / "model", shard_bytes=9000)
    files = sorted(folder.glob("*.safetensors"))
    twice = {**load_file(files[0]), **load_file(files[1])}
    save_file(twice, files[1])
    with pytest.raises(WeightsError, match="was already in another file"):
        load_hf(folder)


@pytest.mark.parametrize("file", ["../other.safetensors", "/etc/passwd", 7, "sub/x.safetensors"])
def test_an_index_that_leads_out_of_the_folder_is_refused(file, tmp_path):
    folder = saved(EXAMPLES["bloom"], tmp_path / "model", shard_bytes=9000)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"transformer.ln_f.weight": file}}))
    with pytest.raises(WeightsError, match="not the name of a file in this folder"):
        load_hf(folder)


@pytest.mark.parametrize("content", ["{", "[]", '"text"', "{}", '{"weight_map": []}'])
def test_a_broken_index_is_refused(content, tmp_path):
    folder = saved(EXAMPLES["bloom"], tmp_path / "model", shard_bytes=9000)
    (folder / INDEX).write_text(content)
    with pytest.raises(WeightsError, match="index"):
        load_hf(folder)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe"])
def test_a_broken_configuration_is_refused(content, tmp_path):
    folder = saved(EXAMPLES["bloom"], tmp_path / "model")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_hf(folder)


def test_a_folder_without_configuration_or_without_safetensors_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        load_hf(tmp_path)
    folder = saved(EXAMPLES["bloom"], tmp_path / "model")
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="only safetensors are read"):
        load_hf(folder)
