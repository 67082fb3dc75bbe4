"""kill -9 at random instants, and the same call again: the result must be the same bytes."""

import multiprocessing
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from small_job import assert_same_result, run_a_longer_job


def start(folder: Path) -> BaseProcess:
    """Start the job in a process of its own, forked from one that has imported all and computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tokka.training.run", "transformers"])
    process = context.Process(target=run_a_longer_job, args=(folder,))
    process.start()
    return process


def kill_until_done(folder: Path, kills: int, within: float, seed: int) -> None:
    """Start the job again and again, and kill it ``kills`` times before letting it finish."""
    instants = random.Random(seed)
    for _ in range(kills):
        process = start(folder)
        process.join(instants.uniform(0.05, within))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
    process = start(folder)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("kills", "seed"), [(4, 1), pytest.param(20, 2, marks=pytest.mark.slow)], ids=["4 kills", "20 kills"]
)
def test_killed_at_random_a_run_ends_with_the_same_bytes(kills: int, seed: int, tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    kill_until_done(whole, kills=0, within=0, seed=seed)
    kill_until_done(killed, kills=kills, within=1.5, seed=seed)
    assert_same_result(killed, whole)
