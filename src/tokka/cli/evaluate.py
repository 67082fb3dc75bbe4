"""``tokka evaluate``: measure any model, without a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from tokka.cli.options import AsJson


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hugging Face folder or hub id.")],
    texts: Annotated[
        list[str] | None,
        typer.Option(metavar="LANGUAGE=PATH", help="Documents to score: fi=my.jsonl. Repeatable."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="NAME[:SHOTS]", help="lm-evaluation-harness task. Repeatable."),
    ] = None,
    task_folder: Annotated[Path | None, typer.Option(help="Folder of your own task YAML files.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many items of each task.")
    ] = None,
    sequence_length: Annotated[
        int | None,
        typer.Option(min=2, help="Tokens the model sees at a time; default: its own longest, at most 8192."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the result, with all settings, as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model: bits per byte on documents, and tasks of lm-evaluation-harness."""
    import json

    from rich.console import Console

    from tokka.data.texts import labelled_texts
    from tokka.evaluation.compare import results_table
    from tokka.evaluation.evaluate import evaluate_model
    from tokka.recipe.evaluation import parse_task
    from tokka.workspace.files import write_json

    result = evaluate_model(
        model,
        texts=labelled_texts(texts or []),
        tasks=[parse_task(task, task_folder, limit) for task in tasks or []],
        sequence_length=sequence_length,
        root=Path.cwd(),
    )
    if out:
        write_json(out, result)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        Console().print(results_table([result]))
