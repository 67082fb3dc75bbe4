"""A rank is killed at a random moment; the run goes on, on the same layout, on another, on one process."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranks import on_ranks
from ranks_that_train import recipe_of, train, train_and_be_killed
from small_job import assert_same_result, curve, make_job

from tokka.training.faults import VARIABLE
from tokka.training.interrupt import Interrupted
from tokka.training.run import run

BUDGETS = {"finnish": 2304, "english": 768}
LONGER: dict[str, Any] = {"tokens": 3072, "checkpoints": {"every": 256, "revisions": 3072}}
"""24 steps, with a checkpoint every second one."""


def kill_one_of_four(folder: Path, layout: str, chance: random.Random) -> None:
    """Train on four ranks, one of which is killed."""
    victim, seconds = chance.randrange(4), chance.uniform(0, 0.15)
    with pytest.raises(AssertionError, match=r"rank \d (died|raised)"):
        on_ranks(4, train_and_be_killed, folder, layout, victim, seconds, LONGER)
    assert len(curve(folder)) < 24


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_killed_on_two_layouts_ends_on_one_process_with_the_same_curve(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    kill_one_of_four(tmp_path / "killed", "dp2 tp2", chance)
    kill_one_of_four(tmp_path / "killed", "pp2 dp2", chance)
    for folder in (tmp_path / "killed", tmp_path / "whole"):
        run(make_job(folder, recipe_of("one", **LONGER), BUDGETS))
    found, expected = curve(tmp_path / "killed"), curve(tmp_path / "whole")
    for key in ("step", "tokens", "lr", "skipped", "sources"):
        assert [row[key] for row in found] == [row[key] for row in expected]
    for key in ("loss", "grad_norm"):
        np.testing.assert_allclose([row[key] for row in found], [row[key] for row in expected], rtol=1e-5)


def test_a_run_stopped_on_one_process_goes_on_on_two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "term rank=0 step=11")
    with pytest.raises(Interrupted):
        run(make_job(tmp_path / "grown", recipe_of("one", **LONGER), BUDGETS))
    on_ranks(2, train, tmp_path / "grown", "dp2", "", LONGER)
    monkeypatch.delenv(VARIABLE)
    run(make_job(tmp_path / "whole", recipe_of("one", **LONGER), BUDGETS))
    losses = [[row["loss"] for row in curve(tmp_path / name)] for name in ("grown", "whole")]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_run_killed_and_taken_up_on_the_same_layout_ends_with_the_same_bytes(tmp_path: Path):
    kill_one_of_four(tmp_path / "killed", "dp2 tp2", random.Random(3))
    for folder in (tmp_path / "killed", tmp_path / "whole"):
        on_ranks(4, train, folder, "dp2 tp2", "", LONGER)
    assert_same_result(tmp_path / "killed", tmp_path / "whole")
