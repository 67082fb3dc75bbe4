"""``tokka status``: how a run goes."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from tokka.cli.options import AsJson, RunFolder

if TYPE_CHECKING:
    from tokka.pipeline.status import RankError, RunStatus, TrainingStatus


def status(run: RunFolder, as_json: AsJson = False) -> None:
    """Show how a run goes, from its files alone: its stages, how far training is, what went wrong last."""
    from tokka.pipeline.status import status_of

    found = status_of(run)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        for line in _lines(found):
            typer.echo(line.rstrip())


def _lines(found: "RunStatus") -> Iterator[str]:
    yield f"{found.name}: {found.worked_on_by or 'nobody'} works on it"
    width = max(len(stage.name) for stage in found.stages)
    for stage in found.stages:
        when = f"{stage.finished}  in {stage.seconds:,.1f} s" if stage.seconds is not None else ""
        yield f"  {stage.name:<{width}}  {stage.state:<8} {when}"
    if found.training is not None:
        yield "Training"
        yield from (f"  {name:<11} {value}" for name, value in _training(found.training, found.ranks))
    if found.error is not None:
        yield "Last error of a rank"
        yield from (f"  {name:<11} {value}" for name, value in _error(found.error))


def _training(training: "TrainingStatus", ranks: int) -> Iterator[tuple[str, str]]:
    from tokka.recipe.sizes import format_size

    percent = 100 * training.step / training.steps
    yield (
        "step",
        f"{training.step:,} of {training.steps:,} ({percent:.1f}%), the last at {training.last_step}",
    )
    yield "tokens", f"{format_size(training.tokens)} of {format_size(training.budget)}"
    yield "loss", "not finite" if training.loss is None else f"{training.loss:.4f}"
    yield "speed", f"{training.tokens_per_second:,.0f} tokens/s on {ranks:,} rank{'s' if ranks > 1 else ''}"
    if training.ends is not None:
        yield "ends", f"{training.ends} at this speed"
    yield "skipped", f"{training.skipped_steps:,} steps"
    yield "checkpoint", training.checkpoint or "none yet"


def _error(error: "RankError") -> Iterator[tuple[str, str]]:
    yield "at", error.at
    yield "message", error.message
    yield "file", error.file
