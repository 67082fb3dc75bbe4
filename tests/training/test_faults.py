"""What goes wrong on one rank, and what follows of it on all."""

import errno
import re
import signal
from pathlib import Path

import pytest
from ranks import on_ranks
from ranks_that_train import outcome
from small_job import curve
from workshop import REPOSITORY

from tokka.training.checkpoint.saved import load_newest
from tokka.training.faults import KINDS, Fault, parse_faults


def test_faults_are_read_from_text():
    assert parse_faults("kill rank=1 step=5; nan  rank=0 step=12;") == [
        Fault("kill", 1, 5),
        Fault("nan", 0, 12),
    ]
    assert parse_faults("") == []


@pytest.mark.parametrize(
    "text", ["kil rank=1 step=5", "kill rank=1", "kill step=1 rank=5", "nan rank=-1 step=5"]
)
def test_a_fault_that_is_none_is_refused_with_those_there_are(text: str):
    with pytest.raises(
        ValueError, match=r"TOKKA_FAULTS: .* is no fault; write KIND .* kill, hang, freeze, nan"
    ):
        parse_faults(text)


def skipped(folder: Path) -> list[int]:
    return [row["step"] for row in curve(folder) if row["skipped"]]


@pytest.mark.parametrize("layout", ["dp2", "tp2", "pp2 dp2"])
def test_a_rank_that_sees_no_number_makes_all_skip_together(layout: str, tmp_path: Path):
    ranks = 4 if layout == "pp2 dp2" else 2
    more = {"checkpoints": {"every": 256, "revisions": 2048}}
    assert not any(on_ranks(ranks, outcome, tmp_path, layout, "nan rank=1 step=3; nan rank=0 step=9", more))
    assert skipped(tmp_path) == [3, 9]
    losses = [row["loss"] for row in curve(tmp_path) if not row["skipped"]]
    assert losses[-1] < losses[0] - 0.5


def test_too_many_steps_without_numbers_stop_all_ranks_with_the_reason(tmp_path: Path):
    faults = "; ".join(f"nan rank=1 step={step}" for step in (3, 4))
    more = {"guard": {"max_bad_steps": 2}}
    for said in on_ranks(2, outcome, tmp_path, "dp2", faults, more):
        assert said.startswith("TrainingStoppedError: stopped at step 4: 2 steps in a row were skipped")


def test_sigterm_to_one_rank_saves_and_ends_all_at_the_same_step(tmp_path: Path):
    said = on_ranks(2, outcome, tmp_path / "stopped", "dp2", "term rank=1 step=5")
    assert said == [f"Interrupted: {128 + signal.SIGTERM}"] * 2
    saved = load_newest(tmp_path / "stopped" / "checkpoints")
    assert saved is not None
    assert saved.step == 5
    assert not any(on_ranks(2, outcome, tmp_path / "stopped", "dp2"))
    assert not any(on_ranks(2, outcome, tmp_path / "whole", "dp2"))
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")


def test_a_full_disk_on_one_rank_leaves_the_checkpoint_before_and_is_told_by_all(tmp_path: Path):
    for said in on_ranks(2, outcome, tmp_path, "dp2", "full rank=1 step=6"):
        assert said.startswith("CheckpointError: ")
        assert f"step-00000006 could not be written (rank 1: [Errno {errno.ENOSPC}]" in said
        assert "step-00000004 stays whole. Make room, then give the same command again" in said
    saved = load_newest(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.step == 4
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_a_changed_recipe_is_refused_by_all_ranks_with_the_difference(tmp_path: Path):
    assert any(on_ranks(2, outcome, tmp_path, "dp2", "term rank=0 step=2"))
    for said in on_ranks(2, outcome, tmp_path, "dp2", "", {"optimizer": {"lr": 0.02}}):
        assert said.startswith("ValueError: ")
        assert "was made with other settings: training.optimizer.lr was 0.01 and is 0.02" in said


def test_the_page_lists_every_fault_in_the_words_of_the_code():
    page = (REPOSITORY / "docs" / "faults.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == KINDS
