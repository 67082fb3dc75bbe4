"""The folder of a run: where stages lie, and which recipe it was given last."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokka.recipe.load import load_recipe
from tokka.recipe.plain_yaml import format_yaml
from tokka.recipe.recipe import Recipe
from tokka.workspace.files import write_text
from tokka.workspace.manifest import Manifest

if TYPE_CHECKING:
    from tokka.data.executors import Executor


@dataclass(frozen=True)
class Run:
    """What every stage gets: the recipe, where its relative paths begin, and where results go.

    Attributes:
        recipe: the validated recipe.
        root: folder of the recipe file.
        folder: folder of the run; each stage has a folder of its own name below it.
        executor: of datatrove, which spreads the reading of sources; None for processes here.
    """

    recipe: Recipe
    root: Path
    folder: Path
    executor: "Executor | None" = None

    def of(self, stage: str) -> Path:
        """Return the folder of ``stage``."""
        return self.folder / stage

    def facts(self, stage: str) -> dict[str, Any]:
        """Return the facts of a finished stage."""
        manifest = Manifest.read(self.of(stage))
        if manifest is None:
            raise ValueError(f"stage {stage} is not finished in {self.folder}; run it first")
        return manifest.facts


def note_recipe(run: Run) -> None:
    """Write the recipe, and where its relative paths begin, into the run's folder: ranks start from there."""
    contents = {
        "recipe.yaml": format_yaml(run.recipe.model_dump(mode="json")),
        ".root": str(run.root.resolve()),
    }
    for name, text in contents.items():
        path = run.folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def noted_run(folder: Path) -> Run:
    """Return the run in ``folder`` with the recipe that it was given last.

    Raises ValueError where ``tokka run`` was never started there.
    """
    if not (folder / "recipe.yaml").is_file():
        raise ValueError(
            f"no run in {folder}: there is no recipe.yaml; `tokka run RECIPE --out {folder}` begins one"
        )
    noted = folder / ".root"
    root = Path(noted.read_text(encoding="utf-8")) if noted.is_file() else folder
    return Run(load_recipe(folder / "recipe.yaml"), root, folder)
