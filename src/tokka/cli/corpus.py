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
def stats(
    place: Annotated[Path, typer.Argument(metavar="RECIPE|RUN", help="A recipe, or the folder of a run.")],
    tokenizers: Annotated[
        list[str] | None,
        typer.Option("--tokenizer", help="Measure its fertility: folder or hub id. Repeatable."),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(help="A budget, such as 10B: how many epochs it takes.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw it: a .png or .svg file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what sources hold: documents, words, tokens, lengths, duplicates, domains, language, fertility."""
    from rich.console import Console

    from tokka.data.stats_plot import stats_plot
    from tokka.data.stats_table import amounts_table, documents_table, domains_table
    from tokka.pipeline.stats import stats as measure
    from tokka.recipe.sizes import parse_size
    from tokka.tokenizer.fertility import fertility_table

    found = measure(place, tokenizers=tokenizers or (), budget=parse_size(tokens) if tokens else None)
    if plot:
        stats_plot(found.sources, plot)
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=2))
        return
    screen = Console()
    screen.print(amounts_table(found.sources, found.languages, found.tokens, found.epochs))
    screen.print(documents_table(found.sources, found.near_duplicates))
    domains = domains_table(found.sources)
    if domains is not None:
        screen.print(domains)
    if found.fertility:
        screen.print(fertility_table(found.fertility))


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


@app.command()
def contaminated(run: RunFolder, as_json: AsJson = False) -> None:
    """Show the benchmark items that training documents held: task, item, share, document, and the item."""
    from tokka.pipeline.contamination import held_items

    if as_json:
        typer.echo(json.dumps(list(held_items(run)), ensure_ascii=False, indent=2))
        return
    for item in held_items(run):
        for each in item["documents"]:
            place = f"{each['source']} {each['file']}:{each['record']}"
            typer.echo(f"{item['task']}\t{item['item']}\t{each['share']:.0%}\t{place}\t{item['text'][:60]!r}")
