"""``tokka corpus``: look at sources and mixtures."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tokka.cli import curation
from tokka.cli.options import AsJson, Overrides, RecipePath, RunFolder

app = typer.Typer(help="Look at sources and their mixture.", no_args_is_help=True, rich_markup_mode=None)
app.command()(curation.build)
app.command()(curation.look)


@app.command()
def mix(
    recipe: RecipePath,
    run: Annotated[Path | None, typer.Option(help="Take sizes, and what is trained, from this run.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Solve the mixture and print its table: source, percentage, epochs, tokens; part by part and in all."""
    from rich.console import Console

    from tokka.data.mixture_table import mixture_tables, planned_mixture
    from tokka.pipeline.edited import followed
    from tokka.pipeline.run import counted_sizes
    from tokka.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    if run is not None:
        loaded = followed(loaded, run)
    mixture = planned_mixture(loaded, counted_sizes(loaded, run) if run else {})
    if as_json:
        typer.echo(json.dumps(mixture.as_json(), indent=2))
    else:
        Console().print(*mixture_tables(mixture), sep="\n")


@app.command()
def trace(
    run: RunFolder,
    step: Annotated[
        int, typer.Option(min=1, help="Of the training, from 1; also one that is still to come.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show the documents in a step's batch: source, file, record, epoch, tokens, and how each begins."""
    from tokka.data.trace import trace_lines
    from tokka.pipeline.trace import trace as trace_run

    documents = trace_run(run, step)
    if as_json:
        typer.echo(json.dumps(documents, ensure_ascii=False, indent=2))
    else:
        for line in trace_lines(documents):
            typer.echo(line)


@app.command()
def rejected(
    run: RunFolder,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show per source, drawn evenly.")] = 20,
) -> None:
    """Show records that were kept aside: file, record, reason and the beginning of what was there."""
    from tokka.data.corpus import sample_rejected

    for folder in sorted(path for path in (run / "corpus").glob("*") if path.is_dir()):
        if source in (None, folder.name):
            for entry in sample_rejected(folder, limit):
                place = f"{entry.file}:{entry.record}"
                typer.echo(f"{folder.name}\t{place}\t{entry.reason}\t{entry.excerpt[:60]!r}")
