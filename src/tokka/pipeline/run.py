"""Running a recipe: every stage in order, each once, the whole from one command that is also the resume."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokka.pipeline.base import base_recipe, base_run_folder
from tokka.pipeline.edited import followed
from tokka.pipeline.folder import Run, note_recipe
from tokka.pipeline.preflight import check
from tokka.pipeline.ranks import perform_on_ranks
from tokka.pipeline.stage import Stage, Standing, Status, perform, standing
from tokka.pipeline.stages.line import stages_of
from tokka.recipe.load import RecipeError
from tokka.recipe.recipe import Recipe
from tokka.workspace.lock import alone_in
from tokka.workspace.progress import say

if TYPE_CHECKING:
    from tokka.data.executors import Executor

_NEED_BASE = ("tokenizer", "training")
"""Stages that need the base finished, and that every stage which measures or publishes it needs."""


READY = "ready"
"""No stage: stands for all that training needs."""


@dataclass(frozen=True)
class Outlook:
    """One line of a dry run."""

    stage: str
    status: Status
    why: str


def run_recipe(
    recipe: Recipe,
    *,
    root: Path,
    folder: Path,
    to: str | None = None,
    executor: "Executor | None" = None,
) -> None:
    """Run the stages of ``recipe`` that are not up to date, up to and including ``to``.

    Args:
        recipe: a validated recipe.
        root: where the recipe's relative paths begin (its folder).
        folder: where results go; made if it is not there.
        to: name of the last stage (or group of stages, such as ``tokens``, or ``ready`` for all that training
            needs); None for all.
        executor: of datatrove, which spreads the reading of sources; None for processes here.

    Raises:
        RecipeError: the recipe cannot run on this machine; nothing was started.
        ValueError: no stage has the name ``to``, or another process works in ``folder``.
    """
    with alone_in(folder):
        run = Run(followed(recipe, folder), root, folder, executor)
        stages = _until(stages_of(run.recipe), to)
        begun = [stage.name for stage in stages if (run.of(stage.name) / "manifest.json").exists()]
        _require(run, [stage.name for stage in stages if stage.name not in begun])
        note_recipe(run)
        _run_base(run, stages)
        pending = [stage.name for stage in stages if standing(stage, run).status is not Status.DONE]
        if not pending:
            say(f"{recipe.name}: everything is up to date in {folder}")
            return
        _require(run, [name for name in begun if name in pending])
        for stage in stages:
            _advance(stage, run)


def outlook(recipe: Recipe, *, root: Path, folder: Path, to: str | None = None) -> list[Outlook]:
    """Return what :func:`run_recipe` would do, without doing it."""
    run = Run(followed(recipe, folder), root, folder)
    result: list[Outlook] = []
    base = base_recipe(recipe, root)
    if base is not None:
        name, there = base.recipe.name, base_run_folder(base, folder)
        lines = outlook(base.recipe, root=base.root, folder=there)
        result += [Outlook(f"{name}: {line.stage}", line.status, line.why) for line in lines]
    pending: set[str] = set()
    for stage in _until(stages_of(run.recipe), to):
        waits_for = [name for name in stage.needs if name in pending]
        found = (
            Standing(Status.NEW, "", {}, f"after {', '.join(waits_for)}")
            if waits_for
            else standing(stage, run)
        )
        if found.status is not Status.DONE:
            pending.add(stage.name)
        result.append(Outlook(stage.name, found.status, found.why))
    return result


def counted_sizes(recipe: Recipe, folder: Path) -> dict[str, int]:
    """Return the tokens of one epoch of each source, as a run in ``folder`` counted them.

    Raises ValueError where the tokens of a source have not been counted yet.
    """
    run = Run(recipe, folder, folder)
    return {source: run.facts(f"tokens/{source}")["tokens"] for source in recipe.sources}


def _require(run: Run, stages: Sequence[str]) -> None:
    """Refuse to start where this machine lacks something that ``stages`` need."""
    problems = check(run.recipe, run.root, folder=run.folder, stages=stages)
    if problems:
        raise RecipeError(run.recipe.name, problems, verdict="cannot run on this machine as it is")


def _run_base(run: Run, stages: Sequence[Stage]) -> None:
    """Run the recipe that makes the base, if ``stages`` need it; all in it that is done is skipped."""
    base = base_recipe(run.recipe, run.root)
    if base is not None and any(stage.name in _NEED_BASE for stage in stages):
        say(f"{run.recipe.name} continues {base.recipe.name}:")
        run_recipe(base.recipe, root=base.root, folder=base_run_folder(base, run.folder))


def _advance(stage: Stage, run: Run) -> None:
    found = standing(stage, run)
    if found.status is Status.DONE:
        say(f"{stage.name}: done before")
        return
    say(f"{stage.name}: {found.status.value}{f' ({found.why})' if found.why else ''}")
    manifest = perform(stage, run, found) if stage.ranks == 1 else perform_on_ranks(stage, run)
    say(f"{stage.name}: finished in {manifest.seconds:.1f} s")


def _until(stages: Sequence[Stage], to: str | None) -> list[Stage]:
    if to is None:
        return list(stages)
    wanted = {stage.name for stage in stages if stage.name == to or stage.name.startswith(f"{to}/")}
    if to == READY:
        wanted = {name for stage in stages if stage.name == "training" for name in stage.needs}
    if not wanted:
        groups = dict.fromkeys(stage.name.split("/")[0] for stage in stages)
        raise ValueError(f"no stage is called {to!r}; there are {', '.join(groups)}")
    needs = {stage.name: stage.needs for stage in stages}
    open_ends = list(wanted)
    while open_ends:
        for name in needs[open_ends.pop()]:
            if name not in wanted:
                wanted.add(name)
                open_ends.append(name)
    return [stage for stage in stages if stage.name in wanted]
