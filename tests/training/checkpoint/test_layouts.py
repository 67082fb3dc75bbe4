"""What one layout saved is loaded by any other, bit for bit; each byte is on the disk once."""

import os
from pathlib import Path

import pytest
from ranks import on_ranks
from snapshots import (
    Layout,
    assert_is,
    hybrid,
    load_split,
    plain,
    replicas,
    save_and_load_split,
    save_split,
    save_whole,
    sharded,
    stages,
    tensor_parallel_and_sharded,
    whole_snapshot,
)

from tokka.training.checkpoint.saved import load_newest

LAYOUTS = [plain, replicas, sharded, hybrid, tensor_parallel_and_sharded, stages]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_four_ranks_save_what_they_and_one_process_load(layout: Layout, tmp_path: Path):
    results = on_ranks(4, save_and_load_split, tmp_path, layout)
    assert [own for own, _ in results] == [{"rank": rank} for rank in range(4)]
    assert_is(load_newest(tmp_path), 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_byte_is_written_once_and_by_ranks_in_equal_parts(layout: Layout, tmp_path: Path):
    on_ranks(4, save_split, tmp_path, 3, layout)
    sizes = [path.stat().st_size for path in tmp_path.glob("*/*.safetensors")]
    numbers = 4 * sum(tensor.numel() for tensor in whole_snapshot(3).tensors.values())
    headers = sum(int.from_bytes(p.read_bytes()[:8], "little") + 8 for p in tmp_path.glob("*/*.safetensors"))
    assert sum(sizes) - headers == numbers
    assert max(sizes) - headers / 4 < 0.6 * numbers


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (sharded, tensor_parallel_and_sharded),
        (tensor_parallel_and_sharded, stages),
        (stages, hybrid),
        (hybrid, sharded),
    ],
)
@pytest.mark.parametrize("ranks", [2, 6])
def test_another_layout_on_another_number_of_ranks_goes_on(
    before: Layout, after: Layout, ranks: int, tmp_path: Path
):
    on_ranks(4, save_split, tmp_path, 5, before)
    results = on_ranks(ranks, load_split, tmp_path, 5, after)
    owns = [own for own, _ in results]
    assert owns == [{"rank": rank} if rank < 4 else None for rank in range(ranks)]


def test_what_one_process_saved_is_split_over_ranks(tmp_path: Path):
    save_whole(tmp_path, 5)
    on_ranks(4, load_split, tmp_path, 5, tensor_parallel_and_sharded)


@pytest.mark.parametrize("file", ["rank-00003.safetensors", "rank-00001.json", "index.json"])
def test_damage_that_one_rank_finds_sets_it_aside_for_all(file: str, tmp_path: Path):
    on_ranks(4, save_split, tmp_path, 4, sharded)
    on_ranks(4, save_split, tmp_path, 5, sharded)
    path = tmp_path / "step-00000005" / file
    os.truncate(path, path.stat().st_size - 1)
    assert on_ranks(4, load_split, tmp_path, 4, sharded)
    assert (tmp_path / "step-00000005.damaged").is_dir()
