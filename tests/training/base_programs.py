"""What ranks run in the proofs of continuing a base and giving it back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ranks_that_train import LAYOUTS
from small_job import make_job, make_recipe

from tokka.models.stored import StoredWeights
from tokka.recipe.recipe import Recipe
from tokka.training.continued import LookedAt
from tokka.training.run import run

STEPS = 3


def recipe_for(base: Path, layout: str) -> Recipe:
    """Return a recipe that continues ``base`` for three steps, in fp32."""
    model = StoredWeights(base).config.model_dump() | {"base": str(base)}
    return make_recipe(
        model=model,
        tokens=STEPS * 128,
        precision="fp32",
        micro_batch=1,
        layout=LAYOUTS[layout],
        optimizer={"lr": 1e-3},
        schedule={},
        checkpoints={"every": 128, "keep": 5, "revisions": STEPS * 128},
    )


def continue_in(base: Path, looked_at: LookedAt, folders: dict[str, Path]) -> None:
    """Continue ``base`` in each of the layouts that are the keys of ``folders``, as one of the ranks."""
    for layout, folder in folders.items():
        recipe = recipe_for(base, layout)
        budgets = {"finnish": recipe.training.tokens, "english": 0}
        run(replace(make_job(folder, recipe, budgets), base=looked_at, identity=looked_at.identity))


def refusals_in(base: Path, looked_at: LookedAt, folder: Path, layouts: Sequence[str]) -> list[str]:
    """Return what is said where the base was found to have another loss than each layout makes of it."""
    said = []
    for layout in layouts:
        other = replace(looked_at, losses=looked_at.losses + 0.5)
        try:
            continue_in(base, other, {layout: folder / layout})
        except ValueError as error:
            said.append(str(error))
    return said
