"""The model that a recipe continues: a folder, a model of the hub, or the model that another recipe makes."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tokka.pipeline.folder import Run
from tokka.recipe.load import Problem, RecipeError, load_recipe
from tokka.recipe.model import is_recipe
from tokka.recipe.recipe import Recipe
from tokka.release.hub import LATEST


class BaseRecipe(NamedTuple):
    """A recipe that makes the base of another.

    Attributes:
        recipe: the validated recipe.
        root: where its relative paths begin.
    """

    recipe: Recipe
    root: Path


def base_recipe(recipe: Recipe, root: Path) -> BaseRecipe | None:
    """Return the recipe that ``recipe.model.base`` names; None where it names a model, or nothing.

    Raises RecipeError where it cannot be read.
    """
    base = recipe.model.base
    if base is None or not is_recipe(base):
        return None
    path = (root / base).resolve()
    return BaseRecipe(load_recipe(path), path.parent)


def base_run_folder(base: BaseRecipe, folder: Path) -> Path:
    """Return the folder of the base's own run: beside ``folder``, so that several runs can share it."""
    return folder.absolute().parent / base.recipe.name


def place_of(name: str, run: Run) -> str:
    """Return where the model or tokenizer ``name`` of ``run``'s recipe lies: its folder, else its hub id."""
    if is_recipe(name):
        path = (run.root / name).resolve()
        base = BaseRecipe(load_recipe(path), path.parent)
        return str(base_run_folder(base, run.folder) / "release" / LATEST)
    beside = run.root / name
    return str(beside) if beside.is_dir() else name


def digest_model(place: str, run: Run) -> Mapping[str, str]:
    """Return digests of the weights and configuration in the folder ``place``; none of a model of the hub."""
    from tokka.workspace.digests import digest_files

    if not Path(place).is_dir():
        return {}
    files = [*sorted(Path(place).glob("*.safetensors")), Path(place) / "config.json"]
    return digest_files({f"base/{path.name}": path for path in files}, run.folder / "fingerprints.json")


def check_base_recipe(recipe: Recipe, root: Path) -> list[Problem]:
    """Return why the recipe that ``recipe`` continues from cannot be read, or leads back to itself."""
    seen: set[Path] = set()
    try:
        while (base := base_recipe(recipe, root)) is not None:
            path = (root / str(recipe.model.base)).resolve()
            if path in seen:
                return [Problem("model.base", f"{path.name} continues, in the end, from itself")]
            seen.add(path)
            recipe, root = base
    except RecipeError as error:
        return [Problem("model.base", str(error))]
    return []
