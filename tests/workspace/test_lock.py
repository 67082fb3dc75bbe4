"""Locks: one process at a time, named while it works, gone with it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokka.workspace.lock import InUseError, alone_in, holder

HOLD = """
import sys, time
from pathlib import Path
from tokka.workspace.lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of ``tmp_path``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_what_another_holds_is_refused_and_it_is_named(other: subprocess.Popen[str], tmp_path: Path):
    assert holder(tmp_path / ".lock") == f"process {other.pid} on {os.uname().nodename}"
    with pytest.raises(InUseError, match=f"process {other.pid}"), alone_in(tmp_path, patience=0.3):
        pass


def test_a_killed_holder_holds_nothing(other: subprocess.Popen[str], tmp_path: Path):
    other.kill()
    with alone_in(tmp_path, patience=10):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert holder(tmp_path / ".lock") is None


def test_looking_takes_no_lock_and_makes_no_file(tmp_path: Path):
    assert holder(tmp_path / ".lock") is None
    assert not (tmp_path / ".lock").exists()
    with alone_in(tmp_path):
        pass
    assert holder(tmp_path / ".lock") is None
    with alone_in(tmp_path):
        pass


def test_a_lock_of_a_part_does_not_keep_others_from_the_whole(tmp_path: Path):
    with alone_in(tmp_path), alone_in(tmp_path, ".locks/corpus/finnish"):
        assert holder(tmp_path / ".locks" / "corpus" / "finnish") is not None


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path):
    (tmp_path / "run").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file; name a folder"), alone_in(tmp_path / "run"):
        pass
