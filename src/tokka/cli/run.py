"""``tokka run``: the whole line."""

from pathlib import Path
from typing import Annotated

import typer

from tokka.cli.options import Overrides, RecipePath


def run(
    recipe: RecipePath,
    out: Annotated[Path | None, typer.Option(help="Where results go; default: runs/<recipe name>.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Last stage to run: corpus, tokens, ... or ready: before training.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    overrides: Overrides = None,
) -> None:
    """Run a recipe: corpus, tokenizer, tokens, mixture, training, evaluation, release, report.

    Stages that are up to date are skipped; after a stop or a crash the same command goes on.
    """
    from tokka.pipeline.run import outlook, run_recipe
    from tokka.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    folder = out or Path("runs") / loaded.name
    root = recipe.resolve().parent
    if dry_run:
        for line in outlook(loaded, root=root, folder=folder, to=to):
            typer.echo(f"{line.stage:<24} {line.status.value}{f' ({line.why})' if line.why else ''}")
        return
    run_recipe(loaded, root=root, folder=folder, to=to)
    _summarise(folder)


def _summarise(folder: Path) -> None:
    """Print what a finished run measured and where its report and card are."""
    if not (folder / "release" / "manifest.json").exists():
        return
    from rich.console import Console

    from tokka.evaluation.against import against_table, read_against
    from tokka.evaluation.compare import evaluation_table, read_results

    if any(result["languages"] or result["tasks"] for result in read_results(folder / "evaluation")):
        Console().print(evaluation_table(folder / "evaluation"))
    against = read_against(folder / "evaluation")
    if against is not None:
        Console().print(against_table(against))
    typer.echo(f"report  {folder / 'report' / 'report.html'}")
    typer.echo(f"card    {folder / 'release' / 'main' / 'README.md'}")
