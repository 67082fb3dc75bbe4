import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tokka.training.checkpoint import CheckpointError, Snapshot, load_newest, save


def snapshot(step: int, size: int = 40) -> Snapshot:
    generator = torch.Generator().manual_seed(step)
    weights = {name: torch.randn(size, 3, generator=generator) for name in ("a.weight", "b.weight")}
    weights["a.weight"][0, 0] = torch.nan  # compared by bits
    moments = {
        f"{moment}.{name}": w.square() for name, w in weights.items() for moment in ("exp_avg", "exp_avg_sq")
    }
    return Snapshot(step, weights, moments, {"sampler": {"fi": {"epoch": 1}}, "tokens": 10 * step})


def assert_is(found: Snapshot | None, expected: Snapshot) -> None:
    assert found is not None
    assert found.step == expected.step
    assert found.state == expected.state
    for part, wanted in ((found.model, expected.model), (found.optimizer, expected.optimizer)):
        assert part.keys() == wanted.keys()
        for name, tensor in wanted.items():
            assert torch.equal(part[name].view(torch.int32), tensor.view(torch.int32))


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path):
    save(tmp_path, snapshot(7), keep=2)
    assert_is(load_newest(tmp_path), snapshot(7))


def test_nothing_saved_is_nothing_loaded(tmp_path: Path):
    assert load_newest(tmp_path / "never") is None


def test_only_the_last_are_kept(tmp_path: Path):
    for step in (8, 9, 10, 100_000_001):
        save(tmp_path, snapshot(step), keep=2)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000010", "step-100000001"}
    assert_is(load_newest(tmp_path), snapshot(100_000_001))


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json", "index.json"])
def test_any_flipped_byte_is_recognised(tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]):
    save(tmp_path, snapshot(1, size=2), keep=2)
    save(tmp_path, snapshot(2, size=2), keep=2)
    path = tmp_path / "step-00000002" / file
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 60)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert_is(load_newest(tmp_path), snapshot(1, size=2))
        assert f"step-00000002 is damaged ({file} is not as it was written)" in capsys.readouterr().err
        (tmp_path / "step-00000002.damaged").rename(tmp_path / "step-00000002")
    path.write_bytes(content)
    assert_is(load_newest(tmp_path), snapshot(2, size=2))


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json", "index.json"])
@pytest.mark.parametrize("kept", [None, 0, 10, -1])
def test_a_missing_or_cut_off_file_is_recognised(tmp_path: Path, file: str, kept: int | None):
    save(tmp_path, snapshot(1), keep=2)
    newest = save(tmp_path, snapshot(2), keep=2)
    content = (newest / file).read_bytes()
    (newest / file).unlink()
    if kept is not None:
        (newest / file).write_bytes(content[:kept])
    assert_is(load_newest(tmp_path), snapshot(1))


def test_a_damaged_one_is_set_aside_and_does_not_count_as_kept(tmp_path: Path):
    for step in (1, 2):
        save(tmp_path, snapshot(step), keep=2)
    (tmp_path / "step-00000002" / "index.json").unlink()
    assert_is(load_newest(tmp_path), snapshot(1))
    save(tmp_path, snapshot(2), keep=2)
    assert_is(load_newest(tmp_path), snapshot(2))
    assert {path.name for path in tmp_path.iterdir()} == {
        "step-00000001",
        "step-00000002",
        "step-00000002.damaged",
    }


def test_when_all_are_damaged_training_begins_again(tmp_path: Path):
    for step in (1, 2):
        (save(tmp_path, snapshot(step), keep=2) / "model.safetensors").write_bytes(b"")
    assert load_newest(tmp_path) is None


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path):
    save(tmp_path, snapshot(1), keep=2)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000002.part")
    assert_is(load_newest(tmp_path), snapshot(1))
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001"}


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system of ``size`` bytes at ``folder``; where that is not allowed, limit every file."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        ).returncode
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 8, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path: Path):
    folder = tmp_path / "disk"
    with small_disk(folder, 2**20):
        save(folder, snapshot(1, size=1000), keep=2)
        with pytest.raises(
            CheckpointError, match=r"step-00000002 could not be written.*step-00000001 stays whole"
        ):
            save(folder, snapshot(2, size=100_000), keep=2)
        assert [path.name for path in folder.iterdir()] == ["step-00000001"]
        assert_is(load_newest(folder), snapshot(1, size=1000))


def test_a_disk_that_returns_other_bytes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from tokka.training import checkpoint

    def careless(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save_file(tensors, path)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    save_file = checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", careless)
    with pytest.raises(CheckpointError, match=r"b\.weight read back from model\.safetensors differs"):
        save(tmp_path, snapshot(1), keep=2)
    assert load_newest(tmp_path) is None
