import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tokka.training.metrics import Metrics, StepLog, read_steps


def row(step: int, loss: float | None = 2.0) -> dict[str, Any]:
    return {"step": step, "loss": loss, "lr": 1e-3, "grad_norm": 0.5, "tokens_per_second": 100.0}


def test_lines_come_back_in_order(tmp_path: Path):
    log = StepLog(tmp_path / "log.jsonl", last_step=0)
    for step in (1, 2, 3):
        log.append(row(step, loss=0.1 + step))
    assert list(read_steps(tmp_path / "log.jsonl")) == [row(step, loss=0.1 + step) for step in (1, 2, 3)]


def test_reopening_cuts_off_what_came_after_the_checkpoint(tmp_path: Path):
    log = StepLog(tmp_path / "log.jsonl", last_step=0)
    for step in (1, 2, 3, 4):
        log.append(row(step))
    again = StepLog(tmp_path / "log.jsonl", last_step=2)
    again.append(row(3, loss=9.0))
    assert list(read_steps(tmp_path / "log.jsonl")) == [row(1), row(2), row(3, loss=9.0)]


@pytest.mark.parametrize(
    "rest", [b'{"step": 3, "lo', b'{"step": 3}', b"\0\0\0\0", b"\0\0\n", b"\xff\n", b"7\n"]
)
def test_half_a_line_is_tolerated_and_cut_off(tmp_path: Path, rest: bytes):
    path = tmp_path / "log.jsonl"
    path.write_bytes(json.dumps(row(1)).encode() + b"\n" + json.dumps(row(2)).encode() + b"\n" + rest)
    assert list(read_steps(path)) == [row(1), row(2)]
    log = StepLog(path, last_step=5)
    log.append(row(3))
    assert list(read_steps(path)) == [row(1), row(2), row(3)]


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path: Path):
    with Metrics(tmp_path, last_step=0) as metrics:
        for step in range(1, 7):
            metrics.record(row(step, loss=float(step)))
    with Metrics(tmp_path, last_step=4) as metrics:
        metrics.record(row(5, loss=50.0))
        metrics.record(row(6, loss=None))
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(e.step, e.value) for e in board.Scalars("training/loss")] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
        (5, 50),
    ]
    assert [e.step for e in board.Scalars("training/lr")] == [1, 2, 3, 4, 5, 6]


def test_what_is_no_json_is_never_written(tmp_path: Path):
    log = StepLog(tmp_path / "log.jsonl", last_step=0)
    with pytest.raises(ValueError, match="Out of range float"):
        log.append(row(1, loss=float("nan")))
    assert list(read_steps(tmp_path / "log.jsonl")) == []
