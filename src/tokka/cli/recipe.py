"""``tokka new`` and ``tokka recipe``: write, check and show recipes."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tokka.cli.options import AsJson, Overrides, RecipePath

app = typer.Typer(help="Check and show recipes.", no_args_is_help=True, rich_markup_mode=None)


def new(
    language: Annotated[str, typer.Argument(help="Language code, such as fi, et or smn.")],
    name: Annotated[str | None, typer.Option(help="Name of the run; default: tokka-<language>.")] = None,
    texts: Annotated[Path | None, typer.Option(help="Your own texts: a file or folder.")] = None,
) -> None:
    """Write a commented recipe for a language to standard output."""
    from tokka.recipe.new import new_recipe

    typer.echo(new_recipe(language, name or f"tokka-{language}", texts), nl=False)


@app.command()
def validate(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Check a recipe, and whether this machine has all that it needs."""
    from tokka.pipeline.preflight import check
    from tokka.recipe.load import RecipeError, load_recipe

    loaded = load_recipe(recipe, overrides or ())
    typer.echo(f"{recipe}: a valid recipe")
    problems = check(loaded, recipe.resolve().parent)
    if problems:
        raise RecipeError(f"{recipe} on this machine", problems)
    typer.echo("This machine has all that it needs.")


@app.command()
def show(recipe: RecipePath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a recipe with every default filled in and every override applied."""
    from tokka.recipe.load import load_recipe
    from tokka.recipe.plain_yaml import format_yaml

    content = load_recipe(recipe, overrides or ()).model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
    else:
        typer.echo(format_yaml(content), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from tokka.recipe.schema import schema as recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))
