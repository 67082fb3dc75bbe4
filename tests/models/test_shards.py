"""Files of weights, as the safetensors library reads them."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tokka.models.shards import Entry, SafetensorsWriter, file_names, index_of, split_into_files

TENSORS = {
    "wide": torch.randn(3, 5),
    "half": torch.randn(7).half(),
    "brain": torch.randn(2, 2, 3).bfloat16(),
    "empty": torch.zeros(0, 4),
    "view": torch.randn(1000, 1000)[:, :2],
}


def entries(tensors):
    return {name: Entry(tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def test_the_library_reads_what_was_appended_bit_for_bit(tmp_path):
    with SafetensorsWriter(tmp_path / "x.safetensors", entries(TENSORS)) as writer:
        for name, tensor in TENSORS.items():
            writer.append(name, tensor)
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert (
        tmp_path / "x.safetensors"
    ).stat().st_size < 10_000  # the rest of the storage of a view stays behind


@pytest.mark.parametrize("wrong", [("half", TENSORS["half"]), ("wide", TENSORS["wide"].bfloat16())])
def test_a_tensor_out_of_order_or_of_another_kind_is_refused(wrong, tmp_path):
    writer = SafetensorsWriter(tmp_path / "x.safetensors", entries(TENSORS))
    with pytest.raises(ValueError, match="came where wide"):
        writer.append(*wrong)


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="closed without half, brain"),
        SafetensorsWriter(tmp_path / "x.safetensors", entries(TENSORS)) as writer,
    ):
        writer.append("wide", TENSORS["wide"])


def test_files_keep_to_their_size_and_the_index_finds_every_tensor():
    stated = {f"t{i}": Entry(torch.float32, torch.Size((10,))) for i in range(7)}
    stated["big"] = Entry(torch.bfloat16, torch.Size((100,)))
    files = split_into_files(stated, 100)
    assert files == [["t0", "t1"], ["t2", "t3"], ["t4", "t5"], ["t6"], ["big"]]
    names = file_names(5)
    assert (names[0], names[-1]) == ("model-00001-of-00005.safetensors", "model-00005-of-00005.safetensors")
    index = json.loads(json.dumps(index_of(dict(zip(names, files, strict=True)), stated)))
    assert index["metadata"]["total_size"] == 7 * 40 + 200
    assert index["weight_map"]["t5"] == names[2]
    assert index["weight_map"].keys() == stated.keys()


def test_one_file_has_the_short_name():
    assert file_names(1) == ["model.safetensors"]
