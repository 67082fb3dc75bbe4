"""How a run goes, told from its files alone: while it runs, after a crash, on half-written files."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

from tokka.pipeline.folder import Run, noted_run
from tokka.pipeline.stages.line import stages_of
from tokka.training.checkpoint.folder import saved
from tokka.workspace.files import read_json
from tokka.workspace.lock import holder
from tokka.workspace.manifest import Manifest

State = Literal["done", "running", "stopped", "waiting", "damaged"]

_TAIL_BYTES = 2**16
_RECENT_STEPS = 50


@dataclass(frozen=True)
class StageStatus:
    """Where a stage stands.

    Attributes:
        name: of the stage.
        state: ``running`` while a process works at it; ``stopped`` where one did, and the same command goes
            on; ``damaged`` where its manifest cannot be read.
        seconds: that it took; None unless it is done.
        finished: when, as ISO 8601 in local time; None unless it is done.
    """

    name: str
    state: State
    seconds: float | None = None
    finished: str | None = None


@dataclass(frozen=True)
class TrainingStatus:
    """How far training is, by ``metrics.jsonl``.

    Attributes:
        step, steps: done, and in all.
        tokens, budget: trained on, and in all.
        loss: of the last step; None where it was not finite.
        tokens_per_second: median of the last 50 steps.
        skipped_steps: so far.
        last_step: when it ended, ISO 8601.
        ends: when training will end at this rate, ISO 8601; None unless it runs.
        checkpoint: name of the newest; None where there is none.
    """

    step: int
    steps: int
    tokens: int
    budget: int
    loss: float | None
    tokens_per_second: float
    skipped_steps: int
    last_step: str
    ends: str | None
    checkpoint: str | None


@dataclass(frozen=True)
class RankError:
    """The error for which ranks ended last, as the first of them wrote it.

    Attributes:
        file: what it wrote, with the calls that led there.
        message: the error.
        at: when, ISO 8601.
    """

    file: str
    message: str
    at: str


@dataclass(frozen=True)
class RunStatus:
    """How a run goes.

    Attributes:
        name: of the recipe.
        ranks: of its layout.
        worked_on_by: the process that holds the run; None where nothing runs.
        stages: in their order.
        training: None before its first step.
        error: None where no rank ever wrote one.
    """

    name: str
    ranks: int
    worked_on_by: str | None
    stages: tuple[StageStatus, ...]
    training: TrainingStatus | None
    error: RankError | None


def status_of(folder: Path) -> RunStatus:
    """Return how the run in ``folder`` goes; reads a few small files and changes none.

    Raises ValueError where there is no run.
    """
    run = noted_run(folder)
    stages = tuple(_stage(run, stage.name) for stage in stages_of(run.recipe))
    running = any(stage.name == "training" and stage.state == "running" for stage in stages)
    return RunStatus(
        name=run.recipe.name,
        ranks=run.recipe.training.layout.ranks,
        worked_on_by=holder(folder / ".lock") or holder(folder / ".locks" / "training"),
        stages=stages,
        training=_training(run, running),
        error=_last_error(folder / "logs"),
    )


def _stage(run: Run, name: str) -> StageStatus:
    path = run.of(name) / "manifest.json"
    try:
        manifest = Manifest.read(run.of(name))
    except ValueError:
        return StageStatus(name, "damaged")
    if manifest is not None:
        return StageStatus(name, "done", manifest.seconds, _moment(path.stat().st_mtime))
    if holder(run.folder / ".locks" / name):
        return StageStatus(name, "running")
    return StageStatus(name, "stopped" if (run.of(name) / "begun.json").exists() else "waiting")


def _training(run: Run, running: bool) -> TrainingStatus | None:
    folder = run.of("training")
    rows = _last_rows(folder / "metrics.jsonl")
    mixture = _content(run.of("mixture") / "mixture.json")
    if not rows or mixture is None:
        return None
    last, recent = rows[-1], rows[-_RECENT_STEPS:]
    rate = median(row["tokens_per_second"] for row in recent)
    written = (folder / "metrics.jsonl").stat().st_mtime
    left = (mixture["tokens"] - last["tokens"]) / rate
    checkpoints = saved(folder / "checkpoints")
    return TrainingStatus(
        step=last["step"],
        steps=mixture["steps"],
        tokens=last["tokens"],
        budget=mixture["tokens"],
        loss=last["loss"],
        tokens_per_second=rate,
        skipped_steps=_count_lines(folder / "skipped.jsonl"),
        last_step=_moment(written),
        ends=_moment(time.time() + left) if running else None,
        checkpoint=checkpoints[-1].name if checkpoints else None,
    )


def _last_rows(path: Path) -> list[dict[str, Any]]:
    """Return the last whole lines of a file of JSON lines; it may be of any length, and be written to."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        return list(_whole(file.read()))


def _whole(tail: bytes) -> Iterator[dict[str, Any]]:
    for line in tail.split(b"\n"):
        try:
            content = json.loads(line)
        except ValueError:  # cut at the beginning, or not yet written to the end
            continue
        if isinstance(content, dict):
            yield content


def _count_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def _last_error(logs: Path) -> RankError | None:
    """Return the first error of the last attempt that had one: other ranks fail after it, as they miss it."""
    attempts = defaultdict(list)
    for file in logs.glob("*/attempt_*/*/error.json"):
        message = (_content(file) or {}).get("message")
        if isinstance(message, dict):
            start, _, _ = file.parts[-4].rpartition("_")  # each node adds letters of its own to it
            words = str(message.get("message", ""))
            attempts[start, file.parts[-3]].append((file.stat().st_mtime, str(file), words))
    if not attempts:
        return None
    written, path, words = min(max(attempts.values(), key=max))
    return RankError(path, words, _moment(written))


def _content(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``; None where it is not there or not written to the end."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
