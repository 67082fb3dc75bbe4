"""``tokka export``: a checkpoint of a run as a model that anyone can load."""

from pathlib import Path
from typing import Annotated

import typer

from tokka.cli.options import RunFolder


def export(
    run: RunFolder,
    to: Annotated[Path, typer.Option(help="Folder of the model; replaced as a whole.")],
    step: Annotated[int | None, typer.Option(help="Of the checkpoint; default: the newest.")] = None,
) -> None:
    """Write a checkpoint of a run as a Hugging Face folder, also while the run goes on.

    A tensor at a time is in memory, whatever the size of the model and the ranks that train it.
    """
    from tokka.release.record import RunRecord
    from tokka.training.export import export as export_checkpoint

    record = RunRecord.read(run)
    facts = export_checkpoint(record.recipe, run, to, step=step)
    typer.echo(f"{to}: {facts['parameters']:,} parameters after step {facts['step']:,}")
    if facts["warning"]:
        typer.echo(f"warning: {facts['warning']}", err=True)
