"""``tokka doctor``: what this machine has, and what a recipe would lack."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokka.cli.options import AsJson, Overrides

if TYPE_CHECKING:
    from tokka.pipeline.diagnosis import Diagnosis


def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="Also tell what this recipe would lack.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where results would go.")] = Path(),
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Tell what this machine has, what a recipe needs and what it would lack here.

    The speed of matrix products is measured for half a second. Status 1 where a recipe lacks something.
    """
    from tokka.pipeline.diagnosis import diagnose
    from tokka.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides or ()) if recipe else None
    found = diagnose(loaded, root=recipe.resolve().parent if recipe else Path(), folder=out)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        _show(found)
    if found.problems:
        raise typer.Exit(1)


def _show(found: "Diagnosis") -> None:
    for title, lines in found.sections().items():
        typer.echo(title)
        for name, value in lines:
            typer.echo(f"  {name:<11} {value}".rstrip())
    for problem in found.problems:
        typer.echo(f"  - {problem}")
