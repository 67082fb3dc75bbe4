import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from snapshots import assert_is, save_whole, whole_snapshot
from torch import Tensor

from tokka.training.checkpoint import saver as saver_module
from tokka.training.checkpoint.saved import load_newest
from tokka.training.checkpoint.saver import Saver
from tokka.training.checkpoint.snapshot import CheckpointError, Snapshot

FILES = ["rank-00000.safetensors", "rank-00000.json", "state.json", "index.json"]


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path):
    save_whole(tmp_path, 7)
    saved = load_newest(tmp_path)
    assert_is(saved, 7)
    assert saved is not None
    assert saved.own == {"rank": 0}


def test_one_process_writes_plain_safetensors_by_parameter_name(tmp_path: Path):
    found = load_file(save_whole(tmp_path, 7) / "rank-00000.safetensors")
    expected = whole_snapshot(7).tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name].nan_to_num(), t.nan_to_num()) for name, t in expected.items())


def test_views_are_saved_without_the_storage_they_view(tmp_path: Path):
    storage = torch.zeros(1000, 1000)
    snapshot = Snapshot(1, {"w": storage[3:5, ::2]}, {}, {}, {})
    with closing(Saver(tmp_path, keep=1)) as saver:
        saver.save(snapshot)
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) < 10_000


def test_nothing_saved_is_nothing_loaded(tmp_path: Path):
    assert load_newest(tmp_path / "never") is None


def test_only_the_last_are_kept(tmp_path: Path):
    save_whole(tmp_path, 8, 9, 10, 100_000_001)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000010", "step-100000001"}
    assert_is(load_newest(tmp_path), 100_000_001)


def test_milestones_are_never_removed(tmp_path: Path):
    save_whole(tmp_path, 1, 2, milestones=True)
    save_whole(tmp_path, 3, 4, 5, keep=1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-00000001-milestone", "step-00000002-milestone", "step-00000005"}
    shutil.rmtree(tmp_path / "step-00000005")
    assert_is(load_newest(tmp_path), 2)


@pytest.mark.parametrize("file", FILES)
def test_any_flipped_byte_is_recognised(tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]):
    save_whole(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / file
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 60)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert_is(load_newest(tmp_path), 1)
        assert f"step-00000002 is damaged ({file} is not as it was written)" in capsys.readouterr().err
        (tmp_path / "step-00000002.damaged").rename(tmp_path / "step-00000002")
    path.write_bytes(content)
    assert_is(load_newest(tmp_path), 2)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kept", [None, 0, 10, -1])
def test_a_missing_or_cut_off_file_is_recognised(tmp_path: Path, file: str, kept: int | None):
    newest = save_whole(tmp_path, 1, 2)
    content = (newest / file).read_bytes()
    (newest / file).unlink()
    if kept is not None:
        (newest / file).write_bytes(content[:kept])
    assert_is(load_newest(tmp_path), 1)


def test_a_damaged_one_is_set_aside_and_does_not_count_as_kept(tmp_path: Path):
    (save_whole(tmp_path, 1, 2) / "index.json").unlink()
    assert_is(load_newest(tmp_path), 1)
    save_whole(tmp_path, 2)
    assert_is(load_newest(tmp_path), 2)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-00000001", "step-00000002", "step-00000002.damaged"}


def test_when_all_are_damaged_training_begins_again(tmp_path: Path):
    for step in (1, 2):
        (save_whole(tmp_path, step) / "rank-00000.safetensors").write_bytes(b"")
    assert load_newest(tmp_path) is None


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path):
    save_whole(tmp_path, 1)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000002.part")
    assert_is(load_newest(tmp_path), 1)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001"}


@pytest.mark.parametrize("changed", ["another shape", "another name"])
def test_a_checkpoint_of_another_model_is_refused(changed: str, tmp_path: Path):
    save_whole(tmp_path, 1)
    saved = load_newest(tmp_path)
    assert saved is not None
    name, shape = ("up.weight", (12, 9)) if changed == "another shape" else ("side.weight", (2, 2))
    with pytest.raises(ValueError, match=rf"of another model: this one has {name} as \[{shape[0]}, "):
        saved.load({name: torch.zeros(shape)})


# What goes on while a save is being written.


@contextmanager
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have the writing of tensors wait for the event that is yielded."""
    released = threading.Event()
    write = saver_module.write_pieces

    def wait_and_write(path: Path, pieces: Mapping[str, Tensor]) -> dict[str, Any]:
        assert released.wait(60)
        return write(path, pieces)

    monkeypatch.setattr(saver_module, "write_pieces", wait_and_write)
    yield released
    released.set()


def test_what_is_saved_is_the_moment_of_the_call_whatever_changes_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    snapshot = whole_snapshot(4)
    with closing(Saver(tmp_path, keep=2)) as saver, slow_disk(monkeypatch) as released:
        saver.save(snapshot)
        saver.wait_for_copy()
        for tensor in snapshot.tensors.values():
            tensor.zero_()
        assert load_newest(tmp_path / "not yet") is None
        assert not list(tmp_path.glob("step-*"))
        released.set()
        saver.wait()
        assert_is(load_newest(tmp_path), 4)


def test_buffers_are_used_again(tmp_path: Path):
    with closing(Saver(tmp_path, keep=2)) as saver:
        saver.save(whole_snapshot(1))
        assert saver._staging is not None
        before = [buffer.data_ptr() for buffer in saver._staging._buffers.values()]
        saver.save(whole_snapshot(2))
        assert [buffer.data_ptr() for buffer in saver._staging._buffers.values()] == before
    assert_is(load_newest(tmp_path), 2)


def test_a_failed_write_is_told_at_the_next_save_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with closing(Saver(tmp_path, keep=2)) as saver:
        with monkeypatch.context() as patch:
            patch.setattr(saver_module, "write_pieces", lambda *_: (_ for _ in ()).throw(OSError("no disk")))
            saver.save(whole_snapshot(1))
            with pytest.raises(CheckpointError, match=r"step-00000001 could not be written \(no disk\)"):
                saver.save(whole_snapshot(2))
        assert not list(tmp_path.iterdir())
        saver.save(whole_snapshot(3))
    assert_is(load_newest(tmp_path), 3)


def test_closing_lets_a_write_come_to_its_end(tmp_path: Path):
    saver = Saver(tmp_path, keep=2)
    saver.save(whole_snapshot(1, scale=1000))
    saver.close()
    assert_is(load_newest(tmp_path), 1, scale=1000)


# Disks that fail.


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
        save_whole(folder, 1, scale=10)
        with pytest.raises(
            CheckpointError, match=r"step-00000002 could not be written.*step-00000001 stays whole"
        ):
            save_whole(folder, 2, scale=1000)
        assert [path.name for path in folder.iterdir()] == ["step-00000001"]
        assert_is(load_newest(folder), 1, scale=10)


def test_a_disk_that_returns_other_bytes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = saver_module.write_pieces

    def careless(path: Path, pieces: Mapping[str, Tensor]) -> dict[str, Any]:
        described = write(path, pieces)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        return described

    monkeypatch.setattr(saver_module, "write_pieces", careless)
    with pytest.raises(CheckpointError, match=r"rank-00000\.safetensors read back from the disk differs"):
        save_whole(tmp_path, 1)
    assert load_newest(tmp_path) is None
