"""``tokka tokenizer``: compare tokenizers."""

from pathlib import Path
from typing import Annotated

import typer

from tokka.cli.options import AsJson

app = typer.Typer(help="Compare tokenizers.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Compare tokenizers."""


@app.command()
def fertility(
    tokenizers: Annotated[
        list[str], typer.Argument(metavar="TOKENIZER...", help="Hugging Face folders or hub ids.")
    ],
    texts: Annotated[
        list[str] | None,
        typer.Option(metavar="LANGUAGE=PATH", help="Texts to measure on: fi=my.jsonl. Repeatable."),
    ] = None,
    parallel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE,LANGUAGE=PATH",
            help="Translations, records with a field for each language: en,fi=pairs.jsonl. Repeatable.",
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the comparison: a .png or .svg file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare tokenizers per language: tokens per word, bytes per token, cost relative to English."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from tokka.data.texts import labelled_texts, parallel_texts
    from tokka.tokenizer.fertility import fertility as measure
    from tokka.tokenizer.fertility import fertility_plot, fertility_table
    from tokka.tokenizer.load import load_tokenizer

    pairs = parallel_texts(parallel or [])
    measured = labelled_texts(texts or []) | {name: text for group in pairs for name, text in group.items()}
    if not measured:
        raise typer.BadParameter(
            "name texts to measure on: --texts fi=my.jsonl, or --parallel en,fi=pairs.jsonl"
        )
    rows = measure(
        {name: load_tokenizer(name) for name in tokenizers}, measured, [list(group) for group in pairs]
    )
    if plot:
        fertility_plot(rows, plot)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2))
    else:
        Console().print(fertility_table(rows))
