"""``tokka models``: what a model is, and whether it is sound, before anything is built on it."""

from typing import Annotated

import typer

app = typer.Typer(help="Look at models.", no_args_is_help=True)


@app.callback()
def models() -> None:
    """Look at models."""


@app.command()
def check(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Hugging Face folder, run folder, or hub id.")
    ],
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE=PATH", help="Text to look at it with, such as fi=my.jsonl. Repeatable."
        ),
    ] = None,
    length: Annotated[int, typer.Option(min=32, help="Tokens of a sequence.")] = 512,
) -> None:
    """Tell what a model is, whether all its weights are there and, with text, whether it was really trained.

    Its loss is computed by tokka and by transformers, a layer in memory at a time, and compared with that of
    the other ways to read its weights. Status 1 where something is wrong.
    """
    from tokka.data.texts import labelled_texts
    from tokka.evaluation.locate import locate
    from tokka.training.look import describe_model, look_at_model

    found = locate(model)
    for name, value in describe_model(found.model, found.tokenizer).items():
        typer.echo(f"{name:<12} {value}")
    if not text:
        return
    texts = {path: documents for path, (_, documents) in labelled_texts(text).items()}
    checked = look_at_model(found.model, found.tokenizer, texts, length=length)
    for line in checked.lines():
        typer.echo(line)
    if checked.problems:
        raise typer.Exit(1)
