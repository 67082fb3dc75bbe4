"""Running a recipe: every stage in order, each once, the whole from one command that is also the resume."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokka.pipeline.preflight import check
from tokka.pipeline.stage import Run, Stage, Standing, Status, perform, standing
from tokka.pipeline.stages.line import stages_of
from tokka.recipe.load import Problem, RecipeError
from tokka.recipe.plain_yaml import format_yaml
from tokka.recipe.recipe import Recipe
from tokka.workspace.files import write_text
from tokka.workspace.progress import say


@dataclass(frozen=True)
class Outlook:
    """One line of a dry run."""

    stage: str
    status: Status
    why: str


def run_recipe(recipe: Recipe, *, root: Path, folder: Path, to: str | None = None) -> None:
    """Run the stages of ``recipe`` that are not up to date, up to and including ``to``.

    Args:
        recipe: a validated recipe.
        root: where the recipe's relative paths begin (its folder).
        folder: where results go; made if it is not there.
        to: name of the last stage (or group of stages, such as ``tokens``); None for all.

    Raises:
        RecipeError: the recipe cannot run on this machine; nothing was started.
        ValueError: no stage has the name ``to``, or another process works in ``folder``.
    """
    run = Run(recipe, root, folder)
    stages = _until(stages_of(recipe), to)
    with _alone_in(folder):
        begun = [stage.name for stage in stages if (run.of(stage.name) / "manifest.json").exists()]
        _require(run, [stage.name for stage in stages if stage.name not in begun])
        pending = [stage.name for stage in stages if standing(stage, run).status is not Status.DONE]
        if not pending:
            say(f"{recipe.name}: everything is up to date in {folder}")
            return
        _require(run, [name for name in begun if name in pending])
        write_text(folder / "recipe.yaml", format_yaml(recipe.model_dump(mode="json")))
        for stage in stages:
            _advance(stage, run)


def outlook(recipe: Recipe, *, root: Path, folder: Path, to: str | None = None) -> list[Outlook]:
    """Return what :func:`run_recipe` would do, without doing it."""
    run = Run(recipe, root, folder)
    result: list[Outlook] = []
    pending: set[str] = set()
    for stage in _until(stages_of(recipe), to):
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
        raise RecipeError(run.recipe.name, problems)


def _advance(stage: Stage, run: Run) -> None:
    found = standing(stage, run)
    if found.status is Status.DONE:
        say(f"{stage.name}: done before")
        return
    say(f"{stage.name}: {found.status.value}{f' ({found.why})' if found.why else ''}")
    manifest = perform(stage, run, found)
    say(f"{stage.name}: finished in {manifest.seconds:.1f} s")


def _until(stages: Sequence[Stage], to: str | None) -> list[Stage]:
    if to is None:
        return list(stages)
    wanted = {stage.name for stage in stages if stage.name == to or stage.name.startswith(f"{to}/")}
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


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock, so that two runs never write the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            problem = Problem("", f"another tokka works in {folder}; wait for it or choose another --out")
            raise RecipeError(str(folder), [problem]) from None
        yield
