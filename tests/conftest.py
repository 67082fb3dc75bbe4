"""Fixtures for all tests: where the real data lies, and one small finished run of the whole line."""

import fcntl
from pathlib import Path

import pytest
from workshop import REPOSITORY, small_run_command, tokka


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real, openly licensed corpora; tests that need them skip where they are absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real corpora in ../shared/data, which are not part of the repository")
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The whole line at test size, run once from the command line; do not write to it."""
    base = tmp_path_factory.getbasetemp()
    out = (base if worker_id == "master" else base.parent) / "line" / "runs" / "demo"
    out.mkdir(parents=True, exist_ok=True)
    with (out.parent / "lock").open("w") as lock:  # one process of the test runner makes it for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = tokka(*small_run_command(out))
    assert done.returncode == 0, done.stderr
    return out
