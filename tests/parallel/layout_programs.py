"""What ranks run in the proofs of equality; in a module so that new processes find it."""

from typing import Any

from tokka.recipe.recipe import Recipe
from tokka.recipe.training import Layout
from tokka.training.equality import Measured, measure, with_layout


def measured(recipe: dict[str, Any], layout: dict[str, Any], steps: int) -> list[Measured]:
    return measure(with_layout(Recipe.model_validate(recipe), Layout(**layout)), steps)
